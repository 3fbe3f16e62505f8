//! How busy this node is, from the kernel's counters.

use std::fs;
use std::io;

const STAT: &str = "/proc/stat";
/// user, nice, system, idle, iowait, irq, softirq, steal; guests are counted in user and nice.
const FIELDS: usize = 8;
const IDLE: [usize; 2] = [3, 4];

/// The counters of all processors together at one moment, in ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticks {
    /// How many processors there are.
    pub cpus: u32,
    total: u64,
    idle: u64,
}

impl Ticks {
    /// The counters now. A container sees those of its node.
    ///
    /// # Errors
    /// When they cannot be read or understood.
    pub fn now() -> io::Result<Self> {
        Self::read(&fs::read_to_string(STAT)?).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    fn read(text: &str) -> Option<Self> {
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

    /// How much of the node was busy since `before`: 0 to 100. Time that another guest of the host took away counts as busy.
    pub fn percent_since(&self, before: &Self) -> Option<f64> {
        let total = self.total.checked_sub(before.total).filter(|&t| t > 0)?;
        // The counter of waiting may go backwards a little.
        let idle = self.idle.saturating_sub(before.idle).min(total);
        Some(rounded(100.0 * (total - idle) as f64 / total as f64))
    }
}

/// To a tenth: nobody needs more digits.
pub fn rounded(percent: f64) -> f64 {
    (percent * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const BEFORE: &str = "cpu  100 0 100 700 100 0 0 0 50 0\ncpu0 1 2\ncpu1 1 2\nintr 5\n";
    const AFTER: &str = "cpu  180 0 110 705 103 0 0 2 90 0\ncpu0 1 2\ncpu1 1 2\nintr 6\n";

    #[test]
    fn busy_is_what_is_neither_idle_nor_waiting() {
        let (before, after) = (Ticks::read(BEFORE).unwrap(), Ticks::read(AFTER).unwrap());
        assert_eq!(after.cpus, 2);
        assert_eq!(after.percent_since(&before), Some(92.0));
        assert_eq!(after.percent_since(&after), None);
        assert_eq!(before.percent_since(&after), None);
    }

    #[test]
    fn this_machine_can_be_read() {
        let ticks = Ticks::now().unwrap();
        assert!(ticks.cpus > 0 && ticks.total >= ticks.idle);
        assert_eq!(Ticks::read("nothing"), None);
    }
}
