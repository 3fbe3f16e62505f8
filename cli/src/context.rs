//! What every command has at hand.

use crate::director::Director;
use crate::out::Out;

/// What every command has at hand.
#[derive(Debug)]
pub struct Context {
    /// The Director.
    pub director: Director,
    /// Where to write.
    pub out: Out,
}
