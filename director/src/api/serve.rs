//! The HTTP server: connections are counted ([`gate`]), watched ([`activity`], [`socket`]) and served by the router.
//! `axum::serve` has no such limits.

mod activity;
mod gate;
pub(super) mod limits;
mod socket;

pub use limits::Limits;

use super::app::App;
use super::body::holding;
use super::error::TURNED_AWAY;
use super::router::router;
use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use gate::{Gate, Pass};
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

/// How long open requests may take to end after a signal.
const GRACE: Duration = Duration::from_secs(3);
/// Bytes of a connection that wait to be sent, and most bytes of a request's head.
const BUFFER: usize = 64 << 10;
/// Pause after the system had no connection to give, for example no descriptor for it.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// How many connections are told at once that there is no room for them.
const REFUSALS: usize = 16;
/// How long one that is turned away may take to read that.
const REFUSAL_TIME: Duration = Duration::from_secs(1);

/// Serves on `listener` until `shutdown` is over; then takes no more requests and gives those that are
/// open a moment.
///
/// # Errors
/// None yet; the listener's errors pass.
pub async fn serve(
    listener: TcpListener,
    app: App,
    inbound: Router,
    limits: Limits,
    shutdown: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let orchestrator = app.orchestrator.clone();
    let router = router(app, inbound);
    let graceful = GracefulShutdown::new();
    tokio::select! {
        () = accept_all(&listener, &router, &graceful, limits) => {}
        () = shutdown => {}
    }
    drop(listener);
    tracing::info!("ending; running tests go on and are followed again at the next start");
    // Whoever follows a test would be waited for otherwise.
    orchestrator.close();
    tokio::select! {
        () = graceful.shutdown() => {}
        () = sleep(GRACE) => {}
    }
    Ok(())
}

/// Never returns.
async fn accept_all(
    listener: &TcpListener,
    router: &Router,
    graceful: &GracefulShutdown,
    limits: Limits,
) {
    let gate = Gate::new(limits);
    let refusals = Arc::new(Semaphore::new(REFUSALS));
    loop {
        let (stream, address) = accept(listener).await;
        match gate.enter(address.ip()).await {
            Some(pass) => {
                tokio::spawn(converse(stream, pass, router.clone(), graceful.watcher()));
            }
            // Those for whom even this is too much are closed without a word.
            None => {
                if let Ok(permit) = Arc::clone(&refusals).try_acquire_owned() {
                    tokio::spawn(async move {
                        let _ = timeout(REFUSAL_TIME, turn_away(stream)).await;
                        drop(permit);
                    });
                }
            }
        }
    }
}

/// The next connection. Whatever the reason why there is none, the next try may succeed.
async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) => {
                use io::ErrorKind as E;
                let is_clients = matches!(
                    error.kind(),
                    E::ConnectionAborted | E::ConnectionReset | E::ConnectionRefused
                );
                if !is_clients {
                    tracing::error!(%error, "cannot accept connections; it is tried again");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

/// Serves the requests of a connection, one after the other.
async fn converse(stream: TcpStream, pass: Pass, router: Router, watcher: Watcher) {
    let activity = pass.activity.clone();
    let answer = service_fn(|request: Request<Incoming>| {
        let guard = activity.request();
        let router = router.clone();
        async move {
            let response: Response = match router.oneshot(request.map(Body::new)).await {
                Ok(response) => response,
                Err(never) => match never {},
            };
            Ok::<_, Infallible>(holding(response, guard))
        }
    });
    let socket = Socket::new(stream, pass.activity.clone());
    let connection = http1::Builder::new()
        // The head's deadline is the matter of `activity`: that of hyper would count pauses between requests too.
        .header_read_timeout(None)
        .max_buf_size(BUFFER)
        .serve_connection(TokioIo::new(socket), answer);
    tokio::select! {
        served = watcher.watch(connection) => if let Err(error) = served {
            tracing::debug!(%error, "a connection ended early");
        },
        () = pass.over() => {}
    }
}

/// Tells a client that there is no room for its connection. What it has sent is read, as closing would otherwise take
/// the answer back.
async fn turn_away(mut stream: TcpStream) -> io::Result<()> {
    stream.write_all(TURNED_AWAY.as_bytes()).await?;
    stream.shutdown().await?;
    let mut sent = [0; 1024];
    while stream.read(&mut sent).await? > 0 {}
    Ok(())
}
