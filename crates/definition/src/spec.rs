//! What the user asked for. A [`TaskSpec`] that exists is valid: the only way in is
//! [`TaskSpec::parse`], which collects *every* fault of a definition, each with its field path.

mod reader;

pub use crate::wording::{nearest, shorten};

use crate::criteria::Criterion;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// The variable that carries the workers' addresses to the master (thesis, section 5.3.1).
pub const WORKER_ADDRESSES: &str = "WORKER_CSV_VIPS";
/// The name under which the same value is given once more, as the original did for JMeter.
pub const REMOTES: &str = "REMOTES";
/// Variables with this prefix are set by the Director.
pub const RESERVED_PREFIX: &str = "ATQ_";
/// The variable that tells a readiness command which worker it is about.
pub const PROBED_ADDRESS: &str = "ATQ_WORKER_ADDRESS";
/// The variable that hands the user's readiness command to the container that runs it.
pub const READINESS_COMMAND: &str = "ATQ_READINESS_COMMAND";
/// Time between SIGTERM and SIGKILL of containers whose definition says nothing.
pub const STOP_GRACE: Duration = Duration::from_secs(10);
/// Most seconds between SIGTERM and SIGKILL, whatever a Director is configured to: an hour.
pub const MAX_STOP_GRACE: u64 = 3600;
/// The name that the workers also have on the task's network, whatever their alias: short, so that
/// one DNS answer holds more than two thousand of them ([`MAX_WORKERS`]).
pub const WORKERS_NAME: &str = "atq-workers";
/// How many addresses one answer of Docker's DNS holds for [`WORKERS_NAME`]. A DNS message ends at
/// 65,535 bytes, and Docker's does not compress: after the header (12 bytes) and the question (the
/// name with its length and its end, 2, and type and class, 4) each address takes the name again and
/// 14 bytes. The addresses also fit into one string of a process' environment: at most 16 bytes each
/// of the 131,071 that Linux allows.
pub const MAX_WORKERS: u64 =
    (65_535 - 12 - (WORKERS_NAME.len() as u64 + 6)) / (WORKERS_NAME.len() as u64 + 16);

/// The id of a task: `[A-Za-z0-9][A-Za-z0-9_-]{1,43}[A-Za-z0-9]`, so that a service name made of it
/// stays within Docker's 63 characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TaskName(String);

impl TaskName {
    /// Reads a task's name; the error says what is wrong with it and what would be right.
    pub fn parse(text: &str) -> Result<Self, String> {
        let edges = text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.ends_with(|c: char| c.is_ascii_alphanumeric());
        let inside = text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "_-".contains(c));
        match edges && inside && (3..=45).contains(&text.len()) {
            true => Ok(Self(text.to_owned())),
            false => Err(format!(
                "`{}` is not a task name; expected 3 to 45 letters, digits, `_` or `-`, \
                 with a letter or digit at both ends",
                shorten(text)
            )),
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TaskName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One variable of a container's environment. Its value may be a password: it is kept out of
/// `Debug`, answers, events and log lines.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvVar {
    /// Name, without `=`.
    pub name: String,
    /// Value; may be empty.
    pub value: String,
}

impl fmt::Debug for EnvVar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}=***", self.name)
    }
}

/// A load test as its user defined it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskSpec {
    /// The task's id.
    pub name: TaskName,
    /// The service that generates load.
    pub worker: ServiceSpec,
    /// The service that coordinates the workers.
    pub master: ServiceSpec,
    /// What has to succeed before the master starts.
    pub wait: Option<WaitSpec>,
    /// Seconds between ready workers and the master.
    pub delay: u64,
    /// What the workers must answer to before they count as ready; `None`: nothing.
    #[serde(default)]
    pub readiness: Option<ReadinessSpec>,
    /// Seconds for which the test may run; `None`: as long as the Director allows at all.
    #[serde(default)]
    pub max_duration: Option<u64>,
    /// How bundles come to the containers.
    #[serde(default)]
    pub delivery: Delivery,
    /// What a worker that is lost while the test runs means.
    #[serde(default)]
    pub on_worker_loss: OnWorkerLoss,
    /// Two tasks with the same name here never run at the same time: that of what they test.
    #[serde(default)]
    pub exclusive: Option<String>,
    /// What the run must fulfil to pass.
    #[serde(default)]
    pub criteria: Vec<Criterion>,
    /// With fewer samples the run says nothing.
    #[serde(default)]
    pub min_samples: Option<u64>,
    /// Patterns of the files in `/atq/results` that hold samples; none: those that are recognised.
    #[serde(default)]
    pub result_files: Vec<String>,
}

/// How bundles come to the containers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Delivery {
    /// The Director brings them to every node, into volumes.
    Push,
    /// Every node sees `glusterpath` under the same path, and it is mounted from there (thesis,
    /// section 5.3.1). Also what definitions mean that were stored before there was a choice.
    #[default]
    Shared,
}

/// What a worker that is lost while the test runs means.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum OnWorkerLoss {
    /// It is recorded, and the test goes on.
    #[default]
    Continue,
    /// The test is ended as errored.
    Abort,
}

