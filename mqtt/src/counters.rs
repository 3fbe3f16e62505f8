//! The counts of a run, and their summary. Pure: all times are passed in.

use crate::record::{Failure, Label};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// A message that is sent later than this after its time is counted as late.
pub const NOTICED_LAG: Duration = Duration::from_millis(100);
/// Maximum number of different failures, and of outages, that are kept.
const MAX_KINDS: usize = 20;

/// Successes and failures.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    /// Successes.
    pub succeeded: u64,
    /// Failures.
    pub failed: u64,
}

impl Count {
    fn add(&mut self, succeeded: bool) {
        match succeeded {
            true => self.succeeded += 1,
            false => self.failed += 1,
        }
    }
}

/// How late messages were sent because the generator was too slow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lag {
    /// The greatest lag.
    pub max: Duration,
    /// Messages with more than [`NOTICED_LAG`].
    pub over_100ms: u64,
    /// Messages with more than the limit of the run.
    pub over_limit: u64,
}

/// A time in which not all devices were connected, after all had been.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outage {
    /// Its start, from the start of the run.
    pub from: Duration,
    /// Its end, when all devices were connected again.
    pub until: Option<Duration>,
    /// The lowest number of connected devices.
    pub lowest: u32,
    /// The greatest number of connections in one second.
    pub peak: u32,
}

/// Connections established in a second.
#[derive(Debug, Clone, Copy, Default)]
struct Rate {
    second: u64,
    count: u32,
}

impl Rate {
    /// Adds a connection, and returns the number in its second.
    fn add(&mut self, at: Duration) -> u32 {
        if at.as_secs() != self.second {
            *self = Self {
                second: at.as_secs(),
                count: 0,
            };
        }
        self.count += 1;
        self.count
    }
}

/// The counts.
#[derive(Debug, Clone, Default)]
pub struct Counters {
    devices: u32,
    connected: u32,
    rate: Rate,
    peak: u32,
    outages: Vec<Outage>,
    more_outages: u64,
    connects: Count,
    reconnects: Count,
    sent: u64,
    acknowledged: u64,
    lost: u64,
    missed: u64,
    lag: Lag,
    failures: BTreeMap<String, u64>,
    other_failures: u64,
}

impl Counters {
    /// Counts of a number of devices.
    pub fn new(devices: u32) -> Self {
        Self {
            devices,
            ..Self::default()
        }
    }

    /// An attempt to connect has ended.
    pub fn connect_ended(&mut self, label: Label, failure: Option<&Failure>) {
        let count = match label {
            Label::Reconnect => &mut self.reconnects,
            Label::Connect | Label::Publish => &mut self.connects,
        };
        count.add(failure.is_none());
        self.note(failure);
    }

    /// A device is connected.
    pub fn connected(&mut self, at: Duration) {
        self.connected += 1;
        let rate = self.rate.add(at);
        self.peak = self.peak.max(rate);
        let all = self.connected == self.devices;
        if let Some(outage) = self.open_outage() {
            outage.peak = outage.peak.max(rate);
            if all {
                outage.until = Some(at);
            }
        }
    }

    /// A device has disconnected at the end of the run.
    pub fn disconnected(&mut self) {
        self.connected -= 1;
    }

    /// A device has lost its connection; `at` is `None` after the end of the run, when nothing is an outage.
    pub fn connection_lost(&mut self, at: Option<Duration>, failure: &Failure) {
        let were_all = self.connected == self.devices;
        self.connected -= 1;
        let connected = self.connected;
        self.note(Some(failure));
        let Some(at) = at else { return };
        if were_all {
            self.begin_outage(at);
        }
        if let Some(outage) = self.open_outage() {
            outage.lowest = outage.lowest.min(connected);
        }
    }

    fn begin_outage(&mut self, at: Duration) {
        if self.outages.len() == MAX_KINDS {
            self.more_outages += 1;
            return;
        }
        self.outages.push(Outage {
            from: at,
            until: None,
            lowest: u32::MAX,
            peak: 0,
        });
    }

