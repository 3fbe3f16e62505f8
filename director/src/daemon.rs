//! Lifecycle of the daemon: it listens first, so that requests are answered at once, recovers earlier tasks in the
//! background, and ends on a signal without stopping tests.

use crate::api::{self, App, Limits, Slots};
use crate::config::Config;
use crate::{Assembled, Ports, assemble, permissions, retention};
use anyhow::Context;
use atq_engine::Engine;
use atq_run::Orchestrator;
use atq_run::orphans::OrphanPolicy;
use atq_run::retention::Policy;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Two cores serve thousands of requests per second; more threads would only use memory.
const THREADS: usize = 4;
/// File operations take milliseconds; each thread uses memory.
const BLOCKING_THREADS: usize = 32;

/// Serves until SIGTERM or SIGINT. Blocks the thread.
///
/// # Errors
/// When the port or a directory cannot be used.
pub fn until_signal(config: Config, ports: Ports, orphans: OrphanPolicy) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .max_blocking_threads(BLOCKING_THREADS)
        .enable_all()
        .build()?;
    let result = runtime.block_on(async {
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
    // Drivers are cancelled: the next start resumes their work. Calls of the store in progress may complete.
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}

/// Serves on `listener` until `shutdown` completes.
///
/// # Errors
/// When a directory cannot be used.
pub async fn run(
    config: Config,
    ports: Ports,
    orphans: OrphanPolicy,
    listener: TcpListener,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> anyhow::Result<()> {
    let address = listener.local_addr()?;
    let config = Arc::new(config);
    let Assembled {
        orchestrator,
        engine_routes,
    } = {
        let config = Arc::clone(&config);
        tokio::task::spawn_blocking(move || assemble(&config, ports, address)).await??
    };
    permissions::restrict_directories(&config);
    let in_background = Arc::clone(&config);
    tokio::task::spawn_blocking(move || permissions::restrict_contents(&in_background));
    let threads = orchestrator.shared().store.use_own_threads();
    threads.context("cannot start the threads of the store")?;
    let (recovered, recovery) = watch::channel(false);
    let retention = retention(&config);
    tokio::spawn(recover_tasks(
        orchestrator.clone(),
        orphans,
        retention,
        recovered,
    ));
    let engine = Arc::clone(&orchestrator.shared().engine);
    tokio::spawn(pull_images(Arc::clone(&config), engine));
    let limits = Limits::for_process(config.limits.connections);
    let app = App {
        orchestrator,
        config,
        recovered: recovery,
        slots: Slots::new(&limits),
    };
    log_address(address);
    api::serve(listener, app, engine_routes, limits, shutdown).await
}

/// Resumes earlier tasks, then removes leftovers of clean-up and of a Director that lost its data.
async fn recover_tasks(
    orchestrator: Orchestrator,
    orphans: OrphanPolicy,
    retention: Policy,
    recovered: watch::Sender<bool>,
) {
    match orchestrator.recover().await {
        Ok(0) => {}
        Ok(count) => tracing::info!(count, "resuming earlier tasks"),
        Err(error) => {
            tracing::error!(%error, "cannot resume earlier tasks");
            return;
        }
    }
    recovered.send_replace(true);
    tokio::spawn(orchestrator.clone().handle_orphans(orphans));
    tokio::spawn(orchestrator.clone().sweep_volumes());
    tokio::spawn(orchestrator.clone().retain(retention));
    orchestrator.sweep().await;
}

/// Best effort: a task with a missing image fails with Docker's own reason.
async fn pull_images(config: Arc<Config>, engine: Arc<dyn Engine>) {
    for rule in config.images.rules() {
        if let Err(error) = engine.pull_image(&rule.image_name).await {
            tracing::warn!(image = %rule.image_name, %error, "cannot pull a configured image");
        }
    }
}

fn log_address(address: SocketAddr) {
    let scope = match address.ip().is_loopback() {
        true => "; reachable from this machine only, `bind: 0.0.0.0` opens it to the network",
        false => "",
    };
    tracing::info!(
        "listening on http://{address}, Swagger UI at http://{address}/swagger-ui/{scope}"
    );
}
