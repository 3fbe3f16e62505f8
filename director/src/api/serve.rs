//! The HTTP server: any number of listeners ([`Listener`]), each with its routes and its limits ([`Endpoint`]).
//! Connections are limited ([`connection_limiter`]), monitored ([`activity`], [`socket`]), and served by the router of
//! their endpoint. `axum::serve` has no such limits.

mod activity;
mod connection_limiter;
pub(super) mod limits;
mod listener;
mod socket;
#[cfg(test)]
mod tests;

pub use limits::{ConnectionLimits, Limits};
pub use listener::Listener;

use super::body::with_guard;
use super::error::{PLAIN_HTTP, TOO_MANY_CONNECTIONS};
use super::peer::Peer;
use activity::Activity;
use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use connection_limiter::{ConnectionLimiter, ConnectionPermit};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use listener::Stream;
use rustls::ServerConfig;
use socket::Socket;
use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

/// Grace period of open requests after a signal.
const GRACE: Duration = Duration::from_secs(3);
/// Maximum size of a connection's send buffer and of a request's head, in bytes.
const BUFFER: usize = 64 << 10;
/// Maximum number of concurrent refusals of connections beyond the limit, for each endpoint.
const REFUSALS: usize = 16;
/// Timeout of a refusal.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(1);

/// Routes, and the limits of the connections that use them. Several listeners may share an endpoint. Cheap to clone.
#[derive(Clone)]
pub struct Endpoint {
    router: Router,
    limiter: Arc<ConnectionLimiter>,
    refusals: Arc<Semaphore>,
}

impl Endpoint {
    /// An endpoint with these routes and limits.
    pub fn new(router: Router, limits: ConnectionLimits) -> Self {
        Self {
            router,
            limiter: ConnectionLimiter::new(limits),
            refusals: Arc::new(Semaphore::new(REFUSALS)),
        }
    }
}

/// The running server. Listeners can be added at any time. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Server {
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Server {
    /// A server without listeners.
    pub fn new() -> Self {
        Self::default()
    }

    /// Serves the connections of `listener` until the server shuts down, or the listener is closed by its handle.
    /// Must be called in a runtime.
    pub fn listen(&self, listener: Listener, endpoint: &Endpoint) -> ListenerHandle {
        let close = self.stop.child_token();
        let accepted = accept_all(listener, endpoint.clone(), self.clone());
        let closed = close.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = accepted => {}
                () = closed.cancelled() => {}
            }
        });
        ListenerHandle(close)
    }

    /// Closes all listeners, calls `close_streams`, which must end endless responses, and waits briefly for open
    /// requests.
    pub async fn shutdown(&self, close_streams: impl FnOnce()) {
        self.stop.cancel();
        close_streams();
        self.tasks.close();
        // Requests that take longer end with the process.
        let _ = timeout(GRACE, self.tasks.wait()).await;
    }
}

/// Closes a listener before the server shuts down. The listener stays open when the handle is dropped.
#[derive(Debug)]
pub struct ListenerHandle(CancellationToken);

impl ListenerHandle {
    /// Closes the listener; open connections continue.
    pub fn close(&self) {
        self.0.cancel();
    }
}

/// Accepts connections; never returns.
async fn accept_all(listener: Listener, endpoint: Endpoint, server: Server) {
    loop {
        let (stream, peer) = listener.accept().await;
        match endpoint.limiter.acquire(peer.into()).await {
            Some(permit) => {
                let router = endpoint.router.clone();
                let stop = server.stop.clone();
                let connection = serve_connection(stream, peer, permit, router, stop);
                server.tasks.spawn(connection);
            }
            // Further connections are closed without a response.
            None => {
                if let Ok(permit) = Arc::clone(&endpoint.refusals).try_acquire_owned() {
                    tokio::spawn(async move {
                        let _ = timeout(REFUSAL_TIMEOUT, refuse(stream)).await;
                        drop(permit);
                    });
                }
            }
        }
    }
}

