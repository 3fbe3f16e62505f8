//! A connection to a broker: TCP, optionally TLS.

use crate::brokers::Route;
use crate::limits::Exhausted;
use crate::ports::{Lease, Ports};
use crate::record::Failure;
use crate::session::{ProtocolError, Refusal};
use rustix::io::Errno;
use std::borrow::Cow;
use std::future::poll_fn;
use std::io::{Error, ErrorKind};
use std::mem::MaybeUninit;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// Bytes that are read at once.
const READ_SIZE: usize = 2048;

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Ports that are tried for a connection, if other programs use them.
const MAX_PORTS_TRIED: usize = 256;

/// How connections are made.
pub struct Connector {
    /// TLS, and the name that a certificate must have, if not the host.
    pub tls: Option<(TlsConnector, Option<String>)>,
    /// Source addresses, used in turn; empty if the kernel chooses.
    pub sources: Vec<IpAddr>,
    /// Source ports.
    pub ports: Ports,
}

/// A connection. It holds no buffer while it is idle.
pub struct BrokerConnection {
    stream: Box<dyn Stream>,
    /// Dropped after the stream.
    _port: Lease,
}

/// Why a connection could not be made, or has ended.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// The host cannot be resolved.
    #[error("{0}")]
    Resolve(String),
    /// TCP.
    #[error("{what}: {error}")]
    Io {
        /// What was attempted.
        what: &'static str,
        /// The error of the system.
        error: Error,
    },
    /// TLS.
    #[error("TLS handshake failed: {0}")]
    Tls(Error),
    /// MQTT.
    #[error("{0}")]
    Protocol(#[from] ProtocolError),
    /// CONNACK with another return code than 0.
    #[error("{0}")]
    Refused(#[from] Refusal),
    /// No answer in time.
    #[error("{what} within {} s", .limit.as_secs_f64())]
    Timeout {
        /// What was missing.
        what: &'static str,
        /// The limit.
        limit: Duration,
    },
}

impl ConnectionError {
    /// The resource of this machine that the error is about.
    pub fn exhausted(&self) -> Option<Exhausted> {
        match self {
            Self::Io { error, .. } => Exhausted::from_error(error),
            _ => None,
        }
    }

    /// The failure of a sample.
    pub fn failure(&self) -> Failure {
        Failure {
            code: self.code(),
            message: self.to_string(),
        }
    }

    fn code(&self) -> Cow<'static, str> {
        match self {
            Self::Resolve(_) => "Resolve".into(),
            Self::Io { error, .. } => format!("{:?}", error.kind()).into(),
            Self::Tls(_) => "Tls".into(),
            Self::Protocol(_) => "Protocol".into(),
            Self::Refused(refusal) => refusal.code.to_string().into(),
            Self::Timeout { .. } => "TimedOut".into(),
        }
    }
}

fn io(what: &'static str) -> impl FnOnce(Error) -> ConnectionError {
    move |error| ConnectionError::Io { what, error }
}

impl Connector {
    /// Connects a device.
    ///
    /// # Errors
    /// When TCP or TLS fails. There is no deadline here.
    pub async fn connect(&self, route: &Route) -> Result<BrokerConnection, ConnectionError> {
        let (stream, port) = self.tcp(route.broker.address, route.turn).await?;
        stream.set_nodelay(true).map_err(io("cannot connect"))?;
        let Some((connector, name)) = &self.tls else {
            return Ok(BrokerConnection {
                stream: Box::new(stream),
                _port: port,
            });
        };
        let name = name.as_deref().unwrap_or(&route.broker.host).to_owned();
        let name = name
            .try_into()
            .map_err(|error| ConnectionError::Tls(Error::new(ErrorKind::InvalidInput, error)))?;
        let stream = connector.connect(name, stream).await;
        Ok(BrokerConnection {
            stream: Box::new(stream.map_err(ConnectionError::Tls)?),
            _port: port,
        })
    }

    /// Connects from a port that neither this nor another program uses.
    async fn tcp(&self, to: SocketAddr, turn: u64) -> Result<(TcpStream, Lease), ConnectionError> {
        let source = self.source(turn).unwrap_or(unspecified(to));
        // Leases of ports that others use are held until the end, so that none is tried twice.
        let mut tried = Vec::new();
        while tried.len() < MAX_PORTS_TRIED {
            let Some(lease) = self.ports.take(source, to) else {
                break;
            };
            match connect_from(SocketAddr::new(source, lease.port()), to).await {
                Err(ConnectionError::Io { error, .. }) if is_port_in_use(&error) => {
                    tried.push(lease)
                }
                result => return Ok((result?, lease)),
            }
        }
        Err(io("cannot connect")(Errno::ADDRNOTAVAIL.into()))
    }

    fn source(&self, turn: u64) -> Option<IpAddr> {
        let count = self.sources.len() as u64;
        let at = turn.checked_rem(count)?;
        self.sources.get(usize::try_from(at).ok()?).copied()
    }
}

fn unspecified(to: SocketAddr) -> IpAddr {
    match to {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    }
}

/// With the option `SO_REUSEADDR`, a port can be used for several destinations.
async fn connect_from(from: SocketAddr, to: SocketAddr) -> Result<TcpStream, ConnectionError> {
    let socket = match to {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    };
    let socket = socket.map_err(io("cannot create a socket"))?;
    socket
        .set_reuseaddr(true)
        .map_err(io("cannot create a socket"))?;
    socket
        .bind(from)
        .map_err(io("cannot use the source port"))?;
    socket.connect(to).await.map_err(io("cannot connect"))
}

fn is_port_in_use(error: &Error) -> bool {
    Exhausted::from_error(error) == Some(Exhausted::Ports)
}

impl BrokerConnection {
    /// The next bytes, at least one.
    ///
    /// # Errors
    /// When the connection has ended.
    pub async fn receive(&mut self) -> Result<Vec<u8>, ConnectionError> {
        let bytes = poll_fn(|context| self.poll_receive(context)).await;
        let bytes = bytes.map_err(io("connection lost"))?;
        match bytes.is_empty() {
            true => Err(io("connection lost")(closed())),
            false => Ok(bytes),
        }
    }

    /// The buffer exists only during a poll, so that idle connections need none.
    fn poll_receive(&mut self, context: &mut Context<'_>) -> Poll<Result<Vec<u8>, Error>> {
        let mut space = [MaybeUninit::uninit(); READ_SIZE];
        let mut buffer = ReadBuf::uninit(&mut space);
        ready!(Pin::new(&mut *self.stream).poll_read(context, &mut buffer))?;
        Poll::Ready(Ok(buffer.filled().to_vec()))
    }

    /// Sends all bytes.
    ///
    /// # Errors
    /// When the connection has ended, or the broker does not read within the limit.
    pub async fn send(&mut self, bytes: &[u8], limit: Duration) -> Result<(), ConnectionError> {
        let sent = timeout(limit, async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        });
        match sent.await {
            Ok(result) => result.map_err(io("connection lost")),
            Err(_) => Err(ConnectionError::Timeout {
                what: "connection lost: the broker did not read",
                limit,
            }),
        }
    }

    /// Closes the sending side.
    ///
    /// # Errors
    /// When the connection has ended already.
    pub async fn close(&mut self) -> Result<(), Error> {
        self.stream.shutdown().await
    }
}

fn closed() -> Error {
    Error::new(ErrorKind::UnexpectedEof, "closed by the broker")
}
