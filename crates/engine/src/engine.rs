//! The verbs of a run.

use crate::{
    Course, Deadline, EngineError, Facts, Gauge, ImageDigests, JoinTokens, LogLines, LogQuery,
    Lookout, Member, Node, Owned, Role, Source, Status, StepError, StepResult, Taker, Targets,
    UsageWatch,
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
    /// The master, which receives the addresses of the workers.
    Master,
    /// The command of the definition's `readiness`, asked again for so many seconds.
    Readiness {
        /// For the shell.
        command: &'a str,
        /// Time limit in seconds.
        seconds: u64,
    },
    /// A try of the wait command.
    Wait {
        /// For the shell.
        command: &'a str,
        /// Number of the try, from 1.
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
    /// Milliseconds by which the clocks of nodes are ahead of the Director's.
    pub clocks: Vec<(String, i64)>,
}

/// Keeps what an engine holds for a run in this process, until it is dropped.
pub type Holding = Box<dyn Any + Send + Sync>;

/// An engine carries runs. Its verbs are idempotent: a step may be begun again after a crash, so each one looks
/// first for what it would make. It finds its own notes in the history of the run.
#[async_trait]
pub trait Engine: Send + Sync + 'static {
    /// Its name in messages.
    fn name(&self) -> &'static str;

    /// The error of a request that comes before the engine's first answer.
    fn unanswered(&self) -> EngineError;

    /// Whether it can be used.
    async fn status(&self) -> Result<Status, EngineError>;

    /// All nodes.
    async fn nodes(&self) -> Result<Vec<Node>, EngineError>;

    /// The tokens with which machines join.
    async fn join_tokens(&self) -> Result<JoinTokens, EngineError>;

    /// Gets an image to the Director's node unless it is there.
    async fn pull_image(&self, image: &str) -> Result<(), EngineError>;

    /// Identifies an image; `None` when it is not on the Director's node.
    async fn image_digests(&self, image: &str) -> Result<Option<ImageDigests>, EngineError>;

    /// Images of the engine's own that take part in every run.
    fn own_images(&self) -> Vec<String>;

    /// Checks a definition against the engine; the faults.
    async fn check(&self, spec: &TaskSpec) -> Result<Vec<Fault>, EngineError>;

    /// Registers a run in this process; its resources stay reserved until the guard is dropped.
    fn adopt(&self, run: Facts<'_>) -> Holding;

    /// Brings the bundles to every node that may run containers of the task.
    async fn distribute(&self, run: &mut dyn Course) -> StepResult;

    /// Makes the isolated network of the run.
    async fn prepare(&self, run: &mut dyn Course) -> StepResult;

    /// Starts the resolver of the workers' name in that network.
    async fn start_discovery(&self, run: &mut dyn Course) -> StepResult;

    /// Stops the resolver early; [`Engine::release`] stops it otherwise.
    async fn end_discovery(&self, run: Facts<'_>) -> Result<(), EngineError>;

    /// A client of the resolver. Nothing is sent yet.
    fn lookout(&self) -> Box<dyn Lookout>;

    /// Starts a part of the run, or finds it; gives the id of its group.
    async fn start(
        &self,
        run: &mut dyn Course,
        part: Part<'_>,
        deadline: Deadline,
    ) -> Result<String, StepError>;

    /// A snapshot of the containers of all parts.
    async fn observe(&self, run: Facts<'_>) -> Result<Vec<Member>, EngineError>;

    /// The containers that were started and whose logs the engine still has.
    async fn logged(&self, run: Facts<'_>) -> Result<Vec<Member>, EngineError>;

    /// The log of a container up to now, unless it is to be followed. Dropping the stream ends the reading.
    async fn logs(&self, id: &str, tty: bool, query: LogQuery) -> Result<LogLines, EngineError>;

    /// Hands the results of these containers to `taker`, as long as it waits for them.
    async fn results(
        &self,
        run: Facts<'_>,
        wanted: Vec<Member>,
        taker: Arc<dyn Taker>,
    ) -> Result<Fetched, EngineError>;

    /// Watches how busy the containers of `targets` and their nodes are. Nothing is sampled until there are some.
    fn watch(&self, run: Facts<'_>, targets: Targets, gauge: Arc<dyn Gauge>)
    -> Box<dyn UsageWatch>;

    /// Stops the containers of a group within their grace period; logs and exit codes are kept.
    async fn stop(&self, group: &str) -> Result<(), EngineError>;

    /// Kills the containers of the run on all nodes. One that cannot be killed keeps its grace period.
    async fn kill(&self, run: Facts<'_>);

    /// Removes a group whose evidence is kept.
    async fn dismiss(&self, group: &str) -> Result<(), EngineError>;

    /// Removes everything of a run and names what is left.
    async fn release(&self, run: Facts<'_>) -> Vec<String>;

    /// The same for a task whose history cannot be read.
    async fn release_task(&self, task: &TaskName, force: bool) -> Vec<String>;

    /// Everything that Directors have made, by its labels.
    async fn owned(&self) -> Result<Vec<Owned>, EngineError>;

    /// Removes everything of a run that is not in the store and names what is left.
    async fn release_owned(&self, task: &str, run: &str) -> Vec<String>;

    /// Commands with which these things can be removed by hand.
    fn by_hand(&self, owned: &[(&'static str, String)]) -> String;

    /// Blocks removals and new deliveries until the guard is dropped; running deliveries continue.
    async fn hold_bundles(&self) -> Holding;

    /// Notes that a bundle is to go from all nodes; `false` when nothing was noted of it.
    async fn forget_bundle(&self, bundle: &str) -> io::Result<bool>;

    /// Removes a bundle from all nodes and names what is left. Needs [`Engine::hold_bundles`].
    async fn clear_bundle(&self, bundle: &str) -> io::Result<Vec<String>>;

    /// Bundles that were to go, and of which something may be left.
    async fn forgotten_bundles(&self) -> io::Result<Vec<String>>;

    /// The message, with the registry's own reason if it is about an image that is missing.
    async fn explain(&self, image: &str, message: String) -> String;

    /// The default hint for a failure, from its code and the engine's own text in the message.
    fn advice(&self, code: FailureCode, message: &str, spec: &TaskSpec) -> String;
}
