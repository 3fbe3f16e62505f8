//! Limits of a machine or container: source ports and file descriptors. Pure; [`crate::system`] reads them.

use std::fmt;
use std::io::Error;

use rustix::io::Errno;

/// Descriptors that the program needs besides its connections.
pub const RESERVED_DESCRIPTORS: u64 = 64;

/// The value of `net.ipv4.ip_local_port_range`: from which ports the kernel chooses for outgoing connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortRange {
    first: u16,
    last: u16,
}

/// A text is not a range of ports.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a range of ports; expected for example `1024-65535`")]
pub struct PortRangeError(String);

impl PortRange {
    /// The default of Linux.
    pub const DEFAULT: Self = Self {
        first: 32_768,
        last: 60_999,
    };

    /// The ports.
    pub fn ports(self) -> impl Iterator<Item = u16> {
        self.first..=self.last
    }

    /// Number of ports, at least 1.
    pub const fn count(self) -> u64 {
        (self.last - self.first) as u64 + 1
    }
}

impl std::str::FromStr for PortRange {
    type Err = PortRangeError;

    /// Two ports, separated by `-` or, as in the kernel's file, by blanks.
    fn from_str(text: &str) -> Result<Self, PortRangeError> {
        let mut ports = text
            .split(|c: char| c == '-' || c.is_whitespace())
            .filter(|part| !part.is_empty())
            .map(str::parse);
        match (ports.next(), ports.next(), ports.next()) {
            (Some(Ok(first)), Some(Ok(last)), None) if 0 < first && first <= last => {
                Ok(Self { first, last })
            }
            _ => Err(PortRangeError(text.trim().to_owned())),
        }
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.first, self.last)
    }
}

/// What a machine or container allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// Ports for outgoing connections.
    pub ports: PortRange,
    /// Maximum number of open files of the process.
    pub descriptors: u64,
}

/// The addresses between which devices connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddressPairs {
    /// Number of addresses of brokers, at least 1.
    pub brokers: u64,
    /// Number of source addresses that are set explicitly; 0 if the kernel chooses.
    pub sources: u64,
}

impl AddressPairs {
    /// Connections that the ports allow: each pair of a source address and a broker can use all of them.
    pub fn connections(self, ports: PortRange) -> u64 {
        let pairs = self.brokers.max(1).saturating_mul(self.sources.max(1));
        ports.count().saturating_mul(pairs)
    }
}

/// A limit that is too low for the devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitError {
    /// Source ports.
    Ports {
        /// Devices of this worker.
        devices: u64,
        /// The range of ports.
        ports: PortRange,
        /// The addresses.
        pairs: AddressPairs,
    },
    /// File descriptors.
    Descriptors {
        /// Devices of this worker.
        devices: u64,
        /// The limit of the process.
        descriptors: u64,
    },
}

/// Checks that a worker can hold its connections.
///
/// # Errors
/// When there are too few source ports or descriptors.
pub fn check(devices: u64, pairs: AddressPairs, capacity: Capacity) -> Result<(), LimitError> {
    let Capacity { ports, descriptors } = capacity;
    if devices > pairs.connections(ports) {
        return Err(LimitError::Ports {
            devices,
            ports,
            pairs,
        });
    }
    if devices > descriptors.saturating_sub(RESERVED_DESCRIPTORS) {
        return Err(LimitError::Descriptors {
            devices,
            descriptors,
        });
    }
    Ok(())
}

impl std::error::Error for LimitError {}

impl fmt::Display for LimitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Ports {
                devices,
                ports,
                pairs,
            } => {
                let available = pairs.connections(ports);
                write!(
                    f,
                    "too few source ports: this worker has {devices} devices, and {available} connections are possible \
                     ({} ports, net.ipv4.ip_local_port_range is `{ports}`; {} broker addresses, {} source addresses). \
                     {PORTS_ADVICE}, or at least {} times as many replicas",
                    ports.count(),
                    pairs.brokers,
                    pairs.sources.max(1),
                    devices.div_ceil(available)
                )
            }
            Self::Descriptors {
                devices,
                descriptors,
            } => write!(
                f,
                "too few file descriptors: this worker has {devices} devices, and the limit is {descriptors}, of which \
                 {RESERVED_DESCRIPTORS} are reserved. Set \"ulimits\": {{\"nofile\": {}}}, or more replicas",
                devices + RESERVED_DESCRIPTORS
            ),
        }
    }
}

