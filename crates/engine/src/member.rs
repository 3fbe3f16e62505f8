//! The containers of a run, independent of the engine.

use crate::Role;
use atq_task::timestamp::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::Ipv4Addr;
use std::time::Duration;

/// A container of a run by its role and its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Source {
    /// The role.
    pub role: Role,
    /// Number of the replica; of the try for the wait command.
    pub replica: u32,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.role, self.replica)
    }
}

impl Source {
    /// Reads what `Display` writes: `worker.3`.
    pub fn parse(text: &str) -> Option<Self> {
        let (role, replica) = text.split_once('.')?;
        let roles = [Role::Master, Role::Worker, Role::Readiness, Role::Wait];
        let role = roles.into_iter().find(|known| known.as_str() == role)?;
        let replica = replica.parse().ok()?;
        let source = Self { role, replica };
        // One name for each: not `+3`, not `03`.
        (source.to_string() == text).then_some(source)
    }
}

/// How far a container has come. Phases only grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// It has no node yet, or the node gets ready for it.
    Waiting,
    /// Its process is being started.
    Starting,
    /// Its process runs.
    Running,
    /// It will never run (again).
    Ended,
}

/// One container of a run as an engine sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The engine's id, for [`crate::Engine::logs`].
    pub id: String,
    /// Id of the group, from [`crate::Engine::start`].
    pub group: String,
    /// The role and the number of the replica, from 1. [`crate::Engine::logged`] has the number of the try for the
    /// wait command.
    pub source: Source,
    /// Whether its output is that of a terminal.
    pub tty: bool,
    /// Id of its node.
    pub node: Option<String>,
    /// Whether its node is lost: then its log is not to be had.
    pub lost: bool,
    /// How far it has come.
    pub phase: Phase,
    /// The engine's name of the state.
    pub state: &'static str,
    /// Whether it is told to end, or its node is lost or drained.
    pub leaving: bool,
    /// Whether its process ran at all.
    pub began: bool,
    /// Whether it failed, was rejected or orphaned: it neither completed nor was stopped.
    pub failed: bool,
    /// Set while no node accepts it: the time after which it counts as unplaceable.
    pub homeless_for: Option<Duration>,
    /// When it came into this phase, by the clock of its node.
    pub since: Option<Timestamp>,
    /// The engine's own reason when something is wrong.
    pub error: Option<String>,
    /// State and reason in words, for messages.
    pub reason: String,
    /// Exit code, once it has ended.
    pub exit_code: Option<i64>,
    /// The container's id on its node.
    pub container: Option<String>,
    /// Its address in the network of the run.
    pub address: Option<Ipv4Addr>,
}

impl Member {
    /// Whether it will never run (again).
    pub fn has_ended(&self) -> bool {
        self.phase == Phase::Ended
    }

    /// Runs and is meant to run.
    pub fn is_alive(&self) -> bool {
        self.phase == Phase::Running && !self.leaving
    }

    /// Ended, or meant to end.
    pub fn is_gone(&self) -> bool {
        self.has_ended() || self.leaving
    }

    /// Whether no node takes it, `age` after its group was started.
    pub fn is_unplaceable(&self, age: Duration) -> bool {
        self.homeless_for.is_some_and(|longest| age >= longest)
    }
}
