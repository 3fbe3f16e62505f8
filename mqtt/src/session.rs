//! The MQTT 3.1.1 session of a publisher: bytes in, bytes and events out. Pure.

use bytes::{Bytes, BytesMut};
use rumqttc::mqttbytes::v4::{
    ConnAck, Connect, ConnectReturnCode, Disconnect, Login, Packet, PingReq, PubRel, Publish,
};
use rumqttc::mqttbytes::{Error, QoS};

/// Quality of service of the messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Qos {
    /// At most once: not acknowledged.
    #[value(name = "0")]
    AtMostOnce,
    /// At least once: acknowledged with PUBACK.
    #[value(name = "1")]
    AtLeastOnce,
    /// Exactly once: completed with PUBCOMP.
    #[value(name = "2")]
    ExactlyOnce,
}

impl From<Qos> for QoS {
    fn from(qos: Qos) -> Self {
        match qos {
            Qos::AtMostOnce => Self::AtMostOnce,
            Qos::AtLeastOnce => Self::AtLeastOnce,
            Qos::ExactlyOnce => Self::ExactlyOnce,
        }
    }
}

/// What the broker sent.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<T> {
    /// The broker accepted the connection.
    Accepted,
    /// The broker refused the connection, with its return code.
    Refused(Refusal),
    /// A message is acknowledged.
    Acknowledged(T),
}

/// Why a broker refused a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the broker refused the connection: {reason} (return code {code})")]
pub struct Refusal {
    /// The return code of MQTT.
    pub code: u8,
    /// Its meaning.
    pub reason: &'static str,
}

/// The peer does not follow the protocol.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the peer sent an invalid or unexpected MQTT packet: {0}")]
pub struct ProtocolError(String);

/// Maximum size of an incoming packet in bytes: a publisher receives only acknowledgements.
const MAX_INCOMING: usize = 4096;
/// Maximum number of unacknowledged messages of a device.
pub const MAX_IN_FLIGHT: usize = 256;

/// A message that is not acknowledged yet.
#[derive(Debug)]
struct Sent<T> {
    id: u16,
    message: T,
}

/// The session of one connection. `T` identifies a message until it is acknowledged.
#[derive(Debug)]
pub struct Session<T> {
    qos: Qos,
    last_id: u16,
    in_flight: Vec<Sent<T>>,
    incoming: BytesMut,
}

impl<T> Session<T> {
    /// A session whose messages have this quality of service.
    pub fn new(qos: Qos) -> Self {
        Self {
            qos,
            last_id: 0,
            in_flight: Vec::new(),
            incoming: BytesMut::new(),
        }
    }

    /// Unacknowledged messages, oldest first.
    pub fn in_flight(&self) -> impl ExactSizeIterator<Item = &T> {
        self.in_flight.iter().map(|sent| &sent.message)
    }

    /// Whether no further message can be sent before one is acknowledged.
    pub fn is_full(&self) -> bool {
        self.in_flight.len() >= MAX_IN_FLIGHT
    }

    /// Removes the unacknowledged messages for which `is_expired` holds, oldest first.
    pub fn take_expired(&mut self, is_expired: impl Fn(&T) -> bool) -> Vec<T> {
        let expired = self
            .in_flight
            .extract_if(.., |sent| is_expired(&sent.message));
        expired.map(|sent| sent.message).collect()
    }

    /// Appends a PUBLISH to `out`. A message of [`Qos::AtMostOnce`] is not tracked but returned.
    ///
    /// # Errors
    /// When the packet is too large for MQTT.
    pub fn publish(
        &mut self,
        topic: &str,
        payload: Bytes,
        message: T,
        out: &mut BytesMut,
    ) -> Result<Option<T>, ProtocolError> {
        let mut packet = Publish::from_bytes(topic, self.qos.into(), payload);
        if self.qos == Qos::AtMostOnce {
            packet.write(out).map_err(protocol_error)?;
            return Ok(Some(message));
        }
        let id = self.next_id();
        packet.pkid = id;
        packet.write(out).map_err(protocol_error)?;
        self.in_flight.push(Sent { id, message });
        Ok(None)
    }

    /// The next packet id that is not in use. Ids are not zero.
    fn next_id(&mut self) -> u16 {
        loop {
            self.last_id = self.last_id.checked_add(1).unwrap_or(1);
            if self.in_flight.iter().all(|sent| sent.id != self.last_id) {
                return self.last_id;
            }
        }
    }

