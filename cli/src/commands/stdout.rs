//! Streaming lines to standard output; ends quietly when the reader closes the pipe.

use crate::error::CliError;
use crate::exit::Exit;
use crate::terminal;
use anstyle::Style;
use std::borrow::Cow;
use std::io::{ErrorKind, IsTerminal, Write, stdout};
use std::ops::ControlFlow;

/// Whether this program's own text is coloured. Other text is not changed.
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

/// Lines on standard output, until a write fails.
#[derive(Debug)]
pub struct Lines {
    is_terminal: bool,
    failed: Option<CliError>,
}

impl Lines {
    /// The standard output of this process.
    pub fn to_stdout() -> Self {
        Self {
            is_terminal: stdout().is_terminal(),
            failed: None,
        }
    }

    /// Untrusted text as a part of a line; sanitized on a terminal.
    pub fn untrusted<'a>(&self, text: &'a str) -> Cow<'a, str> {
        match self.is_terminal {
            // Remove the CR of a Windows line ending.
            true => terminal::sanitize(text.strip_suffix('\r').unwrap_or(text)),
            false => Cow::Borrowed(text),
        }
    }

    /// Writes a line. Breaks when the write fails.
    pub fn put(&mut self, line: &str) -> ControlFlow<()> {
        let written = match self.is_terminal {
            true => writeln!(stdout(), "{}", terminal::sanitize_line(line)),
            false => writeln!(stdout(), "{line}"),
        };
        self.wrote(written)
    }

    fn wrote(&mut self, written: std::io::Result<()>) -> ControlFlow<()> {
        match written {
            Ok(()) => return ControlFlow::Continue(()),
            // The reader has closed the pipe, like `head`.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
            Err(error) => {
                let message = format!("cannot write to standard output: {error}");
                self.failed = Some(CliError::failed(message, ""));
            }
        }
        ControlFlow::Break(())
    }

    /// The result of the writes.
    ///
    /// # Errors
    /// When a line could not be written, except for a closed pipe.
    pub fn finish(self) -> Result<Exit, CliError> {
        self.failed.map_or(Ok(Exit::Pass), Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Error;

    #[test]
    fn text_is_sanitized_only_on_a_terminal() {
        let text = "ready \u{1b}[1mnow\r";
        for (is_terminal, expected) in [(false, text), (true, "ready \\u001b[1mnow")] {
            let lines = Lines {
                is_terminal,
                failed: None,
            };
            assert_eq!(lines.untrusted(text), expected);
        }
    }

    #[test]
    fn a_closed_pipe_is_no_failure_but_a_full_disk_is() {
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
            assert_eq!(lines.finish().is_err(), fails, "{kind}");
        }
    }
}
