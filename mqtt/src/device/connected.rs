//! A device while it is connected.

use super::Device;
use crate::connection::{BrokerConnection, ConnectionError};
use crate::payload::payload;
use crate::record::Failure;
use crate::session::{self, Event, Session};
use bytes::BytesMut;
use std::ops::ControlFlow;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// A message that is not acknowledged yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message {
    /// When it was sent or, if the broker delayed it, due.
    started: Instant,
    /// Until when it must be acknowledged.
    deadline: Instant,
    /// Size of its packet in bytes.
    bytes: usize,
}

/// An established connection.
struct ActiveConnection {
    connection: BrokerConnection,
    session: Session<Message>,
    /// Bytes to send.
    out: BytesMut,
    /// Since when the device can send: connected, and the previous message is written.
    ready_since: Instant,
    last_received: Instant,
    last_sent: Instant,
    /// When an unanswered PINGREQ was sent.
    pinged_at: Option<Instant>,
}

/// The next event of a connected device.
enum Wake {
    Stop,
    Time,
    Bytes(Result<Vec<u8>, ConnectionError>),
}

impl Device {
    /// Publishes until the connection is lost (continue) or the test ends (break).
    pub(super) async fn run_connected(
        &mut self,
        connection: BrokerConnection,
        session: Session<Message>,
    ) -> ControlFlow<()> {
        let now = Instant::now();
        let mut active = ActiveConnection {
            connection,
            session,
            out: BytesMut::new(),
            ready_since: now,
            last_received: now,
            last_sent: now,
            pinged_at: None,
        };
        self.context.connected();
        match self.event_loop(&mut active).await {
            Ok(()) => {
                self.context.disconnected();
                ControlFlow::Break(())
            }
            Err(error) => {
                self.context.connection_lost(&error.failure());
                self.context.check_exhausted(&error);
                self.fail_in_flight(&mut active, &error);
                ControlFlow::Continue(())
            }
        }
    }

    async fn event_loop(&mut self, active: &mut ActiveConnection) -> Result<(), ConnectionError> {
        // Messages that became due during the handshake.
        self.record_not_sent(active.ready_since);
        let end = self.context.end();
        loop {
            match self.wake(active, end).await {
                Wake::Stop => {
                    self.publish_due(active).await?;
                    break;
                }
                Wake::Bytes(bytes) => self.receive(active, &bytes?).await?,
                Wake::Time => {
                    self.publish_due(active).await?;
                    self.expire(active);
                    self.keep_alive(active).await?;
                    if Instant::now() >= end {
                        break;
                    }
                }
            }
        }
        self.finish(active).await
    }

    async fn wake(&self, active: &mut ActiveConnection, end: Instant) -> Wake {
        let at = [
            self.due(),
            active.next_deadline(),
            Some(self.next_ping(active)),
        ];
        let at = at.into_iter().flatten().min().unwrap_or(end).min(end);
        // In random order: neither a broker that always sends nor a full schedule may starve the other.
        tokio::select! {
            () = self.context.stopped() => Wake::Stop,
            bytes = active.connection.receive() => Wake::Bytes(bytes),
            () = sleep_until(at) => Wake::Time,
        }
    }

    async fn receive(
        &self,
        active: &mut ActiveConnection,
        bytes: &[u8],
    ) -> Result<(), ConnectionError> {
        let now = Instant::now();
        active.last_received = now;
        active.pinged_at = None;
        for event in active.session.receive(bytes, &mut active.out)? {
            if let Event::Acknowledged(message) = event {
                self.context.published(message.started, message.bytes, now);
            }
        }
        self.send(active).await
    }

    /// Publishes all messages whose time has come, and had come before a request to stop.
    async fn publish_due(&mut self, active: &mut ActiveConnection) -> Result<(), ConnectionError> {
        while let Some(due) = self.due().filter(|due| *due <= self.latest_due()) {
            self.publish(active, due).await?;
        }
        Ok(())
    }

    fn latest_due(&self) -> Instant {
        self.context.stop_instant().unwrap_or_else(Instant::now)
    }

