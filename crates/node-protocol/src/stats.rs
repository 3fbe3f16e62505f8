//! The statistics of a container in Docker's API (`GET /containers/{id}/stats`), which the Director and the carriers read
//! in the same way. They are those of an Engine with cgroup v1 or v2. A number that the Engine does not report is absent.

use crate::load::ResourceUsage;
use serde::Deserialize;
use std::collections::BTreeMap;

/// A limit at or above this means "no limit": cgroup v1 reports the largest multiple of a page.
const UNLIMITED: u64 = 1 << 62;

/// The statistics of a container.
#[derive(Debug, Clone, Deserialize)]
pub struct ContainerStats {
    /// CPU time.
    pub cpu_stats: CpuStats,
    #[serde(default)]
    memory_stats: Option<MemoryStats>,
    /// By interface. Absent for a container in its node's own network.
    #[serde(default)]
    networks: Option<BTreeMap<String, InterfaceStats>>,
    #[serde(default)]
    blkio_stats: Option<BlockStats>,
}

/// CPU time of a container. A container that has ended has no CPUs.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct CpuStats {
    /// CPU time of the container.
    pub cpu_usage: CpuTime,
    /// CPU time of the whole node, over all its CPUs, in nanoseconds.
    #[serde(default)]
    pub system_cpu_usage: u64,
    /// Number of CPUs of the node.
    #[serde(default)]
    pub online_cpus: u32,
}

/// CPU time that a container has used.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct CpuTime {
    /// In nanoseconds, over all CPUs.
    #[serde(default)]
    pub total_usage: u64,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct MemoryStats {
    #[serde(default)]
    usage: Option<u64>,
    #[serde(default)]
    limit: Option<u64>,
    #[serde(default)]
    stats: Option<CacheStats>,
}

/// The page cache that the kernel can drop at any time.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
struct CacheStats {
    /// cgroup v1.
    #[serde(default)]
    total_inactive_file: Option<u64>,
    /// cgroup v2; cgroup v1 has it without the cgroups below.
    #[serde(default)]
    inactive_file: Option<u64>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
struct InterfaceStats {
    #[serde(default)]
    rx_bytes: Option<u64>,
    #[serde(default)]
    tx_bytes: Option<u64>,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct BlockStats {
    #[serde(default)]
    io_service_bytes_recursive: Option<Vec<BlockEntry>>,
}

/// Bytes of one operation on one device.
#[derive(Debug, Clone, Deserialize)]
struct BlockEntry {
    /// `Read`, `Write` and others with cgroup v1, `read` and `write` with cgroup v2.
    #[serde(default)]
    op: String,
    #[serde(default)]
    value: u64,
}

impl ContainerStats {
    /// Memory, network and block I/O.
    pub fn usage(&self) -> ResourceUsage {
        let memory = self.memory_stats.as_ref();
        let interfaces = || self.networks.iter().flat_map(BTreeMap::values);
        ResourceUsage {
            memory: memory.and_then(MemoryStats::used),
            memory_limit: memory.and_then(MemoryStats::limit),
            received: sum(interfaces().filter_map(|one| one.rx_bytes)),
            sent: sum(interfaces().filter_map(|one| one.tx_bytes)),
            read: self.block_bytes("read"),
            written: self.block_bytes("write"),
        }
    }

    fn block_bytes(&self, operation: &str) -> Option<u64> {
        let entries = self.blkio_stats.as_ref()?;
        let entries = entries.io_service_bytes_recursive.as_ref()?;
        let wanted = |entry: &&BlockEntry| entry.op.eq_ignore_ascii_case(operation);
        sum(entries.iter().filter(wanted).map(|entry| entry.value))
    }
}

impl MemoryStats {
    /// Used memory without the page cache that can be dropped, as `docker stats` computes it.
    fn used(&self) -> Option<u64> {
        let (usage, cache) = (self.usage?, self.stats.unwrap_or_default());
        let caches = [cache.total_inactive_file, cache.inactive_file];
        let cached = caches.into_iter().flatten().find(|cached| *cached < usage);
        Some(usage - cached.unwrap_or_default())
    }

