//! What the step `running` does for the figures of its test.

use crate::live::LiveResults;
use crate::live::following::{Followed, Following};
use crate::run::Run;
use atq_engine::{Member, Role, RunContext, Source};
use atq_task::event::Event;
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::task::spawn_blocking;

impl Run {
    /// Follows the result files of workers and masters from now on. Errors never fail the run.
    pub(super) async fn follow_results(&mut self, members: &[Member]) {
        if !self.following.is_missing() {
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
                Following::failed()
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
        let engine = &self.shared.engine;
        let guard = engine.follow_results(self.facts(), members, sink);
        Followed::new(self.spec.name.clone(), self.shared.clock, results, guard)
    }

    /// Notes which containers have ended: nothing more is expected of their files.
    pub(super) fn note_ends(&self, members: &[Member]) {
        if let Some(results) = self.live.results() {
            let ended = members.iter().filter(|member| member.has_ended());
            ended.for_each(|member| results.note_end(member.source));
        }
    }

    /// Marks the files of lost workers.
    pub(super) fn lose_results(&self) {
        if let Some(results) = self.live.results() {
            for lost in &self.state.lost {
                results.lose(Source::new(Role::Worker, lost.replica));
            }
        }
    }

    /// The event for a stop condition that is met.
    pub(super) fn met_condition(&self) -> Option<Event> {
        let met = self.live.results()?.met()?;
        Some(Event::StopConditionMet {
            condition: met.condition,
            seen: met.seen,
        })
    }
}
