//! Definitions of tasks. A [`TaskSpec`] is always valid: it is created only by
//! [`TaskSpec::parse`], which collects *every* fault of a definition, each with its field path.
//!
//! Each object of a definition has a file with its type, its parser and its conversion to the type used in answers.
//! Names, bounds and defaults come from the wire types of `atq-api-spec`.

mod declared;
mod judging;
mod placement;
mod reader;
mod readiness;
mod resources;
mod service;
mod split;
mod sysctls;
mod task;
mod ulimits;
mod wait;

pub use crate::wording::{most_similar, nearest, shorten};
pub use atq_api_spec::kernel::Sysctls;
pub use atq_api_spec::service::SplitFile;
pub use atq_api_spec::task::{Delivery, OnWorkerLoss};
pub use declared::names_of;
pub use placement::Placement;
pub use readiness::{ReadinessProbe, ReadinessSpec};
pub use resources::{Amounts, Resources};
pub use service::{EnvVar, ServiceSpec, max_stop_grace};
use std::time::Duration;
pub use sysctls::parameters;
pub use task::{TaskName, TaskSpec};
pub use ulimits::{Ulimit, UlimitName, Ulimits};
pub use wait::WaitSpec;

/// The variable that carries the workers' addresses to the master (thesis, section 5.3.1).
pub const WORKER_ADDRESSES: &str = "WORKER_CSV_VIPS";
/// A second variable with the same value, which the 2018 version set for JMeter.
pub const REMOTES: &str = "REMOTES";
/// Variables with this prefix are set by the Director.
pub const RESERVED_PREFIX: &str = "ATQ_";
/// The variable with the address of the worker that a readiness command probes.
pub const PROBED_ADDRESS: &str = "ATQ_WORKER_ADDRESS";
/// The variable with the user's readiness command, for the container that runs it.
pub const READINESS_COMMAND: &str = "ATQ_READINESS_COMMAND";
/// Default time between SIGTERM and SIGKILL.
pub const STOP_GRACE: Duration = Duration::from_secs(10);
/// An additional DNS name of the workers on the task's network. It is short, so that
/// one DNS answer holds more than two thousand of them ([`MAX_WORKERS`]).
pub const WORKERS_NAME: &str = "atq-workers";
/// The number of addresses in one answer of Docker's DNS for [`WORKERS_NAME`]. A DNS message has at most 65,535 bytes,
/// and Docker does not compress it: after the header (12 bytes) and the question (the name with its length and its end,
/// 2, and type and class, 4), each address takes the full name plus 16 bytes. The addresses also fit into one
/// environment variable: at most 16 bytes each of the 131,071 that Linux allows.
pub const MAX_WORKERS: u64 =
    (65_535 - 12 - (WORKERS_NAME.len() as u64 + 6)) / (WORKERS_NAME.len() as u64 + 16);

/// A fault of a definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Path of the field, for example `worker.environment[2]`.
    pub field: String,
    /// The value found and the value expected, as a continuation of the field's name.
    pub message: String,
}

/// The end of the message if a string was expected.
const TEXT_EXPECTED: &str = "; expected a string";

impl Fault {
    /// True if the field is a string, but its value has another type.
    pub fn expects_text(&self) -> bool {
        self.message.ends_with(TEXT_EXPECTED)
    }
}

/// External facts that a definition is checked against.
pub trait Surroundings {
    /// Maximum number of replicas of one service.
    fn max_replicas(&self) -> u64;
    /// True if the bundle exists.
    fn has_bundle(&self, id: &str) -> bool;
    /// The variables that the configuration requires for this image, or the reason why it is not allowed.
    fn required_variables(&self, image: &str) -> Result<Vec<String>, String>;
    /// True if the bundle has a file at this path, which has no `..` in it.
    fn has_file(&self, _id: &str, _path: &str) -> bool {
        true
    }
    /// Where the names of the files of an existing bundle are found, or which of them resembles `path`: the end of a
    /// sentence about a file that the bundle does not have.
    fn files_hint(&self, id: &str, _path: &str) -> String {
        format!("GET /databind/{id} names its files")
    }
    /// Maximum time in seconds between SIGTERM and SIGKILL.
    fn max_stop_grace(&self) -> u64 {
        max_stop_grace()
    }
    /// The default delivery of bundles.
    fn delivery(&self) -> Delivery {
        Delivery::Push
    }
}
