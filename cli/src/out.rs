//! Output streams: results go to standard output, progress and errors to standard error; optionally as JSON. Colours are
//! disabled by `NO_COLOR` and without a terminal.

use crate::error::CliError;
use crate::terminal;
use serde::Serialize;
use serde_json::{Value, json};
use std::borrow::Cow;
use std::fmt::Display;
use std::io::{ErrorKind, IsTerminal, Write};

pub use terminal::{DIM, FAILURE, SUCCESS, WARNING};

/// The output streams.
#[derive(Debug, Clone, Copy)]
pub struct Out {
    /// Whether results are JSON.
    pub json: bool,
    /// Whether standard error is a terminal.
    pub is_interactive: bool,
}

impl Out {
    /// Writes to the streams of this process.
    pub fn new(json: bool) -> Self {
        Self {
            json,
            is_interactive: std::io::stderr().is_terminal(),
        }
    }

    /// The same streams without JSON, for messages in addition to the one JSON document.
    pub fn without_json(self) -> Self {
        Self {
            json: false,
            ..self
        }
    }

    /// Prints a line of the result, unless the result is JSON.
    pub fn line(&self, line: impl Display) {
        if !self.json {
            write_stdout(line);
        }
    }

    /// Prints the result: as lines, or as JSON.
    pub fn show<L: Display>(&self, lines: impl IntoIterator<Item = L>, result: &impl Serialize) {
        lines.into_iter().for_each(|line| self.line(line));
        self.result(result);
    }

    /// Prints the result as JSON, if requested.
    pub fn result(&self, result: &impl Serialize) {
        if self.json {
            match serde_json::to_string_pretty(result) {
                Ok(text) => write_stdout(text),
                Err(error) => {
                    self.progress(format!("cannot serialize the result as JSON: {error}"))
                }
            }
        }
    }

    /// Prints a progress message.
    pub fn progress(&self, line: impl Display) {
        write_stderr(line);
    }

    /// Prints a warning.
    pub fn warning(&self, line: impl Display) {
        write_stderr(format_args!("{WARNING}warning:{WARNING:#} {line}"));
    }

    /// Prints an error: as text, and with `--json` also as an object with the member `error`.
    pub fn error(&self, error: &CliError) {
        write_stderr(format_args!("{FAILURE}error:{FAILURE:#} {error}"));
        if let CliError::Rejected { faults, .. } = error {
            // A single fault is in the message already.
            let shown = error.to_string();
            let is_shown = matches!(&faults[..], [only] if shown.contains(&only.message));
            for fault in faults.iter().filter(|_| !is_shown) {
                write_stderr(format_args!("  `{}` {}", fault.field, fault.message));
            }
        }
        if let CliError::Faults { file, faults } = error {
            for fault in faults {
                write_stderr(fault.line(file));
            }
        }
        if !error.hint().is_empty() {
            write_stderr(format_args!("{DIM}hint: {}{DIM:#}", error.hint()));
        }
        self.failure(error);
    }

    /// Prints an error as JSON, if requested: in one line, since it may follow lines of `logs` or `events`.
    pub fn failure(&self, error: &CliError) {
        if self.json {
            write_stdout(as_json(error));
        }
    }
}

/// An error as JSON: `error`, `hint`, `exitCode`, `exit`, and for a definition `faults`.
fn as_json(error: &CliError) -> Value {
    let mut document = json!({
        "error": error.to_string(),
        "hint": error.hint(),
        "exitCode": error.exit().code(),
        "exit": error.exit(),
    });
    match error {
        CliError::Faults { faults, .. } => document["faults"] = json!(faults),
        CliError::Rejected { faults, .. } => document["faults"] = json!(faults),
        _ => {}
    }
    document
}

/// Writes a line to standard error. A write error is ignored, because the program may have to stop a test.
fn write_stderr(line: impl Display) {
    let line = line.to_string();
    let line = sanitized(&line, std::io::stderr().is_terminal());
    drop(writeln!(anstream::stderr(), "{line}"));
}

/// Sanitizes a line for a terminal; piped text is unchanged.
fn sanitized(line: &str, is_terminal: bool) -> Cow<'_, str> {
    match is_terminal {
        true => terminal::sanitize_line(line),
        false => Cow::Borrowed(line),
    }
}

/// Writes a line to standard output. A closed pipe is ignored.
fn write_stdout(line: impl Display) {
    let line = line.to_string();
    let line = sanitized(&line, std::io::stdout().is_terminal());
    match writeln!(anstream::stdout(), "{line}") {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            write_stderr(format_args!("cannot write to standard output: {error}"));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definition::PlacedFault;

    #[test]
    fn an_error_of_a_definition_names_every_fault() {
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
            placed.line("load.yaml"),
            "load.yaml:12:5: worker.image: is missing; it is required"
        );
        assert_eq!(
            by_option.line("load.yaml"),
            "load.yaml (--name): name: is empty; it is required"
        );
        let error = CliError::Faults {
            file: "load.yaml".into(),
            faults: vec![placed, by_option],
        };
        assert_eq!(
            as_json(&error),
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
