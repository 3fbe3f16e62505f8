//! What a carrier reports at its end.

use serde::{Deserialize, Serialize};

/// The last line of a carrier on stdout, as JSON.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CarrierOutcome {
    /// Whether all of the order was carried out.
    pub done: bool,
    /// The name of its work, for example `fetch`.
    pub work: String,
    /// Id of its node.
    pub node: String,
    /// Whether it had to fetch something; if not, it was there.
    pub fetched: bool,
    /// Bytes that went between Director and node.
    pub bytes: u64,
    /// How long it took, in milliseconds.
    pub millis: u64,
    /// The node's clock minus the Director's, in milliseconds.
    pub clock_offset_ms: Option<i64>,
    /// Why it is not done, for people.
    pub problem: Option<String>,
}