    fn limit(&self) -> Option<u64> {
        self.limit.filter(|limit| (1..UNLIMITED).contains(limit))
    }
}

/// The sum; `None` without numbers.
fn sum(numbers: impl Iterator<Item = u64>) -> Option<u64> {
    numbers.reduce(u64::saturating_add)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn read(text: &str) -> ContainerStats {
        serde_json::from_str(text).unwrap()
    }

    /// An Engine 20.10 on a node with cgroup v1.
    const CGROUP_V1: &str = r#"{
        "read": "2026-11-21T10:00:02.123456789Z", "preread": "0001-01-01T00:00:00Z",
        "pids_stats": {"current": 9},
        "blkio_stats": {
            "io_service_bytes_recursive": [
                {"major": 8, "minor": 0, "op": "Read", "value": 4096},
                {"major": 8, "minor": 0, "op": "Write", "value": 8192},
                {"major": 8, "minor": 0, "op": "Sync", "value": 12288},
                {"major": 8, "minor": 0, "op": "Async", "value": 0},
                {"major": 8, "minor": 0, "op": "Discard", "value": 0},
                {"major": 8, "minor": 0, "op": "Total", "value": 12288},
                {"major": 253, "minor": 1, "op": "Read", "value": 1000},
                {"major": 253, "minor": 1, "op": "Write", "value": 0}
            ],
            "io_serviced_recursive": [{"major": 8, "minor": 0, "op": "Read", "value": 1}],
            "io_queue_recursive": [], "sectors_recursive": []
        },
        "num_procs": 0, "storage_stats": {},
        "cpu_stats": {
            "cpu_usage": {"total_usage": 1500000000, "percpu_usage": [1000000000, 500000000],
                "usage_in_kernelmode": 100000000, "usage_in_usermode": 1400000000},
            "system_cpu_usage": 9000000000, "online_cpus": 2,
            "throttling_data": {"periods": 0, "throttled_periods": 0, "throttled_time": 0}
        },
        "precpu_stats": {"cpu_usage": {"total_usage": 0}},
        "memory_stats": {
            "usage": 104857600, "max_usage": 110000000, "failcnt": 0, "limit": 536870912,
            "stats": {"active_anon": 52428800, "cache": 41943040, "inactive_file": 1, "total_cache": 41943040,
                "total_inactive_file": 20971520, "hierarchical_memory_limit": 536870912}
        },
        "name": "/t-abc-worker.1.xyz", "id": "4f1d",
        "networks": {
            "eth0": {"rx_bytes": 1000, "rx_packets": 10, "rx_errors": 0, "rx_dropped": 0, "tx_bytes": 300,
                "tx_packets": 3, "tx_errors": 0, "tx_dropped": 0},
            "eth1": {"rx_bytes": 24, "rx_packets": 1, "tx_bytes": 7, "tx_packets": 1}
        }
    }"#;

    /// An Engine 29 on a node with cgroup v2; the container is in its node's network and has a limit of half its memory.
    const CGROUP_V2: &str = r#"{
        "id": "4f1d", "name": "/t-abc-worker.1.xyz", "os_type": "linux",
        "read": "2026-11-21T10:00:02.123456789Z",
        "cpu_stats": {
            "cpu_usage": {"total_usage": 2500000, "usage_in_kernelmode": 500000, "usage_in_usermode": 2000000},
            "system_cpu_usage": 18000000000, "online_cpus": 4,
            "throttling_data": {"periods": 0, "throttled_periods": 0, "throttled_time": 0}
        },
        "memory_stats": {
            "usage": 30000000, "limit": 8000000000,
            "stats": {"anon": 20000000, "file": 9000000, "inactive_file": 4000000, "active_file": 5000000}
        },
        "pids_stats": {"current": 4, "limit": 9000},
        "blkio_stats": {
            "io_service_bytes_recursive": [
                {"major": 259, "minor": 0, "op": "read", "value": 123},
                {"major": 259, "minor": 0, "op": "write", "value": 456}
            ],
            "io_serviced_recursive": null, "io_queue_recursive": null, "io_service_time_recursive": null,
            "io_wait_time_recursive": null, "io_merged_recursive": null, "io_time_recursive": null,
            "sectors_recursive": null
        },
        "num_procs": 0, "storage_stats": {}
    }"#;

