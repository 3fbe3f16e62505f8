//! Sessions of browsers.

use crate::token::TokenRole;
use serde::{Deserialize, Serialize};
use std::fmt;
use utoipa::ToSchema;

/// The client of a request.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionInfo {
    /// Its name; `anonymous` while authentication is off.
    #[schema(example = "ana")]
    pub name: String,
    /// What it may do.
    pub role: TokenRole,
    /// For clients with a session cookie: the value of the header `X-Atq-Csrf`, which requests that change something need.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub csrf: Option<String>,
}

impl fmt::Debug for SessionInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the secret.
        f.debug_struct("SessionInfo")
            .field("name", &self.name)
            .field("role", &self.role)
            .finish_non_exhaustive()
    }
}