    fn open_outage(&mut self) -> Option<&mut Outage> {
        self.outages
            .last_mut()
            .filter(|outage| outage.until.is_none())
    }

    /// A message is sent, `lag` after its time.
    pub fn sent(&mut self, lag: Duration, max_lag: Duration) {
        self.sent += 1;
        self.lag.max = self.lag.max.max(lag);
        self.lag.over_100ms += u64::from(lag > NOTICED_LAG);
        self.lag.over_limit += u64::from(lag > max_lag);
    }

    /// A message is acknowledged or, with QoS 0, sent.
    pub fn acknowledged(&mut self) {
        self.acknowledged += 1;
    }

    /// A message was sent and is not acknowledged.
    pub fn lost(&mut self, failure: &Failure) {
        self.lost += 1;
        self.note(Some(failure));
    }

    /// A message was not sent.
    pub fn missed(&mut self, failure: &Failure) {
        self.missed += 1;
        self.note(Some(failure));
    }

    fn note(&mut self, failure: Option<&Failure>) {
        let Some(failure) = failure else { return };
        if let Some(count) = self.failures.get_mut(&failure.message) {
            *count += 1;
        } else if self.failures.len() < MAX_KINDS {
            self.failures.insert(failure.message.clone(), 1);
        } else {
            self.other_failures += 1;
        }
    }

    /// Devices that are connected now.
    pub fn active(&self) -> u32 {
        self.connected
    }

    /// Whether any device has ever been connected.
    pub fn ever_connected(&self) -> bool {
        self.connects.succeeded > 0
    }

    /// Messages that were sent and have neither been acknowledged nor failed.
    pub fn in_flight(&self) -> u64 {
        self.sent - self.acknowledged - self.lost
    }

    /// Messages that were sent.
    pub fn published(&self) -> u64 {
        self.sent
    }

    /// Whether more than one message in a hundred was sent later than the limit of the run.
    pub fn is_late(&self) -> bool {
        self.lag.over_limit * 100 > self.sent
    }

    /// The lag of the messages.
    pub fn lag(&self) -> Lag {
        self.lag
    }

    /// A line about the present.
    pub fn progress(&self, at: Duration) -> String {
        format!(
            "{:>4} s: {} of {} connected, {} published, {} acknowledged, {} in flight, {} lost, {} not sent",
            at.as_secs(),
            self.connected,
            self.devices,
            self.sent,
            self.acknowledged,
            self.in_flight(),
            self.lost,
            self.missed
        )
    }
}

impl fmt::Display for Counters {
    /// The summary.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, again) = (self.connects, self.reconnects);
        writeln!(
            f,
            "connects    {} of {} devices, {} failed attempts; {} reconnects, {} failed attempts; at most {}/s",
            first.succeeded, self.devices, first.failed, again.succeeded, again.failed, self.peak
        )?;
        writeln!(
            f,
            "messages    {} published, {} acknowledged, {} lost, {} in flight at the end, {} not sent",
            self.sent,
            self.acknowledged,
            self.lost,
            self.in_flight(),
            self.missed
        )?;
        write!(
            f,
            "lag         at most {} ms; {} of {} messages were more than {} ms late",
            self.lag.max.as_millis(),
            self.lag.over_100ms,
            self.sent,
            NOTICED_LAG.as_millis()
        )?;
        for outage in &self.outages {
            write!(f, "\noutage      {outage}")?;
        }
        if self.more_outages > 0 {
            write!(f, "\noutage      and {} more", self.more_outages)?;
        }
        for (message, count) in &self.failures {
            write!(f, "\nfailure     {count} x {message}")?;
        }
        if self.other_failures > 0 {
            write!(f, "\nfailure     {} x others", self.other_failures)?;
        }
        Ok(())
    }
}

