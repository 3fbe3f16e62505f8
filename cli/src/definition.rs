//! Definitions: read from a file, changed by the command line, looked through for faults.

use crate::args::Definition;
use crate::trouble::Trouble;
use serde_json::Value;

/// A definition that is ready to be sent.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The body of `PUT /task`.
    pub payload: Value,
    /// The task's name.
    pub name: String,
}

impl Loaded {
    /// Sets `fileid` of master and worker where it is missing; gives whether there was such a place.
    pub fn use_bundle(&mut self, _id: &str) -> bool {
        false
    }
}

/// Reads the definition, makes the changes, and looks for every fault that can be seen without the Director.
///
/// # Errors
/// When it cannot be read, a change is none, or it has faults: each with its line and column.
pub fn load(_args: &Definition) -> Result<Loaded, Trouble> {
    Err(Trouble::failed("not built in", ""))
}
