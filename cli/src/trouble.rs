//! What can go wrong, each with what to do about it and the exit code that it leads to.

use crate::definition::places::PlacedFault;
use crate::exit::Exit;
use atq_api_spec::task::FieldError;
use std::time::Duration;
use thiserror::Error;

/// Error codes of the Director for a missing object; the status is 404.
const ABSENT: [&str; 5] = [
    "task_not_found",
    "bundle_not_found",
    "no_results",
    "no_report",
    "unknown_path",
];

/// Why a command did not do what was asked for.
#[derive(Debug, Error)]
pub enum Trouble {
    /// The command line, or a file that it names, cannot be used.
    #[error("{message}")]
    Usage {
        /// What is wrong.
        message: String,
        /// What would be right; may be empty.
        hint: String,
    },
    /// A definition cannot be used.
    #[error("`{file}` has {} fault{}", faults.len(), if faults.len() == 1 { "" } else { "s" })]
    Faults {
        /// The file, as it was given.
        file: String,
        /// What is wrong with it.
        faults: Vec<PlacedFault>,
    },
    /// The Director refuses.
    #[error("{message}")]
    Rejected {
        /// HTTP status.
        status: u16,
        /// Stable name of the cause; may be empty.
        code: String,
        /// The message of the Director.
        message: String,
        /// Faults of a definition.
        faults: Vec<FieldError>,
    },
    /// The Director, or what is between it and this program, is busy or away (429, 502 to 504): the same request may
    /// be answered later.
    #[error("{message}")]
    Busy {
        /// HTTP status.
        status: u16,
        /// Stable name of the cause; may be empty.
        code: String,
        /// The message of the Director.
        message: String,
        /// How long to wait, if that was said.
        retry_after: Option<Duration>,
    },
    /// No Director answers.
    #[error("no Director answers at `{url}`: {reason}")]
    Unreachable {
        /// Where it was looked for.
        url: String,
        /// Why not.
        reason: String,
    },
    /// The Director's certificate is not trusted, or there is no encryption. Nothing was sent, and another try is of
    /// no use.
    #[error("no encrypted connection to `{url}`: {reason}")]
    Untrusted {
        /// Where the Director is.
        url: String,
        /// Why not.
        reason: String,
        /// What to do.
        hint: &'static str,
    },
    /// Something on this machine, or between it and the Director, does not work.
    #[error("{message}")]
    Failed {
        /// What happened.
        message: String,
        /// What to do; may be empty.
        hint: String,
    },
}

impl Trouble {
    /// What is wrong with the command line, and what would be right.
    pub fn usage(message: impl Into<String>, hint: impl Into<String>) -> Self {
        let (message, hint) = (message.into(), hint.into());
        Self::Usage { message, hint }
    }

    /// What happened, and what to do about it.
    pub fn failed(message: impl Into<String>, hint: impl Into<String>) -> Self {
        let (message, hint) = (message.into(), hint.into());
        Self::Failed { message, hint }
    }

    /// The exit code that it leads to.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Usage { .. } | Self::Faults { .. } => Exit::Usage,
            // The Director itself works, but not what it needs.
            Self::Rejected { status, .. } | Self::Busy { status, .. } if *status >= 500 => {
                Exit::InfrastructureFailed
            }
            Self::Rejected { .. } | Self::Busy { .. } => Exit::Rejected,
            Self::Unreachable { .. } | Self::Untrusted { .. } => Exit::Unreachable,
            Self::Failed { .. } => Exit::InfrastructureFailed,
        }
    }

    /// Whether the Director says that there is no such task. A proxy's 404, while the Director is away, says nothing.
    pub fn is_no_task(&self) -> bool {
        matches!(self, Self::Rejected { status: 404, code, .. } if code == "task_not_found")
    }

    /// Whether the Director says that what was asked for is not there. A proxy's 404 says nothing of the kind.
    pub fn is_absence(&self) -> bool {
        matches!(self, Self::Rejected { status: 404, code, .. } if ABSENT.contains(&code.as_str()))
    }

    /// How long to wait before another try, if that was said.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Busy { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// What to do about it; may be empty.
    pub fn hint(&self) -> &str {
        match self {
            Self::Usage { hint, .. } | Self::Failed { hint, .. } => hint,
            Self::Untrusted { hint, .. } => hint,
            Self::Rejected { .. } | Self::Busy { .. } | Self::Faults { .. } => "",
            Self::Unreachable { .. } => {
                "is it running? `--url`, `ATQ_URL` or the configuration file say where it is"
            }
        }
    }
}

/// The innermost cause of an error. Its wrappers only name the layers that it passed.
pub fn innermost(error: &dyn std::error::Error) -> &dyn std::error::Error {
    let mut reason = error;
    while let Some(source) = reason.source() {
        reason = source;
    }
    reason
}