    /// Processes bytes from the broker, in portions of any size, and appends replies to `out`.
    ///
    /// # Errors
    /// When the bytes are not MQTT, or a packet that no publisher expects.
    pub fn receive(
        &mut self,
        bytes: &[u8],
        out: &mut BytesMut,
    ) -> Result<Vec<Event<T>>, ProtocolError> {
        self.incoming.extend_from_slice(bytes);
        let mut events = Vec::new();
        while let Some(packet) = self.next_packet()? {
            events.extend(self.process(packet, out)?);
        }
        if self.incoming.is_empty() {
            // An idle connection holds no buffer.
            self.incoming = BytesMut::new();
        }
        Ok(events)
    }

    fn next_packet(&mut self) -> Result<Option<Packet>, ProtocolError> {
        if self.incoming.is_empty() {
            return Ok(None);
        }
        match Packet::read(&mut self.incoming, MAX_INCOMING) {
            Ok(packet) => Ok(Some(packet)),
            Err(Error::InsufficientBytes(_)) => Ok(None),
            Err(error) => Err(protocol_error(error)),
        }
    }

    fn process(
        &mut self,
        packet: Packet,
        out: &mut BytesMut,
    ) -> Result<Option<Event<T>>, ProtocolError> {
        match packet {
            Packet::ConnAck(answer) => Ok(Some(accepted_or_refused(&answer))),
            Packet::PubAck(answer) => Ok(self.acknowledged(answer.pkid, Qos::AtLeastOnce)),
            Packet::PubComp(answer) => Ok(self.acknowledged(answer.pkid, Qos::ExactlyOnce)),
            Packet::PubRec(answer) => {
                let release = PubRel { pkid: answer.pkid };
                release.write(out).map_err(protocol_error)?;
                Ok(None)
            }
            Packet::PingResp => Ok(None),
            other => Err(ProtocolError(format!("{:?}", Kind(&other)))),
        }
    }

    /// An acknowledgement of an unknown message is ignored: the message may have expired.
    fn acknowledged(&mut self, id: u16, qos: Qos) -> Option<Event<T>> {
        if qos != self.qos {
            return None;
        }
        let at = self.in_flight.iter().position(|sent| sent.id == id)?;
        Some(Event::Acknowledged(self.in_flight.remove(at).message))
    }
}

/// Shows the kind of a packet without its content.
struct Kind<'a>(&'a Packet);

impl std::fmt::Debug for Kind<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = format!("{:?}", self.0);
        let end = text.find(|c: char| !c.is_ascii_alphanumeric());
        f.write_str(match self.0 {
            Packet::Publish(_) => "Publish",
            _ => &text[..end.unwrap_or(text.len())],
        })
    }
}

fn accepted_or_refused<T>(answer: &ConnAck) -> Event<T> {
    let reason = match answer.code {
        ConnectReturnCode::Success => return Event::Accepted,
        ConnectReturnCode::RefusedProtocolVersion => "protocol version not supported",
        ConnectReturnCode::BadClientId => "client id not allowed",
        ConnectReturnCode::ServiceUnavailable => "server unavailable",
        ConnectReturnCode::BadUserNamePassword => "bad user name or password",
        ConnectReturnCode::NotAuthorized => "not authorized",
    };
    Event::Refused(Refusal {
        code: answer.code as u8,
        reason,
    })
}

fn protocol_error(error: Error) -> ProtocolError {
    ProtocolError(error.to_string())
}

/// The CONNECT packet of a clean session.
///
/// # Errors
/// When a field is too long for MQTT.
pub fn connect(
    client_id: &str,
    login: Option<(&str, &str)>,
    keep_alive: u16,
) -> Result<BytesMut, ProtocolError> {
    let mut packet = Connect::new(client_id);
    packet.keep_alive = keep_alive;
    packet.login = login.map(|(username, password)| Login {
        username: username.to_owned(),
        password: password.to_owned(),
    });
    let mut out = BytesMut::new();
    packet.write(&mut out).map_err(protocol_error)?;
    Ok(out)
}

/// Appends a PINGREQ.
///
/// # Errors
/// Never, in practice: the packet has a fixed size.
pub fn ping(out: &mut BytesMut) -> Result<(), ProtocolError> {
    PingReq.write(out).map(|_| ()).map_err(protocol_error)
}

/// The DISCONNECT packet.
///
/// # Errors
/// Never, in practice: the packet has a fixed size.
pub fn disconnect() -> Result<BytesMut, ProtocolError> {
    let mut out = BytesMut::new();
    Disconnect.write(&mut out).map_err(protocol_error)?;
    Ok(out)
}

#[cfg(test)]
mod tests;
