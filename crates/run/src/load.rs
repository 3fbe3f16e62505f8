//! Watches how busy the generators of a run are while its test runs. Failures here never fail the run.

use super::run::Run;
use atq_engine::{Course, Member, Role, Source, Target, Targets, UsageWatch};
use atq_evidence::load::SharedBook;
use atq_task::spec::{ServiceSpec, TaskSpec};
use std::sync::{Arc, PoisonError};

/// The watch over one run; it ends when this is dropped.
pub struct Watch {
    book: Arc<SharedBook>,
    targets: Targets,
    usage: Box<dyn UsageWatch>,
}

/// Whether it matters for this task how busy its generators were.
pub fn watches_load(spec: &TaskSpec) -> bool {
    !spec.criteria.is_empty() || spec.min_samples.is_some()
}

impl Run {
    /// Watches these containers of the run from now on.
    pub(super) fn watch_load(&mut self, members: &[Member]) {
        if !watches_load(&self.spec) {
            return;
        }
        let targets = targets(self, members);
        if self.watch.is_none() {
            self.watch = Some(begin(self));
        }
        if let Some(watch) = &self.watch {
            *watch.targets.lock().unwrap_or_else(PoisonError::into_inner) = targets;
        }
    }

    /// Ends the watch and keeps what it saw.
    pub(super) async fn keep_load(&mut self) {
        let Some(watch) = self.watch.take() else {
            return;
        };
        watch.usage.end().await;
        let load = watch.book.with(|book| {
            for node in &self.state.delivered {
                if let Some(millis) = node.clock_offset {
                    book.clock_offset(&node.node, millis);
                }
            }
            book.load()
        });
        let evidence = &self.shared.evidence;
        let kept = evidence.keep_load(&self.spec.name, &self.state.run, &load);
        if let Err(error) = kept.await {
            tracing::warn!(task = %self.spec.name, %error, "cannot keep how busy the run was");
        }
    }

    /// Adds what carriers found about the clocks of nodes, in milliseconds ahead of the Director's.
    pub(super) async fn note_clocks(&self, clocks: Vec<(String, i64)>) {
        let (evidence, suffix) = (&self.shared.evidence, &self.state.run);
        let known = evidence.load(&self.spec.name, suffix).await;
        let mut load = known.ok().flatten().unwrap_or_default();
        let before = load.clock_offsets.clone();
        load.clock_offsets.extend(clocks);
        if load.clock_offsets != before
            && let Err(error) = evidence.keep_load(&self.spec.name, suffix, &load).await
        {
            tracing::warn!(task = %self.spec.name, %error, "cannot keep what the clocks of the nodes show");
        }
    }
}

fn begin(run: &Run) -> Watch {
    let book = Arc::new(SharedBook::default());
    let targets = Targets::default();
    let engine = &run.shared.engine;
    Watch {
        usage: engine.watch(run.facts(), Arc::clone(&targets), Arc::clone(&book) as _),
        book,
        targets,
    }
}

fn targets(run: &Run, members: &[Member]) -> Vec<Target> {
    let of = |member: &Member| {
        let spec = spec_of(run, member.source)?;
        Some(Target {
            source: member.source,
            node: member.node.clone()?,
            container: member.container.clone().filter(|_| member.is_alive())?,
            limit: spec.resources.limits.processors(),
        })
    };
    members.iter().filter_map(of).collect()
}

fn spec_of(run: &Run, source: Source) -> Option<&ServiceSpec> {
    match source.role {
        Role::Worker => Some(&run.spec.worker),
        Role::Master => Some(&run.spec.master),
        _ => None,
    }
}
