//! The Swarm.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Description of the Swarm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SwarmDetails {
    /// Join tokens.
    pub join_tokens: JoinTokens,
}

/// Join tokens of the Swarm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct JoinTokens {
    /// For managers.
    pub manager: String,
    /// For workers.
    pub worker: String,
}
