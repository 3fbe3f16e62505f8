//! The process: its start, its memory, its descriptors. Read from the files of the kernel.

use super::gauges::Gauges;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::registry::Unit;
use std::fmt;
use std::fs;
use std::time::{Duration, SystemTime};

const STATUS: &str = "/proc/self/status";
const DESCRIPTORS: &str = "/proc/self/fd";

/// Describes the process.
#[derive(Debug)]
pub(super) struct Process {
    /// Time since the Unix epoch.
    started: Duration,
}

impl Process {
    /// A process that starts now.
    pub(super) fn started_now() -> Self {
        let started = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        Self {
            started: started.unwrap_or_default(),
        }
    }
}

impl Collector for Process {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut gauges = Gauges::new(encoder);
        gauges.single(
            "process_start_time",
            "Start of the Director since the Unix epoch",
            Some(&Unit::Seconds),
            self.started.as_secs_f64(),
        )?;
        // Without these files, for example in a restricted container, the values are absent.
        let status = fs::read_to_string(STATUS).unwrap_or_default();
        if let Some(bytes) = resident_bytes(&status) {
            gauges.single(
                "process_resident_memory",
                "Resident memory of the Director",
                Some(&Unit::Bytes),
                bytes,
            )?;
        }
        if let Ok(descriptors) = fs::read_dir(DESCRIPTORS) {
            // One of them reads this list.
            let open = descriptors.count().saturating_sub(1);
            let help = "Open file descriptors of the Director";
            gauges.single("process_open_fds", help, None, open as u64)?;
        }
        Ok(())
    }
}

/// The resident memory in the status of a process.
fn resident_bytes(status: &str) -> Option<u64> {
    let mut lines = status.lines();
    let text = lines.find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = text.trim().strip_suffix(" kB")?.parse().ok()?;
    kibibytes.checked_mul(1024)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_resident_memory_is_read_in_bytes() {
        let status = "Name:\tatq\nVmHWM:\t  900 kB\nVmRSS:\t    812 kB\nThreads:\t4\n";
        assert_eq!(resident_bytes(status), Some(812 * 1024));
        for status in ["", "VmRSS: 812\n", "VmRSS: many kB\n"] {
            assert_eq!(resident_bytes(status), None, "{status}");
        }
        let own = resident_bytes(&fs::read_to_string(STATUS).unwrap()).unwrap();
        assert!(own > 1 << 20, "{own}");
    }
}
