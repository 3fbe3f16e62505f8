//! Failed calls of Docker, and the errors of the engine that they become.

use atq_engine::EngineError;
use thiserror::Error;

/// Why Docker did not do what it was asked. `reason` is Docker's own text.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SwarmError {
    /// The object does not exist.
    #[error("{what} does not exist")]
    NotFound {
        /// What was looked for, for example "service `x`".
        what: String,
    },
    /// The name is taken.
    #[error("{what} exists already: {reason}")]
    Conflict {
        /// What was to be created.
        what: String,
        /// Docker's own text.
        reason: String,
    },
    /// Something else still needs the object; try again later.
    #[error("{what} is still in use: {reason}")]
    InUse {
        /// What was to be removed.
        what: String,
        /// Docker's own text.
        reason: String,
    },
    /// Docker does not answer.
    #[error("cannot reach Docker at `{host}`: {reason}")]
    Unavailable {
        /// Where it was looked for.
        host: String,
        /// The connection's own text.
        reason: String,
    },
    /// No call was answered yet since the Director started.
    #[error("Docker has not answered yet; the Director has just started")]
    NotAnsweredYet,
    /// Docker did not answer in time.
    #[error("Docker did not answer {what} within {seconds} s")]
    TimedOut {
        /// The call.
        what: String,
        /// How long it was waited for.
        seconds: u64,
    },
    /// Docker runs, but is not part of a Swarm.
    #[error("Docker is not part of a swarm; run `docker swarm init` on it first")]
    NotASwarm,
    /// Docker is part of a Swarm, but only as a worker.
    #[error("Docker is a worker of its swarm; the Director needs a manager")]
    NotManager,
    /// The managers of the Swarm cannot agree.
    #[error("the swarm has lost its quorum or leader: {reason}")]
    NoLeader {
        /// Docker's own text.
        reason: String,
    },
    /// Docker understood and refused.
    #[error("Docker refused {what}: {reason}")]
    Rejected {
        /// What was asked.
        what: String,
        /// Docker's own text.
        reason: String,
    },
    /// Docker failed, or its answer could not be understood.
    #[error("Docker failed at {what}: {reason}")]
    Internal {
        /// What was asked.
        what: String,
        /// Docker's own text.
        reason: String,
    },
}

impl SwarmError {
    /// Whether the same call may succeed later without anybody changing the definition. A manager that
    /// stops or starts says for a moment that it is none (ARCHITECTURE.md, How Docker Swarm behaves).
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Unavailable { .. }
            | Self::NotAnsweredYet
            | Self::TimedOut { .. }
            | Self::InUse { .. }
            | Self::NotASwarm
            | Self::NotManager
            | Self::NoLeader { .. }
            | Self::Internal { .. } => true,
            Self::NotFound { .. } | Self::Conflict { .. } | Self::Rejected { .. } => false,
        }
    }

    /// Its name in the API.
    fn code(&self) -> &'static str {
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

impl From<SwarmError> for EngineError {
    fn from(error: SwarmError) -> Self {
        Self {
            code: error.code(),
            temporary: error.is_temporary(),
            message: error.to_string(),
        }
    }
}
