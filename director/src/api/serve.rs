//! The HTTP server: connections are limited ([`connection_limiter`]), monitored ([`activity`], [`socket`]) and served
//! by the router. `axum::serve` has no such limits.

mod activity;
mod connection_limiter;
pub(super) mod limits;
mod socket;

pub use limits::Limits;

use super::app::App;
use super::body::with_guard;
use super::error::TOO_MANY_CONNECTIONS;
use super::router::router;
use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use connection_limiter::{ConnectionLimiter, ConnectionPermit};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use socket::Socket;
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tower::ServiceExt;

/// Grace period of open requests after a signal.
const GRACE: Duration = Duration::from_secs(3);
/// Maximum size of a connection's send buffer and of a request's head, in bytes.
const BUFFER: usize = 64 << 10;
/// Pause after a failed accept, for example without free descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// Maximum number of concurrent refusals of connections beyond the limit.
const REFUSALS: usize = 16;
/// Timeout of a refusal.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(1);

/// Serves on `listener` until `shutdown` completes; then accepts no more requests and waits briefly for open ones.
///
/// # Errors
/// Never; errors of the listener are retried.
pub async fn serve(
    listener: TcpListener,
    app: App,
    engine_routes: Router,
    limits: Limits,
    shutdown: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let orchestrator = app.orchestrator.clone();
    let router = router(app, engine_routes);
    let graceful = GracefulShutdown::new();
    tokio::select! {
        () = accept_all(&listener, &router, &graceful, limits) => {}
        () = shutdown => {}
    }
    drop(listener);
    tracing::info!("shutting down; running tests continue and are resumed at the next start");
    // Closes streams of events and logs, which would delay the shutdown.
    orchestrator.close();
    tokio::select! {
        () = graceful.shutdown() => {}
        () = sleep(GRACE) => {}
    }
    Ok(())
}

/// Accepts connections; never returns.
async fn accept_all(
    listener: &TcpListener,
    router: &Router,
    graceful: &GracefulShutdown,
    limits: Limits,
) {
    let limiter = ConnectionLimiter::new(limits);
    let refusals = Arc::new(Semaphore::new(REFUSALS));
    loop {
        let (stream, address) = accept(listener).await;
        match limiter.acquire(address.ip()).await {
            Some(permit) => {
                tokio::spawn(serve_connection(
                    stream,
                    permit,
                    router.clone(),
                    graceful.watcher(),
                ));
            }
            // Further connections are closed without a response.
            None => {
                if let Ok(permit) = Arc::clone(&refusals).try_acquire_owned() {
                    tokio::spawn(async move {
                        let _ = timeout(REFUSAL_TIMEOUT, refuse(stream)).await;
                        drop(permit);
                    });
                }
            }
        }
    }
}

/// Accepts the next connection; errors are retried.
async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
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

/// Serves the requests of a connection, one at a time.
async fn serve_connection(
    stream: TcpStream,
    permit: ConnectionPermit,
    router: Router,
    watcher: Watcher,
) {
    let activity = permit.activity.clone();
    let service = service_fn(|request: Request<Incoming>| {
        let guard = activity.request();
        let router = router.clone();
        async move {
            let Ok(response) = router.oneshot(request.map(Body::new)).await;
            Ok::<_, Infallible>(with_guard(response, guard))
        }
    });
    let socket = Socket::new(stream, permit.activity.clone());
    let connection = http1::Builder::new()
        // `activity` limits the time for a head: hyper's timeout would include pauses between requests.
        .header_read_timeout(None)
        .max_buf_size(BUFFER)
        .serve_connection(TokioIo::new(socket), service);
    tokio::select! {
        served = watcher.watch(connection) => if let Err(error) = served {
            tracing::debug!(%error, "a connection ended early");
        },
        () = permit.revoked() => {}
    }
}

/// Refuses a connection beyond the limit. Data of the client is read, as closing with unread data would discard the
/// response.
async fn refuse(mut stream: TcpStream) -> io::Result<()> {
    stream.write_all(TOO_MANY_CONNECTIONS.as_bytes()).await?;
    stream.shutdown().await?;
    let mut unread = [0; 1024];
    while stream.read(&mut unread).await? > 0 {}
    Ok(())
}
