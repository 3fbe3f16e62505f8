//! Exit codes.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

/// An exit code. Codes from 120 to 127 and 2 are those of `atq-sync`; all others are those of the tools.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Code(u8);

impl Code {
    /// Everything succeeded.
    pub const SUCCESS: Self = Self(0);
    /// Wrong arguments or environment.
    pub const USAGE: Self = Self(2);
    /// Master: a worker did not connect. Worker: no master connected.
    pub const CONNECT_TIMEOUT: Self = Self(120);
    /// Master: a worker was lost. Worker: the master was lost.
    pub const LOST: Self = Self(121);
    /// The start was received late or not acknowledged, or the starts were too far apart.
    pub const LATE: Self = Self(122);
    /// A worker refused its share, or the start was cancelled before it.
    pub const REFUSED: Self = Self(123);
    /// `--timeout` has passed.
    pub const TIMEOUT: Self = Self(124);
    /// The tool cannot be executed.
    pub const NOT_EXECUTABLE: Self = Self(126);
    /// The tool does not exist.
    pub const NOT_FOUND: Self = Self(127);

    /// The code of a process that a signal has ended: 128 and the number of the signal.
    pub const fn of_signal(signal: u8) -> Self {
        Self(128_u8.saturating_add(signal))
    }

    /// A code that was received.
    pub const fn new(value: u8) -> Self {
        Self(value)
    }

    /// The number.
    pub const fn value(self) -> u8 {
        self.0
    }
}

/// A reason to end, with the exit code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The exit code.
    pub code: Code,
    /// The reason, human-readable.
    pub message: String,
}

impl Failure {
    /// A failure.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProcessEnd {
    /// It exited with a code.
    Code(u8),
    /// A signal ended it.
    Signal(u8),
}

impl ProcessEnd {
    /// The end that the system reports.
    pub fn of(status: ExitStatus) -> Self {
        let byte = |number: i32| u8::try_from(number).unwrap_or(u8::MAX);
        match status.signal() {
            Some(signal) => Self::Signal(byte(signal)),
            None => Self::Code(byte(status.code().unwrap_or(i32::MAX))),
        }
    }

    /// The exit code of a shell for this end.
    pub const fn code(self) -> Code {
        match self {
            Self::Code(code) => Code::new(code),
            Self::Signal(signal) => Code::of_signal(signal),
        }
    }
}

impl std::fmt::Display for ProcessEnd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(9) => write!(f, "ended by SIGKILL"),
            Self::Signal(15) => write!(f, "ended by SIGTERM"),
            Self::Signal(signal) => write!(f, "ended by signal {signal}"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn an_end_has_the_exit_code_of_a_shell() {
        let of = |raw| ProcessEnd::of(ExitStatus::from_raw(raw));
        assert_eq!(of(0).code(), Code::SUCCESS);
        assert_eq!(of(3 << 8).code().value(), 3);
        assert_eq!(of(9).code().value(), 137);
        assert_eq!(of(9).to_string(), "ended by SIGKILL");
        assert_eq!(ProcessEnd::Signal(255).code().value(), 255);
    }
}
