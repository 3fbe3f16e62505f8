//! Subnets that are being taken. Docker accepts two overlay networks with the same subnet, and the
//! second one then never gives an address (ARCHITECTURE.md, How Docker Swarm behaves), so the Director chooses itself, and
//! two tasks that choose at the same time must not choose the same.

use crate::plan::free_subnet;
use ipnet::Ipv4Net;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Subnets that runs of this process hold.
#[derive(Debug, Clone, Default)]
pub struct Subnets {
    held: Arc<Mutex<Vec<(String, Ipv4Net)>>>,
    next: Arc<AtomicUsize>,
}

impl Subnets {
    /// Holds a subnet of `pool` for the run `run` (with its task: `task/run`) that meets none of `existing` and none that is held.
    pub fn choose(
        &self,
        run: &str,
        pool: Ipv4Net,
        prefix: u8,
        existing: &[Ipv4Net],
    ) -> Option<Ipv4Net> {
        let mut held = self.lock();
        let held_ones = held.iter().map(|(_, subnet)| *subnet);
        let taken: Vec<Ipv4Net> = existing.iter().copied().chain(held_ones).collect();
        let skip = self.next.fetch_add(1, Ordering::Relaxed);
        let subnet = free_subnet(pool, prefix, &taken, skip)?;
        held.push((run.to_owned(), subnet));
        Some(subnet)
    }

    /// Holds a subnet that a run has chosen earlier.
    pub fn hold(&self, run: &str, subnet: Ipv4Net) {
        self.lock().push((run.to_owned(), subnet));
    }

    /// Lets go of all that the run holds.
    pub fn let_go(&self, run: &str) {
        self.lock().retain(|(holder, _)| holder != run);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(String, Ipv4Net)>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn net(text: &str) -> Ipv4Net {
        text.parse().unwrap()
    }

    #[test]
    fn what_is_held_is_not_chosen_again_until_it_is_let_go() {
        let subnets = Subnets::default();
        let pool = net("10.0.0.0/22");
        let runs = ["a", "b", "c", "d"];
        let choose = |run| subnets.choose(run, pool, 24, &[]);
        let mut chosen = runs.map(|run| choose(run).unwrap());
        let free = chosen[2];
        chosen.sort();
        assert_eq!(
            chosen,
            ["10.0.0.0/24", "10.0.1.0/24", "10.0.2.0/24", "10.0.3.0/24"].map(net)
        );
        assert!(choose("e").is_none());
        subnets.let_go("c");
        assert_eq!(choose("e"), Some(free));
    }

    #[test]
    fn what_exists_or_was_held_before_a_restart_is_not_chosen() {
        let subnets = Subnets::default();
        let pool = net("10.0.0.0/23");
        subnets.hold("a", net("10.0.1.0/24"));
        let choose = |existing: &[Ipv4Net]| subnets.choose("b", pool, 24, existing);
        assert!(choose(&[net("10.0.0.0/25")]).is_none());
        assert_eq!(choose(&[]), Some(net("10.0.0.0/24")));
        subnets.let_go("a");
        assert_eq!(choose(&[net("10.0.0.0/25")]), Some(net("10.0.1.0/24")));
    }

    #[test]
    fn the_same_subnet_held_by_two_is_free_once_both_let_go() {
        let subnets = Subnets::default();
        let pool = net("10.0.0.0/24");
        subnets.hold("a", pool);
        subnets.hold("b", pool);
        subnets.let_go("a");
        assert!(subnets.choose("c", pool, 24, &[]).is_none());
        subnets.let_go("b");
        assert!(subnets.choose("c", pool, 24, &[]).is_some());
    }
}
