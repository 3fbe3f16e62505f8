//! How many workers and source addresses a number of devices requires. Pure.

use crate::limits::{Capacity, PortRange, RESERVED_DESCRIPTORS};
use std::fmt;
use std::time::Duration;

/// What is planned.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Request {
    /// Number of devices, at least 1.
    pub devices: u64,
    /// Time between two messages of a device; not zero.
    pub period: Duration,
    /// Size of a payload in bytes.
    pub size: u64,
    /// Limits of each worker.
    pub capacity: Capacity,
    /// Number of addresses of brokers, at least 1.
    pub brokers: u64,
    /// Maximum number of connections of a worker, if it should be lower than its limits allow; at least 1.
    pub connections_per_worker: Option<u64>,
}

/// The limit that determines the number of workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// Source ports of an address.
    Ports,
    /// Descriptors of a process.
    Descriptors,
    /// The request.
    Requested,
}

/// The result.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Plan {
    request: Request,
    /// Maximum number of connections of a worker, and why.
    pub per_worker: (u64, Bound),
    /// Number of workers. Each has a source address of its own.
    pub workers: u64,
    /// Source addresses that the ports require, whatever the descriptors allow.
    pub source_addresses: u64,
}

/// A worker cannot hold a single connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a worker with {0} descriptors can hold no connection: {RESERVED_DESCRIPTORS} are reserved"
)]
pub struct TooFewDescriptors(u64);

/// Bytes of memory of a connection: of the generator, and of the kernel for its socket while it is idle.
const GENERATOR_BYTES: u64 = 2_500;
const KERNEL_BYTES: u64 = 5_000;
/// Bytes of IP and TCP headers of a packet with timestamps.
const TCP_IP_BYTES: u64 = 52;
/// Fixed header, topic of about 24 bytes, packet id.
const PUBLISH_BYTES: u64 = 30;

/// Plans the workers.
///
/// # Errors
/// When the descriptors of a worker are too few for a connection.
pub fn plan(request: Request) -> Result<Plan, TooFewDescriptors> {
    let per_address = request.capacity.ports.count() * request.brokers.max(1);
    let descriptors = request.capacity.descriptors;
    let by_descriptors = descriptors.saturating_sub(RESERVED_DESCRIPTORS);
    if by_descriptors == 0 {
        return Err(TooFewDescriptors(descriptors));
    }
    let bounds = [
        (per_address, Bound::Ports),
        (by_descriptors, Bound::Descriptors),
        (
            request.connections_per_worker.unwrap_or(u64::MAX).max(1),
            Bound::Requested,
        ),
    ];
    let per_worker = bounds
        .into_iter()
        .min_by_key(|(connections, _)| *connections)
        .unwrap_or((per_address, Bound::Ports));
    Ok(Plan {
        request,
        per_worker,
        workers: request.devices.div_ceil(per_worker.0),
        source_addresses: request.devices.div_ceil(per_address),
    })
}

impl Plan {
    /// Connections of the worker that has most.
    pub fn most_connections(&self) -> u64 {
        self.request.devices.div_ceil(self.workers)
    }

    /// Messages of all devices in a second.
    pub fn messages_per_second(&self) -> f64 {
        self.request.devices as f64 / self.request.period.as_secs_f64()
    }

    /// Bytes that all devices send in a second: payloads, and with the headers of MQTT, TCP and IP.
    pub fn bytes_per_second(&self) -> (f64, f64) {
        let messages = self.messages_per_second();
        let packet = self.request.size + PUBLISH_BYTES + TCP_IP_BYTES;
        (
            messages * self.request.size as f64,
            messages * packet as f64,
        )
    }

    /// Memory of the worker that has most connections, in bytes: of the generator, and of the kernel.
    pub fn memory(&self) -> (u64, u64) {
        let connections = self.most_connections();
        (connections * GENERATOR_BYTES, connections * KERNEL_BYTES)
    }