/// Serves a connection until it ends, times out or is replaced.
async fn serve_connection(
    stream: Stream,
    peer: Peer,
    permit: ConnectionPermit,
    router: Router,
    stop: CancellationToken,
) {
    let activity = permit.activity.clone();
    let http = Http {
        peer,
        activity: permit.activity.clone(),
        router,
        stop,
    };
    let served = async move {
        match stream {
            Stream::Plain(stream) => {
                let socket = Socket::new(stream, activity).expecting_http();
                http.serve(socket).await;
            }
            Stream::Unix(stream) => http.serve(Socket::new(stream, activity)).await,
            // The timeout for the head of the first request includes the handshake.
            Stream::Tls(stream, config) => {
                let handshake = handshake(stream, activity, config);
                let handshaken = tokio::select! {
                    handshaken = handshake => handshaken,
                    () = http.stop.cancelled() => return,
                };
                match handshaken {
                    Ok(Some(stream)) => http.serve(stream).await,
                    Ok(None) => {}
                    Err(error) => tracing::debug!(?peer, %error, "a TLS handshake failed"),
                }
            }
        }
    };
    tokio::select! {
        () = served => {}
        () = permit.revoked() => {}
    }
}

/// Completes a TLS handshake; `None` if the client speaks HTTP without TLS, and was told so.
async fn handshake(
    stream: TcpStream,
    activity: Activity,
    config: Arc<ServerConfig>,
) -> io::Result<Option<TlsStream<Socket<TcpStream>>>> {
    let mut first = [0];
    if stream.peek(&mut first).await? == 1 && first[0].is_ascii_alphabetic() {
        let _ = timeout(REFUSAL_TIMEOUT, respond_and_close(stream, PLAIN_HTTP)).await;
        return Ok(None);
    }
    let socket = Socket::new(stream, activity);
    TlsAcceptor::from(config).accept(socket).await.map(Some)
}

/// What serves the requests of a connection.
struct Http {
    peer: Peer,
    activity: Activity,
    router: Router,
    stop: CancellationToken,
}

impl Http {
    /// Serves the requests of a connection, one at a time.
    async fn serve(self, stream: impl AsyncRead + AsyncWrite + Unpin) {
        let Self {
            peer,
            activity,
            router,
            stop,
        } = self;
        let service = service_fn(|mut request: Request<Incoming>| {
            request.extensions_mut().insert(peer);
            let guard = activity.request();
            let router = router.clone();
            async move {
                let Ok(response) = router.oneshot(request.map(Body::new)).await;
                Ok::<_, Infallible>(with_guard(response, guard))
            }
        });
        let connection = http1::Builder::new()
            // `activity` limits the time for a head: hyper's timeout would include pauses between requests.
            .header_read_timeout(None)
            .max_buf_size(BUFFER)
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = pin!(connection);
        let served = tokio::select! {
            served = connection.as_mut() => served,
            () = stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = served {
            tracing::debug!(?peer, %error, "a connection ended early");
        }
    }
}

/// Refuses a connection beyond the limit.
async fn refuse(stream: Stream) -> io::Result<()> {
    match stream {
        Stream::Plain(stream) => respond_and_close(stream, TOO_MANY_CONNECTIONS).await,
        Stream::Unix(stream) => respond_and_close(stream, TOO_MANY_CONNECTIONS).await,
        Stream::Tls(stream, config) => match handshake(stream, Activity::new(), config).await? {
            Some(stream) => respond_and_close(stream, TOO_MANY_CONNECTIONS).await,
            None => Ok(()),
        },
    }
}

/// Sends a response without a request. Data of the client is read, as closing with unread data would discard the
/// response.
async fn respond_and_close(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    response: &str,
) -> io::Result<()> {
    stream.write_all(response.as_bytes()).await?;
    stream.shutdown().await?;
    let mut unread = [0; 1024];
    while stream.read(&mut unread).await? > 0 {}
    Ok(())
}
