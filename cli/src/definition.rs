//! Definitions: read from a file, modified by the command line, and validated.
//!
//! Validation uses the code of the Director and adds the place of each fault in the file. The Director alone can check
//! whether uploaded bundles exist and what they contain, which images are allowed, and which networks exist.

mod change;
mod defaults;
mod json;
pub mod places;
mod source;
mod warnings;
mod yaml;

#[cfg(test)]
mod tests;

pub use places::{Place, PlacedFault};
pub use warnings::warnings;

use crate::args::Definition;
use crate::error::CliError;
use atq_definition::spec::{Fault, TaskSpec};
use change::ROLES;
use defaults::{DefaultDirector, depends_on_the_limit};
use serde_json::{Map, Value};
use source::Source;
use std::collections::BTreeSet;

/// A valid definition.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The body of `PUT /task`.
    pub payload: Value,
    /// The task's name.
    pub name: String,
}

impl Loaded {
    /// Sets `fileid` of master and worker where it is missing. Returns whether one of them was missing.
    pub fn use_bundle(&mut self, id: &str) -> bool {
        use_bundle(&mut self.payload, id)
    }
}

fn use_bundle(payload: &mut Value, id: &str) -> bool {
    let mut used = false;
    for role in ROLES {
        let Some(Value::Object(service)) = payload.get_mut(role) else {
            continue;
        };
        if lacks_bundle(service) {
            service.insert("fileid".to_owned(), id.into());
            used = true;
        }
    }
    used
}

/// Accepts both spellings: responses of the API have `fileId`.
fn lacks_bundle(service: &Map<String, Value>) -> bool {
    ["fileid", "fileId"].into_iter().all(|key| {
        let id = service.get(key);
        id.is_none_or(|id| id.is_null() || id == "")
    })
}

fn has_no_bundle(service: &Value) -> bool {
    service.as_object().is_some_and(lacks_bundle)
}

/// Reads and modifies the definition, and finds every fault that can be found without the Director. The limit of replicas
/// is left to the Director. A missing `fileid` is not a fault if the definition gets its bundle later by
/// [`Loaded::use_bundle`].
///
/// # Errors
/// When the definition cannot be read, a change is invalid, or there are faults, each with line and column.
pub fn load(args: &Definition, for_bundle: bool) -> Result<Loaded, CliError> {
    let source = read(args)?;
    let mut faults = match for_bundle {
        true => faults(&with_bundle(&source.payload)),
        false => faults(&source.payload),
    };
    faults.retain(|fault| !depends_on_the_limit(fault, &source.payload));
    let mut names = ["name", "id"].iter();
    match names.find_map(|field| source.payload.get(field)?.as_str()) {
        Some(name) if faults.is_empty() => Ok(Loaded {
            name: name.to_owned(),
            payload: source.payload,
        }),
        _ => Err(CliError::Faults {
            faults: source.places.all_placed(faults),
            file: source.file,
        }),
    }
}

/// The definition with a placeholder bundle for services without one.
fn with_bundle(payload: &Value) -> Value {
    let mut complete = payload.clone();
    use_bundle(&mut complete, &defaults::placeholder_id());
    complete
}

/// The result of validating a definition.
#[derive(Debug)]
pub struct Checked {
    /// Name of the file in messages.
    pub file: String,
    /// Every fault for a Director with default configuration that has every named bundle and allows every image.
    pub faults: Vec<PlacedFault>,
    /// Probable mistakes that are not faults.
    pub warnings: Vec<String>,
    /// Whether a service lacks a bundle.
    pub takes_bundle: bool,
}

/// Validates a definition like `run` does; `bundle` has the files of `--bundle`.
///
/// # Errors
/// When the definition cannot be read, or a change is invalid.
pub fn check(args: &Definition, bundle: Option<&BTreeSet<String>>) -> Result<Checked, CliError> {
    let source = match read(args) {
        Err(CliError::Faults { file, faults }) => {
            return Ok(Checked {
                file,
                faults,
                warnings: Vec::new(),
                takes_bundle: true,
            });
        }
        source => source?,
    };
    let takes_bundle = use_bundle(&mut source.payload.clone(), "");
    let payload = match bundle {
        Some(_) => with_bundle(&source.payload),
        None => source.payload,
    };
    let faults = faults_for(&payload, &DefaultDirector { bundle });
    Ok(Checked {
        file: source.file,
        faults: source.places.all_placed(faults),
        warnings: warnings(&payload),
        takes_bundle,
    })
}

fn read(args: &Definition) -> Result<Source, CliError> {
    let mut source = source::read(&args.task)?;
    change::apply(args, &mut source.payload, &mut source.places)?;
    Ok(source)
}

/// Every fault of the definition, as reported by a Director.
pub fn faults(payload: &Value) -> Vec<Fault> {
    faults_for(payload, &DefaultDirector::default())
}

fn faults_for(payload: &Value, director: &DefaultDirector) -> Vec<Fault> {
    TaskSpec::parse(payload, director).err().unwrap_or_default()
}
