//! The operations of an engine.

use crate::{
    Deadline, EngineError, Facts, ImageDigests, JoinTokens, LogLines, LogQuery, Member, Node,
    NotFollowed, Owned, Resolver, ResultsFollow, ResultsReceiver, ResultsSink, Role, RunContext,
    Source, Status, StepError, StepResult, Targets, UsageSink, UsageWatch,
};
use async_trait::async_trait;
use atq_task::event::FailureCode;
use atq_task::spec::{Fault, TaskName, TaskSpec};
use std::any::Any;
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

/// A part of a run to start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part<'a> {
    /// The workers.
    Workers,
    /// The master, which gets the addresses of the workers.
    Master,
    /// The command of the definition's `readiness`, with the number of seconds during which it is retried.
    Readiness {
        /// A shell command.
        command: &'a str,
        /// Time limit in seconds.
        seconds: u64,
    },
    /// An attempt of the wait command.
    Wait {
        /// A shell command.
        command: &'a str,
        /// Number of the attempt, from 1.
        attempt: u32,
    },
}

impl Part<'_> {
    /// The role of its containers.
    pub fn role(self) -> Role {
        match self {
            Self::Workers => Role::Worker,
            Self::Master => Role::Master,
            Self::Readiness { .. } => Role::Readiness,
            Self::Wait { .. } => Role::Wait,
        }
    }
}

/// The outcome of one collection of results.
#[derive(Debug, Default)]
pub struct Fetched {
    /// Reasons for missing results, by container.
    pub problems: BTreeMap<Source, String>,
    /// For each node, the milliseconds by which its clock is ahead of the Director's.
    pub clocks: Vec<(String, i64)>,
}

/// A guard of resources that an engine reserves in this process; dropping it releases them.
pub type ResourceGuard = Box<dyn Any + Send + Sync>;

