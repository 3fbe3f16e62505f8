//! Limits of concurrent connections and responses. Descriptors are scarce: clients must never use those that Docker
//! or the store need.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Maximum number of descriptors to request.
const MAX_DESCRIPTORS: u64 = 16_384;
/// Maximum number of connections: each needs some 20 KiB of memory.
const MAX_CONNECTIONS: u64 = 4096;
/// Maximum number of connections to the Unix socket, to the port for carriers, and to the control socket.
const MAX_SOCKET_CONNECTIONS: u64 = 1024;
const MAX_CARRIER_CONNECTIONS: u64 = 1024;
const MAX_CONTROL_CONNECTIONS: u64 = 16;
/// Maximum number of concurrent large bodies: results, logs, uploads.
const MAX_BULK_BODIES: u64 = 64;
/// Maximum number of concurrent streams: events and followed logs.
const MAX_STREAMS: u64 = 512;

/// Limits of the connections of one endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// All connections.
    pub total: usize,
    /// Connections of one client: an address, or a user of this machine.
    pub per_client: usize,
}

impl ConnectionLimits {
    fn new(total: u64) -> Self {
        Self {
            total: whole(total),
            per_client: whole((total * 3 / 4).max(1)),
        }
    }
}

/// Limits of concurrent connections and responses. Each endpoint has connections of its own, so that a full one does
/// not lock out the clients of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The main port.
    pub main: ConnectionLimits,
    /// The Unix socket of the configuration.
    pub socket: ConnectionLimits,
    /// The control socket.
    pub control: ConnectionLimits,
    /// The port for carriers.
    pub carriers: ConnectionLimits,
    /// Results, logs and uploads.
    pub bulk_bodies: usize,
    /// Events and followed logs.
    pub streams: usize,
}

impl Limits {
    /// The limits for a number of descriptors. A quarter of the descriptors is reserved for Docker, the store and
    /// evidence. Each bulk body takes one more, because it reads or writes a file. Streams and bulk bodies together
    /// never use all connections of an address to the main port, so that their client can still send other requests.
    pub fn for_descriptors(descriptors: u64, connections: Option<u64>) -> Self {
        let reserve = (descriptors / 4).clamp(64, 1024);
        let bulk = (descriptors / 16).clamp(2, MAX_BULK_BODIES);
        let socket = (descriptors / 8).clamp(16, MAX_SOCKET_CONNECTIONS);
        let carriers = (descriptors / 8).clamp(16, MAX_CARRIER_CONNECTIONS);
        let control = (descriptors / 64).clamp(4, MAX_CONTROL_CONNECTIONS);
        let others = reserve + bulk + socket + carriers + control;
        let possible = descriptors.saturating_sub(others).max(16);
        let connections = connections.unwrap_or(MAX_CONNECTIONS).min(possible);
        let streams = (connections / 2).clamp(1, MAX_STREAMS);
        Self {
            main: ConnectionLimits::new(connections),
            socket: ConnectionLimits::new(socket),
            control: ConnectionLimits::new(control),
            carriers: ConnectionLimits::new(carriers),
            bulk_bodies: whole(bulk),
            streams: whole(streams),
        }
    }

    /// The limits for this process, after raising its soft limit of descriptors to the hard one. `connections` is the
    /// configured number.
    pub fn for_process(connections: Option<u64>) -> Self {
        let descriptors = raise_limit();
        let limits = Self::for_descriptors(descriptors, connections);
        if connections.is_some_and(|wanted| wanted > limits.main.total as u64) {
            tracing::warn!(
                descriptors,
                "`limits.connections` exceeds the limit of open files (`ulimit -n`); using {}",
                limits.main.total
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

fn whole(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
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
            let endpoints = [limits.main, limits.socket, limits.control, limits.carriers];
            let connections: usize = endpoints.iter().map(|endpoint| endpoint.total).sum();
            let taken = (connections + limits.bulk_bodies) as u64;
            let reserve = descriptors - taken;
            assert!(reserve >= 64, "{descriptors}: {limits:?}");
            let long_lived = limits.streams + limits.bulk_bodies;
            assert!(
                long_lived < limits.main.per_client,
                "{descriptors}: {limits:?}"
            );
            for endpoint in endpoints {
                assert!(endpoint.per_client < endpoint.total, "{limits:?}");
            }
        }
    }

    #[test]
    fn with_enough_descriptors_the_limits_are_the_documented_ones() {
        let limits = Limits::for_descriptors(16_384, None);
        assert_eq!((limits.bulk_bodies, limits.streams), (64, 512));
        assert_eq!((limits.main.total, limits.socket.total), (4096, 1024));
        assert_eq!((limits.carriers.total, limits.control.total), (1024, 16));
    }

    #[test]
    fn the_configured_number_applies_to_the_main_port_unless_there_are_too_few_descriptors() {
        let limits = Limits::for_descriptors(16_384, Some(100));
        assert_eq!((limits.main.total, limits.socket.total), (100, 1024));
        let few = Limits::for_descriptors(256, Some(10_000));
        assert_eq!(few, Limits::for_descriptors(256, None));
    }
}
