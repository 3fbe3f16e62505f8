//! The engine of this Director, created from its configuration: Docker Swarm. No other module of the program names
//! it.

use crate::config::Config;
use anyhow::Context;
use atq_bundle_store::BundleStore;
use atq_engine::EngineObserver;
use atq_engine_swarm::discovery::{Discovery, HttpDiscovery};
use atq_engine_swarm::docker::DockerSwarm;
use atq_engine_swarm::registry::Credentials;
use atq_engine_swarm::self_check::{HttpSelfCheck, SelfCheck};
use atq_engine_swarm::{
    Bounds, NodeDoor, ObservedCalls, SharedLists, Swarm, SwarmEngine, SwarmSettings,
};
use std::sync::Arc;
use std::time::Duration;

/// External services, replaceable in tests.
pub struct Ports {
    /// Docker.
    pub swarm: Arc<dyn Swarm>,
    /// The sidecars.
    pub discovery: Arc<dyn Discovery>,
    /// Access to the Director itself from outside.
    pub self_check: Arc<dyn SelfCheck>,
    /// The port for carriers; `None`: the Director's own.
    pub node_door: Option<Arc<dyn NodeDoor>>,
}

impl Ports {
    /// The real services. Nothing is sent yet.
    ///
    /// # Errors
    /// When the address or the certificates of Docker are invalid.
    pub fn real(config: &Config) -> anyhow::Result<Self> {
        // Only one provider is compiled in; an error means that it is already installed.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let docker = DockerSwarm::connect(config.docker_host.as_deref())?;
        let credentials =
            Credentials::new(config.registry_auth.clone(), config.docker_config.clone());
        Ok(Self {
            swarm: Arc::new(docker.with_credentials(credentials)),
            discovery: Arc::new(HttpDiscovery::new().context("cannot create the HTTP client")?),
            self_check: Arc::new(HttpSelfCheck),
            node_door: None,
        })
    }
}

/// The engine of a Director with this port for carriers. `observer` is notified of its calls. Has no side effects.
pub(crate) fn new(
    config: &Config,
    ports: Ports,
    node_port: Arc<dyn NodeDoor>,
    director_id: &str,
    place: String,
    bundles: Arc<BundleStore>,
    observer: Arc<dyn EngineObserver>,
) -> SwarmEngine {
    // Shared lists make fewer calls: only these are observed.
    let calls = Arc::new(ObservedCalls::new(ports.swarm, observer));
    SwarmEngine::new(
        settings(config, director_id, place),
        atq_engine_swarm::Ports {
            swarm: Arc::new(SharedLists::new(calls, director_id)),
            discovery: ports.discovery,
            self_check: ports.self_check,
            node_door: ports.node_door.unwrap_or(node_port),
            bundles,
        },
        &config.datadir,
    )
}

fn settings(config: &Config, director_id: &str, place: String) -> SwarmSettings {
    SwarmSettings {
        director_id: director_id.to_owned(),
        place,
        subnet_pool: config.subnet_pool,
        discovery_image: config.discovery_image.clone(),
        discovery_host: config.discovery_host.clone(),
        bounds: Bounds {
            pids: Some(config.limits.pids).filter(|pids| *pids > 0),
            stop_grace: Duration::from_secs(config.limits.stop_grace_period),
        },
        node_bind: config.node_bind,
        advertised: config.advertised(),
        carrier_image: config.carrier_image.clone(),
        node_docker_socket: config.node_docker_socket.clone(),
    }
}
