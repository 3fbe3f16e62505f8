//! The daemon's life: listen first, so that questions are answered at once; take up earlier tasks
//! behind that; end on a signal and leave running tests alone.

use crate::api::{self, App, Limits, Slots};
use crate::config::Config;
use crate::{Assembled, Ports, assemble, private, retention};
use anyhow::Context;
use atq_engine::Engine;
use atq_run::Orchestrator;
use atq_run::orphans::Orphans;
use atq_run::retention::Policy;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Two cores serve thousands of requests a second; more threads would only take memory.
const THREADS: usize = 4;
/// Work on files takes milliseconds; each thread takes memory.
const BLOCKING_THREADS: usize = 32;

/// Serves until SIGTERM or SIGINT. Blocks.
///
/// # Errors
/// When the port or a directory cannot be used.
pub fn until_signal(config: Config, ports: Ports, orphans: Orphans) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .max_blocking_threads(BLOCKING_THREADS)
        .enable_all()
        .build()?;
    let served = runtime.block_on(async {
        let address = SocketAddr::new(config.bind, config.port);
        let listener = TcpListener::bind(address).await.with_context(|| {
            format!("cannot listen on {address} (`bind` and `port` of the configuration)")
        })?;
        let (mut term, mut int) = (
            signal(SignalKind::terminate())?,
            signal(SignalKind::interrupt())?,
        );
        let shutdown = async move {
            tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
        };
        run(config, ports, orphans, listener, shutdown).await
    });
    // Drivers are simply cut off: whatever they were doing is taken up at the next start. Calls to
    // the store that are under way may end.
    runtime.shutdown_timeout(Duration::from_secs(1));
    served
}

/// Serves on `listener` until `shutdown` is over.
///
/// # Errors
/// When a directory cannot be used.
pub async fn run(
    config: Config,
    ports: Ports,
    orphans: Orphans,
    listener: TcpListener,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> anyhow::Result<()> {
    let address = listener.local_addr()?;
    let config = Arc::new(config);
    let Assembled {
        orchestrator,
        inbound,
    } = {
        let config = Arc::clone(&config);
        tokio::task::spawn_blocking(move || assemble(&config, ports, address)).await??
    };
    private::close_directories(&config);
    let kept = Arc::clone(&config);
    tokio::task::spawn_blocking(move || private::close_contents(&kept));
    let threads = orchestrator.shared().store.use_own_threads();
    threads.context("cannot start the threads of the store")?;
    let (recovered, recovery) = watch::channel(false);
    let retention = retention(&config);
    tokio::spawn(take_up(orchestrator.clone(), orphans, retention, recovered));
    let engine = Arc::clone(&orchestrator.shared().engine);
    tokio::spawn(pull_images(Arc::clone(&config), engine));
    let limits = Limits::of_process(config.limits.connections);
    let app = App {
        orchestrator,
        config,
        recovered: recovery,
        slots: Slots::new(&limits),
    };
    announce(address);
    api::serve(listener, app, inbound, limits, shutdown).await
}

/// Takes up earlier tasks, then looks after what clean-up, or a Director that lost its data, has left.
async fn take_up(
    orchestrator: Orchestrator,
    orphans: Orphans,
    retention: Policy,
    recovered: watch::Sender<bool>,
) {
    match orchestrator.recover().await {
        Ok(0) => {}
        Ok(count) => tracing::info!(count, "earlier tasks are taken up again"),
        Err(error) => {
            tracing::error!(%error, "earlier tasks cannot be taken up");
            return;
        }
    }
    recovered.send_replace(true);
    tokio::spawn(orchestrator.clone().look_after_orphans(orphans));
    tokio::spawn(orchestrator.clone().sweep_volumes());
    tokio::spawn(orchestrator.clone().retain(retention));
    orchestrator.sweep().await;
}

/// Best effort: a task whose image is not there fails with Docker's own reason.
async fn pull_images(config: Arc<Config>, engine: Arc<dyn Engine>) {
    for rule in config.images.rules() {
        if let Err(error) = engine.pull_image(&rule.image_name).await {
            tracing::warn!(image = %rule.image_name, %error, "cannot get an image that the configuration names");
        }
    }
}

fn announce(address: SocketAddr) {
    let reach = match address.ip().is_loopback() {
        true => "; only this machine reaches it, `bind: 0.0.0.0` opens it to all",
        false => "",
    };
    tracing::info!(
        "listening on http://{address}, Swagger UI at http://{address}/swagger-ui/{reach}"
    );
}
