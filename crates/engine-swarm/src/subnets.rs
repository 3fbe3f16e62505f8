//! Reservation of subnets. Docker accepts two overlay networks with the same subnet, and the second one then never
//! assigns addresses (ARCHITECTURE.md, How Docker Swarm behaves). Therefore the Director chooses subnets itself and
//! reserves them, so that two tasks never choose the same one.

use crate::plan::free_subnet;
use ipnet::Ipv4Net;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Subnets that runs of this process have reserved.
#[derive(Debug, Clone, Default)]
pub struct Subnets {
    reserved: Arc<Mutex<Vec<(String, Ipv4Net)>>>,
    next: Arc<AtomicUsize>,
}

impl Subnets {
    /// Reserves a subnet of `pool` for the run `run` (`task/run`) that overlaps with none of `existing` and no
    /// reserved one.
    pub fn choose(
        &self,
        run: &str,
        pool: Ipv4Net,
        prefix: u8,
        existing: &[Ipv4Net],
    ) -> Option<Ipv4Net> {
        let mut reserved = self.reserved.lock();
        let reserved_by_runs = reserved.iter().map(|(_, subnet)| *subnet);
        let taken: Vec<Ipv4Net> = existing.iter().copied().chain(reserved_by_runs).collect();
        let skip = self.next.fetch_add(1, Ordering::Relaxed);
        let subnet = free_subnet(pool, prefix, &taken, skip)?;
        reserved.push((run.to_owned(), subnet));
        Some(subnet)
    }

    /// Reserves a subnet that a run has chosen earlier.
    pub fn reserve(&self, run: &str, subnet: Ipv4Net) {
        self.reserved.lock().push((run.to_owned(), subnet));
    }

    /// Releases all subnets of the run.
    pub fn release(&self, run: &str) {
        self.reserved.lock().retain(|(holder, _)| holder != run);
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
    fn a_reserved_subnet_is_not_chosen_again_until_it_is_released() {
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
        subnets.release("c");
        assert_eq!(choose("e"), Some(free));
    }

    #[test]
    fn an_existing_subnet_or_one_reserved_before_a_restart_is_not_chosen() {
        let subnets = Subnets::default();
        let pool = net("10.0.0.0/23");
        subnets.reserve("a", net("10.0.1.0/24"));
        let choose = |existing: &[Ipv4Net]| subnets.choose("b", pool, 24, existing);
        assert!(choose(&[net("10.0.0.0/25")]).is_none());
        assert_eq!(choose(&[]), Some(net("10.0.0.0/24")));
        subnets.release("a");
        assert_eq!(choose(&[net("10.0.0.0/25")]), Some(net("10.0.1.0/24")));
    }

    #[test]
    fn a_subnet_reserved_twice_is_free_once_both_release_it() {
        let subnets = Subnets::default();
        let pool = net("10.0.0.0/24");
        subnets.reserve("a", pool);
        subnets.reserve("b", pool);
        subnets.release("a");
        assert!(subnets.choose("c", pool, 24, &[]).is_none());
        subnets.release("b");
        assert!(subnets.choose("c", pool, 24, &[]).is_some());
    }
}
