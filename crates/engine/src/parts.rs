//! Nodes, owned objects and long-running operations.

use crate::{Course, Deadline, Facts, Machine, Member, Source, StepError};
use async_trait::async_trait;
use atq_task::spec::ReadinessProbe;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use std::io;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::bytes::Bytes;

/// Status of a usable engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Id of the node that the Director talks to.
    pub node_id: String,
    /// Its address, as other nodes see it.
    pub node_address: String,
    /// Version of the engine.
    pub engine_version: String,
}

/// Tokens with which machines join.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinTokens {
    /// For managers.
    pub manager: String,
    /// For workers.
    pub worker: String,
}

/// A machine that runs containers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its id.
    pub id: String,
    /// Its host name.
    pub hostname: String,
    /// Its address.
    pub address: String,
    /// Its hardware and versions.
    pub machine: Machine,
    /// Whether it answers.
    pub ready: bool,
}

/// A thing that a Director has made, by its labels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owned {
    /// The engine's word for its kind.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
    /// Id of the Director.
    pub director: String,
    /// Whether it was made in the place where this Director is.
    pub is_here: bool,
    /// Its task and its run; `None` when the labels name none.
    pub run: Option<(String, String)>,
}

/// The answer of a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probed {
    /// Its address.
    pub address: Ipv4Addr,
    /// Why it is not ready; `None`: it is.
    pub reason: Option<String>,
}

/// A running probe: one answer for each worker, or why it could not be sent.
pub type Asking = BoxFuture<'static, Result<Vec<Probed>, String>>;

/// The addresses under which the workers' name resolves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LookedUp {
    /// Those of the last good answer, ascending.
    pub addresses: Vec<Ipv4Addr>,
    /// Whether there was any answer.
    pub answered: bool,
    /// Why there was none since then.
    pub error: Option<String>,
}

/// A client of the resolver of names in the network of a run.
#[async_trait]
pub trait Lookout: Send {
    /// The containers of the run; `None` while the engine is away. [`Lookout::look`] looks at the same answer.
    async fn observe(
        &mut self,
        run: &mut dyn Course,
        deadline: Deadline,
    ) -> Result<Option<Vec<Member>>, StepError>;

    /// Starts polling once the resolver is reachable, and replaces a resolver that is lost.
    async fn look(&mut self, run: &mut dyn Course, deadline: Deadline) -> Result<(), StepError>;

    /// The last answer.
    fn looked_up(&mut self) -> LookedUp;

    /// Returns when there is a new answer.
    async fn answered(&mut self);

    /// The state of the resolver until polling starts, for messages.
    fn not_ready(&self) -> Option<String>;

    /// Probes of the workers at `addresses`, one for each endpoint of the resolver, to be tried in order; the inner error
    /// explains why there is no endpoint. Each takes the time that is left, but not less and not
    /// more than `patience`. Looks at the last answer of [`Lookout::observe`].
    async fn probes(
        &mut self,
        run: &mut dyn Course,
        addresses: &[Ipv4Addr],
        probe: &ReadinessProbe,
        patience: (Duration, Duration),
        deadline: Deadline,
    ) -> Result<Result<Vec<Asking>, String>, StepError>;

    /// Its name in messages, with an article.
    fn noun(&self) -> &'static str;

    /// Failure code, step and hint of what resolves names.
    fn failed(&self, run: Facts<'_>, message: String, hint: &str) -> StepError;

    /// The hint for a resolver that is not reached.
    fn unreached_hint(&self) -> &'static str;
}

/// Why not all of the results of a container were taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// The limits of the run were reached.
    TooLarge(String),
    /// Writing to the disk failed.
    Disk(String),
    /// They ended early.
    Broken(String),
}

impl Stop {
    /// The reason in words.
    pub fn text(&self) -> &str {
        match self {
            Self::TooLarge(text) | Self::Disk(text) | Self::Broken(text) => text,
        }
    }
}

/// A tar, piece by piece.
pub type Tar = BoxStream<'static, io::Result<Bytes>>;

/// Receives the results of a run until its deadline.
#[async_trait]
pub trait Taker: Send + Sync {
    /// Whether the results of `source` are waited for.
    fn expects(&self, source: Source) -> bool;

    /// The deadline, as it is now.
    fn end(&self) -> Instant;

    /// The message for results after the deadline.
    fn too_late(&self) -> String;

    /// Records why the results of `source` are missing.
    fn note(&self, source: Source, problem: String);

    /// Keeps the results of `source`; the inner value is why not all were kept.
    ///
    /// # Errors
    /// When they cannot be kept at all.
    async fn take(&self, source: Source, tar: Tar) -> Result<Option<Stop>, String>;
}

/// A container whose load is watched.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// Its role and number.
    pub source: Source,
    /// Id of its node.
    pub node: String,
    /// Its id there.
    pub container: String,
    /// Processors that it may use at most.
    pub limit: Option<f64>,
}

/// The containers to watch now.
pub type Targets = Arc<Mutex<Vec<Target>>>;

/// Takes samples of the load.
pub trait Gauge: Send + Sync {
    /// A container on `node`, which may use so many `processors`, used `used` of them for `seconds`.
    fn container(&self, source: Source, node: &str, used: f64, processors: f64, seconds: f64);

    /// All processors of a node together were so busy for `seconds`.
    fn node(&self, node: &str, percent: f64, seconds: f64);
}

/// A watch over the load of a run. It ends when it is dropped, or with its [`UsageWatch::end`], which leaves nothing.
#[async_trait]
pub trait UsageWatch: Send + Sync {
    /// Ends it.
    async fn end(&self);
}

/// Bounds of a bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BundleLimits {
    /// Bytes of the zip.
    pub upload_bytes: u64,
    /// Bytes of all files.
    pub unpacked_bytes: u64,
    /// Number of entries.
    pub entries: u64,
}

/// The bundles that were uploaded.
#[async_trait]
pub trait Bundles: Send + Sync {
    /// The zip and its length in bytes; `None` when it is gone.
    ///
    /// # Errors
    /// When the disk cannot be read, in words.
    async fn zip(&self, bundle: &str) -> Result<Option<(std::fs::File, u64)>, String>;

    /// Its unpacked files on the Director's node; `None` for an id that cannot be one.
    fn directory(&self, bundle: &str) -> Option<std::path::PathBuf>;

    /// Bounds of all of them.
    fn limits(&self) -> BundleLimits;
}
