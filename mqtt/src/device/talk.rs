//! A device while it is connected.

use super::Device;
use crate::link::{Link, LinkError};
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
struct Conversation {
    link: Link,
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

/// What a connected device waits for next.
enum Wake {
    Stop,
    Time,
    Bytes(Result<Vec<u8>, LinkError>),
}

impl Device {
    /// Publishes until the connection is lost (continue) or the test ends (break).
    pub(super) async fn talk(&mut self, link: Link, session: Session<Message>) -> ControlFlow<()> {
        let now = Instant::now();
        let mut talk = Conversation {
            link,
            session,
            out: BytesMut::new(),
            ready_since: now,
            last_received: now,
            last_sent: now,
            pinged_at: None,
        };
        self.world.connected();
        match self.converse(&mut talk).await {
            Ok(()) => {
                self.world.disconnected();
                ControlFlow::Break(())
            }
            Err(error) => {
                self.world.connection_lost(&error.failure());
                self.world.check_exhausted(&error);
                self.lose(&mut talk, &error);
                ControlFlow::Continue(())
            }
        }
    }

    async fn converse(&mut self, talk: &mut Conversation) -> Result<(), LinkError> {
        // Messages that became due during the handshake.
        self.miss_until(talk.ready_since);
        let end = self.world.end();
        loop {
            match self.wake(talk, end).await {
                Wake::Stop => {
                    self.publish_due(talk).await?;
                    break;
                }
                Wake::Bytes(bytes) => self.receive(talk, &bytes?).await?,
                Wake::Time => {
                    self.publish_due(talk).await?;
                    self.expire(talk);
                    self.keep_alive(talk).await?;
                    if Instant::now() >= end {
                        break;
                    }
                }
            }
        }
        self.finish(talk).await
    }

    async fn wake(&self, talk: &mut Conversation, end: Instant) -> Wake {
        let at = [self.due(), talk.next_deadline(), Some(self.next_ping(talk))];
        let at = at.into_iter().flatten().min().unwrap_or(end).min(end);
        // In random order: neither a broker that always sends nor a full schedule may starve the other.
        tokio::select! {
            () = self.world.stopped() => Wake::Stop,
            bytes = talk.link.receive() => Wake::Bytes(bytes),
            () = sleep_until(at) => Wake::Time,
        }
    }

    async fn receive(&self, talk: &mut Conversation, bytes: &[u8]) -> Result<(), LinkError> {
        let now = Instant::now();
        talk.last_received = now;
        talk.pinged_at = None;
        for event in talk.session.receive(bytes, &mut talk.out)? {
            if let Event::Acknowledged(message) = event {
                self.world.published(message.started, message.bytes, now);
            }
        }
        self.send(talk).await
    }

    /// Publishes all messages whose time has come, and had come before a request to stop.
    async fn publish_due(&mut self, talk: &mut Conversation) -> Result<(), LinkError> {
        while let Some(due) = self.due().filter(|due| *due <= self.latest_due()) {
            self.publish(talk, due).await?;
        }
        Ok(())
    }

    fn latest_due(&self) -> Instant {
        self.world.stop_instant().unwrap_or_else(Instant::now)
    }

    async fn publish(&mut self, talk: &mut Conversation, due: Instant) -> Result<(), LinkError> {
        let number = self.next;
        self.next += 1;
        if talk.session.is_full() {
            let failure = Failure::new("TooMany", "not sent: too many unacknowledged messages");
            self.world.missed(due, &failure);
            return Ok(());
        }
        let now = Instant::now();
        let lag = now.saturating_duration_since(due.max(talk.ready_since));
        // A message that waited for the broker counts from its time, one that waited for this program does not.
        let started = if due < talk.ready_since { due } else { now };
        self.world.sent(lag);
        let unacknowledged = self.append(talk, number, started)?;
        if let Err(error) = self.send(talk).await {
            if let Some(message) = unacknowledged {
                self.world
                    .lost(message.started, message.bytes, &error.failure());
            }
            return Err(error);
        }
        if let Some(message) = unacknowledged {
            self.world
                .published(message.started, message.bytes, Instant::now());
        }
        Ok(())
    }

