//! Source ports of connections, chosen here and not by the kernel.
//!
//! For a socket without a port, Linux searches a free one among those of one parity first. Once half of the range is in use for a
//! destination, each search visits thousands of ports, and blocks its thread for milliseconds to seconds.

use crate::limits::PortRange;
use parking_lot::Mutex;
use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

type Free = Arc<Mutex<VecDeque<u16>>>;

/// The ports for each pair of a source address and a destination.
#[derive(Debug)]
pub struct Ports {
    range: PortRange,
    /// Where the first pool begins, from 0 to 1: workers on one address begin at different ports.
    begin: f64,
    pools: Mutex<HashMap<(IpAddr, SocketAddr), Free>>,
}

/// A port in use. It is free again when this value is dropped, and used again after all others.
#[derive(Debug)]
pub struct Lease {
    port: u16,
    pool: Free,
}

impl Ports {
    /// All ports of the range, for each pair.
    pub fn new(range: PortRange, begin: f64) -> Self {
        Self {
            range,
            begin,
            pools: Mutex::default(),
        }
    }

    /// A free port; `None` if this program uses all of them.
    pub fn take(&self, source: IpAddr, to: SocketAddr) -> Option<Lease> {
        let pool = Arc::clone(
            self.pools
                .lock()
                .entry((source, to))
                .or_insert_with(|| self.pool(to.port())),
        );
        let port = pool.lock().pop_front()?;
        Some(Lease { port, pool })
    }

    /// Without the port of the destination: on one machine, a socket could connect to itself.
    fn pool(&self, except: u16) -> Free {
        let ports = self.range.ports().filter(|port| *port != except);
        let mut ports: VecDeque<u16> = ports.collect();
        let at = (ports.len() as f64 * self.begin) as usize;
        ports.rotate_left(at.min(ports.len()));
        Arc::new(Mutex::new(ports))
    }
}

impl Lease {
    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.pool.lock().push_back(self.port);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const SOURCE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED);

    fn to(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_port_is_used_once_for_each_destination_and_again_after_all_others() {
        let ports = Ports::new("10-12".parse().unwrap(), 0.0);
        let take = |destination| ports.take(SOURCE, to(destination));
        let (first, second) = (
            take("10.0.0.1:1883").unwrap(),
            take("10.0.0.1:1883").unwrap(),
        );
        assert_eq!((first.port(), second.port()), (10, 11));
        assert_eq!(take("10.0.0.2:1883").unwrap().port(), 10);
        drop(first);
        let (third, fourth) = (
            take("10.0.0.1:1883").unwrap(),
            take("10.0.0.1:1883").unwrap(),
        );
        assert_eq!((third.port(), fourth.port()), (12, 10));
        assert!(take("10.0.0.1:1883").is_none());
    }

    #[test]
    fn workers_begin_at_different_ports_and_skip_that_of_the_destination() {
        let ports = Ports::new("10-19".parse().unwrap(), 0.5);
        let mut seen = Vec::new();
        let mut leases = Vec::new();
        while let Some(lease) = ports.take(SOURCE, to("10.0.0.1:13")) {
            seen.push(lease.port());
            leases.push(lease);
        }
        assert_eq!(seen, [15, 16, 17, 18, 19, 10, 11, 12, 14]);
    }
}
