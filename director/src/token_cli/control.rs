//! Requests to the running Director through its control socket.

use super::Unavailable;
use crate::sockets::Address;
use anyhow::{Context, bail};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Request, header};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::error::Error;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::time::timeout;

/// Timeout of a request.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Maximum size of an answer in bytes; 10,000 tokens have some 3 MB.
const MAX_ANSWER: usize = 16 << 20;

/// A connection to the control socket.
pub(super) struct Control {
    sender: SendRequest<Full<Bytes>>,
}

impl Control {
    /// Connects.
    ///
    /// # Errors
    /// Those of the operating system.
    pub async fn connect(path: &Path) -> io::Result<Self> {
        let address = Address::of(path)?;
        let stream = UnixStream::connect(address.path()).await?;
        let (sender, connection) = handshake(TokioIo::new(stream))
            .await
            .map_err(io::Error::other)?;
        // Its errors appear in the responses.
        tokio::spawn(connection);
        Ok(Self { sender })
    }

    /// The body of a successful response.
    ///
    /// # Errors
    /// The error that the Director returns, or a failed connection.
    pub async fn request(
        &mut self,
        method: &str,
        path: &str,
        body: Vec<u8>,
    ) -> anyhow::Result<Bytes> {
        let answer = timeout(TIMEOUT, self.exchange(method, path, body)).await;
        answer.with_context(|| {
            format!(
                "the Director did not respond within {} s",
                TIMEOUT.as_secs()
            )
        })?
    }

    async fn exchange(&mut self, method: &str, path: &str, body: Vec<u8>) -> anyhow::Result<Bytes> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "localhost")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)))?;
        let response = match self.sender.send_request(request).await {
            Err(error) if was_not_read(&error) => {
                let reason = innermost(&error);
                return Err(Unavailable(format!(
                    "the connection to the Director failed: {reason}"
                ))
                .into());
            }
            sent => sent.context("the connection to the Director failed")?,
        };
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER)
            .collect()
            .await;
        let body = body
            .map_err(|error| anyhow::anyhow!(error))
            .context("the Director's answer is incomplete")?
            .to_bytes();
        if status.is_success() {
            return Ok(body);
        }
        let problem: Value = serde_json::from_slice(&body).unwrap_or_default();
        match problem["error"].as_str() {
            Some(error) => bail!("{error}"),
            None => bail!("the Director answered with the status {status}"),
        }
    }
}

/// Whether the Director closed the connection without reading the request, as a Director does that is shutting down. The
/// request can then be repeated.
fn was_not_read(error: &hyper::Error) -> bool {
    let unread = [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe];
    let cause = innermost(error).downcast_ref::<io::Error>();
    error.is_canceled() || cause.is_some_and(|cause| unread.contains(&cause.kind()))
}

fn innermost<'a>(mut error: &'a (dyn Error + 'static)) -> &'a (dyn Error + 'static) {
    while let Some(source) = error.source() {
        error = source;
    }
    error
}
