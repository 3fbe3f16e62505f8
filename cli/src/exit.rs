//! Exit codes. Scripts and pipelines rely on these numbers: they never change.

use serde::Serialize;
use std::process::ExitCode;

/// The exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[repr(u8)]
pub enum Exit {
    /// The command succeeded; for a test: it passed.
    Pass = 0,
    /// The test ran, but a criterion does not hold.
    CriteriaFailed = 1,
    /// The command line, or a file that it names, cannot be used.
    Usage = 2,
    /// The master ended with an exit code other than 0.
    ToolFailed = 3,
    /// The test could not be run, or the command failed.
    InfrastructureFailed = 4,
    /// The test exceeded a time limit.
    TimedOut = 5,
    /// The test was stopped, or left running unattended.
    Stopped = 6,
    /// The test ran, but its result is inconclusive.
    Invalid = 7,
    /// The Director rejected the request.
    Rejected = 8,
    /// The Director does not respond.
    Unreachable = 9,
    /// The token is missing or not accepted, or its role is not sufficient.
    AccessDenied = 10,
}

impl Exit {
    /// All exit codes, in numerical order.
    pub const ALL: [Self; 11] = [
        Self::Pass,
        Self::CriteriaFailed,
        Self::Usage,
        Self::ToolFailed,
        Self::InfrastructureFailed,
        Self::TimedOut,
        Self::Stopped,
        Self::Invalid,
        Self::Rejected,
        Self::Unreachable,
        Self::AccessDenied,
    ];

    /// The numeric code.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// This code, or the later one if it is [`Exit::Pass`].
    pub const fn or(self, later: Self) -> Self {
        match self {
            Self::Pass => later,
            earlier => earlier,
        }
    }

    /// A short description.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Pass => "success; for a test: it passed",
            Self::CriteriaFailed => "a criterion of the test does not hold",
            Self::Usage => "the command line, or a file that it names, cannot be used",
            Self::ToolFailed => "the test tool failed: the master's exit code is not 0",
            Self::InfrastructureFailed => "the test could not be run",
            Self::TimedOut => "the test exceeded a time limit",
            Self::Stopped => "the test was stopped, or left running",
            Self::Invalid => "the test is inconclusive: a worker was lost, too few samples, ...",
            Self::Rejected => "the Director rejected the request",
            Self::Unreachable => "the Director does not respond",
            Self::AccessDenied => {
                "access denied: the token is missing or not accepted, or its role is not sufficient"
            }
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        exit.code().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_never_change() {
        let codes: Vec<u8> = Exit::ALL.iter().map(|exit| exit.code()).collect();
        assert_eq!(codes, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    }
}
