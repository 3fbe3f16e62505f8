//! When a device connects and publishes. Pure.

use std::time::Duration;

/// The times at which a device publishes, relative to the start of publishing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schedule {
    phase: Duration,
    period: Duration,
    duration: Duration,
}

impl Schedule {
    /// The device publishes at a random phase of each period. The phase depends only on the seed and the device's number.
    ///
    /// `period` must not be zero; it is at least a nanosecond here.
    pub fn new(seed: u64, number: u64, period: Duration, duration: Duration) -> Self {
        let period = period.max(Duration::from_nanos(1));
        let nanos = u64::try_from(period.as_nanos()).unwrap_or(u64::MAX);
        let mut random =
            fastrand::Rng::with_seed(seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        Self {
            phase: Duration::from_nanos(random.u64(0..nanos)),
            period,
            duration,
        }
    }

    /// Time of the message `n`, from 0; `None` if it is not before the end.
    pub fn due(&self, n: u32) -> Option<Duration> {
        let due = self.period.checked_mul(n)?.checked_add(self.phase)?;
        (due < self.duration).then_some(due)
    }
}

/// When the device with this number connects, from the start of the ramp: `per_second` connections over all workers.
pub fn connect_at(number: u64, per_second: f64) -> Duration {
    Duration::try_from_secs_f64(number as f64 / per_second).unwrap_or(Duration::MAX)
}

/// Pause before a reconnect with exponential backoff and full jitter: a random time below `first * 2^attempt`, and below
/// `longest`.
pub fn backoff(
    attempt: u32,
    first: Duration,
    longest: Duration,
    random: &mut fastrand::Rng,
) -> Duration {
    let factor = 2u32.saturating_pow(attempt);
    first
        .saturating_mul(factor)
        .min(longest)
        .mul_f64(random.f64())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn count(schedule: &Schedule) -> u32 {
        (0..).take_while(|n| schedule.due(*n).is_some()).count() as u32
    }

    proptest! {
        #[test]
        fn a_device_publishes_once_in_each_period(seed: u64, number: u64, millis in 1u64..100_000, periods in 0u32..50) {
            let period = Duration::from_millis(millis);
            let schedule = Schedule::new(seed, number, period, period * periods);
            prop_assert_eq!(count(&schedule), periods);
            for n in 0..periods {
                let due = schedule.due(n).expect("before the end");
                prop_assert!(due >= period * n && due < period * (n + 1));
            }
        }

        #[test]
        fn a_part_of_a_period_adds_at_most_one_message(seed: u64, number: u64, millis in 1u64..5000, more in 0u64..5000) {
            let period = Duration::from_millis(millis);
            let schedule = Schedule::new(seed, number, period, period * 3 + Duration::from_millis(more % millis));
            prop_assert!((3..=4).contains(&count(&schedule)));
        }

        #[test]
        fn the_ramp_has_no_bursts(number in 0u64..1_000_000, rate in 1u32..10_000) {
            let rate = f64::from(rate);
            let gap = connect_at(number + 1, rate).saturating_sub(connect_at(number, rate));
            prop_assert!((gap.as_secs_f64() - 1.0 / rate).abs() < 1e-6);
        }

        #[test]
        fn a_pause_is_below_its_bound(attempt: u32, seed: u64) {
            let (first, longest) = (Duration::from_secs(1), Duration::from_secs(60));
            let pause = backoff(attempt, first, longest, &mut fastrand::Rng::with_seed(seed));
            prop_assert!(pause < longest && pause < first * 2u32.pow(attempt.min(6)));
        }
    }

    #[test]
    fn the_phases_are_spread_over_the_period() {
        let period = Duration::from_secs(15);
        let mut seconds = [0u32; 15];
        for number in 0..15_000 {
            let due = Schedule::new(1, number, period, period)
                .due(0)
                .expect("one message");
            seconds[due.as_secs() as usize] += 1;
        }
        assert!(
            seconds.iter().all(|n| (850..1150).contains(n)),
            "{seconds:?}"
        );
    }

    #[test]
    fn the_same_seed_repeats_the_schedule_and_another_one_does_not() {
        let hour = Duration::from_secs(3600);
        let of = |seed| Schedule::new(seed, 7, hour, hour).due(0);
        assert_eq!(of(1), of(1));
        assert_ne!(of(1), of(2));
    }
}
