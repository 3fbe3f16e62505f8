//! Errors.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Body of every error: `error` as in layer 1, and the members of RFC 9457.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// Description of the error, in one sentence.
    pub error: String,
    /// Stable code of the cause, for scripts.
    pub code: String,
    /// Always `about:blank`; `code` identifies the cause.
    #[serde(rename = "type")]
    pub kind: String,
    /// Reason phrase of the HTTP status.
    pub title: String,
    /// HTTP status.
    pub status: u16,
    /// The same as `error`.
    pub detail: String,
}

impl Problem {
    /// The body for an HTTP status, its reason phrase, a stable code and a description.
    pub fn new(status: u16, title: &str, code: &str, text: String) -> Self {
        Self {
            error: text.clone(),
            code: code.to_owned(),
            kind: "about:blank".to_owned(),
            title: title.to_owned(),
            status,
            detail: text,
        }
    }
}