    /// What Docker answers for a container that has ended.
    const ENDED: &str = r#"{
        "read": "0001-01-01T00:00:00Z", "pids_stats": {}, "num_procs": 0, "storage_stats": {},
        "blkio_stats": {"io_service_bytes_recursive": null, "io_serviced_recursive": null},
        "cpu_stats": {"cpu_usage": {"total_usage": 0, "usage_in_kernelmode": 0, "usage_in_usermode": 0},
            "throttling_data": {"periods": 0}},
        "memory_stats": {}, "name": "/gone", "id": "4f1d"
    }"#;

    #[test]
    fn statistics_with_cgroup_v1_are_read() {
        let stats = read(CGROUP_V1);
        let cpu = stats.cpu_stats;
        assert_eq!(cpu.cpu_usage.total_usage, 1_500_000_000);
        assert_eq!((cpu.system_cpu_usage, cpu.online_cpus), (9_000_000_000, 2));
        let expected = ResourceUsage {
            memory: Some(80 << 20),
            memory_limit: Some(512 << 20),
            received: Some(1024),
            sent: Some(307),
            read: Some(5096),
            written: Some(8192),
        };
        assert_eq!(stats.usage(), expected);
    }

    #[test]
    fn statistics_with_cgroup_v2_are_read_and_missing_numbers_are_absent() {
        let stats = read(CGROUP_V2);
        assert_eq!(stats.cpu_stats.online_cpus, 4);
        let expected = ResourceUsage {
            memory: Some(26_000_000),
            memory_limit: Some(8_000_000_000),
            received: None,
            sent: None,
            read: Some(123),
            written: Some(456),
        };
        assert_eq!(stats.usage(), expected);
    }

    #[test]
    fn a_container_that_has_ended_has_no_cpus_and_no_usage() {
        let stats = read(ENDED);
        assert_eq!(stats.cpu_stats.online_cpus, 0);
        assert_eq!(stats.usage(), ResourceUsage::default());
    }

    #[test]
    fn memory_is_that_of_docker_stats() {
        let memory = |stats: &str| {
            let text =
                format!(r#"{{"cpu_stats": {{"cpu_usage": {{}}}}, "memory_stats": {stats}}}"#);
            read(&text).usage().memory
        };
        // More cache than usage is an inconsistent reading: the usage counts.
        let odd = r#"{"usage": 100, "stats": {"total_inactive_file": 100, "inactive_file": 100}}"#;
        assert_eq!(memory(odd), Some(100));
        assert_eq!(
            memory(r#"{"usage": 100, "stats": {"total_inactive_file": 0, "inactive_file": 60}}"#),
            Some(100)
        );
        assert_eq!(memory(r#"{"usage": 100, "stats": null}"#), Some(100));
        assert_eq!(memory(r#"{"stats": {"inactive_file": 60}}"#), None);
    }

    #[test]
    fn a_container_without_limit_has_none() {
        let text = r#"{"cpu_stats": {"cpu_usage": {}}, "networks": null, "blkio_stats": {},
            "memory_stats": {"usage": 7, "limit": 9223372036854771712}}"#;
        let usage = read(text).usage();
        assert_eq!((usage.memory, usage.memory_limit), (Some(7), None));
        assert_eq!((usage.received, usage.read), (None, None));
    }
}
