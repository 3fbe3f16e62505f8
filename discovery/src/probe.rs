//! Which addresses have succeeded, and why the others have not.

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

/// Tries under way at once: leaves room under the usual limit of 1024 open files.
const AT_ONCE: usize = 64;

/// An address, and what a try of it gave.
type Tried = (Ipv4Addr, Result<(), String>);

/// Tries the addresses of `order` until each has succeeded once or time is up. In the order asked for.
pub(crate) async fn answer(order: &Order) -> Vec<ProbeOutcome> {
    let deadline = Instant::now() + order.timeout;
    let mut probe = Probe::new(order.check.clone());
    // Time is up or all have succeeded: either way the probe holds what there is to say.
    let _ = timeout_at(deadline, probe.until_all(&order.addresses)).await;
    let addresses = order.addresses.iter();
    addresses.map(|address| probe.outcome(*address)).collect()
}

/// What was learnt over the rounds of one request: a worker that is ready is left alone then, rather than connected to
/// forty times a second.
pub(crate) struct Probe {
    check: Check,
    passed: BTreeSet<Ipv4Addr>,
    /// Why the latest try failed; `None` while the first is under way.
    failed: BTreeMap<Ipv4Addr, Option<String>>,
}

impl Probe {
    pub(crate) fn new(check: Check) -> Self {
        Self {
            check,
            passed: BTreeSet::new(),
            failed: BTreeMap::new(),
        }
    }

    /// Those of `addresses` that have succeeded so far.
    pub(crate) fn accepted(&self, addresses: &BTreeSet<Ipv4Addr>) -> BTreeSet<Ipv4Addr> {
        addresses.intersection(&self.passed).copied().collect()
    }

    async fn until_all(&mut self, addresses: &[Ipv4Addr]) {
        let addresses = addresses.iter().copied().collect();
        loop {
            self.round(&addresses).await;
            let missing = addresses.difference(&self.passed).count();
            if missing == 0 {
                return;
            }
            sleep(pause(missing)).await;
        }
    }

    /// Tries each of `addresses` that has not succeeded yet. May be dropped half way: what was learnt stays, and the
    /// tries under way end.
    pub(crate) async fn round(&mut self, addresses: &BTreeSet<Ipv4Addr>) {
        let mut missing: Vec<_> = addresses.difference(&self.passed).copied().collect();
        start_anywhere(&mut missing);
        let mut under_way = JoinSet::new();
        for address in missing {
            if under_way.len() == AT_ONCE {
                self.note(under_way.join_next().await);
            }
            self.failed.entry(address).or_default();
            let check = self.check.clone();
            under_way.spawn(async move { (address, check.attempt(address).await) });
        }
        while !under_way.is_empty() {
            self.note(under_way.join_next().await);
        }
    }

    fn note<E>(&mut self, ended: Option<Result<Tried, E>>) {
        match ended {
            Some(Ok((address, Ok(())))) => {
                self.passed.insert(address);
            }
            Some(Ok((address, Err(reason)))) => {
                self.failed.insert(address, Some(reason));
            }
            _ => {}
        }
    }

    fn outcome(&self, address: Ipv4Addr) -> ProbeOutcome {
        let ready = self.passed.contains(&address);
        let reason = || match self.failed.get(&address) {
            Some(Some(reason)) => reason.clone(),
            Some(None) => "no answer before the time was up".to_owned(),
            None => "not tried before the time was up".to_owned(),
        };
        ProbeOutcome {
            address,
            ready,
            reason: (!ready).then(reason),
        }
    }
}

/// Silent addresses keep the others waiting. With a start that differs from round to round, those at the end get their
/// turn also where the time never suffices for all.
fn start_anywhere(addresses: &mut [Ipv4Addr]) {
    let random = usize::try_from(RandomState::new().hash_one(())).unwrap_or_default();
    addresses.rotate_left(random.checked_rem(addresses.len()).unwrap_or_default());
}

/// Connects cost the workers, which are about to start.
fn pause(missing: usize) -> Duration {
    const SHORTEST: u64 = 100;
    const LONGEST: u64 = 500;
    let more = u64::try_from(missing / 4).unwrap_or(LONGEST);
    Duration::from_millis(LONGEST.min(SHORTEST + more))
}