/// A container engine that executes runs. All operations are idempotent: a step may be repeated after a crash, so each
/// operation first searches for the objects that it would create. An engine reads its earlier events from the history
/// of the run.
#[async_trait]
pub trait Engine: Send + Sync + 'static {
    /// The name of the engine in messages.
    fn name(&self) -> &'static str;

    /// The error for requests before the first response of the engine.
    fn unanswered(&self) -> EngineError;

    /// The status of the engine; an error if it is unavailable.
    async fn status(&self) -> Result<Status, EngineError>;

    /// All nodes of the cluster.
    async fn nodes(&self) -> Result<Vec<Node>, EngineError>;

    /// Makes the Director reachable for programs of earlier runs that are still on the nodes. Called once at start, in
    /// the background.
    async fn reconnect(&self) {}

    /// The tokens for joining the cluster.
    async fn join_tokens(&self) -> Result<JoinTokens, EngineError>;

    /// Pulls an image to the Director's node unless it exists there.
    async fn pull_image(&self, image: &str) -> Result<(), EngineError>;

    /// The digests of an image; `None` if it is not on the Director's node.
    async fn image_digests(&self, image: &str) -> Result<Option<ImageDigests>, EngineError>;

    /// Images of the engine that every run uses.
    fn own_images(&self) -> Vec<String>;

    /// Checks a definition against the engine; returns the faults.
    async fn check(&self, spec: &TaskSpec) -> Result<Vec<Fault>, EngineError>;

    /// Registers a run in this process; its resources stay reserved until the guard is dropped.
    fn adopt(&self, run: Facts<'_>) -> ResourceGuard;

    /// Delivers the bundles to every node that may run containers of the task.
    async fn distribute(&self, run: &mut dyn RunContext) -> StepResult;

    /// Creates the isolated network of the run.
    async fn prepare(&self, run: &mut dyn RunContext) -> StepResult;

    /// Starts the resolver of the workers' name in that network.
    async fn start_discovery(&self, run: &mut dyn RunContext) -> StepResult;

    /// Stops the resolver early; [`Engine::release`] stops it otherwise.
    async fn end_discovery(&self, run: Facts<'_>) -> Result<(), EngineError>;

    /// Creates a client of the resolver without sending a request.
    fn resolver(&self) -> Box<dyn Resolver>;

    /// Starts a part of the run unless it exists; returns the id of its group.
    async fn start(
        &self,
        run: &mut dyn RunContext,
        part: Part<'_>,
        deadline: Deadline,
    ) -> Result<String, StepError>;

    /// A snapshot of the containers of all parts.
    async fn observe(&self, run: Facts<'_>) -> Result<Vec<Member>, EngineError>;

    /// The started containers whose logs are available.
    async fn logged(&self, run: Facts<'_>) -> Result<Vec<Member>, EngineError>;

    /// The log of a container: up to now, or followed. Dropping the stream ends the request.
    async fn logs(&self, id: &str, tty: bool, query: LogQuery) -> Result<LogLines, EngineError>;

    /// Passes the results of these containers to `receiver` until its deadline.
    async fn results(
        &self,
        run: Facts<'_>,
        wanted: Vec<Member>,
        receiver: Arc<dyn ResultsReceiver>,
    ) -> Result<Fetched, EngineError>;

    /// Passes the bytes that these containers append to their result files to `sink`, from the beginning of each file or
    /// from where `sink` resumes it.
    fn follow_results(
        &self,
        run: Facts<'_>,
        members: Vec<Member>,
        sink: Arc<dyn ResultsSink>,
    ) -> Box<dyn ResultsFollow> {
        let _ = run;
        let sources: Vec<Source> = members.iter().map(|member| member.source).collect();
        let problem = format!("{} does not pass results during a run", self.name());
        sink.problem(&sources, crate::ReadProblem::Unread(problem));
        Box::new(NotFollowed)
    }

    /// Samples the resource usage of the containers in `targets`, and the CPU usage of their nodes. Sampling starts with the
    /// first target.
    fn watch(
        &self,
        run: Facts<'_>,
        targets: Targets,
        sink: Arc<dyn UsageSink>,
    ) -> Box<dyn UsageWatch>;

    /// Stops the containers of a group within their grace period; logs and exit codes are kept.
    async fn stop(&self, group: &str) -> Result<(), EngineError>;

    /// Kills the containers of the run on all nodes. A container that cannot be killed keeps its grace period.
    async fn kill(&self, run: Facts<'_>);

    /// Removes a group after its evidence was kept.
    async fn dismiss(&self, group: &str) -> Result<(), EngineError>;

    /// Removes all objects of a run; returns what is left.
    async fn release(&self, run: Facts<'_>) -> Vec<String>;

    /// As [`Engine::release`], for a task whose history cannot be read.
    async fn release_task(&self, task: &TaskName, force: bool) -> Vec<String>;

    /// All objects created by Directors, from their labels.
    async fn owned(&self) -> Result<Vec<Owned>, EngineError>;

    /// Removes all objects of a run that is not in the store; returns what is left.
    async fn release_owned(&self, task: &str, run: &str) -> Vec<String>;

    /// Commands that remove these objects manually.
    fn removal_commands(&self, owned: &[(&'static str, String)]) -> String;

    /// Blocks removals and new deliveries until the guard is dropped; running deliveries continue.
    async fn hold_bundles(&self) -> ResourceGuard;

    /// Notes that a bundle is to be removed from all nodes; `false` if it was not delivered to any.
    async fn forget_bundle(&self, bundle: &str) -> io::Result<bool>;

    /// Removes a bundle from all nodes; returns what is left. Needs [`Engine::hold_bundles`].
    async fn clear_bundle(&self, bundle: &str) -> io::Result<Vec<String>>;

    /// Bundles with a pending removal.
    async fn forgotten_bundles(&self) -> io::Result<Vec<String>>;

    /// Adds the reason of the registry to a message about a missing image.
    async fn explain(&self, image: &str, message: String) -> String;

    /// The default hint for a failure, from its code and the engine's own text in the message.
    fn advice(&self, code: FailureCode, message: &str, spec: &TaskSpec) -> String;
}
