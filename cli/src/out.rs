//! What is written where: results to standard output, everything about the way there to standard error;
//! as JSON when asked for. Colours are left out where they would only disturb (`NO_COLOR`, no terminal).

use crate::terminal;
use crate::trouble::Trouble;
use serde::Serialize;
use serde_json::{Value, json};
use std::borrow::Cow;
use std::fmt::Display;
use std::io::{ErrorKind, IsTerminal, Write};

pub use terminal::{ASIDE, BAD, DOUBT, GOOD};

/// Where to write.
#[derive(Debug, Clone, Copy)]
pub struct Out {
    /// Whether results are JSON.
    pub json: bool,
    /// Whether somebody watches: standard error is a terminal.
    pub watched: bool,
}

impl Out {
    /// Writes to the streams of this process.
    pub fn new(json: bool) -> Self {
        Self {
            json,
            watched: std::io::stderr().is_terminal(),
        }
    }

    /// The same for people alone, beside the one JSON document.
    pub fn aside(self) -> Self {
        Self {
            json: false,
            ..self
        }
    }

    /// A line of the result, unless that is JSON.
    pub fn line(&self, line: impl Display) {
        if !self.json {
            told(format_args!("{line}"));
        }
    }

    /// The result as JSON, if that is wanted.
    pub fn result(&self, result: &impl Serialize) {
        if self.json {
            match serde_json::to_string_pretty(result) {
                Ok(text) => told(format_args!("{text}")),
                Err(error) => aside(format_args!(
                    "the result cannot be written as JSON: {error}"
                )),
            }
        }
    }

    /// A line about the way to the result.
    pub fn progress(&self, line: impl Display) {
        aside(format_args!("{line}"));
    }

    /// Says what went wrong: in words, and for `--json` as an object with the member `error`.
    pub fn trouble(&self, trouble: &Trouble) {
        aside(format_args!("{BAD}error:{BAD:#} {trouble}"));
        if let Trouble::Rejected { faults, .. } = trouble {
            for fault in faults {
                aside(format_args!("  `{}` {}", fault.field, fault.message));
            }
        }
        if let Trouble::Faults { file, faults } = trouble {
            for fault in faults {
                aside(format_args!("{}", fault.told(file)));
            }
        }
        if !trouble.hint().is_empty() {
            aside(format_args!("{ASIDE}hint: {}{ASIDE:#}", trouble.hint()));
        }
        self.failure(trouble);
    }

    /// Trouble as JSON, if that is wanted: in one line, since it may follow others of `logs` or `events`.
    pub fn failure(&self, trouble: &Trouble) {
        if self.json {
            told(format_args!("{}", as_json(trouble)));
        }
    }
}

/// What `--json` says of trouble: `error`, `hint`, `exitCode`, `exit`, and for a definition `faults`.
fn as_json(trouble: &Trouble) -> Value {
    let mut told = json!({
        "error": trouble.to_string(),
        "hint": trouble.hint(),
        "exitCode": trouble.exit().code(),
        "exit": trouble.exit(),
    });
    match trouble {
        Trouble::Faults { faults, .. } => told["faults"] = json!(faults),
        Trouble::Rejected { faults, .. } => told["faults"] = json!(faults),
        _ => {}
    }
    told
}

/// A line to standard error. When nobody can read it any more, the program has better things to do than to break
/// down: a test may have to be stopped.
fn aside(line: std::fmt::Arguments<'_>) {
    let line = line.to_string();
    let line = safe(&line, std::io::stderr().is_terminal());
    drop(writeln!(anstream::stderr(), "{line}"));
}

/// Text for a terminal carries no control sequences; piped text is unchanged.
fn safe(line: &str, is_terminal: bool) -> Cow<'_, str> {
    match is_terminal {
        true => terminal::line(line),
        false => Cow::Borrowed(line),
    }
}

/// A line to standard output; who reads a pipe may have gone.
fn told(line: std::fmt::Arguments<'_>) {
    let line = line.to_string();
    let line = safe(&line, std::io::stdout().is_terminal());
    match writeln!(anstream::stdout(), "{line}") {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            aside(format_args!("standard output cannot be written: {error}"));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definition::PlacedFault;

    #[test]
    fn trouble_with_a_definition_names_every_fault() {
        let placed = PlacedFault {
            field: "worker.image".into(),
            message: "is missing; it is required".into(),
            line: Some(12),
            column: Some(5),
            option: None,
        };
        let by_option = PlacedFault {
            field: "name".into(),
            message: "is empty; it is required".into(),
            line: None,
            column: None,
            option: Some("--name".into()),
        };
        assert_eq!(
            placed.told("load.yaml"),
            "load.yaml:12:5: worker.image: is missing; it is required"
        );
        assert_eq!(
            by_option.told("load.yaml"),
            "load.yaml (--name): name: is empty; it is required"
        );
        let trouble = Trouble::Faults {
            file: "load.yaml".into(),
            faults: vec![placed, by_option],
        };
        assert_eq!(
            as_json(&trouble),
            json!({
                "error": "`load.yaml` has 2 faults",
                "hint": "",
                "exitCode": 2,
                "exit": "usage",
                "faults": [
                    {"field": "worker.image", "message": "is missing; it is required", "line": 12, "column": 5},
                    {"field": "name", "message": "is empty; it is required", "option": "--name"},
                ],
            })
        );
    }
}
