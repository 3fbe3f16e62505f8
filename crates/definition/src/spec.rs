//! What the user asked for. A [`TaskSpec`] that exists is valid: the only way in is
//! [`TaskSpec::parse`], which collects *every* fault of a definition, each with its field path.
//!
//! Each object of a definition has a file: its type, the way from JSON to it, and the way to what answers show.
//! Names, bounds and defaults come from the wire types of `atq-api-spec`.

mod declared;
mod judging;
mod placement;
mod reader;
mod readiness;
mod resources;
mod service;
mod split;
mod task;
mod wait;

pub use crate::wording::{nearest, shorten};
pub use atq_api_spec::service::SplitFile;
pub use atq_api_spec::task::{Delivery, OnWorkerLoss};
pub use placement::Placement;
pub use readiness::{ReadinessProbe, ReadinessSpec};
pub use resources::{Amounts, Resources};
pub use service::{EnvVar, ServiceSpec, max_stop_grace};
use std::time::Duration;
pub use task::{TaskName, TaskSpec};
pub use wait::WaitSpec;

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
        max_stop_grace()
    }
    /// What a definition means that does not say how bundles come to the containers.
    fn delivery(&self) -> Delivery {
        Delivery::Push
    }
}
