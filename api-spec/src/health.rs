//! Health of the Director.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Whether the Director can do its work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Readiness {
    /// Whether everything below is usable.
    pub ready: bool,
    /// `ok`, or why Docker cannot be used.
    pub docker: String,
    /// `ok`, or why the store cannot be used.
    pub store: String,
    /// `ok`, or what of the earlier tasks is still being taken up.
    pub recovery: String,
}
