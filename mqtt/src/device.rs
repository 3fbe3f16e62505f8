//! A device: connects at its time, publishes on its schedule, reconnects.

mod connected;

use crate::brokers::Route;
use crate::connection::{BrokerConnection, ConnectionError};
use crate::context::RunContext;
use crate::record::{Failure, Label};
use crate::schedule::{Schedule, backoff, connect_at};
use crate::session::{self, Event, Session};
use crate::settings::Identity;
use bytes::BytesMut;
use connected::Message;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep_until, timeout};

/// A device and what it has done.
pub struct Device {
    context: Arc<RunContext>,
    identity: Identity,
    schedule: Schedule,
    /// The number of the next message.
    next: u32,
    random: fastrand::Rng,
}

/// The backoff is reset after a connection of this duration.
const STABLE_AFTER: Duration = Duration::from_secs(10);

impl Device {
    /// A device that has not connected yet.
    pub fn new(context: Arc<RunContext>, identity: Identity) -> Self {
        let settings = &context.settings;
        let (seed, number) = (settings.seed, identity.number);
        Self {
            schedule: Schedule::new(seed, number, settings.period, settings.duration),
            random: fastrand::Rng::with_seed(seed ^ number.rotate_left(32)),
            context,
            identity,
            next: 0,
        }
    }

    /// Runs until the end of the test.
    pub async fn run(mut self) {
        let offset = connect_at(self.identity.number, self.context.settings.ramp);
        let mut at = self.context.clock.start_of_ramp() + offset;
        let (mut label, mut attempt) = (Label::Connect, 0);
        while self.wait_until(at).await.is_continue() {
            match Box::pin(self.connect(label)).await {
                Some((connection, session)) => {
                    label = Label::Reconnect;
                    let connected_at = Instant::now();
                    if self.run_connected(connection, session).await.is_break() {
                        break;
                    }
                    if connected_at.elapsed() >= STABLE_AFTER {
                        attempt = 0;
                    }
                }
                None if self.context.is_ending() => break,
                None => {}
            }
            let backoff_limits = self.context.settings.backoff;
            at = Instant::now()
                + backoff(
                    attempt,
                    backoff_limits.0,
                    backoff_limits.1,
                    &mut self.random,
                );
            attempt = attempt.saturating_add(1);
        }
        self.record_not_sent(self.context.end());
    }

    /// Waits, and records the messages that become due. Breaks at the end of the test.
    async fn wait_until(&mut self, at: Instant) -> ControlFlow<()> {
        let end = self.context.end();
        loop {
            let wake = at.min(end).min(self.due().unwrap_or(end));
            tokio::select! {
                () = self.context.stopped() => return ControlFlow::Break(()),
                () = sleep_until(wake) => {}
            }
            let now = Instant::now();
            self.record_not_sent(now.min(at));
            if now >= end {
                return ControlFlow::Break(());
            }
            if now >= at {
                return ControlFlow::Continue(());
            }
        }
    }

    /// When the next message is due.
    fn due(&self) -> Option<Instant> {
        Some(self.context.clock.publish_start() + self.schedule.due(self.next)?)
    }

    /// Records that the messages before this instant were not sent. Those after a request to stop are not counted.
    fn record_not_sent(&mut self, instant: Instant) {
        let instant = self
            .context
            .stop_instant()
            .map_or(instant, |stop| stop.min(instant));
        while let Some(due) = self.due().filter(|due| *due < instant) {
            self.next += 1;
            let failure = Failure::new("NotConnected", "not sent: the device was not connected");
            self.context.missed(due, &failure);
        }
    }

    /// One attempt, with its sample. `None` if it failed, or, without a sample, if the test ended first.
    async fn connect(&self, label: Label) -> Option<(BrokerConnection, Session<Message>)> {
        let mut started = Instant::now();
        let result = tokio::select! {
            () = self.context.ended() => return None,
            result = self.attempt(&mut started) => result,
        };
        let failure = result.as_ref().err().map(ConnectionError::failure);
        if let Err(error) = &result {
            self.context.check_exhausted(error);
        }
        self.context.connect_ended(label, started, failure.as_ref());
        result.ok()
    }

    /// Resolves the broker, then connects. The time of a connection starts after the former.
    async fn attempt(
        &self,
        started: &mut Instant,
    ) -> Result<(BrokerConnection, Session<Message>), ConnectionError> {
        let limit = self.context.settings.connect_timeout;
        let expired = |what| ConnectionError::Timeout { what, limit };
        let (position, worker) = (self.identity.position, self.context.settings.share.index());
        let route = timeout(limit, self.context.brokers.route(position, worker))
            .await
            .map_err(|_| expired("no address of the broker"))?
            .map_err(ConnectionError::Resolve)?;
        *started = Instant::now();
        timeout(limit, self.dial(&route))
            .await
            .unwrap_or_else(|_| Err(expired("no connection")))
    }

    /// TCP, TLS, CONNECT and CONNACK.
    async fn dial(
        &self,
        route: &Route,
    ) -> Result<(BrokerConnection, Session<Message>), ConnectionError> {
        let context = &self.context;
        let mut connection = context.connector.connect(route).await?;
        let credentials = &self.identity.credentials;
        let login = (!credentials.username.is_empty())
            .then_some((credentials.username.as_str(), credentials.password.as_str()));
        let keep_alive = context.settings.keep_alive;
        let packet = session::connect(&credentials.client_id, login, keep_alive)?;
        connection
            .send(&packet, context.settings.connect_timeout)
            .await?;
        let mut session = Session::new(context.settings.qos);
        accept(&mut connection, &mut session).await?;
        Ok((connection, session))
    }
}

/// Waits for CONNACK.
async fn accept(
    connection: &mut BrokerConnection,
    session: &mut Session<Message>,
) -> Result<(), ConnectionError> {
    loop {
        let bytes = connection.receive().await?;
        for event in session.receive(&bytes, &mut BytesMut::new())? {
            match event {
                Event::Accepted => return Ok(()),
                Event::Refused(refusal) => return Err(refusal.into()),
                Event::Acknowledged(_) => {}
            }
        }
    }
}
