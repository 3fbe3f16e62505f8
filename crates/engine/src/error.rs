//! Failed requests to an engine.

use thiserror::Error;

/// A failed request to an engine.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct EngineError {
    /// Stable error code in the API, defined by the engine.
    pub code: &'static str,
    /// Whether the same request may succeed later with the same definition.
    pub temporary: bool,
    /// The reason reported by the engine.
    pub message: String,
}

impl EngineError {
    /// Whether the same request may succeed later with the same definition.
    pub fn is_temporary(&self) -> bool {
        self.temporary
    }
}
