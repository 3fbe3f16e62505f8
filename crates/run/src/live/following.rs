//! What the driver of a run does for the figures of its test.

use super::LiveResults;
use crate::clock::Clock;
use crate::run::Run;
use atq_engine::{Member, ResultsFollow, Role, RunContext, Source};
use atq_task::event::Event;
use atq_task::spec::TaskName;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

/// Time for which the last bytes of an ended test are awaited. They are collected in any case.
const LAST_BYTES_TIMEOUT: Duration = Duration::from_secs(2);
/// Time for the end of the following. Clean-up removes what is left.
const END_TIMEOUT: Duration = Duration::from_secs(5);

/// Whether the result files of a run are followed.
#[derive(Default)]
pub(crate) enum Following {
    /// Not yet, or not any more.
    #[default]
    No,
    /// It failed; it is not tried again.
    Failed,
    /// They are followed.
    Yes(Followed),
}

/// The following of the result files of a run; dropping it ends the following.
pub(crate) struct Followed {
    task: TaskName,
    clock: Clock,
    results: Arc<LiveResults>,
    guard: Box<dyn ResultsFollow>,
    computing: AbortOnDropHandle<()>,
}

impl Run {
    /// Follows the result files of workers and masters from now on. Errors never fail the run.
    pub(crate) async fn follow_results(&mut self, members: &[Member]) {
        if !matches!(self.following, Following::No) {
            return;
        }
        let is_followed =
            |member: &&Member| matches!(member.source.role, Role::Worker | Role::Master);
        let members: Vec<Member> = members.iter().filter(is_followed).cloned().collect();
        let sources = members.iter().map(|member| member.source).collect();
        self.following = match self.live_results(sources).await {
            Ok(results) => Following::Yes(self.follow(members, results)),
            Err(problem) => {
                tracing::warn!(task = %self.spec.name, %problem, "there are no figures while the test runs");
                Following::Failed
            }
        };
    }

    async fn live_results(&self, sources: BTreeSet<Source>) -> Result<LiveResults, String> {
        let (evidence, limits) = (self.shared.evidence.clone(), self.shared.settings.results);
        let (name, suffix) = (self.spec.name.clone(), self.state.run.clone());
        let open = spawn_blocking(move || evidence.live_files(&name, &suffix, limits)).await;
        let files = open.map_err(|error| error.to_string())?;
        let files = files.map_err(|error| error.to_string())?;
        LiveResults::new(&self.spec, files, sources, self.shared.clock)
    }

    fn follow(&self, members: Vec<Member>, results: LiveResults) -> Followed {
        let results = Arc::new(results);
        self.live.set_results(Some(Arc::clone(&results)));
        let sink = Arc::clone(&results) as _;
        Followed {
            task: self.spec.name.clone(),
            clock: self.shared.clock,
            guard: self
                .shared
                .engine
                .follow_results(self.facts(), members, sink),
            computing: AbortOnDropHandle::new(tokio::spawn(Arc::clone(&results).run())),
            results,
        }
    }

    /// Notes which containers have ended: nothing more is expected of their files.
    pub(crate) fn note_ends(&self, members: &[Member]) {
        if let Some(results) = self.live.results() {
            let ended = members.iter().filter(|member| member.has_ended());
            ended.for_each(|member| results.note_end(member.source));
        }
    }

    /// Marks the files of lost workers.
    pub(crate) fn lose_results(&self) {
        if let Some(results) = self.live.results() {
            for lost in &self.state.lost {
                results.lose(Source::new(Role::Worker, lost.replica));
            }
        }
    }

    /// The event for a stop condition that is met.
    pub(crate) fn met_condition(&self) -> Option<Event> {
        let met = self.live.results()?.met()?;
        Some(Event::StopConditionMet {
            condition: met.condition,
            seen: met.seen,
        })
    }
}

impl Following {
    /// Ends the following of a test that was stopped. Waits briefly for the last bytes, unless they are skipped.
    pub(crate) async fn end(self, skips_last_bytes: bool) {
        let Self::Yes(followed) = self else { return };
        let Followed {
            task,
            clock,
            results,
            guard,
            computing,
        } = followed;
        if !skips_last_bytes {
            // After the timeout, the figures lack some samples, and the report has them.
            let _ = timeout(LAST_BYTES_TIMEOUT, results.read_since(clock.now())).await;
        }
        if timeout(END_TIMEOUT, guard.end()).await.is_err() {
            tracing::warn!(%task, "the following of result files did not end in time");
        }
        drop((guard, computing));
        results.end().await;
    }
}
