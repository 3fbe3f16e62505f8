//! Errors.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Body of every error: layer 1's `error` beside the members of RFC 9457.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// What went wrong, in one sentence.
    pub error: String,
    /// Stable name of the cause, for scripts.
    pub code: String,
    /// Always `about:blank`: the cause is named by `code`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Words of the HTTP status.
    pub title: String,
    /// HTTP status.
    pub status: u16,
    /// The same as `error`.
    pub detail: String,
}

impl Problem {
    /// The body for an HTTP status, the words of that status, a stable code and a sentence.
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
