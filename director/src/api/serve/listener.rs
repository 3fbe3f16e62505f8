//! The kinds of listeners, and how each accepts a connection and names its other end.

use super::Peer;
use rustls::ServerConfig;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::time::sleep;

/// Pause after a failed accept, for example without free descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// A listener.
#[derive(Debug)]
pub enum Listener {
    /// HTTP.
    Plain(TcpListener),
    /// HTTPS. The configuration may have a resolver that changes the certificate.
    Tls(TcpListener, Arc<ServerConfig>),
    /// The Unix socket of the configuration.
    Socket(UnixListener),
    /// The control socket, for the Director's own user and root.
    Control {
        /// The socket.
        listener: UnixListener,
        /// The Director's own user.
        owner: u32,
    },
}

/// An accepted connection, before any data is exchanged.
pub enum Stream {
    /// HTTP.
    Plain(TcpStream),
    /// HTTPS, before the handshake.
    Tls(TcpStream, Arc<ServerConfig>),
    /// A Unix socket.
    Unix(UnixStream),
}

impl Listener {
    /// Accepts the next connection; errors are retried.
    pub async fn accept(&self) -> (Stream, Peer) {
        loop {
            match self.accept_once().await {
                Ok(Some(accepted)) => return accepted,
                Ok(None) => {}
                Err(error) => {
                    use io::ErrorKind as E;
                    let is_client_error = matches!(
                        error.kind(),
                        E::ConnectionAborted | E::ConnectionReset | E::ConnectionRefused
                    );
                    if !is_client_error {
                        tracing::error!(%error, "cannot accept connections; retrying");
                        sleep(ACCEPT_PAUSE).await;
                    }
                }
            }
        }
    }

    /// Accepts a connection; `None` if its peer is not allowed.
    async fn accept_once(&self) -> io::Result<Option<(Stream, Peer)>> {
        let accepted = match self {
            Self::Plain(listener) => {
                let (stream, address) = listener.accept().await?;
                (Stream::Plain(stream), Peer::Tcp(address))
            }
            Self::Tls(listener, config) => {
                let (stream, address) = listener.accept().await?;
                (Stream::Tls(stream, Arc::clone(config)), Peer::Tcp(address))
            }
            Self::Socket(listener) => {
                let (stream, uid) = accept_unix(listener).await?;
                (Stream::Unix(stream), Peer::Socket { uid })
            }
            Self::Control { listener, owner } => {
                let (stream, uid) = accept_unix(listener).await?;
                if uid != *owner && uid != 0 {
                    tracing::warn!(uid, "refused a connection to the control socket");
                    return Ok(None);
                }
                (Stream::Unix(stream), Peer::Control { uid })
            }
        };
        Ok(Some(accepted))
    }
}

/// A connection to a Unix socket, with the user id of the process that has opened it.
async fn accept_unix(listener: &UnixListener) -> io::Result<(UnixStream, u32)> {
    let (stream, _) = listener.accept().await?;
    let uid = stream.peer_cred()?.uid();
    Ok((stream, uid))
}
