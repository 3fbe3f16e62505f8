//! Shared state of all commands.

use crate::director::Director;
use crate::out::Out;

/// Shared state of all commands.
#[derive(Debug)]
pub struct Context {
    /// The Director.
    pub director: Director,
    /// Output streams.
    pub out: Out,
}
