//! A sidecar that answers from a [`FakeSwarm`]: it is there when its service runs, and knows the
//! names of its own network only.

use super::{Discovery, DiscoveryError};
use crate::swarm::fake::FakeSwarm;
use crate::task::plan::DISCOVERY_TOKEN_VARIABLE;
use async_trait::async_trait;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Time between two looks at the names.
const LOOK: Duration = Duration::from_millis(20);

/// All sidecars of a fake Swarm; clones are the same.
#[derive(Debug, Clone)]
pub struct FakeDiscovery {
    swarm: FakeSwarm,
    deaf: Arc<AtomicBool>,
    hidden: Arc<Mutex<Vec<Ipv4Addr>>>,
}

impl FakeDiscovery {
    /// Sidecars on `swarm`.
    pub fn new(swarm: FakeSwarm) -> Self {
        Self {
            swarm,
            deaf: Arc::default(),
            hidden: Arc::default(),
        }
    }

    /// From here on no sidecar answers, or all do again.
    pub fn deaf(&self, deaf: bool) {
        self.deaf.store(deaf, Ordering::Relaxed);
    }

    /// Addresses that DNS never tells, whatever Swarm says.
    pub fn hide(&self, addresses: Vec<Ipv4Addr>) {
        *self.hidden.lock().unwrap_or_else(PoisonError::into_inner) = addresses;
    }

    /// The network of the sidecar at `endpoint`, which must have this token.
    fn network(&self, endpoint: &str, token: &str) -> Result<String, DiscoveryError> {
        let failed = |reason: &str| DiscoveryError {
            endpoint: endpoint.to_owned(),
            reason: reason.to_owned(),
        };
        let port = endpoint
            .rsplit(':')
            .next()
            .and_then(|port| port.parse().ok());
        let plan = port.and_then(|port| self.swarm.listener(port));
        let plan = plan
            .filter(|_| !self.deaf.load(Ordering::Relaxed))
            .ok_or_else(|| failed("does not answer: connection refused"))?;
        let guard = format!("{DISCOVERY_TOKEN_VARIABLE}={token}");
        plan.networks
            .first()
            .filter(|_| plan.environment.contains(&guard))
            .map(|join| join.network.clone())
            .ok_or_else(|| failed("answered 401 Unauthorized; expected 200 or 204"))
    }

    fn look_up(&self, name: &str, network: &str) -> Vec<Ipv4Addr> {
        let hidden = self.hidden.lock().unwrap_or_else(PoisonError::into_inner);
        let mut addresses = self.swarm.addresses_of(name, network);
        addresses.retain(|address| !hidden.contains(address));
        addresses
    }
}

#[async_trait]
impl Discovery for FakeDiscovery {
    async fn addresses(
        &self,
        endpoint: &str,
        token: &str,
        name: &str,
        replicas: u32,
        timeout: Duration,
    ) -> Result<Vec<Ipv4Addr>, DiscoveryError> {
        let deadline = Instant::now() + timeout;
        loop {
            let network = self.network(endpoint, token)?;
            let found = self.look_up(name, &network);
            let enough = found.len() as u64 >= u64::from(replicas);
            if enough || Instant::now() >= deadline {
                return Ok(found);
            }
            sleep(LOOK).await;
        }
    }
}