/// What every worker must answer to, asked from inside the task's network, before it counts as ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadinessSpec {
    /// The question.
    pub probe: ReadinessProbe,
    /// Seconds for which it is asked again.
    pub timeout: u64,
}

/// A question to a worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ReadinessProbe {
    /// It accepts a connection on this TCP port.
    Tcp(u16),
    /// It answers a GET with this status.
    Http {
        /// TCP port.
        port: u16,
        /// Path, with its `/`.
        path: String,
        /// HTTP status.
        status: u16,
    },
    /// This command, given to `/bin/sh -c` in a container beside the workers, exits 0 when
    /// [`PROBED_ADDRESS`] names the worker.
    Exec(String),
}

/// One service of a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceSpec {
    /// The service's name on the task's network.
    pub alias: String,
    /// Image reference, as written by the user.
    pub image: String,
    /// Arguments of the container; the image's entrypoint stays.
    pub args: Vec<String>,
    /// Environment of the container.
    pub environment: Vec<EnvVar>,
    /// The bundle that is mounted at `/atq/data`.
    pub fileid: Option<String>,
    /// Number of containers.
    pub replicas: u32,
    /// Whether the containers get a terminal.
    pub tty: bool,
    /// Existing overlay networks to join besides the task's own.
    pub networks: Vec<String>,
    /// What a container may take, and what its node must have free.
    #[serde(default)]
    pub resources: Resources,
    /// Where the containers may run.
    #[serde(default)]
    pub placement: Placement,
    /// Labels of the user, for the service and its containers.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Seconds between SIGTERM and SIGKILL; `None`: [`STOP_GRACE`].
    #[serde(default)]
    pub stop_grace_period: Option<u64>,
    /// Files of the bundle that are dealt out to the replicas.
    #[serde(default)]
    pub split: Vec<SplitFile>,
    /// Who the containers run as, as Docker reads it; `None`: as the image says.
    #[serde(default)]
    pub user: Option<String>,
}

/// A file of the bundle, records of text, of which every replica gets a part of its own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SplitFile {
    /// Its path in the bundle, with `/` between components.
    pub path: String,
    /// Whether its first record is a header, which every part gets.
    pub header: bool,
}

/// What a container may take, and what its node must have free.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resources {
    /// The most that it may take.
    pub limits: Amounts,
    /// What is set aside for it.
    pub reservations: Amounts,
}

/// Amounts of processor time and memory; `None`: not limited, nothing set aside.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Amounts {
    /// Billionths of a processor, as Docker counts.
    pub nano_cpus: Option<u64>,
    /// Bytes.
    pub memory: Option<u64>,
}

/// Where the containers of a service may run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// In Docker's language, for example `node.labels.zone==a`.
    pub constraints: Vec<String>,
    /// At most so many containers of the service on one node; `None`: as Swarm likes.
    pub max_replicas_per_node: Option<u32>,
}

impl ServiceSpec {
    /// Time between SIGTERM and SIGKILL.
    pub fn stop_grace(&self) -> Duration {
        self.stop_grace_period
            .map_or(STOP_GRACE, Duration::from_secs)
    }

    /// Whether the user set the variable `name`.
    pub fn sets(&self, name: &str) -> bool {
        self.environment.iter().any(|var| var.name == name)
    }
}

/// A command that has to succeed before the master starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitSpec {
    /// Given to `/bin/sh -c`.
    pub command: String,
    /// What its trimmed standard output must equal; empty: anything.
    pub expected_result: String,
    /// Seconds for which a new try may begin; 0: one try.
    pub timeout: u64,
}

impl WaitSpec {
    /// [`WaitSpec::timeout`] as a duration.
    pub fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout)
    }
}

/// One thing that is wrong with a definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Path of the field, for example `worker.environment[2]`.
    pub field: String,
    /// What was seen and what would be right; fits after the field's name.
    pub message: String,
}

/// How the message of a fault ends whose field takes text.
const TEXT_EXPECTED: &str = "; expected a string";

impl Fault {
    /// Whether the field takes text, and has a value of another type.
    pub fn wants_text(&self) -> bool {
        self.message.ends_with(TEXT_EXPECTED)
    }
}

/// What outside of the definition a definition is checked against.
pub trait Surroundings {
    /// Largest number of replicas of one service.
    fn max_replicas(&self) -> u64;
    /// Whether a bundle with this id is there.
    fn has_bundle(&self, id: &str) -> bool;
    /// The variables that the configuration demands for this image, or why it may not run.
    fn required_variables(&self, image: &str) -> Result<Vec<String>, String>;
    /// Whether the bundle has a file at this path, which has no `..` in it.
    fn has_file(&self, _id: &str, _path: &str) -> bool {
        true
    }
    /// Most seconds that a definition may ask for between SIGTERM and SIGKILL.
    fn max_stop_grace(&self) -> u64 {
        MAX_STOP_GRACE
    }
    /// What a definition means that does not say how bundles come to the containers.
    fn delivery(&self) -> Delivery {
        Delivery::Push
    }
}

impl TaskSpec {
    /// Whether bundles have to be brought to the nodes first.
    pub fn delivers(&self) -> bool {
        let has_bundle = [&self.master, &self.worker]
            .iter()
            .any(|service| service.fileid.is_some());
        self.delivery == Delivery::Push && has_bundle
    }
}
