//! Failed calls of Docker, and their conversion to errors of the engine.

use atq_engine::EngineError;
use thiserror::Error;

/// The reason why a call of Docker failed. `reason` is Docker's own text.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SwarmError {
    /// The object does not exist.
    #[error("{what} does not exist")]
    NotFound {
        /// The object, for example "service `x`".
        what: String,
    },
    /// The name is taken.
    #[error("{what} already exists: {reason}")]
    Conflict {
        /// The object to create.
        what: String,
        /// Docker's own text.
        reason: String,
    },
    /// The object is still used; a retry may succeed later.
    #[error("{what} is still in use: {reason}")]
    InUse {
        /// The object to remove.
        what: String,
        /// Docker's own text.
        reason: String,
    },
    /// Docker does not answer.
    #[error("cannot reach Docker at `{host}`: {reason}")]
    Unavailable {
        /// The address of Docker.
        host: String,
        /// The text of the connection error.
        reason: String,
    },
    /// No call has been answered since the start of the Director.
    #[error("Docker has not answered yet; the Director has just started")]
    NotAnsweredYet,
    /// Docker did not answer in time.
    #[error("Docker did not answer {what} within {seconds} s")]
    TimedOut {
        /// The call.
        what: String,
        /// The timeout.
        seconds: u64,
    },
    /// Docker runs, but is not part of a Swarm.
    #[error("Docker is not part of a swarm; run `docker swarm init` first")]
    NotASwarm,
    /// Docker is part of a Swarm, but only as a worker.
    #[error("Docker is a worker of its swarm; the Director needs a manager")]
    NotManager,
    /// The managers of the Swarm have no leader.
    #[error("the swarm has lost its quorum or leader: {reason}")]
    NoLeader {
        /// Docker's own text.
        reason: String,
    },
    /// Docker refused the request.
    #[error("Docker refused {what}: {reason}")]
    Rejected {
        /// The call.
        what: String,
        /// Docker's own text.
        reason: String,
    },
    /// Docker failed, or its answer is invalid.
    #[error("Docker failed at {what}: {reason}")]
    Internal {
        /// The call.
        what: String,
        /// Docker's own text.
        reason: String,
    },
}

impl SwarmError {
    /// Whether the same call may succeed later with the same definition. A manager that stops or starts reports for a
    /// moment that it is not a manager (ARCHITECTURE.md, How Docker Swarm behaves).
    pub fn is_temporary(&self) -> bool {
        !matches!(
            self,
            Self::NotFound { .. } | Self::Conflict { .. } | Self::Rejected { .. }
        )
    }

    /// The error code in the API.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::NotFound { .. } => "docker_object_gone",
            Self::Conflict { .. } => "docker_conflict",
            Self::InUse { .. } => "docker_in_use",
            Self::Unavailable { .. } | Self::NotAnsweredYet => "docker_unavailable",
            Self::TimedOut { .. } => "docker_timed_out",
            Self::NotASwarm => "not_a_swarm",
            Self::NotManager => "not_a_manager",
            Self::NoLeader { .. } => "no_leader",
            Self::Rejected { .. } => "docker_refused",
            Self::Internal { .. } => "docker_failed",
        }
    }
}

/// The text of the root cause of an error: "connection refused" instead of "error sending request".
pub(crate) fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

impl From<SwarmError> for EngineError {
    fn from(error: SwarmError) -> Self {
        Self {
            code: error.code(),
            temporary: error.is_temporary(),
            message: error.to_string(),
        }
    }
}
