//! ATQ Director: runs distributed load tests on Docker Swarm.
//!
//! Dependencies point one way: `main` -> `lib` -> [`api`] -> [`atq_run`] -> { [`atq_task`], [`atq_engine`],
//! [`atq_bundle_store`], [`atq_evidence`], [`atq_store`] }. [`atq_task`] is pure; the tests of `atq-layering` check
//! this. Only this file and [`engine`] connect the components.

pub mod api;
pub mod args;
pub mod audit;
pub mod config;
pub mod daemon;
pub mod engine;
pub mod exchange;
pub mod groups;
pub mod identity;
pub mod listeners;
pub mod logging;
pub mod metrics;
pub mod node_port;
pub mod permissions;
pub mod sockets;
pub mod store_cli;
pub mod tls;
pub mod token_cli;
pub mod tokens;

use anyhow::Context;
use api::Access;
use atq_bundle_store::BundleStore;
use atq_engine::Engine;
use atq_evidence::Evidence;
use atq_run::clock::Clock;
use atq_run::health::Health;
use atq_run::queue::Queue;
use atq_run::retention::Policy;
use atq_run::{Orchestrator, Settings, Shared};
use atq_store::Store;
use audit::Audit;
use config::Config;
pub use engine::Ports;
use identity::Place;
use metrics::{Instruments, Metrics};
use node_port::NodePort;
use std::sync::Arc;
use std::time::Duration;
use tokens::Tokens;

/// Default maximum duration of a test.
const MAX_DURATION: Duration = Duration::from_secs(24 * 3600);
/// Maximum time for which the engine may be unavailable while a test runs.
const ENGINE_TIMEOUT: Duration = Duration::from_secs(300);

/// Maximum number of stored files from `/atq/results` of all containers of a run.
const MAX_RESULT_FILES: u64 = 100_000;

/// The components of a Director.
pub struct Assembled {
    /// Management of tasks.
    pub orchestrator: Orchestrator,
    /// Routes of the engine for its own programs on the nodes.
    pub engine_routes: axum::Router,
    /// The rules for access, with the tokens of clients.
    pub access: Access,
    /// The port for these routes. It does not listen yet.
    pub node_port: Arc<NodePort>,
    /// The metrics.
    pub metrics: Metrics,
}

/// Creates the components of a Director. Opens the store and the bundles; starts no task
/// yet. Blocks the thread.
///
/// # Errors
/// When a directory cannot be used, or another Director uses it.
pub fn assemble(config: &Config, ports: Ports) -> anyhow::Result<Assembled> {
    assemble_with(config, ports, Clock::System, |engine| engine)
}

/// As [`assemble`], with another clock, and with an engine that wraps the one of the configuration.
///
/// # Errors
/// As [`assemble`].
pub fn assemble_with(
    config: &Config,
    ports: Ports,
    clock: Clock,
    wrap: impl FnOnce(Arc<dyn Engine>) -> Arc<dyn Engine>,
) -> anyhow::Result<Assembled> {
    config.prepare()?;
    // The store's lock comes first: a second Director on the same data must not change anything.
    let store = Store::open(&config.datadir.join("state"))?;
    let instruments = Instruments::default();
    let store = store.observed_by(Arc::new(instruments.runs.clone()));
    let place = Place {
        datadir: &config.datadir,
        glusterpath: &config.glusterpath,
        port: config.port,
    };
    let director_id = identity::director_id(&place, config.director_id.as_deref())?;
    let bundles = BundleStore::open(&config.glusterpath, bundle_limits(config))?;
    tracing::debug!(director = %director_id, "assembled");
    let bundles = Arc::new(bundles);
    let place = identity::place(&place);
    let node_port = Arc::new(NodePort::new(config)?);
    let engine = engine::new(
        config,
        ports,
        Arc::clone(&node_port) as _,
        &director_id,
        place,
        Arc::clone(&bundles),
        Arc::new(instruments.engine.clone()),
    );
    let engine_routes = engine.router();
    let audit = Audit::open(&config.datadir).with_context(|| {
        format!(
            "cannot write the audit log in `{}`",
            config.datadir.display()
        )
    })?;
    let access = Access::new(config, Tokens::load(store.clone())?, audit);
    let engine = wrap(Arc::new(engine));
    let orchestrator = Orchestrator::new(Shared {
        settings: settings(config, director_id),
        store,
        health: Health::watch(Arc::clone(&engine)),
        engine,
        bundles,
        evidence: Evidence::new(&config.datadir).with_log_bytes(config.limits.log_bytes),
        clock,
        queue: Queue::new(config.max_concurrent_tasks),
    });
    let metrics = Metrics::new(instruments, orchestrator.clone());
    Ok(Assembled {
        orchestrator,
        engine_routes,
        access,
        node_port,
        metrics,
    })
}

fn settings(config: &Config, director_id: String) -> Settings {
    Settings {
        director_id,
        max_concurrent_tasks: config.max_concurrent_tasks,
        orchestration_timeout: config.fixed_orchestration_timeout,
        max_duration: MAX_DURATION,
        engine_timeout: ENGINE_TIMEOUT,
        subnet_pool: config.subnet_pool.to_string(),
        discovery_image: config.discovery_image.clone(),
        results: atq_evidence::results::ResultsLimits {
            bytes: config.limits.results_bytes,
            files: MAX_RESULT_FILES,
        },
    }
}

/// Retention policy from the configuration.
fn retention(config: &Config) -> Policy {
    let retention = config.retention;
    Policy {
        tasks: retention.tasks,
        task_age: retention.task_age,
        evidence_bytes: retention.evidence_bytes,
        bundle_age: retention.bundle_age,
    }
}

fn bundle_limits(config: &Config) -> atq_bundle_store::Limits {
    atq_bundle_store::Limits {
        upload_bytes: config.limits.upload_bytes,
        unpacked_bytes: config.limits.unpacked_bytes,
        entries: config.limits.entries,
    }
}
