//! The resource usage of a container within one interval.

use atq_engine::{CpuInterval, ResourceUsage};

/// CPU usage within an interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CpuPoint {
    /// Seconds in which it was measured.
    pub sampled: f64,
    /// Mean number of CPUs in use.
    pub mean: f64,
    /// Largest number of CPUs in use.
    pub max: f64,
    /// Number of CPUs that may be used.
    pub limit: f64,
}

/// The resource usage of a container within one interval; what is not known is absent.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Point {
    pub cpu: Option<CpuPoint>,
    /// The most used memory; the other numbers are those at the end of the interval.
    pub usage: ResourceUsage,
}

impl Point {
    /// The point of a single sample.
    pub fn of(cpu: Option<CpuInterval>, usage: ResourceUsage) -> Self {
        let cpu = cpu.filter(|cpu| {
            let numbers = [cpu.used, cpu.processors, cpu.seconds];
            numbers.iter().all(|number| number.is_finite()) && cpu.seconds > 0.0
        });
        let cpu = cpu.map(|cpu| CpuPoint {
            sampled: cpu.seconds,
            mean: cpu.used,
            max: cpu.used,
            limit: cpu.processors,
        });
        Self { cpu, usage }
    }

    /// Adds another point of the same interval, or of the following one. The order of the points has no effect.
    pub fn merge(&mut self, other: &Self) {
        self.cpu = match (self.cpu, other.cpu) {
            (Some(one), Some(two)) => Some(one.merged(two)),
            (one, two) => one.or(two),
        };
        let (own, other) = (&mut self.usage, &other.usage);
        // All counters increase until the end of the container; of an absent and a known number the known one is larger.
        own.memory = own.memory.max(other.memory);
        own.memory_limit = own.memory_limit.max(other.memory_limit);
        own.received = own.received.max(other.received);
        own.sent = own.sent.max(other.sent);
        own.read = own.read.max(other.read);
        own.written = own.written.max(other.written);
    }
}

impl CpuPoint {
    fn merged(self, other: Self) -> Self {
        let sampled = self.sampled + other.sampled;
        let weighted = self.mean * self.sampled + other.mean * other.sampled;
        Self {
            sampled,
            mean: weighted / sampled.max(f64::MIN_POSITIVE),
            max: self.max.max(other.max),
            limit: self.limit.max(other.limit),
        }
    }
}
