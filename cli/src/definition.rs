//! Definitions: read from a file, changed by the command line, looked through for faults.
//!
//! The faults are those of the Director, found by the same code, each with its place in the file. What
//! only a Director knows is left to it: which bundles were uploaded and what is in them, which images
//! may run, which networks there are.

mod around;
mod change;
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
use crate::trouble::Trouble;
use around::{Anywhere, depends_on_the_limit};
use atq_definition::spec::{Fault, TaskSpec};
use change::ROLES;
use serde_json::{Map, Value};
use source::Source;

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

/// Answers have `fileId`.
fn lacks_bundle(service: &Map<String, Value>) -> bool {
    ["fileid", "fileId"].into_iter().all(|key| {
        let id = service.get(key);
        id.is_none_or(|id| id.is_null() || id == "")
    })
}

fn has_no_bundle(service: &Value) -> bool {
    service.as_object().is_some_and(lacks_bundle)
}

/// Reads the definition, makes the changes, and looks for every fault that can be seen without the
/// Director. Whether there are more replicas than it allows, the Director says.
///
/// # Errors
/// When it cannot be read, a change is none, or it has faults: each with its line and column.
pub fn load(args: &Definition) -> Result<Loaded, Trouble> {
    let source = read(args)?;
    loaded(source, |payload| {
        let mut faults = faults(payload);
        faults.retain(|fault| !depends_on_the_limit(fault, payload));
        faults
    })
}

/// [`load`] for a definition that gets its bundle later, with [`Loaded::use_bundle`]: a `fileid` that is
/// missing is no fault.
///
/// # Errors
/// Those of [`load`].
pub fn load_for_bundle(args: &Definition) -> Result<Loaded, Trouble> {
    let source = read(args)?;
    loaded(source, |payload| {
        let mut faults = faults(&with_bundle(payload));
        faults.retain(|fault| !depends_on_the_limit(fault, payload));
        faults
    })
}

/// The definition as it is with a bundle for the services that have none.
fn with_bundle(payload: &Value) -> Value {
    let mut complete = payload.clone();
    use_bundle(&mut complete, &around::some_id());
    complete
}

/// What a look at a definition shows.
#[derive(Debug)]
pub struct Checked {
    /// What its file is called in messages.
    pub file: String,
    /// Every fault that a Director would find which is not configured otherwise, has every bundle, and allows every
    /// image.
    pub faults: Vec<PlacedFault>,
    /// What is no fault, and most likely not meant.
    pub warnings: Vec<String>,
    /// Whether a service lacks a bundle.
    pub takes_bundle: bool,
}

/// Looks at a definition as `run` does, with or without `--bundle`.
///
/// # Errors
/// When it cannot be read, or a change is none.
pub fn check(args: &Definition, for_bundle: bool) -> Result<Checked, Trouble> {
    let source = match read(args) {
        Err(Trouble::Faults { file, faults }) => {
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
    let payload = match for_bundle {
        true => with_bundle(&source.payload),
        false => source.payload,
    };
    let faults = faults(&payload).into_iter();
    Ok(Checked {
        file: source.file,
        faults: faults.map(|fault| source.places.placed(fault)).collect(),
        warnings: warnings(&payload),
        takes_bundle,
    })
}

fn read(args: &Definition) -> Result<Source, Trouble> {
    let mut source = source::read(&args.task)?;
    change::apply(args, &mut source.payload, &mut source.places)?;
    Ok(source)
}

/// Every fault of the definition, as a Director says it.
pub fn faults(payload: &Value) -> Vec<Fault> {
    TaskSpec::parse(payload, &Anywhere)
        .err()
        .unwrap_or_default()
}

fn loaded(source: Source, look: impl Fn(&Value) -> Vec<Fault>) -> Result<Loaded, Trouble> {
    let faults = look(&source.payload);
    let name = ["name", "id"]
        .iter()
        .find_map(|field| source.payload.get(field)?.as_str());
    if faults.is_empty()
        && let Some(name) = name
    {
        return Ok(Loaded {
            name: name.to_owned(),
            payload: source.payload,
        });
    }
    let faults = faults.into_iter();
    Err(Trouble::Faults {
        faults: faults.map(|fault| source.places.placed(fault)).collect(),
        file: source.file,
    })
}
