//! The origin of each field of a definition: a place in the file, or an option of the command line.

use atq_definition::spec::{Fault, shorten};
use serde::Serialize;
use std::collections::HashMap;

/// A line and column in a text; both count from 1, columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Line.
    pub line: usize,
    /// Column.
    pub column: usize,
}

/// Start offsets of the lines of a text.
pub(super) struct Lines<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    pub(super) fn of(text: &'a str) -> Self {
        let ends = text.match_indices('\n').map(|(end, _)| end + 1);
        let starts = std::iter::once(0).chain(ends).collect();
        Self { text, starts }
    }

    /// The place of the byte at `offset`.
    pub(super) fn place(&self, offset: usize) -> Place {
        let line = self.starts.partition_point(|start| *start <= offset);
        let start = line.checked_sub(1).and_then(|line| self.starts.get(line));
        let before = self.text.get(start.copied().unwrap_or(0)..offset);
        Place {
            line,
            column: before.unwrap_or_default().chars().count() + 1,
        }
    }
}

/// The origin of a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Origin {
    /// The file: the start of the field's name or of the list item.
    Source(Place),
    /// An option, without its value, which may be a password.
    Option(String),
}

/// A fault of a definition with its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlacedFault {
    /// Path of the field, for example `worker.environment[2]`; empty for a file that cannot be parsed.
    pub field: String,
    /// The actual and the expected value.
    pub message: String,
    /// Line in the file, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// Column in the line, in characters, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<usize>,
    /// The command line option that set the field, for example `--set worker.replicas`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub option: Option<String>,
}

impl PlacedFault {
    /// A fault of the syntax, at a place of the file.
    pub(super) fn at(message: impl Into<String>, place: Place) -> Self {
        Self {
            field: String::new(),
            message: message.into(),
            line: Some(place.line),
            column: Some(place.column),
            option: None,
        }
    }

    /// The fault as a line: `load.yaml:12:5: worker.image: is missing; it is required`.
    pub fn line(&self, file: &str) -> String {
        let mut text = match (self.line, self.column, &self.option) {
            (Some(line), Some(column), _) => format!("{file}:{line}:{column}: "),
            (_, _, Some(option)) => format!("{file} ({option}): "),
            _ => format!("{file}: "),
        };
        if !self.field.is_empty() {
            text.push_str(&self.field);
            text.push_str(": ");
        }
        text + &self.message
    }
}

/// The origin of every field by its path, as in faults. The root has the empty path.
#[derive(Debug, Clone, Default)]
pub(super) struct Places(HashMap<String, Origin>);

impl Places {
    pub(super) fn record(&mut self, path: String, place: Place) {
        self.0.insert(path, Origin::Source(place));
    }

    pub(super) fn contains(&self, path: &str) -> bool {
        self.0.contains_key(path)
    }

    /// Records that the field with all its content comes from an option.
    pub(super) fn replace(&mut self, path: &str, option: &str) {
        self.0.retain(|known, _| {
            let inside = known
                .strip_prefix(path)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']));
            !inside
        });
        let origin = Origin::Option(option.to_owned());
        self.0.insert(path.to_owned(), origin);
    }

    /// The origin of a missing field is that of its parent.
    fn origin(&self, path: &str) -> Option<&Origin> {
        let mut path = path;
        loop {
            match (self.0.get(path), path.rfind(['.', '['])) {
                (Some(origin), _) => return Some(origin),
                (None, Some(end)) => path = &path[..end],
                (None, None) => return self.0.get(""),
            }
        }
    }

    /// The faults with their places.
    pub(super) fn all_placed(&self, faults: Vec<Fault>) -> Vec<PlacedFault> {
        let faults = faults.into_iter();
        faults.map(|fault| self.placed(fault)).collect()
    }

    pub(super) fn placed(&self, fault: Fault) -> PlacedFault {
        let (place, option) = match self.origin(&fault.field) {
            Some(Origin::Source(place)) => (Some(*place), None),
            Some(Origin::Option(option)) => (None, Some(option.clone())),
            None => (None, None),
        };
        PlacedFault {
            line: place.map(|place| place.line),
            column: place.map(|place| place.column),
            option,
            field: fault.field,
            message: fault.message,
        }
    }
}

/// The path of a field of the object at `path`, as in faults.
pub(super) fn field(path: &str, name: &str) -> String {
    let name = shorten(name);
    match path.is_empty() {
        true => name,
        false => format!("{path}.{name}"),
    }
}

/// The path of an item of the list at `path`.
pub(super) fn item(path: &str, index: usize) -> String {
    format!("{path}[{index}]")
}
