//! Errors, each with a hint and an exit code.

use crate::definition::places::PlacedFault;
use crate::exit::Exit;
use crate::socket;
use atq_api_spec::task::FieldError;
use std::time::Duration;
use thiserror::Error;

/// Error codes of the Director for a missing object (status 404).
const NOT_FOUND_CODES: [&str; 6] = [
    "task_not_found",
    "bundle_not_found",
    "token_not_found",
    "no_results",
    "no_report",
    "unknown_path",
];

/// An error of a command.
#[derive(Debug, Error)]
pub enum CliError {
    /// The command line, or a file that it names, cannot be used.
    #[error("{message}")]
    Usage {
        /// The problem.
        message: String,
        /// The expected input; may be empty.
        hint: String,
    },
    /// A definition has faults.
    #[error("`{file}` has {} fault{}", faults.len(), if faults.len() == 1 { "" } else { "s" })]
    Faults {
        /// The file, as given.
        file: String,
        /// The faults.
        faults: Vec<PlacedFault>,
    },
    /// The Director rejected the request.
    #[error("{message}")]
    Rejected {
        /// HTTP status.
        status: u16,
        /// Stable error code; may be empty.
        code: String,
        /// The message of the Director.
        message: String,
        /// Faults of a definition.
        faults: Vec<FieldError>,
    },
    /// The Director, or a proxy in between, requires a token, does not accept the one that was sent, or requires another
    /// role.
    #[error("{message}")]
    Denied {
        /// HTTP status: 401 or 403.
        status: u16,
        /// The message of the Director.
        message: String,
        /// A hint.
        hint: String,
    },
    /// The Director or a proxy in between is busy or unavailable (429, 502 to 504): the same request may succeed later.
    #[error("{message}")]
    Busy {
        /// HTTP status.
        status: u16,
        /// Stable error code; may be empty.
        code: String,
        /// The message of the Director.
        message: String,
        /// The value of `Retry-After`, if present.
        retry_after: Option<Duration>,
    },
    /// The Director does not respond.
    #[error("no Director answers at `{url}`: {reason}")]
    Unreachable {
        /// URL of the Director.
        url: String,
        /// The reason.
        reason: String,
    },
    /// The Director's certificate is not trusted, or the connection is not encrypted. Nothing was sent, and a retry cannot
    /// help.
    #[error("no encrypted connection to `{url}`: {reason}")]
    Untrusted {
        /// URL of the Director.
        url: String,
        /// The reason.
        reason: String,
        /// A hint.
        hint: &'static str,
    },
    /// A failure on this machine, or between it and the Director.
    #[error("{message}")]
    Failed {
        /// The failure.
        message: String,
        /// A hint; may be empty.
        hint: String,
    },
}

impl CliError {
    /// An error of the command line, with the expected input as a hint.
    pub fn usage(message: impl Into<String>, hint: impl Into<String>) -> Self {
        let (message, hint) = (message.into(), hint.into());
        Self::Usage { message, hint }
    }

    /// A failure with a hint.
    pub fn failed(message: impl Into<String>, hint: impl Into<String>) -> Self {
        let (message, hint) = (message.into(), hint.into());
        Self::Failed { message, hint }
    }

    /// The exit code.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Usage { .. } | Self::Faults { .. } => Exit::Usage,
            // The Director works, but something that it needs does not.
            Self::Rejected { status, .. } | Self::Busy { status, .. } if *status >= 500 => {
                Exit::InfrastructureFailed
            }
            Self::Rejected { .. } | Self::Busy { .. } => Exit::Rejected,
            Self::Denied { .. } => Exit::AccessDenied,
            Self::Unreachable { .. } | Self::Untrusted { .. } => Exit::Unreachable,
            Self::Failed { .. } => Exit::InfrastructureFailed,
        }
    }

    /// Whether the Director may have performed the request: it did not respond, or the response is that of a proxy.
    pub fn may_be_done(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Busy { code, .. } => code.is_empty(),
            Self::Rejected { status, code, .. } => *status >= 500 && code.is_empty(),
            _ => false,
        }
    }

    /// Whether the Director reports that the task does not exist. The 404 of a proxy does not count.
    pub fn is_task_not_found(&self) -> bool {
        matches!(self, Self::Rejected { status: 404, code, .. } if code == "task_not_found")
    }

    /// Whether the Director reports that the requested object does not exist. The 404 of a proxy does not count.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Rejected { status: 404, code, .. } if NOT_FOUND_CODES.contains(&code.as_str()))
    }

    /// The value of `Retry-After`, if present.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Busy { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// A hint; may be empty.
    pub fn hint(&self) -> &str {
        match self {
            Self::Usage { hint, .. } | Self::Failed { hint, .. } | Self::Denied { hint, .. } => {
                hint
            }
            Self::Untrusted { hint, .. } => hint,
            Self::Rejected { code, .. } if code == "foreign_host" => {
                "the Director does not accept the host of this URL: add it to `allowedHosts` in the configuration of the \
                 Director, set `publicUrl` there, or use an IP address in the URL"
            }
            Self::Rejected { .. } | Self::Busy { .. } | Self::Faults { .. } => "",
            Self::Unreachable { url, .. } if socket::is_url(url) => {
                "is it running, and may this user open the socket? the group of the socket is `socketGroup` in the \
                 configuration of the Director"
            }
            Self::Unreachable { .. } => {
                "is it running? set its URL by `--url`, `ATQ_URL`, a context (`atq login URL`) or `url` in the \
                 configuration file"
            }
        }
    }
}

/// The innermost cause of an error, without the wrappers of the layers in between.
pub fn innermost(error: &dyn std::error::Error) -> &dyn std::error::Error {
    let mut reason = error;
    while let Some(source) = reason.source() {
        reason = source;
    }
    reason
}
