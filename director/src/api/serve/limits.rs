//! How much is served at once. The descriptors of the process are the scarce good: a client must never take the one
//! that Docker or the store needs.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// More descriptors than this are of no use.
const MOST_DESCRIPTORS: u64 = 16_384;
/// Most connections, whatever the descriptors allow: each takes some 20 KiB of memory.
const MOST_CONNECTIONS: u64 = 4096;
/// Bodies of any size at once: results, logs, uploads.
const BULK_BODIES: u64 = 64;
/// Answers without an end at once: events and followed logs.
const STREAMS: u64 = 512;

/// How much is served at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections.
    pub connections: usize,
    /// Connections of one client address.
    pub per_address: usize,
    /// Results, logs and uploads.
    pub bulk_bodies: usize,
    /// Events and followed logs.
    pub streams: usize,
}

impl Limits {
    /// What so many descriptors allow. A quarter of them is kept for Docker, the store and evidence, one for each bulk
    /// body, as it reads or writes a file. Streams and bulk bodies together never take all connections of an address,
    /// so that whoever holds them can still ask and stop.
    pub fn of(descriptors: u64, connections: Option<u64>) -> Self {
        let reserve = (descriptors / 4).clamp(64, 1024);
        let bulk = (descriptors / 16).clamp(2, BULK_BODIES);
        let possible = descriptors.saturating_sub(reserve + bulk).max(16);
        let connections = connections.unwrap_or(MOST_CONNECTIONS).min(possible);
        let streams = (connections / 2).clamp(1, STREAMS);
        let whole = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        Self {
            connections: whole(connections),
            per_address: whole((connections * 3 / 4).max(1)),
            bulk_bodies: whole(bulk),
            streams: whole(streams),
        }
    }

    /// What this process may use, after its soft limit of descriptors was raised to the hard one. `connections` is the
    /// configured number.
    pub fn of_process(connections: Option<u64>) -> Self {
        let descriptors = raised();
        let limits = Self::of(descriptors, connections);
        if connections.is_some_and(|wanted| wanted > limits.connections as u64) {
            tracing::warn!(
                descriptors,
                "`limits.connections` is more than the descriptors allow (`ulimit -n`); {} are served at once",
                limits.connections
            );
        }
        tracing::debug!(descriptors, ?limits, "what is served at once");
        limits
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::of(MOST_DESCRIPTORS, None)
    }
}

/// The descriptors that this process may have. Shells and systemd set a low soft limit for programs that use `select`;
/// the hard one is meant for all others.
fn raised() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = maximum.unwrap_or(MOST_DESCRIPTORS).min(MOST_DESCRIPTORS);
    match current {
        Some(current) if current < wanted => {
            let limit = Rlimit {
                current: Some(wanted),
                maximum,
            };
            match setrlimit(Resource::Nofile, limit) {
                Ok(()) => wanted,
                Err(_) => current,
            }
        }
        _ => wanted.min(current.unwrap_or(wanted)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_the_descriptors_docker_and_the_store_keep_a_share() {
        for descriptors in [256, 512, 1024, 4096, 16_384, 1 << 20] {
            let limits = Limits::of(descriptors, None);
            let taken = (limits.connections + limits.bulk_bodies) as u64;
            let reserve = descriptors - taken;
            assert!(reserve >= 64, "{descriptors}: {limits:?}");
            let held = limits.streams + limits.bulk_bodies;
            assert!(held < limits.per_address, "{descriptors}: {limits:?}");
            assert!(limits.per_address < limits.connections);
        }
    }

    #[test]
    fn with_enough_descriptors_the_numbers_are_those_of_the_manual() {
        let limits = Limits::of(16_384, None);
        assert_eq!((limits.bulk_bodies, limits.streams), (64, 512));
        assert_eq!(limits.connections, 4096);
    }

    #[test]
    fn the_configured_number_counts_unless_the_descriptors_are_too_few() {
        assert_eq!(Limits::of(16_384, Some(100)).connections, 100);
        let few = Limits::of(256, Some(10_000));
        assert_eq!(few, Limits::of(256, None));
    }
}
