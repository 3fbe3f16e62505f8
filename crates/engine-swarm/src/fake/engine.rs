//! The engine on a simulated Swarm.

use super::FakeSwarm;
use crate::discovery::fake::FakeDiscovery;
use crate::node_door::fake::FakeDoor;
use crate::self_check::fake::FakeSelfCheck;
use crate::{Bounds, Ports, SwarmEngine, SwarmSettings};
use async_trait::async_trait;
use atq_engine::{BundleLimits, Bundles};
use std::fs::File;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// A store without bundles.
pub struct NoBundles;

#[async_trait]
impl Bundles for NoBundles {
    async fn zip(&self, _: &str) -> Result<Option<(File, u64)>, String> {
        Ok(None)
    }

    fn directory(&self, _: &str) -> Option<PathBuf> {
        None
    }

    fn limits(&self) -> BundleLimits {
        BundleLimits {
            upload_bytes: 0,
            unpacked_bytes: 0,
            entries: 0,
        }
    }
}

/// Settings of a Director `director-1` with the images `atq-discovery:test` and `atq-carrier:test`.
pub fn settings() -> SwarmSettings {
    SwarmSettings {
        director_id: "director-1".to_owned(),
        place: "place-1".to_owned(),
        subnet_pool: ipnet::Ipv4Net::new_assert(Ipv4Addr::new(10, 224, 0, 0), 12),
        discovery_image: "atq-discovery:test".to_owned(),
        discovery_host: None,
        bounds: Bounds {
            pids: Some(100),
            stop_grace: Duration::from_secs(3600),
        },
        node_bind: None,
        advertised: None,
        carrier_image: "atq-carrier:test".to_owned(),
        node_docker_socket: "/var/run/docker.sock".into(),
    }
}

/// An engine on this Swarm. It cannot store an index of bundle volumes.
pub fn engine(swarm: &FakeSwarm) -> SwarmEngine {
    let ports = Ports {
        swarm: Arc::new(swarm.clone()),
        discovery: Arc::new(FakeDiscovery::new(swarm.clone())),
        self_check: Arc::new(FakeSelfCheck::new("director-1")),
        node_door: Arc::new(FakeDoor::default()),
        bundles: Arc::new(NoBundles),
    };
    SwarmEngine::new(settings(), ports, Path::new("/nonexistent"))
}
