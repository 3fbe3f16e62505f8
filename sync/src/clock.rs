//! Clocks of different processes, and the estimate of the difference between them.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// A time of the master's monotonic clock, in nanoseconds since its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct MasterTime(pub i64);

/// A time of a worker's monotonic clock, in nanoseconds since its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WorkerTime(pub i64);

/// A time of the wall clock, in nanoseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WallTime(pub i64);

impl WallTime {
    /// The present time.
    pub fn now() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        Self(nanos(since.unwrap_or_default()))
    }
}

/// A monotonic clock that starts at 0.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    epoch: Instant,
}

impl Clock {
    /// A clock that starts now.
    pub fn start() -> Self {
        Self {
            epoch: Instant::now(),
        }
    }

    /// Nanoseconds from the start of the clock to `instant`.
    pub fn nanos_at(self, instant: Instant) -> i64 {
        nanos(instant.saturating_duration_since(self.epoch))
    }

    /// The instant of a number of nanoseconds after the start; `None` if it is not representable.
    pub fn instant(self, nanos: i64) -> Option<Instant> {
        let nanos = u64::try_from(nanos).ok()?;
        self.epoch.checked_add(Duration::from_nanos(nanos))
    }
}

/// A duration in nanoseconds; the largest number for one that is longer than 292 years.
pub fn nanos(time: Duration) -> i64 {
    i64::try_from(time.as_nanos()).unwrap_or(i64::MAX)
}

/// The distance of two times, in either order.
pub fn distance(a: i64, b: i64) -> Duration {
    Duration::from_nanos(a.abs_diff(b))
}

/// One clock probe of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exchange {
    /// When the master sent the probe.
    pub sent: MasterTime,
    /// The answer.
    pub worker: WorkerTime,
    /// The wall clock of the worker at that moment.
    pub worker_wall: WallTime,
    /// When the answer arrived.
    pub received: MasterTime,
    /// The wall clock of the master at that moment.
    pub master_wall: WallTime,
}

impl Exchange {
    /// The time from the probe to the answer.
    pub fn round_trip(&self) -> Duration {
        distance(self.received.0, self.sent.0)
    }
}

/// The difference between the clocks of a worker and of the master.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offset {
    /// The worker's time minus the master's, in nanoseconds.
    difference: i64,
    /// Half of the round trip: the error is not larger, in whichever direction the delay was.
    pub uncertainty: Duration,
    /// The worker's wall clock minus the master's, in nanoseconds.
    pub wall_difference: i64,
}

impl Offset {
    /// The estimate of the exchange with the smallest round trip; `None` without exchanges.
    pub fn estimate(exchanges: &[Exchange]) -> Option<Self> {
        exchanges
            .iter()
            .min_by_key(|one| one.round_trip())
            .map(Self::of)
    }

    fn of(exchange: &Exchange) -> Self {
        let round_trip = exchange.received.0.saturating_sub(exchange.sent.0);
        let middle = exchange.sent.0.saturating_add(round_trip / 2);
        let wall_middle = exchange.master_wall.0.saturating_sub(round_trip / 2);
        Self {
            difference: exchange.worker.0.saturating_sub(middle),
            uncertainty: exchange.round_trip() / 2 + Duration::from_nanos(1),
            wall_difference: exchange.worker_wall.0.saturating_sub(wall_middle),
        }
    }

    /// A time of the master in the worker's clock.
    pub fn to_worker(&self, time: MasterTime) -> WorkerTime {
        WorkerTime(time.0.saturating_add(self.difference))
    }

    /// A time of the worker in the master's clock.
    pub fn to_master(&self, time: WorkerTime) -> MasterTime {
        MasterTime(time.0.saturating_sub(self.difference))
    }
}

/// How far apart the tools started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Skew {
    /// The latest start minus the earliest.
    pub between: Duration,
    /// The largest error of `between`.
    pub uncertainty: Duration,
}

impl Skew {
    /// The skew of starts, each with the uncertainty of its clock; zero without starts.
    pub fn of(starts: &[(MasterTime, Duration)]) -> Self {
        let extent = |widened: bool| {
            let by = |unsure: &Duration| if widened { nanos(*unsure) } else { 0 };
            let latest = starts
                .iter()
                .map(|(at, unsure)| at.0.saturating_add(by(unsure)))
                .max();
            let earliest = starts
                .iter()
                .map(|(at, unsure)| at.0.saturating_sub(by(unsure)))
                .min();
            distance(latest.unwrap_or(0), earliest.unwrap_or(0))
        };
        let between = extent(false);
        Self {
            between,
            uncertainty: extent(true).saturating_sub(between),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use proptest::prelude::*;

    /// An exchange with a worker whose clock is `ahead`, with these delays there and back.
    fn exchange(sent: i64, there: i64, back: i64, ahead: i64) -> Exchange {
        Exchange {
            sent: MasterTime(sent),
            worker: WorkerTime(sent + there + ahead),
            worker_wall: WallTime(sent + there + 5),
            received: MasterTime(sent + there + back),
            master_wall: WallTime(sent + there + back),
        }
    }

    proptest! {
        #[test]
        fn the_error_of_the_estimate_is_at_most_the_uncertainty(
            delays in proptest::collection::vec((0..1_000_000_i64, 0..1_000_000_i64), 1..20),
            ahead in -1_000_000_000_000..1_000_000_000_000_i64,
        ) {
            let exchanges: Vec<Exchange> = delays.iter().zip(0..)
                .map(|(&(there, back), number)| exchange(number * 3_000_000, there, back, ahead))
                .collect();
            let offset = Offset::estimate(&exchanges).unwrap();
            let at = MasterTime(77_000_000_000);
            let error = distance(offset.to_worker(at).0, at.0 + ahead);
            prop_assert!(error <= offset.uncertainty, "{:?} > {:?}", error, offset.uncertainty);
            prop_assert_eq!(offset.to_master(offset.to_worker(at)), at);
            let smallest = exchanges.iter().map(Exchange::round_trip).min().unwrap();
            prop_assert!(offset.uncertainty <= smallest / 2 + Duration::from_nanos(2));
        }

        #[test]
        fn the_true_skew_is_within_the_uncertainty(
            starts in proptest::collection::vec((0..1_000_000_i64, -5_000..5_000_i64, 0..1_000_u64), 1..20),
        ) {
            let true_skew = distance(
                starts.iter().map(|one| one.0).max().unwrap(),
                starts.iter().map(|one| one.0).min().unwrap(),
            );
            let seen: Vec<_> = starts.iter()
                .map(|&(at, error, slack)| (MasterTime(at + error), Duration::from_nanos(error.unsigned_abs() + slack)))
                .collect();
            let skew = Skew::of(&seen);
            let error = distance(nanos(skew.between), nanos(true_skew));
            prop_assert!(error <= skew.uncertainty, "{:?} for {:?}", skew, true_skew);
        }

        #[test]
        fn any_answer_gives_an_estimate(sent: i64, worker: i64, wall: i64, received: i64) {
            let exchange = Exchange {
                sent: MasterTime(sent),
                worker: WorkerTime(worker),
                worker_wall: WallTime(wall),
                received: MasterTime(received),
                master_wall: WallTime(received),
            };
            let offset = Offset::estimate(&[exchange]).unwrap();
            let _ = offset.to_master(WorkerTime(worker));
        }
    }

    #[test]
    fn a_difference_of_wall_clocks_is_estimated() {
        let offset = Offset::estimate(&[exchange(100, 10, 10, 3)]).unwrap();
        assert_eq!(offset.wall_difference, 5);
    }
}
