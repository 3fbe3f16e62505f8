//! A single attempt: a TCP connection, an HTTP response.

use std::io::{self, ErrorKind};
use std::net::Ipv4Addr;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Timeout for the connection, and again for the HTTP response.
const CHECK_TIMEOUT: Duration = Duration::from_secs(1);
/// Maximum number of bytes read for the status line, which usually has a few dozen.
const MAX_HEAD: u64 = 4096;

/// The condition for an address to be ready.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Check {
    /// It accepts a TCP connection on this port.
    Tcp(NonZeroU16),
    /// It responds to a GET.
    Http(Arc<Get>),
}

/// A GET request with the expected status.
#[derive(Debug, PartialEq)]
pub(crate) struct Get {
    pub(crate) port: NonZeroU16,
    /// Including the query, if any; valid in a request line.
    pub(crate) path: String,
    pub(crate) status: u16,
}

impl Check {
    /// Makes one attempt, for at most 2 s. The error is a short reason.
    pub(super) async fn attempt(&self, address: Ipv4Addr) -> Result<(), String> {
        match self {
            Self::Tcp(port) => connect(address, *port).await.map(drop),
            Self::Http(get) => {
                let mut stream = connect(address, get.port).await?;
                let answered = timeout(CHECK_TIMEOUT, get.send(&mut stream, address)).await;
                answered.unwrap_or_else(|_| Err("no HTTP answer within 1 s".to_owned()))
            }
        }
    }
}

async fn connect(address: Ipv4Addr, port: NonZeroU16) -> Result<TcpStream, String> {
    let stream = TcpStream::connect((address, port.get()));
    match timeout(CHECK_TIMEOUT, stream).await {
        Ok(connected) => connected.map_err(|error| describe(&error)),
        Err(_) => Err("no answer within 1 s".to_owned()),
    }
}

impl Get {
    /// A minimal HTTP client: it follows no redirect, reads no body, keeps no connection.
    async fn send(&self, stream: &mut TcpStream, address: Ipv4Addr) -> Result<(), String> {
        let Self { port, path, .. } = self;
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {address}:{port}\r\nAccept: */*\r\nConnection: close\r\n\r\n"
        );
        let sent = stream.write_all(request.as_bytes()).await;
        sent.map_err(|error| describe_established(&error))?;
        let actual = status(stream).await?;
        if actual == self.status {
            Ok(())
        } else {
            Err(format!("answered {actual}; expected {}", self.status))
        }
    }
}

/// The status code of the response.
async fn status(stream: &mut TcpStream) -> Result<u16, String> {
    let mut stream = stream.take(MAX_HEAD);
    let mut head = Vec::new();
    loop {
        let read = stream.read_buf(&mut head).await;
        let ended = read.map_err(|error| describe_established(&error))? == 0;
        let mut headers = [];
        let mut response = httparse::Response::new(&mut headers);
        let parsed = response.parse(&head);
        // The reason phrase is set, even if empty, once the status line is complete. Errors in the headers do not matter.
        match response.reason.and(response.code) {
            Some(code) => return Ok(code),
            None if parsed.is_err() || stream.limit() == 0 => {
                return Err("answered something other than HTTP/1".to_owned());
            }
            None if ended => return Err(closed()),
            None => {}
        }
    }
}

fn describe(error: &io::Error) -> String {
    let text = match error.kind() {
        ErrorKind::ConnectionRefused => "connection refused",
        ErrorKind::ConnectionReset => "connection reset",
        ErrorKind::HostUnreachable => "no route to host",
        ErrorKind::NetworkUnreachable => "no route to the network",
        ErrorKind::TimedOut => "no answer",
        _ => return error.to_string(),
    };
    text.to_owned()
}

/// Describes an error on an established connection.
fn describe_established(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe => {
            closed()
        }
        _ => describe(error),
    }
}

fn closed() -> String {
    "closed the connection without an HTTP answer".to_owned()
}
