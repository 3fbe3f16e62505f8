//! Streams to standard output: line by line, and quiet when nobody reads on.

use crate::exit::Exit;
use crate::terminal;
use crate::trouble::Trouble;
use anstyle::Style;
use std::borrow::Cow;
use std::io::{ErrorKind, IsTerminal, Write, stdout};
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

/// Lines to standard output, as long as they can be written.
#[derive(Debug)]
pub struct Lines {
    is_terminal: bool,
    failed: Option<Trouble>,
}

impl Lines {
    /// Of this process.
    pub fn to_stdout() -> Self {
        Self {
            is_terminal: stdout().is_terminal(),
            failed: None,
        }
    }

    /// Text from elsewhere, as it may be part of a line: as it came, unless a terminal would obey it.
    pub fn foreign<'a>(&self, text: &'a str) -> Cow<'a, str> {
        match self.is_terminal {
            // The end of a line as Windows has it.
            true => terminal::foreign(text.strip_suffix('\r').unwrap_or(text)),
            false => Cow::Borrowed(text),
        }
    }

    /// Writes a line. Breaks off when it cannot be written.
    pub fn put(&mut self, line: &str) -> ControlFlow<()> {
        let written = match self.is_terminal {
            true => writeln!(stdout(), "{}", terminal::line(line)),
            false => writeln!(stdout(), "{line}"),
        };
        self.wrote(written)
    }

    fn wrote(&mut self, written: std::io::Result<()>) -> ControlFlow<()> {
        match written {
            Ok(()) => return ControlFlow::Continue(()),
            // Who reads has gone, as `head` does.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
            Err(error) => {
                let message = format!("standard output cannot be written: {error}");
                self.failed = Some(Trouble::failed(message, ""));
            }
        }
        ControlFlow::Break(())
    }

    /// How it went.
    ///
    /// # Errors
    /// When a line could not be written for another reason than that nobody reads on.
    pub fn end(self) -> Result<Exit, Trouble> {
        self.failed.map_or(Ok(Exit::Pass), Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Error;

    #[test]
    fn a_pipe_gets_what_was_written_and_a_terminal_sees_it() {
        let text = "ready \u{1b}[1mnow\r";
        for (is_terminal, seen) in [(false, text), (true, "ready \\u001b[1mnow")] {
            let lines = Lines {
                is_terminal,
                failed: None,
            };
            assert_eq!(lines.foreign(text), seen);
        }
    }

    #[test]
    fn a_reader_that_goes_is_no_failure_and_a_full_disk_is_one() {
        for (kind, fails) in [
            (ErrorKind::BrokenPipe, false),
            (ErrorKind::StorageFull, true),
        ] {
            let mut lines = Lines {
                is_terminal: false,
                failed: None,
            };
            assert!(lines.wrote(Ok(())).is_continue());
            assert!(lines.wrote(Err(Error::from(kind))).is_break());
            assert_eq!(lines.end().is_err(), fails, "{kind}");
        }
    }
}
