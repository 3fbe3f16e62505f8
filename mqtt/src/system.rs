//! Reads and raises the limits of this process.

use crate::limits::{Capacity, PortRange};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io::Error;
use std::net::{IpAddr, TcpListener};

const PORTS_FILE: &str = "/proc/sys/net/ipv4/ip_local_port_range";

/// The limits of this process, after the soft limit of descriptors is raised to the hard one.
///
/// # Errors
/// When the kernel's file cannot be read or understood; the text names the file.
pub fn capacity() -> Result<Capacity, String> {
    Ok(Capacity {
        ports: ports()?,
        descriptors: raise_descriptors(),
    })
}

fn ports() -> Result<PortRange, String> {
    let text = std::fs::read_to_string(PORTS_FILE)
        .map_err(|error| format!("cannot read {PORTS_FILE}: {error}"))?;
    text.parse()
        .map_err(|error| format!("{PORTS_FILE}: {error}"))
}

/// Raises the soft limit, and returns the limit that is in force.
fn raise_descriptors() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let wanted = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    let in_force = match setrlimit(Resource::Nofile, wanted) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    in_force.unwrap_or(u64::MAX)
}

/// Checks that a source address is one of this machine.
///
/// # Errors
/// When no socket can be bound to it.
pub fn check_source(address: IpAddr) -> Result<(), Error> {
    TcpListener::bind((address, 0)).map(drop)
}