    /// The fields of `worker` in a definition.
    pub fn definition(&self) -> Vec<String> {
        let nofile = self.most_connections() + RESERVED_DESCRIPTORS;
        let mut lines = vec![
            format!("\"replicas\": {}", self.workers),
            format!("\"ulimits\": {{\"nofile\": {nofile}}}"),
        ];
        let ports = self.request.capacity.ports;
        if ports != PortRange::DEFAULT {
            lines.push(format!(
                "\"sysctls\": {{\"net.ipv4.ip_local_port_range\": \"{ports}\"}}"
            ));
        }
        lines
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Request {
            devices,
            capacity,
            brokers,
            ..
        } = self.request;
        let (limit, bound) = self.per_worker;
        let bound = match bound {
            Bound::Ports => "by source ports",
            Bound::Descriptors => "by file descriptors",
            Bound::Requested => "as requested",
        };
        let (payload, wire) = self.bytes_per_second();
        let (generator, kernel) = self.memory();
        writeln!(f, "devices                  {devices}")?;
        writeln!(
            f,
            "limits of a worker       {} source ports ({}), {} descriptors, {brokers} broker addresses",
            capacity.ports.count(),
            capacity.ports,
            capacity.descriptors
        )?;
        writeln!(
            f,
            "connections of a worker  at most {limit}, limited {bound}"
        )?;
        writeln!(
            f,
            "workers                  {}, with up to {} connections each",
            self.workers,
            self.most_connections()
        )?;
        writeln!(f, "source addresses         {}", self.source_addresses)?;
        writeln!(
            f,
            "messages                 {:.1}/s",
            self.messages_per_second()
        )?;
        writeln!(
            f,
            "bytes sent               {:.1} kB/s of payload, about {:.1} kB/s on the network",
            payload / 1000.0,
            wire / 1000.0
        )?;
        writeln!(
            f,
            "memory of a worker       about {:.0} MB, and {:.0} MB of the node's kernel; with TLS about {:.0} MB more",
            generator as f64 / 1e6,
            kernel as f64 / 1e6,
            (self.most_connections() * TLS_BYTES) as f64 / 1e6
        )?;
        writeln!(
            f,
            "each broker              {} connections, so as many descriptors and more",
            devices.div_ceil(brokers.max(1))
        )?;
        writeln!(f)?;
        writeln!(f, "\"worker\": {{ ...")?;
        write!(f, "  {}\n}}", self.definition().join(",\n  "))
    }
}

/// Bytes of memory of the TLS state of a connection.
const TLS_BYTES: u64 = 9_000;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use proptest::prelude::*;

    fn request(devices: u64, ports: &str, descriptors: u64) -> Request {
        Request {
            devices,
            period: Duration::from_secs(15),
            size: 100,
            capacity: Capacity {
                ports: ports.parse().unwrap(),
                descriptors,
            },
            brokers: 1,
            connections_per_worker: None,
        }
    }

    #[test]
    fn a_hundred_thousand_devices_need_two_workers_with_a_wide_range_and_four_by_default() {
        let wide = plan(request(100_000, "1024-65535", 1_048_576)).unwrap();
        assert_eq!((wide.workers, wide.source_addresses), (2, 2));
        let default = plan(request(100_000, "32768-60999", 1_048_576)).unwrap();
        assert_eq!((default.workers, default.source_addresses), (4, 4));
        assert_eq!(default.per_worker, (28_232, Bound::Ports));
    }

    #[test]
    fn few_descriptors_need_more_workers_and_not_more_source_addresses() {
        let plan = plan(request(100_000, "1024-65535", 20_000)).unwrap();
        assert_eq!((plan.workers, plan.source_addresses), (6, 2));
        assert_eq!(plan.per_worker, (19_936, Bound::Descriptors));
    }

    #[test]
    fn three_brokers_triple_the_connections_of_an_address() {
        let plan = plan(Request {
            brokers: 3,
            ..request(100_000, "1024-65535", 1_048_576)
        });
        assert_eq!(plan.unwrap().workers, 1);
    }

    #[test]
    fn the_text_has_the_fields_of_a_definition() {
        let text = plan(request(100_000, "1024-65535", 65_536))
            .unwrap()
            .to_string();
        assert!(
            text.contains("workers                  2, with up to 50000"),
            "{text}"
        );
        assert!(text.contains("\"replicas\": 2,\n  \"ulimits\": {\"nofile\": 50064},\n  \"sysctls\": {\"net.ipv4.ip_local_port_range\": \"1024 65535\"}"), "{text}");
        assert!(text.contains("messages                 6666.7/s"), "{text}");
    }

    #[test]
    fn descriptors_below_the_reserve_are_rejected() {
        assert_eq!(plan(request(1, "1-2", 64)), Err(TooFewDescriptors(64)));
    }

    proptest! {
        #[test]
        fn the_planned_workers_hold_all_devices_and_pass_the_check_before_the_start(
            devices in 1u64..2_000_000, first in 1u16..60_000, ports in 0u16..5000, descriptors in 65u64..200_000,
            brokers in 1u64..5, cap in proptest::option::of(1u64..100_000))
        {
            let request = Request {
                brokers,
                connections_per_worker: cap,
                ..request(devices, &format!("{first}-{}", first + ports), descriptors)
            };
            let plan = plan(request).unwrap();
            prop_assert!(plan.workers * plan.per_worker.0 >= devices);
            prop_assert!((plan.workers - 1) * plan.per_worker.0 < devices);
            let pairs = crate::limits::AddressPairs { brokers, sources: 0 };
            prop_assert!(crate::limits::check(plan.most_connections(), pairs, request.capacity).is_ok());
            prop_assert!(cap.is_none_or(|cap| plan.most_connections() <= cap));
        }
    }
}
