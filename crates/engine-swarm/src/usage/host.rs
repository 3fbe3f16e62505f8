//! CPU time of the machine on which the Director runs.

use crate::port::CpuUsage;

/// Linux counts CPU time in hundredths of a second.
const NANOS_PER_TICK: u64 = 10_000_000;
/// Maximum difference between two readings of the same machine, in nanoseconds of one CPU.
const MAX_DIFFERENCE: u64 = 5_000_000_000;

/// CPU time of all CPUs together since the start of the machine, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostTime {
    all: u64,
    idle: u64,
    processors: u64,
}

impl HostTime {
    /// Reads the kernel's counters; `None` where `/proc/stat` does not exist.
    pub fn now() -> Option<Self> {
        parse(&std::fs::read_to_string("/proc/stat").ok()?)
    }

    /// Whether Docker's figures are those of this machine: no two machines have the same CPU time.
    pub fn is_of(self, usage: &CpuUsage) -> bool {
        u64::from(usage.processors) == self.processors
            && self.all.abs_diff(usage.elapsed) < MAX_DIFFERENCE * self.processors
    }

    /// CPU usage since `earlier` in percent of all CPUs, and the length of the interval in seconds.
    pub fn since(self, earlier: Self) -> Option<(f64, f64)> {
        let all = self.all.checked_sub(earlier.all).filter(|all| *all > 0)?;
        let idle = self.idle.checked_sub(earlier.idle)?.min(all);
        let percent = (all - idle) as f64 / all as f64 * 100.0;
        Some((percent, all as f64 / 1e9 / self.processors as f64))
    }
}

/// `cpu  user nice system idle iowait irq softirq steal guest ...`; `guest` is included in `user`. Steal time counts
/// as busy.
fn parse(text: &str) -> Option<HostTime> {
    let line = text.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let ticks: Vec<u64> = line
        .split_whitespace()
        .take(8)
        .map(str::parse)
        .collect::<Result<_, _>>()
        .ok()?;
    let processors = text
        .lines()
        .filter(|line| line.starts_with("cpu") && !line.starts_with("cpu "));
    let idle = ticks.get(3)? + ticks.get(4)?;
    Some(HostTime {
        all: ticks.iter().sum::<u64>() * NANOS_PER_TICK,
        idle: idle * NANOS_PER_TICK,
        processors: processors.count() as u64,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn time_that_is_not_idle_counts_as_busy() {
        let time = |line: &str| parse(&format!("cpu  {line}\ncpu0 1\ncpu1 1\nintr 5\n")).unwrap();
        let earlier = time("100 0 100 700 100 0 0 0 50 0");
        let later = time("200 0 150 850 100 0 0 100 99 0");
        // 400 ticks of two CPUs, 150 of them idle.
        assert_eq!(later.since(earlier), Some((62.5, 2.0)));
        assert_eq!(earlier.since(later), None);
        let usage = CpuUsage {
            used: 0,
            elapsed: 10_000_000_000,
            processors: 2,
        };
        assert!(earlier.is_of(&usage));
        let other = CpuUsage {
            elapsed: 30_000_000_000,
            ..usage
        };
        assert!(!earlier.is_of(&other));
        assert_eq!(parse("cpu  1 2 x"), None);
    }
}
