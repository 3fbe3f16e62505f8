//! One try: a TCP connection, an HTTP answer.

use std::io::{self, ErrorKind};
use std::net::Ipv4Addr;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// An address that takes longer to accept a connection does not count; the same goes for the HTTP answer after that.
const PATIENCE: Duration = Duration::from_secs(1);
/// How much of an answer is looked at; a status line has a few dozen bytes.
const LONGEST_HEAD: u64 = 4096;

/// What an address must do to count.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Check {
    /// Accept a TCP connection on this port.
    Tcp(NonZeroU16),
    /// Answer a GET.
    Http(Arc<Get>),
}

/// A GET and what must come back.
#[derive(Debug, PartialEq)]
pub(crate) struct Get {
    pub(crate) port: NonZeroU16,
    /// With query, if any; fit for a request line.
    pub(crate) path: String,
    pub(crate) status: u16,
}

impl Check {
    /// Tries once, for 2 s at most. The error says in a few words what happened instead.
    pub(super) async fn attempt(&self, address: Ipv4Addr) -> Result<(), String> {
        match self {
            Self::Tcp(port) => connect(address, *port).await.map(drop),
            Self::Http(get) => {
                let mut stream = connect(address, get.port).await?;
                let answered = timeout(PATIENCE, get.ask(&mut stream, address)).await;
                answered.unwrap_or_else(|_| Err("no HTTP answer within 1 s".to_owned()))
            }
        }
    }
}

async fn connect(address: Ipv4Addr, port: NonZeroU16) -> Result<TcpStream, String> {
    let stream = TcpStream::connect((address, port.get()));
    match timeout(PATIENCE, stream).await {
        Ok(connected) => connected.map_err(|error| plain(&error)),
        Err(_) => Err("no answer within 1 s".to_owned()),
    }
}

impl Get {
    /// A few lines in place of a client: no redirect is followed, no body read, no connection kept.
    async fn ask(&self, stream: &mut TcpStream, address: Ipv4Addr) -> Result<(), String> {
        let Self { port, path, .. } = self;
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {address}:{port}\r\nAccept: */*\r\nConnection: close\r\n\r\n"
        );
        let sent = stream.write_all(request.as_bytes()).await;
        sent.map_err(|error| lost(&error))?;
        let seen = status(stream).await?;
        if seen == self.status {
            Ok(())
        } else {
            Err(format!("answered {seen}; expected {}", self.status))
        }
    }
}

/// The number of the status line.
async fn status(stream: &mut TcpStream) -> Result<u16, String> {
    let mut stream = stream.take(LONGEST_HEAD);
    let mut head = Vec::new();
    loop {
        let read = stream.read_buf(&mut head).await;
        let ended = read.map_err(|error| lost(&error))? == 0;
        let mut headers = [];
        let mut response = httparse::Response::new(&mut headers);
        let parsed = response.parse(&head);
        // The reason is known, if only as "", once the line is complete. What follows may be as it likes, also an error.
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

fn plain(error: &io::Error) -> String {
    let words = match error.kind() {
        ErrorKind::ConnectionRefused => "connection refused",
        ErrorKind::ConnectionReset => "connection reset",
        ErrorKind::HostUnreachable => "no route to host",
        ErrorKind::NetworkUnreachable => "no route to the network",
        ErrorKind::TimedOut => "no answer",
        _ => return error.to_string(),
    };
    words.to_owned()
}

/// For an error on a connection that was there.
fn lost(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe => {
            closed()
        }
        _ => plain(error),
    }
}

fn closed() -> String {
    "closed the connection without an HTTP answer".to_owned()
}
