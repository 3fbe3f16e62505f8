//! Streams to standard output: line by line, and quiet when nobody reads on.

use anstyle::Style;
use std::io::{ErrorKind, Write, stdout};
use std::ops::ControlFlow;

/// Whether what is our own is coloured. What comes from elsewhere is written as it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colours {
    /// A terminal.
    On,
    /// A file, a pipe, or `NO_COLOR`.
    Off,
}

impl Colours {
    /// Of standard output.
    pub fn of_stdout() -> Self {
        match anstream::AutoStream::choice(&stdout()) {
            anstream::ColorChoice::Never => Self::Off,
            _ => Self::On,
        }
    }

    /// The text in this style.
    pub fn paint(self, style: Style, text: &str) -> String {
        match self {
            Self::On => format!("{style}{text}{style:#}"),
            Self::Off => text.to_owned(),
        }
    }
}

/// Writes a line. Breaks off when it cannot be written: who reads has gone, as `head` does.
pub fn put(line: &str) -> ControlFlow<()> {
    match writeln!(stdout(), "{line}") {
        Ok(()) => ControlFlow::Continue(()),
        Err(error) => {
            if error.kind() != ErrorKind::BrokenPipe {
                anstream::eprintln!("standard output cannot be written: {error}");
            }
            ControlFlow::Break(())
        }
    }
}
