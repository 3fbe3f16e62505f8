//! Lifecycle of the daemon: it listens first, so that requests are answered at once, recovers earlier tasks in the
//! background, and ends on a signal without stopping tests.

use crate::api::{self, App, Endpoint, Limits, Listener, Server, Slots, StoreCheck};
use crate::config::{Auth, Config};
use crate::listeners::{self, Listeners};
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
/// When a directory, the certificate or a socket cannot be used.
pub async fn run(
    config: Config,
    ports: Ports,
    orphans: OrphanPolicy,
    listener: TcpListener,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> anyhow::Result<()> {
    let address = listener.local_addr()?;
    let auth = config.auth;
    let config = Arc::new(config);
    let Assembled {
        orchestrator,
        engine_routes,
        access,
        node_port,
        metrics,
    } = {
        let config = Arc::clone(&config);
        tokio::task::spawn_blocking(move || assemble(&config, ports)).await??
    };
    permissions::restrict_directories(&config);
    // Before tasks are resumed: a Director that cannot be reached must not start.
    let Listeners {
        main,
        socket,
        control,
        files: _files,
    } = listeners::open(&config, listener).await?;
    let in_background = Arc::clone(&config);
    tokio::task::spawn_blocking(move || permissions::restrict_contents(&in_background));
    let threads = orchestrator.shared().store.use_own_threads();
    threads.context("cannot start the threads of the store")?;
    let (recovered, recovery) = watch::channel(false);
    let limits = Limits::for_process(config.limits.connections);
    let server = Server::new();
    // Before tasks are resumed: their carriers send requests.
    let requests = metrics.http().clone();
    let carriers = api::carriers(engine_routes, recovery.clone(), access.clone(), requests);
    let carriers = Endpoint::new(carriers, limits.carriers);
    node_port.start(server.clone(), carriers).await?;
    let advertised = config.advertised_warning(node_port.number());
    for warning in config.warnings().into_iter().chain(advertised) {
        tracing::warn!("{warning}");
    }
    let retention = retention(&config);
    tokio::spawn(recover_tasks(
        orchestrator.clone(),
        orphans,
        retention,
        recovered,
    ));
    let engine = Arc::clone(&orchestrator.shared().engine);
    tokio::spawn(pull_images(Arc::clone(&config), Arc::clone(&engine)));
    tokio::spawn(async move { engine.reconnect().await });
    let ending = access.clone();
    tokio::spawn(access.tokens().clone().keep_last_uses());
    let app = App {
        orchestrator: orchestrator.clone(),
        access,
        config,
        recovered: recovery,
        slots: Slots::new(&limits),
        store_check: StoreCheck::default(),
        metrics,
    };
    let routes = api::router(app);
    let local = [(socket, limits.socket), (control, limits.control)];
    for (listener, limits) in local {
        if let Some(listener) = listener {
            server.listen(listener, &Endpoint::new(routes.clone(), limits));
        }
    }
    log_address(address, &main, auth);
    server.listen(main, &Endpoint::new(routes, limits.main));
    shutdown.await;
    tracing::info!("shutting down; running tests continue and are resumed at the next start");
    // Closes streams of events and logs, which would delay the shutdown.
    server.shutdown(|| orchestrator.close()).await;
    if let Err(error) = ending.tokens().write_last_uses().await {
        tracing::warn!(%error, "cannot store the last use of tokens");
    }
    ending.audit().flush().await;
    Ok(())
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

fn log_address(address: SocketAddr, listener: &Listener, auth: Auth) {
    let scheme = match listener {
        Listener::Tls(..) => "https",
        _ => "http",
    };
    let scope = match (address.ip().is_loopback(), auth) {
        (true, Auth::Off) => {
            "; reachable from this machine only, `bind` and `auth: tokens` open it to the network"
        }
        (true, Auth::Tokens) => {
            "; reachable from this machine only, `bind` opens it to the network"
        }
        (false, _) => "",
    };
    tracing::info!(
        "listening on {scheme}://{address}, Swagger UI at {scheme}://{address}/swagger-ui/{scope}"
    );
}