impl fmt::Display for Outage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let from = self.from.as_secs_f64();
        write!(
            f,
            "at {from:.1} s, down to {} connected devices; ",
            self.lowest
        )?;
        match self.until {
            None => write!(f, "not all came back")?,
            Some(until) => write!(
                f,
                "all reconnected after {:.1} s",
                (until.saturating_sub(self.from)).as_secs_f64()
            )?,
        }
        write!(f, ", at most {} connections/s", self.peak)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn closed() -> Failure {
        Failure::new("UnexpectedEof", "connection lost: closed by the broker")
    }

    fn with_connected(devices: u32) -> Counters {
        let mut counters = Counters::new(devices);
        for n in 0..devices {
            counters.connect_ended(Label::Connect, None);
            counters.connected(SECOND * n);
        }
        counters
    }

    #[test]
    fn an_outage_lasts_until_all_devices_are_back() {
        let mut counters = with_connected(4);
        for _ in 0..3 {
            counters.connection_lost(Some(SECOND * 10), &closed());
        }
        counters.connected(SECOND * 12);
        counters.connected(SECOND * 12);
        counters.connection_lost(Some(SECOND * 13), &closed());
        counters.connected(SECOND * 14);
        assert_eq!(counters.outages[0].until, None);
        counters.connected(SECOND * 15);
        let expected = Outage {
            from: SECOND * 10,
            until: Some(SECOND * 15),
            lowest: 1,
            peak: 2,
        };
        assert_eq!(counters.outages, [expected]);
        let text = counters.to_string();
        assert!(
            text.contains("at 10.0 s, down to 1 connected devices; all reconnected after 5.0 s, at most 2 connections/s"),
            "{text}"
        );
    }

    #[test]
    fn the_end_of_a_run_and_the_ramp_are_no_outages() {
        let mut counters = with_connected(3);
        counters.disconnected();
        assert!(counters.outages.is_empty());
        let mut ramp = Counters::new(3);
        ramp.connected(SECOND);
        ramp.connection_lost(Some(SECOND), &closed());
        assert!(ramp.outages.is_empty());
    }

    #[test]
    fn a_connection_lost_after_the_end_is_a_failure_and_no_outage() {
        let mut counters = with_connected(3);
        counters.connection_lost(None, &closed());
        assert!(counters.outages.is_empty());
        assert_eq!(counters.active(), 2);
        assert!(
            counters.to_string().contains("1 x connection lost"),
            "{counters}"
        );
    }

    #[test]
    fn a_message_is_acknowledged_lost_or_in_flight() {
        let mut counters = with_connected(1);
        for _ in 0..5 {
            counters.sent(Duration::ZERO, SECOND);
        }
        counters.acknowledged();
        counters.lost(&Failure::new("x", "no answer"));
        counters.missed(&Failure::new("x", "not connected"));
        assert_eq!(counters.in_flight(), 3);
        let text = counters.to_string();
        assert!(
            text.contains(
                "5 published, 1 acknowledged, 1 lost, 3 in flight at the end, 1 not sent"
            ),
            "{text}"
        );
        assert!(text.contains("1 x no answer"), "{text}");
    }

    #[test]
    fn a_run_is_late_when_more_than_one_message_in_a_hundred_is() {
        let mut counters = Counters::new(1);
        for n in 0..200 {
            let lag = if n < 2 { SECOND * 2 } else { Duration::ZERO };
            counters.sent(lag, SECOND);
        }
        assert!(!counters.is_late());
        counters.sent(SECOND * 2, SECOND);
        assert!(counters.is_late());
    }

    #[test]
    fn the_number_of_different_failures_is_bounded() {
        let mut counters = Counters::new(1);
        for n in 0..1000 {
            counters.missed(&Failure::new("x", format!("failure {n}")));
        }
        assert_eq!(counters.failures.len(), MAX_KINDS);
        assert_eq!(counters.other_failures, 1000 - MAX_KINDS as u64);
    }
}
