//! Probing addresses and collecting the outcomes.

mod check;
mod order;

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, RandomState};
use std::net::Ipv4Addr;
use std::time::Duration;

use atq_node_protocol::probe::ProbeOutcome;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};

pub(crate) use check::Check;
pub(crate) use order::Order;

/// Maximum number of concurrent attempts, well below the usual limit of 1024 open files.
const MAX_CONCURRENT: usize = 64;

/// An address and the result of an attempt.
type Attempt = (Ipv4Addr, Result<(), String>);

/// Probes the addresses of `order` until each has succeeded once or the timeout passes. Keeps the order of the request.
pub(crate) async fn answer(order: &Order) -> Vec<ProbeOutcome> {
    let deadline = Instant::now() + order.timeout;
    let mut probe = Probe::new(order.check.clone());
    // At the deadline the probe has the outcomes so far.
    let _ = timeout_at(deadline, probe.wait_for_all(&order.addresses)).await;
    let addresses = order.addresses.iter();
    addresses.map(|address| probe.outcome(*address)).collect()
}

/// The outcomes over the rounds of one request. A worker that is ready is not probed again.
pub(crate) struct Probe {
    check: Check,
    passed: BTreeSet<Ipv4Addr>,
    /// The reason why the latest attempt failed; `None` during the first attempt.
    failures: BTreeMap<Ipv4Addr, Option<String>>,
}

impl Probe {
    pub(crate) fn new(check: Check) -> Self {
        Self {
            check,
            passed: BTreeSet::new(),
            failures: BTreeMap::new(),
        }
    }

    /// The `addresses` that have succeeded so far.
    pub(crate) fn accepted(&self, addresses: &BTreeSet<Ipv4Addr>) -> BTreeSet<Ipv4Addr> {
        addresses.intersection(&self.passed).copied().collect()
    }

    async fn wait_for_all(&mut self, addresses: &[Ipv4Addr]) {
        let addresses = addresses.iter().copied().collect();
        loop {
            self.round(&addresses).await;
            let missing = addresses.difference(&self.passed).count();
            if missing == 0 {
                return;
            }
            sleep(poll_interval(missing)).await;
        }
    }

    /// Probes each of `addresses` that has not succeeded yet. Cancel safe: outcomes are kept, and pending attempts are
    /// aborted.
    pub(crate) async fn round(&mut self, addresses: &BTreeSet<Ipv4Addr>) {
        let mut missing: Vec<_> = addresses.difference(&self.passed).copied().collect();
        rotate_randomly(&mut missing);
        let mut attempts = JoinSet::new();
        for address in missing {
            if attempts.len() == MAX_CONCURRENT {
                self.record(attempts.join_next().await);
            }
            self.failures.entry(address).or_default();
            let check = self.check.clone();
            attempts.spawn(async move { (address, check.attempt(address).await) });
        }
        while !attempts.is_empty() {
            self.record(attempts.join_next().await);
        }
    }

    fn record<E>(&mut self, ended: Option<Result<Attempt, E>>) {
        match ended {
            Some(Ok((address, Ok(())))) => {
                self.passed.insert(address);
            }
            Some(Ok((address, Err(reason)))) => {
                self.failures.insert(address, Some(reason));
            }
            _ => {}
        }
    }

    fn outcome(&self, address: Ipv4Addr) -> ProbeOutcome {
        let ready = self.passed.contains(&address);
        let reason = || match self.failures.get(&address) {
            Some(Some(reason)) => reason.clone(),
            Some(None) => "no answer before the deadline".to_owned(),
            None => "not tried before the deadline".to_owned(),
        };
        ProbeOutcome {
            address,
            ready,
            reason: (!ready).then(reason),
        }
    }
}

/// Addresses that do not respond delay the others. A random start per round gives every address a chance, even if a
/// round is never completed.
fn rotate_randomly(addresses: &mut [Ipv4Addr]) {
    let random = usize::try_from(RandomState::new().hash_one(())).unwrap_or_default();
    addresses.rotate_left(random.checked_rem(addresses.len()).unwrap_or_default());
}

/// Connections take CPU time from the workers, which are starting.
fn poll_interval(missing: usize) -> Duration {
    const MIN_MS: u64 = 100;
    const MAX_MS: u64 = 500;
    let more = u64::try_from(missing / 4).unwrap_or(MAX_MS);
    Duration::from_millis(MAX_MS.min(MIN_MS + more))
}
