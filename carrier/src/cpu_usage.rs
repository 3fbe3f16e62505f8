//! CPU usage of this node, from the kernel's counters.

use std::fs;
use std::io;

const STAT: &str = "/proc/stat";
/// user, nice, system, idle, iowait, irq, softirq, steal; guests are counted in user and nice.
const FIELDS: usize = 8;
const IDLE: [usize; 2] = [3, 4];

/// A snapshot of the counters of all CPUs together, in ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CpuTicks {
    /// Number of CPUs.
    pub cpus: u32,
    total: u64,
    idle: u64,
}

impl CpuTicks {
    /// Reads the current counters. In a container, these are the counters of the node.
    ///
    /// # Errors
    /// When `/proc/stat` cannot be read or parsed.
    pub fn now() -> io::Result<Self> {
        Self::parse(&fs::read_to_string(STAT)?).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    fn parse(text: &str) -> Option<Self> {
        let all = text.lines().find_map(|line| line.strip_prefix("cpu "))?;
        let mut fields = [0; FIELDS];
        for (field, word) in fields.iter_mut().zip(all.split_whitespace()) {
            *field = word.parse().ok()?;
        }
        let one = |line: &&str| line.starts_with("cpu") && !line.starts_with("cpu ");
        let cpus = u32::try_from(text.lines().filter(one).count()).ok()?;
        Some(Self {
            cpus,
            total: fields.iter().sum(),
            idle: IDLE.iter().map(|&at| fields[at]).sum(),
        })
    }

    /// CPU usage of the node since `before`, from 0 to 100 percent. Steal time counts as busy.
    pub fn percent_since(&self, before: &Self) -> Option<f64> {
        let total = self.total.checked_sub(before.total).filter(|&t| t > 0)?;
        // The iowait counter may decrease slightly.
        let idle = self.idle.saturating_sub(before.idle).min(total);
        Some(round_percent(100.0 * (total - idle) as f64 / total as f64))
    }
}

/// Rounds to a tenth of a percent.
pub fn round_percent(percent: f64) -> f64 {
    (percent * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const BEFORE: &str = "cpu  100 0 100 700 100 0 0 0 50 0\ncpu0 1 2\ncpu1 1 2\nintr 5\n";
    const AFTER: &str = "cpu  180 0 110 705 103 0 0 2 90 0\ncpu0 1 2\ncpu1 1 2\nintr 6\n";

    #[test]
    fn idle_and_iowait_do_not_count_as_busy() {
        let (before, after) = (
            CpuTicks::parse(BEFORE).unwrap(),
            CpuTicks::parse(AFTER).unwrap(),
        );
        assert_eq!(after.cpus, 2);
        assert_eq!(after.percent_since(&before), Some(92.0));
        assert_eq!(after.percent_since(&after), None);
        assert_eq!(before.percent_since(&after), None);
    }

    #[test]
    fn the_counters_of_this_machine_can_be_parsed() {
        let ticks = CpuTicks::now().unwrap();
        assert!(ticks.cpus > 0 && ticks.total >= ticks.idle);
        assert_eq!(CpuTicks::parse("nothing"), None);
    }
}
