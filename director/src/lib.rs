//! ATQ Director: runs distributed load tests on Docker Swarm.
//!
//! Dependencies point one way: `main` -> `lib` -> [`api`] -> [`orchestrator`] -> { [`task`],
//! [`swarm`], [`discovery`], [`bundle`], [`evidence`], [`store`] }. [`task`] is pure; the tests of
//! `atq-layering` check this. This file is the only wiring.

pub mod api;
pub mod args;
pub mod bundle;
pub mod config;
pub mod daemon;
pub mod identity;
pub mod logging;
pub mod orchestrator;
pub mod private;
pub mod reach;
pub mod storekeeper;
pub use atq_engine_swarm as swarm;
pub use atq_engine_swarm::{discovery, plan, registry};
pub use atq_evidence as evidence;
pub use atq_store as store;
pub use atq_task as task;

use anyhow::Context;
use bundle::BundleStore;
use config::Config;
use discovery::{Discovery, HttpDiscovery};
use evidence::Evidence;
use identity::Place;
use orchestrator::arrivals::Arrivals;
use orchestrator::clock::Clock;
use orchestrator::health::Health;
use orchestrator::ledger::Ledger;
use orchestrator::queue::Queue;
use orchestrator::retention::Policy;
use orchestrator::subnets::Subnets;
use orchestrator::{Bounds, Orchestrator, Settings, Shared};
use reach::{HttpReach, Reach};
use registry::Credentials;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use store::Store;
use swarm::docker::DockerSwarm;
use swarm::{SharedLists, Swarm};

/// Longest time for which a test may run.
const MAX_DURATION: Duration = Duration::from_secs(24 * 3600);
/// How long Docker may be away while a test runs.
const DOCKER_PATIENCE: Duration = Duration::from_secs(300);

/// How many files are kept of `/atq/results` of all containers of a run.
const RESULTS_FILES: u64 = 100_000;

/// The outside world, so that tests can bring their own.
pub struct Ports {
    /// Docker.
    pub swarm: Arc<dyn Swarm>,
    /// The sidecars.
    pub discovery: Arc<dyn Discovery>,
    /// The Director itself, from outside.
    pub reach: Arc<dyn Reach>,
}

impl Ports {
    /// The real ones. Nothing is sent yet.
    ///
    /// # Errors
    /// When the address of Docker or its certificates cannot be understood.
    pub fn real(config: &Config) -> anyhow::Result<Self> {
        // Only one provider is compiled in; an error means that it is installed already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let docker = DockerSwarm::connect(config.docker_host.as_deref())?;
        let credentials =
            Credentials::new(config.registry_auth.clone(), config.docker_config.clone());
        Ok(Self {
            swarm: Arc::new(docker.with_credentials(credentials)),
            discovery: Arc::new(HttpDiscovery::new().context("cannot set up the HTTP client")?),
            reach: Arc::new(HttpReach),
        })
    }
}

/// Puts the parts together for a Director that listens on `listen`. Opens the store and the bundles; drives nothing yet. Blocks.
///
/// # Errors
/// When a directory cannot be used, or another Director uses it.
pub fn assemble(config: &Config, ports: Ports, listen: SocketAddr) -> anyhow::Result<Orchestrator> {
    config.prepare()?;
    // The lock comes first: a second Director on the same data must not touch anything.
    let store = Store::open(&config.datadir.join("state"))?;
    let place = Place {
        datadir: &config.datadir,
        glusterpath: &config.glusterpath,
        port: config.port,
    };
    let director_id = identity::director_id(&place, config.director_id.as_deref())?;
    let bundles = BundleStore::open(&config.glusterpath, bundle_limits(config))?;
    tracing::debug!(director = %director_id, "assembled");
    let director = director_id.clone();
    Ok(Orchestrator::new(Shared {
        settings: settings(config, listen, director_id, identity::place(&place)),
        store,
        health: Health::watch(Arc::clone(&ports.swarm)),
        swarm: Arc::new(SharedLists::new(ports.swarm, &director)),
        discovery: ports.discovery,
        bundles: Arc::new(bundles),
        evidence: Evidence::new(&config.datadir).with_log_bytes(config.limits.log_bytes),
        clock: Clock::System,
        queue: Queue::new(config.max_concurrent_tasks),
        subnets: Subnets::default(),
        arrivals: Arrivals::default(),
        carriers: Arc::default(),
        ledger: Ledger::new(&config.datadir),
        reach: ports.reach,
    }))
}

fn settings(config: &Config, listen: SocketAddr, director_id: String, place: String) -> Settings {
    Settings {
        director_id,
        place,
        max_concurrent_tasks: config.max_concurrent_tasks,
        orchestration_timeout: config.fixed_orchestration_timeout,
        max_duration: MAX_DURATION,
        docker_patience: DOCKER_PATIENCE,
        subnet_pool: config.subnet_pool,
        discovery_image: config.discovery_image.clone(),
        discovery_host: config.discovery_host.clone(),
        results: evidence::results::ResultsLimits {
            bytes: config.limits.results_bytes,
            files: RESULTS_FILES,
        },
        bounds: Bounds {
            pids: Some(config.limits.pids).filter(|pids| *pids > 0),
            stop_grace: Duration::from_secs(config.limits.stop_grace_period),
        },
        listen,
        advertise_url: config.advertise_url.clone(),
        carrier_image: config.carrier_image.clone(),
        node_docker_socket: config.node_docker_socket.clone(),
    }
}

/// What the configuration says about what is kept.
fn retention(config: &Config) -> Policy {
    let retention = config.retention;
    Policy {
        tasks: retention.tasks,
        task_age: retention.task_age,
        evidence_bytes: retention.evidence_bytes,
        bundle_age: retention.bundle_age,
    }
}

fn bundle_limits(config: &Config) -> bundle::Limits {
    bundle::Limits {
        upload_bytes: config.limits.upload_bytes,
        unpacked_bytes: config.limits.unpacked_bytes,
        entries: config.limits.entries,
    }
}
