//! The Swarm.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Description of the Swarm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SwarmDetails {
    /// Tokens with which machines join.
    pub join_tokens: JoinTokens,
}

/// Tokens with which machines join the Swarm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct JoinTokens {
    /// For managers.
    pub manager: String,
    /// For workers.
    pub worker: String,
}
