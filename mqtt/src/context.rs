//! What all devices of a run share.

use crate::brokers::Brokers;
use crate::clock::Clock;
use crate::connection::{ConnectionError, Connector};
use crate::counters::Counters;
use crate::limits::Exhausted;
use crate::record::{Failure, Label, Recorder, Sample};
use crate::settings::Settings;
use parking_lot::Mutex;
use std::sync::OnceLock;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

/// The run that devices take part in.
pub struct RunContext {
    /// The settings.
    pub settings: Settings,
    /// The times.
    pub clock: Clock,
    /// The addresses.
    pub brokers: Brokers,
    /// How to connect.
    pub connector: Connector,
    /// The file of results.
    pub recorder: Recorder,
    /// The counts.
    pub counters: Mutex<Counters>,
    stop: CancellationToken,
    stopped_at: OnceLock<Instant>,
    fatal: OnceLock<Fatal>,
}

/// Why a run ended early.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fatal {
    /// A resource of this machine was exhausted.
    #[error("limit reached with {connected} connected devices: {what} ({error}). {advice}", what = .resource.advice().0, advice = .resource.advice().1)]
    Exhausted {
        /// The resource.
        resource: Exhausted,
        /// Connected devices.
        connected: u32,
        /// The error of the system.
        error: String,
    },
    /// A task panicked, because of an error in this program.
    #[error("internal error: the task of a device failed: {0}")]
    Panicked(String),
    /// The results cannot be written.
    #[error("cannot write the results: {0}")]
    Results(String),
}

impl RunContext {
    /// A run that starts now.
    pub fn new(
        settings: Settings,
        clock: Clock,
        brokers: Brokers,
        connector: Connector,
        recorder: Recorder,
    ) -> Self {
        let counters = Mutex::new(Counters::new(settings.devices()));
        Self {
            settings,
            clock,
            brokers,
            connector,
            recorder,
            counters,
            stop: CancellationToken::new(),
            stopped_at: OnceLock::new(),
            fatal: OnceLock::new(),
        }
    }

    /// The planned end of publishing.
    pub fn end(&self) -> Instant {
        self.clock.publish_start() + self.settings.duration
    }

    /// Ends the run early: nothing is published any more.
    pub fn stop(&self) {
        let _ = self.stopped_at.set(Instant::now());
        self.stop.cancel();
    }

    /// Ends the run because of an error. The first error is kept.
    pub fn abort(&self, fatal: Fatal) {
        let _ = self.fatal.set(fatal);
        self.stop();
    }

    /// Why the run ended early.
    pub fn fatal(&self) -> Option<&Fatal> {
        self.fatal.get()
    }

    /// Waits until the run is ended early.
    pub async fn stopped(&self) {
        self.stop.cancelled().await;
    }

    /// When the run was ended early.
    pub fn stop_instant(&self) -> Option<Instant> {
        self.stopped_at.get().copied()
    }

    /// Waits for the end, planned or early.
    pub async fn ended(&self) {
        tokio::select! {
            () = self.stopped() => {}
            () = sleep_until(self.end()) => {}
        }
    }

    /// Whether the end has come.
    pub fn is_ending(&self) -> bool {
        self.stop.is_cancelled() || Instant::now() >= self.end()
    }

    /// Ends the run if the error is about a limit of this machine.
    pub fn check_exhausted(&self, error: &ConnectionError) {
        if let Some(resource) = error.exhausted() {
            self.abort(Fatal::Exhausted {
                resource,
                connected: self.counters.lock().active(),
                error: error.to_string(),
            });
        }
    }

    /// Size of a PUBLISH in bytes.
    pub fn packet_size(&self, topic: usize) -> usize {
        use crate::session::Qos::AtMostOnce;
        let id = if self.settings.qos == AtMostOnce {
            0
        } else {
            2
        };
        let rest = 2 + topic + id + self.settings.size;
        let length = match rest {
            0..128 => 1,
            128..16_384 => 2,
            16_384..2_097_152 => 3,
            _ => 4,
        };
        1 + length + rest
    }

    fn since_start(&self) -> Duration {
        self.clock.start_of_ramp().elapsed()
    }

    /// A device is connected.
    pub fn connected(&self) {
        self.counters.lock().connected(self.since_start());
    }

    /// A device has disconnected at the end of the run.
    pub fn disconnected(&self) {
        self.counters.lock().disconnected();
    }

    /// A device has lost its connection. After the end this is a failure, but no outage: no device reconnects.
    pub fn connection_lost(&self, failure: &Failure) {
        let at = (!self.is_ending()).then(|| self.since_start());
        self.counters.lock().connection_lost(at, failure);
    }

    /// An attempt to connect has ended.
    pub fn connect_ended(&self, label: Label, started: Instant, failure: Option<&Failure>) {
        let active = {
            let mut counters = self.counters.lock();
            counters.connect_ended(label, failure);
            counters.active()
        };
        self.add(label, started, started.elapsed(), failure, 0, active);
    }

    /// A message is sent.
    pub fn sent(&self, lag: Duration) {
        self.counters.lock().sent(lag, self.settings.max_lag);
    }

    /// A message is acknowledged or, with QoS 0, written.
    pub fn published(&self, started: Instant, bytes: usize, now: Instant) {
        let active = {
            let mut counters = self.counters.lock();
            counters.acknowledged();
            counters.active()
        };
        let elapsed = now.saturating_duration_since(started);
        self.add(Label::Publish, started, elapsed, None, bytes, active);
    }

    /// A message is sent and not acknowledged. Its time is at least the deadline of an acknowledgement, so that a
    /// failure never lowers a percentile.
    pub fn lost(&self, started: Instant, bytes: usize, failure: &Failure) {
        let active = {
            let mut counters = self.counters.lock();
            counters.lost(failure);
            counters.active()
        };
        self.add(
            Label::Publish,
            started,
            started.elapsed().max(self.settings.ack_timeout),
            Some(failure),
            bytes,
            active,
        );
    }

    /// A message is not sent. Its time is the deadline of an acknowledgement, as for a message that is lost.
    pub fn missed(&self, due: Instant, failure: &Failure) {
        let active = {
            let mut counters = self.counters.lock();
            counters.missed(failure);
            counters.active()
        };
        self.add(
            Label::Publish,
            due,
            self.settings.ack_timeout,
            Some(failure),
            0,
            active,
        );
    }

    fn add(
        &self,
        label: Label,
        started: Instant,
        elapsed: Duration,
        failure: Option<&Failure>,
        sent_bytes: usize,
        active: u32,
    ) {
        let sample = Sample {
            label,
            started,
            elapsed,
            failure,
            sent_bytes,
            active,
        };
        self.recorder.add(&self.clock, &sample);
    }
}