    /// Appends the packet; the message is returned if no acknowledgement will follow.
    fn append(
        &self,
        talk: &mut Conversation,
        number: u32,
        started: Instant,
    ) -> Result<Option<Message>, LinkError> {
        let settings = &self.world.settings;
        let time = self.world.clock.since_epoch(started).as_millis();
        let payload = payload(settings.size, number, u64::try_from(time).unwrap_or(0));
        let message = Message {
            started,
            deadline: Instant::now() + settings.ack_timeout,
            bytes: self.world.packet_size(self.identity.topic.len()),
        };
        let session = &mut talk.session;
        Ok(session.publish(&self.identity.topic, payload, message, &mut talk.out)?)
    }

    async fn send(&self, talk: &mut Conversation) -> Result<(), LinkError> {
        if talk.out.is_empty() {
            return Ok(());
        }
        let out = std::mem::take(&mut talk.out);
        let before = Instant::now();
        talk.link
            .send(&out, self.world.settings.ack_timeout)
            .await?;
        talk.last_sent = Instant::now();
        if talk.last_sent - before > Duration::from_millis(1) {
            talk.ready_since = talk.last_sent;
        }
        Ok(())
    }

    /// Records messages whose acknowledgement is overdue.
    fn expire(&self, talk: &mut Conversation) {
        let now = Instant::now();
        let limit = self.world.settings.ack_timeout.as_secs_f64();
        for message in talk.session.take_expired(|message| message.deadline <= now) {
            let failure = Failure::new("TimedOut", format!("not acknowledged within {limit} s"));
            self.world.lost(message.started, message.bytes, &failure);
        }
    }

    fn lose(&self, talk: &mut Conversation, error: &LinkError) {
        let failure = Failure {
            message: format!("not acknowledged: {error}"),
            ..error.failure()
        };
        for message in talk.session.take_expired(|_| true) {
            self.world.lost(message.started, message.bytes, &failure);
        }
    }

    /// A ping is due when nothing was sent or nothing was received for three quarters of the interval. The broker must
    /// send something within the same time after the ping, whatever the device publishes meanwhile.
    fn next_ping(&self, talk: &Conversation) -> Instant {
        let idle_since = talk.last_received.min(talk.last_sent);
        talk.pinged_at.unwrap_or(idle_since) + self.ping_interval()
    }

    fn ping_interval(&self) -> Duration {
        match self.world.settings.keep_alive {
            0 => Duration::from_secs(86_400 * 365),
            seconds => Duration::from_secs(u64::from(seconds)) * 3 / 4,
        }
    }

    async fn keep_alive(&self, talk: &mut Conversation) -> Result<(), LinkError> {
        if Instant::now() < self.next_ping(talk) {
            return Ok(());
        }
        if talk.pinged_at.is_some() {
            return Err(LinkError::Timeout {
                what: "connection lost: no answer to PINGREQ",
                limit: self.ping_interval(),
            });
        }
        talk.pinged_at = Some(Instant::now());
        session::ping(&mut talk.out)?;
        self.send(talk).await
    }

    /// Waits for outstanding acknowledgements, then disconnects.
    async fn finish(&self, talk: &mut Conversation) -> Result<(), LinkError> {
        while let Some(deadline) = talk.next_deadline() {
            tokio::select! {
                bytes = talk.link.receive() => self.receive(talk, &bytes?).await?,
                () = sleep_until(deadline) => self.expire(talk),
            }
        }
        let packet = session::disconnect()?;
        talk.link
            .send(&packet, self.world.settings.ack_timeout)
            .await?;
        // The broker may close first.
        let _ = talk.link.close().await;
        Ok(())
    }
}

impl Conversation {
    /// When the oldest unacknowledged message expires.
    fn next_deadline(&self) -> Option<Instant> {
        self.session
            .in_flight()
            .map(|message| message.deadline)
            .min()
    }
}
