//! The HTTP server.

use super::{App, router};
use anyhow::Context;
use std::future::Future;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// How long open requests may take to end after a signal.
const GRACE: Duration = Duration::from_secs(3);

/// Serves on `listener` until `shutdown` is over; then takes no more requests and gives those that are
/// open a moment.
///
/// # Errors
/// When the listener fails.
pub async fn serve(
    listener: TcpListener,
    app: App,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> anyhow::Result<()> {
    let (told, mut stop) = watch::channel(false);
    let orchestrator = app.orchestrator.clone();
    let server = axum::serve(listener, router(app)).with_graceful_shutdown(async move {
        shutdown.await;
        tracing::info!("ending; running tests go on and are followed again at the next start");
        // Whoever follows a test would be waited for otherwise.
        orchestrator.close();
        told.send_replace(true);
    });
    let cut = async {
        // An error means that the server has ended by itself.
        if stop.wait_for(|told| *told).await.is_ok() {
            tokio::time::sleep(GRACE).await;
        }
    };
    tokio::select! {
        served = server => served.context("the HTTP server failed"),
        () = cut => Ok(()),
    }
}
