//! A connection: messages as lines of JSON, with limits of size and time.

use std::io;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::codec::{Framed, LinesCodec, LinesCodecError};

use crate::output::{printable, reason};
use crate::protocol::MAX_LINE;

/// Longest time to send a message.
const SEND_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a connection cannot be used any more.
#[derive(Debug, Error)]
pub enum ConnectionError {
    /// The peer closed it.
    #[error("the connection was closed")]
    Closed,
    /// The network failed.
    #[error("the connection failed: {}", reason(.0))]
    Failed(io::Error),
    /// The peer did not accept a message in time.
    #[error("the peer did not accept a message for {} s", SEND_TIMEOUT.as_secs())]
    SendTimeout,
    /// The peer sent something else than a message.
    #[error("the peer sent no valid message: {0}")]
    Invalid(String),
}

impl ConnectionError {
    fn of(error: LinesCodecError) -> Self {
        match error {
            LinesCodecError::MaxLineLengthExceeded => {
                Self::Invalid(format!("a line is longer than {MAX_LINE} bytes"))
            }
            LinesCodecError::Io(error) if error.kind() == io::ErrorKind::InvalidData => {
                Self::Invalid("a line is not UTF-8".to_owned())
            }
            LinesCodecError::Io(error) if error.kind() == io::ErrorKind::ConnectionReset => {
                Self::Closed
            }
            LinesCodecError::Io(error) => Self::Failed(error),
        }
    }
}

/// A connection to a peer.
#[derive(Debug)]
pub struct JsonConnection {
    lines: Framed<TcpStream, LinesCodec>,
}

impl JsonConnection {
    /// Uses a connection. Messages are sent at once, without waiting for more.
    pub fn new(stream: TcpStream) -> Self {
        // Without it the clocks are compared less precisely, and nothing else is wrong.
        let _ = stream.set_nodelay(true);
        Self {
            lines: Framed::new(stream, LinesCodec::new_with_max_length(MAX_LINE)),
        }
    }

    /// Receives a message. A cancelled call loses nothing.
    ///
    /// # Errors
    /// The connection has ended, or the peer sent no valid message.
    pub async fn receive<M: DeserializeOwned>(&mut self) -> Result<M, ConnectionError> {
        let line = self.lines.next().await.ok_or(ConnectionError::Closed)?;
        let line = line.map_err(ConnectionError::of)?;
        // The error may contain text of the peer.
        serde_json::from_str(&line)
            .map_err(|error| ConnectionError::Invalid(printable(&error.to_string())))
    }

    /// Sends a message.
    ///
    /// # Errors
    /// The connection has ended, or the peer accepts no message for 5 s.
    pub async fn send<M: Serialize>(&mut self, message: &M) -> Result<(), ConnectionError> {
        let line = serde_json::to_string(message)
            .map_err(|error| ConnectionError::Invalid(error.to_string()))?;
        let sent = timeout(SEND_TIMEOUT, self.lines.send(line)).await;
        sent.map_err(|_| ConnectionError::SendTimeout)?
            .map_err(ConnectionError::of)
    }

    /// Waits until the peer has closed the connection; what it still sends is ignored.
    pub async fn closed(&mut self) {
        while let Some(Ok(_)) = self.lines.next().await {}
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::protocol::FromMaster;
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    async fn received(bytes: &[u8]) -> Result<FromMaster, ConnectionError> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut peer = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        // The receiver may close the connection before all is sent.
        let _ = peer.write_all(bytes).await;
        drop(peer);
        JsonConnection::new(stream).receive().await
    }

    #[tokio::test]
    async fn bytes_that_are_no_message_end_the_connection_with_a_reason() {
        let text = |result: Result<FromMaster, ConnectionError>| result.unwrap_err().to_string();
        assert_eq!(text(received(b"").await), "the connection was closed");
        assert!(text(received(&[b'x'; 100_000]).await).contains("longer than 8192 bytes"));
        assert!(text(received(b"\xff\xfe\n").await).contains("not UTF-8"));
        assert!(text(received(b"GET / HTTP/1.1\r\n").await).contains("no valid message"));
        assert_eq!(
            received(b"{\"type\":\"release\"}\n").await.unwrap(),
            FromMaster::Release
        );
    }

    #[tokio::test]
    async fn a_peer_cannot_forge_lines_of_the_log() {
        let line = format!("{{\"type\":\"a\\n\\u001b{}\"}}\n", "x".repeat(4000));
        let text = received(line.as_bytes()).await.unwrap_err().to_string();
        assert!(!text.contains(char::is_control), "{text:?}");
        assert!(text.len() < 500, "{}", text.len());
    }
}