const PORTS_ADVICE: &str =
    "Set \"sysctls\": {\"net.ipv4.ip_local_port_range\": \"1024 65535\"}, several --source-address";

/// A resource of this machine that was exhausted while the test ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exhausted {
    /// No source port is free.
    Ports,
    /// No descriptor is free: in the process, or on the machine.
    Descriptors,
    /// The kernel has no memory for sockets.
    Memory,
}

impl Exhausted {
    /// The resource that an error is about; `None` for errors of the network or the broker.
    pub fn from_error(error: &Error) -> Option<Self> {
        match Errno::from_io_error(error)? {
            Errno::ADDRNOTAVAIL | Errno::ADDRINUSE => Some(Self::Ports),
            Errno::MFILE | Errno::NFILE => Some(Self::Descriptors),
            Errno::NOBUFS | Errno::NOMEM => Some(Self::Memory),
            _ => None,
        }
    }

    /// The name of the resource and what to change.
    pub const fn advice(self) -> (&'static str, &'static str) {
        match self {
            Self::Ports => (
                "no source port is free",
                "Set \"sysctls\": {\"net.ipv4.ip_local_port_range\": \"1024 65535\"}, several --source-address, or more replicas",
            ),
            Self::Descriptors => (
                "no file descriptor is free",
                "Set a higher \"ulimits\": {\"nofile\": ...}, or more replicas",
            ),
            Self::Memory => (
                "the kernel has no memory for sockets",
                "Set net.ipv4.tcp_mem of the node higher, or more replicas on other nodes",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const ONE: AddressPairs = AddressPairs {
        brokers: 1,
        sources: 0,
    };

    fn capacity(ports: &str, descriptors: u64) -> Capacity {
        Capacity {
            ports: ports.parse().unwrap(),
            descriptors,
        }
    }

    #[test]
    fn the_default_range_has_28232_ports() {
        assert_eq!(PortRange::DEFAULT.count(), 28_232);
        assert_eq!("32768\t60999\n".parse(), Ok(PortRange::DEFAULT));
        assert_eq!("1024-65535".parse::<PortRange>().unwrap().count(), 64_512);
        for text in ["", "1024", "0-10", "20-10", "1-70000", "1-2-3", "a-b"] {
            let error = text.parse::<PortRange>().unwrap_err().to_string();
            assert!(error.contains(&format!("`{text}`")), "{error}");
        }
    }

    #[test]
    fn as_many_devices_as_ports_fit_and_one_more_does_not() {
        let machine = capacity("32768-60999", 1_000_000);
        assert_eq!(check(28_232, ONE, machine), Ok(()));
        let error = check(28_233, ONE, machine).unwrap_err().to_string();
        assert!(
            error.contains("28233 devices, and 28232 connections"),
            "{error}"
        );
        assert!(
            error.contains("ip_local_port_range is `32768 60999`"),
            "{error}"
        );
        assert!(
            error.contains("at least 2 times as many replicas"),
            "{error}"
        );
    }

    #[test]
    fn more_brokers_or_source_addresses_allow_more_devices() {
        let machine = capacity("1-100", 1_000_000);
        let pairs = |brokers, sources| AddressPairs { brokers, sources };
        assert_eq!(pairs(3, 0).connections(machine.ports), 300);
        assert_eq!(pairs(3, 2).connections(machine.ports), 600);
        assert_eq!(check(200, pairs(1, 2), machine), Ok(()));
        assert!(check(201, pairs(1, 2), machine).is_err());
    }

    #[test]
    fn too_few_descriptors_are_named_with_the_value_to_set() {
        let machine = capacity("1024-65535", 1024);
        assert_eq!(check(960, ONE, machine), Ok(()));
        let error = check(961, ONE, machine).unwrap_err().to_string();
        assert!(error.contains("the limit is 1024"), "{error}");
        assert!(error.contains("{\"nofile\": 1025}"), "{error}");
    }

    #[test]
    fn exhausted_resources_are_not_errors_of_the_network() {
        let of = |errno: Errno| Exhausted::from_error(&errno.into());
        assert_eq!(of(Errno::ADDRNOTAVAIL), Some(Exhausted::Ports));
        assert_eq!(of(Errno::MFILE), Some(Exhausted::Descriptors));
        assert_eq!(of(Errno::NOBUFS), Some(Exhausted::Memory));
        assert_eq!(of(Errno::CONNREFUSED), None);
        assert_eq!(Exhausted::from_error(&Error::other("x")), None);
    }
}