    async fn publish(
        &mut self,
        active: &mut ActiveConnection,
        due: Instant,
    ) -> Result<(), ConnectionError> {
        let number = self.next;
        self.next += 1;
        if active.session.is_full() {
            let failure = Failure::new("TooMany", "not sent: too many unacknowledged messages");
            self.context.missed(due, &failure);
            return Ok(());
        }
        let now = Instant::now();
        let lag = now.saturating_duration_since(due.max(active.ready_since));
        // A message that waited for the broker counts from its time, one that waited for this program does not.
        let started = if due < active.ready_since { due } else { now };
        self.context.sent(lag);
        let unacknowledged = self.append(active, number, started)?;
        if let Err(error) = self.send(active).await {
            if let Some(message) = unacknowledged {
                self.context
                    .lost(message.started, message.bytes, &error.failure());
            }
            return Err(error);
        }
        if let Some(message) = unacknowledged {
            self.context
                .published(message.started, message.bytes, Instant::now());
        }
        Ok(())
    }

    /// Appends the packet; the message is returned if no acknowledgement will follow.
    fn append(
        &self,
        active: &mut ActiveConnection,
        number: u32,
        started: Instant,
    ) -> Result<Option<Message>, ConnectionError> {
        let settings = &self.context.settings;
        let time = self.context.clock.since_epoch(started).as_millis();
        let payload = payload(settings.size, number, u64::try_from(time).unwrap_or(0));
        let message = Message {
            started,
            deadline: Instant::now() + settings.ack_timeout,
            bytes: self.context.packet_size(self.identity.topic.len()),
        };
        let session = &mut active.session;
        Ok(session.publish(&self.identity.topic, payload, message, &mut active.out)?)
    }

    async fn send(&self, active: &mut ActiveConnection) -> Result<(), ConnectionError> {
        if active.out.is_empty() {
            return Ok(());
        }
        let out = std::mem::take(&mut active.out);
        let before = Instant::now();
        active
            .connection
            .send(&out, self.context.settings.ack_timeout)
            .await?;
        active.last_sent = Instant::now();
        if active.last_sent - before > Duration::from_millis(1) {
            active.ready_since = active.last_sent;
        }
        Ok(())
    }

    /// Records messages whose acknowledgement is overdue.
    fn expire(&self, active: &mut ActiveConnection) {
        let now = Instant::now();
        let limit = self.context.settings.ack_timeout.as_secs_f64();
        for message in active
            .session
            .take_expired(|message| message.deadline <= now)
        {
            let failure = Failure::new("TimedOut", format!("not acknowledged within {limit} s"));
            self.context.lost(message.started, message.bytes, &failure);
        }
    }

    fn fail_in_flight(&self, active: &mut ActiveConnection, error: &ConnectionError) {
        let failure = Failure {
            message: format!("not acknowledged: {error}"),
            ..error.failure()
        };
        for message in active.session.take_expired(|_| true) {
            self.context.lost(message.started, message.bytes, &failure);
        }
    }

    /// A ping is due when nothing was sent or nothing was received for three quarters of the interval. The broker must
    /// send something within the same time after the ping, whatever the device publishes meanwhile.
    fn next_ping(&self, active: &ActiveConnection) -> Instant {
        let idle_since = active.last_received.min(active.last_sent);
        active.pinged_at.unwrap_or(idle_since) + self.ping_interval()
    }

    fn ping_interval(&self) -> Duration {
        match self.context.settings.keep_alive {
            0 => Duration::from_secs(86_400 * 365),
            seconds => Duration::from_secs(u64::from(seconds)) * 3 / 4,
        }
    }

    async fn keep_alive(&self, active: &mut ActiveConnection) -> Result<(), ConnectionError> {
        if Instant::now() < self.next_ping(active) {
            return Ok(());
        }
        if active.pinged_at.is_some() {
            return Err(ConnectionError::Timeout {
                what: "connection lost: no answer to PINGREQ",
                limit: self.ping_interval(),
            });
        }
        active.pinged_at = Some(Instant::now());
        session::ping(&mut active.out)?;
        self.send(active).await
    }

    /// Waits for outstanding acknowledgements, then disconnects.
    async fn finish(&self, active: &mut ActiveConnection) -> Result<(), ConnectionError> {
        while let Some(deadline) = active.next_deadline() {
            tokio::select! {
                bytes = active.connection.receive() => self.receive(active, &bytes?).await?,
                () = sleep_until(deadline) => self.expire(active),
            }
        }
        let packet = session::disconnect()?;
        active
            .connection
            .send(&packet, self.context.settings.ack_timeout)
            .await?;
        // The broker may close first.
        let _ = active.connection.close().await;
        Ok(())
    }
}

impl ActiveConnection {
    /// When the oldest unacknowledged message expires.
    fn next_deadline(&self) -> Option<Instant> {
        self.session
            .in_flight()
            .map(|message| message.deadline)
            .min()
    }
}
