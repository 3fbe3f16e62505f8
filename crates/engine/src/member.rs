//! The containers of a run, independent of the engine.

use crate::Role;
use atq_task::timestamp::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::Ipv4Addr;
use std::time::Duration;

/// Identifies a container of a run by role and number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Source {
    /// The role.
    pub role: Role,
    /// Number of the replica, or of the attempt of the wait command.
    pub replica: u32,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.role, self.replica)
    }
}

impl Source {
    /// The container with this role and number.
    pub const fn new(role: Role, replica: u32) -> Self {
        Self { role, replica }
    }

    /// Parses the format of `Display`: `worker.3`.
    pub fn parse(text: &str) -> Option<Self> {
        let (role, replica) = text.split_once('.')?;
        let source = Self::new(Role::parse(role)?, replica.parse().ok()?);
        let is_logged = matches!(
            source.role,
            Role::Master | Role::Worker | Role::Readiness | Role::Wait
        );
        // The format is unique: neither `+3` nor `03`.
        (is_logged && source.to_string() == text).then_some(source)
    }
}

/// The phase of a container. Phases only advance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// It has no node yet, or the node prepares it.
    Waiting,
    /// Its process is being started.
    Starting,
    /// Its process runs.
    Running,
    /// It does not run and will not start again.
    Ended,
}

/// A container of a run, as reported by the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The engine's id, for [`crate::Engine::logs`].
    pub id: String,
    /// Id of the group, from [`crate::Engine::start`].
    pub group: String,
    /// The role and the number of the replica, from 1. [`crate::Engine::logged`] reports the number of the attempt for
    /// the wait command.
    pub source: Source,
    /// Whether it has a terminal.
    pub tty: bool,
    /// Id of its node.
    pub node: Option<String>,
    /// Whether its node is lost, so that its log is unavailable.
    pub lost: bool,
    /// Its phase.
    pub phase: Phase,
    /// The engine's name of the state.
    pub state: &'static str,
    /// Whether it is being stopped, or its node is lost or drained.
    pub leaving: bool,
    /// Whether its process has started.
    pub began: bool,
    /// Whether it failed, was rejected or orphaned, as opposed to completed or stopped.
    pub failed: bool,
    /// While no node accepts it: the time after the start of its group at which it counts as unplaceable.
    pub unplaceable_after: Option<Duration>,
    /// Start of the current phase, by the clock of its node.
    pub since: Option<Timestamp>,
    /// The engine's reason when something is wrong.
    pub error: Option<String>,
    /// State and reason, for messages.
    pub reason: String,
    /// Exit code, once it has ended.
    pub exit_code: Option<i64>,
    /// The container's id on its node.
    pub container: Option<String>,
    /// Its address in the network of the run.
    pub address: Option<Ipv4Addr>,
}

impl Member {
    /// Whether it has ended and will not start again.
    pub fn has_ended(&self) -> bool {
        self.phase == Phase::Ended
    }

    /// Whether it runs and is not being stopped.
    pub fn is_alive(&self) -> bool {
        self.phase == Phase::Running && !self.leaving
    }

    /// Whether it has ended or is being stopped.
    pub fn is_gone(&self) -> bool {
        self.has_ended() || self.leaving
    }

    /// Whether it is unplaceable `age` after the start of its group.
    pub fn is_unplaceable(&self, age: Duration) -> bool {
        self.unplaceable_after.is_some_and(|longest| age >= longest)
    }
}
