//! A client's socket that records received bytes, and fails when the client stops reading.

use super::activity::Activity;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// Timeout of a blocked write.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(60);

/// First byte of a TLS handshake.
const TLS_HANDSHAKE: u8 = 0x16;

/// A client's socket.
pub struct Socket<S> {
    stream: S,
    activity: Activity,
    /// Timer of a blocked write; `None` while writes succeed.
    write_timer: Option<Pin<Box<Sleep>>>,
    /// Whether the next bytes are the first ones of a client that should speak HTTP without TLS.
    expects_http: bool,
}

impl<S> Socket<S> {
    /// Wraps the socket of a connection.
    pub fn new(stream: S, activity: Activity) -> Self {
        Self {
            stream,
            activity,
            write_timer: None,
            expects_http: false,
        }
    }

    /// Logs a client that speaks TLS.
    pub fn expecting_http(mut self) -> Self {
        self.expects_http = true;
        self
    }

    fn received(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.activity.received();
        if std::mem::take(&mut self.expects_http) && bytes.first() == Some(&TLS_HANDSHAKE) {
            tracing::debug!("a client sent a TLS handshake to a port that uses http");
        }
    }

    fn checked<T>(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.write_timer = None;
            return written;
        }
        let write_timer = self
            .write_timer
            .get_or_insert_with(|| Box::pin(sleep(WRITE_TIMEOUT)));
        ready!(write_timer.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Socket<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        self.received(&buffer.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Socket<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.checked(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.checked(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    #[tokio::test(start_paused = true)]
    async fn a_client_that_stops_reading_is_dropped_and_a_slow_one_is_not() {
        let (mut client, server) = duplex(16);
        let mut socket = Socket::new(server, Activity::new());
        let slow = tokio::spawn(async move {
            for _ in 0..4 {
                sleep(WRITE_TIMEOUT - Duration::from_secs(1)).await;
                client.read_exact(&mut [0; 8]).await.unwrap();
            }
            client
        });
        socket.write_all(&[0; 48]).await.unwrap();
        let _silent = slow.await.unwrap();
        let error = socket.write_all(&[0; 48]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
