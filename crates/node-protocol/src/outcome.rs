//! The final report of a carrier.

use serde::{Deserialize, Serialize};

/// The last line of a carrier on stdout, as JSON.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CarrierOutcome {
    /// Whether the order was completed.
    pub done: bool,
    /// The kind of work, for example `fetch`.
    pub work: String,
    /// Id of the node.
    pub node: String,
    /// Whether something was downloaded; `false` if the volume was complete already.
    pub fetched: bool,
    /// Bytes transferred between Director and node.
    pub bytes: u64,
    /// Duration, in milliseconds.
    pub millis: u64,
    /// The node's clock minus the Director's, in milliseconds.
    pub clock_offset_ms: Option<i64>,
    /// The reason of the failure, as readable text.
    pub problem: Option<String>,
}
