//! A sidecar on a [`FakeSwarm`]: it is reachable while its service runs, and resolves only the names of its own
//! network.

use super::{Discovery, DiscoveryError, Probe, Probed};
use crate::fake::FakeSwarm;
use crate::plan::{DISCOVERY_TOKEN_VARIABLE, ServicePlan};
use async_trait::async_trait;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Poll interval.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// All sidecars of a fake Swarm; clones share their state.
#[derive(Debug, Clone)]
pub struct FakeDiscovery {
    swarm: FakeSwarm,
    unreachable: Arc<AtomicBool>,
    hidden: Arc<Mutex<Vec<Ipv4Addr>>>,
    probes: Arc<Mutex<Probes>>,
}

/// Behaviour of the workers when they are probed.
#[derive(Debug, Default)]
struct Probes {
    unready: BTreeMap<Ipv4Addr, String>,
    /// Number of probes during which no worker is ready.
    warming: usize,
    requests: Vec<(Probe, Vec<Ipv4Addr>)>,
}

impl Probes {
    /// Records a probe; returns whether the workers are still warming up during it.
    fn record(&mut self, probe: &Probe, addresses: &[Ipv4Addr]) -> bool {
        self.requests.push((probe.clone(), addresses.to_vec()));
        let warming = self.warming > 0;
        self.warming = self.warming.saturating_sub(1);
        warming
    }

    fn outcome(&self, address: Ipv4Addr, warming: bool) -> Probed {
        let configured = self.unready.get(&address).cloned();
        let reason = configured.or_else(|| warming.then(|| "connection refused".to_owned()));
        Probed { address, reason }
    }

    /// The outcome of a probe without time.
    fn untried(address: &Ipv4Addr) -> Probed {
        Probed {
            address: *address,
            reason: Some("not tried before the deadline".to_owned()),
        }
    }
}

impl FakeDiscovery {
    /// Sidecars on `swarm`.
    pub fn new(swarm: FakeSwarm) -> Self {
        Self {
            swarm,
            unreachable: Arc::default(),
            hidden: Arc::default(),
            probes: Arc::default(),
        }
    }

    /// Makes all sidecars unreachable, or reachable again.
    pub fn set_unreachable(&self, unreachable: bool) {
        self.unreachable.store(unreachable, Ordering::Relaxed);
    }

    /// Hides addresses from DNS, even if Swarm lists them.
    pub fn hide(&self, addresses: Vec<Ipv4Addr>) {
        *self.hidden.lock().unwrap_or_else(PoisonError::into_inner) = addresses;
    }

    /// Makes these addresses, and no others, fail every probe, each with its reason. Applies to probes in progress,
    /// too.
    pub fn unready(&self, reasons: &[(Ipv4Addr, &str)]) {
        let reasons = reasons.iter();
        self.probes().unready = reasons
            .map(|(address, reason)| (*address, (*reason).to_owned()))
            .collect();
    }

    /// In the next `probes` probes every address refuses connections until the timeout; afterwards all are ready.
    pub fn warm_up(&self, probes: usize) {
        self.probes().warming = probes;
    }

    /// The probes so far, with their addresses, in order.
    pub fn probed(&self) -> Vec<(Probe, Vec<Ipv4Addr>)> {
        self.probes().requests.clone()
    }

    fn probes(&self) -> MutexGuard<'_, Probes> {
        self.probes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The service of the sidecar at `endpoint`.
    fn listener(&self, endpoint: &str) -> Result<ServicePlan, DiscoveryError> {
        let port = endpoint
            .rsplit(':')
            .next()
            .and_then(|port| port.parse().ok());
        let plan = port.and_then(|port| self.swarm.listener(port));
        plan.filter(|_| !self.unreachable.load(Ordering::Relaxed))
            .ok_or_else(|| failed(endpoint, "does not answer: connection refused"))
    }

    /// The network of the sidecar at `endpoint`. Fails if the token is wrong.
    fn network(&self, endpoint: &str, token: &str) -> Result<String, DiscoveryError> {
        let plan = self.listener(endpoint)?;
        let guard = format!("{DISCOVERY_TOKEN_VARIABLE}={token}");
        plan.networks
            .first()
            .filter(|_| plan.environment.contains(&guard))
            .map(|join| join.network.clone())
            .ok_or_else(|| failed(endpoint, "answered 401 Unauthorized; expected 200 or 204"))
    }

    fn resolve(&self, name: &str, network: &str) -> Vec<Ipv4Addr> {
        let hidden = self.hidden.lock().unwrap_or_else(PoisonError::into_inner);
        let mut addresses = self.swarm.addresses_of(name, network);
        addresses.retain(|address| !hidden.contains(address));
        addresses
    }
}

fn failed(endpoint: &str, reason: &str) -> DiscoveryError {
    DiscoveryError {
        endpoint: endpoint.to_owned(),
        reason: reason.to_owned(),
    }
}

#[async_trait]
impl Discovery for FakeDiscovery {
    async fn health(&self, endpoint: &str) -> Result<(), DiscoveryError> {
        self.listener(endpoint).map(|_| ())
    }

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
            let found = self.resolve(name, &network);
            let enough = found.len() as u64 >= u64::from(replicas);
            if enough || Instant::now() >= deadline {
                return Ok(found);
            }
            sleep(POLL_INTERVAL).await;
        }
    }

    async fn probe(
        &self,
        endpoint: &str,
        token: &str,
        addresses: &[Ipv4Addr],
        probe: &Probe,
        timeout: Duration,
    ) -> Result<Vec<Probed>, DiscoveryError> {
        let deadline = Instant::now() + timeout;
        self.network(endpoint, token)?;
        let warming = self.probes().record(probe, addresses);
        if timeout.is_zero() {
            return Ok(addresses.iter().map(Probes::untried).collect());
        }
        loop {
            self.network(endpoint, token)?;
            let outcomes: Vec<_> = {
                let probes = self.probes();
                let each = addresses.iter();
                each.map(|address| probes.outcome(*address, warming))
                    .collect()
            };
            let ready = outcomes.iter().all(|one| one.reason.is_none());
            if ready || Instant::now() >= deadline {
                return Ok(outcomes);
            }
            sleep(POLL_INTERVAL).await;
        }
    }
}

#[cfg(test)]
mod tests;
