//! Health of the Director.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Readiness of the Director.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Readiness {
    /// Whether all components below are ready.
    pub ready: bool,
    /// `ok`, or the reason why Docker cannot be used.
    pub docker: String,
    /// `ok`, or the reason why the store cannot be used.
    pub store: String,
    /// `ok`, or the state of the recovery of earlier tasks.
    pub recovery: String,
}
