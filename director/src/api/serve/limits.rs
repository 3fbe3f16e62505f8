//! Limits of concurrent connections and responses. Descriptors are scarce: clients must never use those that Docker
//! or the store need.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Maximum number of descriptors to request.
const MAX_DESCRIPTORS: u64 = 16_384;
/// Maximum number of connections: each needs some 20 KiB of memory.
const MAX_CONNECTIONS: u64 = 4096;
/// Maximum number of concurrent large bodies: results, logs, uploads.
const MAX_BULK_BODIES: u64 = 64;
/// Maximum number of concurrent streams: events and followed logs.
const MAX_STREAMS: u64 = 512;

/// Limits of concurrent connections and responses.
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
    /// The limits for a number of descriptors. A quarter of the descriptors is reserved for Docker, the store and
    /// evidence. Each bulk body takes one more, because it reads or writes a file. Streams and bulk bodies together
    /// never use all connections of an address, so that their client can still send other requests.
    pub fn for_descriptors(descriptors: u64, connections: Option<u64>) -> Self {
        let reserve = (descriptors / 4).clamp(64, 1024);
        let bulk = (descriptors / 16).clamp(2, MAX_BULK_BODIES);
        let possible = descriptors.saturating_sub(reserve + bulk).max(16);
        let connections = connections.unwrap_or(MAX_CONNECTIONS).min(possible);
        let streams = (connections / 2).clamp(1, MAX_STREAMS);
        let whole = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        Self {
            connections: whole(connections),
            per_address: whole((connections * 3 / 4).max(1)),
            bulk_bodies: whole(bulk),
            streams: whole(streams),
        }
    }

    /// The limits for this process, after raising its soft limit of descriptors to the hard one. `connections` is the
    /// configured number.
    pub fn for_process(connections: Option<u64>) -> Self {
        let descriptors = raise_limit();
        let limits = Self::for_descriptors(descriptors, connections);
        if connections.is_some_and(|wanted| wanted > limits.connections as u64) {
            tracing::warn!(
                descriptors,
                "`limits.connections` exceeds the limit of open files (`ulimit -n`); using {}",
                limits.connections
            );
        }
        tracing::debug!(descriptors, ?limits, "connection limits");
        limits
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::for_descriptors(MAX_DESCRIPTORS, None)
    }
}

/// Raises the soft limit of descriptors and returns it. Shells and systemd set a low soft limit for programs that use
/// `select`; other programs may use the hard limit.
fn raise_limit() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = maximum.unwrap_or(MAX_DESCRIPTORS).min(MAX_DESCRIPTORS);
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
    fn docker_and_the_store_always_have_a_share_of_the_descriptors() {
        for descriptors in [256, 512, 1024, 4096, 16_384, 1 << 20] {
            let limits = Limits::for_descriptors(descriptors, None);
            let taken = (limits.connections + limits.bulk_bodies) as u64;
            let reserve = descriptors - taken;
            assert!(reserve >= 64, "{descriptors}: {limits:?}");
            let long_lived = limits.streams + limits.bulk_bodies;
            assert!(long_lived < limits.per_address, "{descriptors}: {limits:?}");
            assert!(limits.per_address < limits.connections);
        }
    }

    #[test]
    fn with_enough_descriptors_the_limits_are_the_documented_ones() {
        let limits = Limits::for_descriptors(16_384, None);
        assert_eq!((limits.bulk_bodies, limits.streams), (64, 512));
        assert_eq!(limits.connections, 4096);
    }

    #[test]
    fn the_configured_number_applies_unless_there_are_too_few_descriptors() {
        assert_eq!(Limits::for_descriptors(16_384, Some(100)).connections, 100);
        let few = Limits::for_descriptors(256, Some(10_000));
        assert_eq!(few, Limits::for_descriptors(256, None));
    }
}
