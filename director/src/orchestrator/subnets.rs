//! Subnets that are being taken. Docker accepts two overlay networks with the same subnet, and the
//! second one then never gives an address (ARCHITECTURE.md, How Docker Swarm behaves), so the Director chooses itself, and
//! two tasks that choose at the same time must not choose the same.

use crate::plan::free_subnet;
use ipnet::Ipv4Net;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Subnets that runs of this process hold.
#[derive(Debug, Clone, Default)]
pub struct Subnets {
    held: Arc<Mutex<Vec<Ipv4Net>>>,
    next: Arc<AtomicUsize>,
}

impl Subnets {
    /// Holds a subnet of `pool` that meets none of `existing` and none that is held.
    pub fn choose(&self, pool: Ipv4Net, prefix: u8, existing: &[Ipv4Net]) -> Option<Held> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let taken: Vec<Ipv4Net> = existing.iter().chain(held.iter()).copied().collect();
        let skip = self.next.fetch_add(1, Ordering::Relaxed);
        let subnet = free_subnet(pool, prefix, &taken, skip)?;
        held.push(subnet);
        drop(held);
        Some(Held {
            subnet,
            subnets: self.clone(),
        })
    }

    /// Holds a subnet that a run has chosen earlier.
    pub fn hold(&self, subnet: Ipv4Net) -> Held {
        self.held
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(subnet);
        Held {
            subnet,
            subnets: self.clone(),
        }
    }
}

/// A subnet that nobody else chooses until this is dropped.
#[derive(Debug)]
pub struct Held {
    /// The subnet.
    pub subnet: Ipv4Net,
    subnets: Subnets,
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut held = self
            .subnets
            .held
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(index) = held.iter().position(|subnet| *subnet == self.subnet) {
            held.swap_remove(index);
        }
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
        let mut held: Vec<Held> = (0..4)
            .map(|_| subnets.choose(pool, 24, &[]).unwrap())
            .collect();
        let mut chosen: Vec<Ipv4Net> = held.iter().map(|held| held.subnet).collect();
        chosen.sort();
        assert_eq!(
            chosen,
            ["10.0.0.0/24", "10.0.1.0/24", "10.0.2.0/24", "10.0.3.0/24"].map(net)
        );
        assert!(subnets.choose(pool, 24, &[]).is_none());
        let free = held.remove(2).subnet;
        assert_eq!(subnets.choose(pool, 24, &[]).unwrap().subnet, free);
    }

    #[test]
    fn what_exists_or_was_held_before_a_restart_is_not_chosen() {
        let subnets = Subnets::default();
        let pool = net("10.0.0.0/23");
        let held = subnets.hold(net("10.0.1.0/24"));
        assert!(subnets.choose(pool, 24, &[net("10.0.0.0/25")]).is_none());
        assert_eq!(
            subnets.choose(pool, 24, &[]).unwrap().subnet,
            net("10.0.0.0/24")
        );
        drop(held);
        let after = subnets.choose(pool, 24, &[net("10.0.0.0/25")]).unwrap();
        assert_eq!(after.subnet, net("10.0.1.0/24"));
    }

    #[test]
    fn the_same_subnet_held_twice_is_let_go_twice() {
        let subnets = Subnets::default();
        let pool = net("10.0.0.0/24");
        let (one, two) = (subnets.hold(pool), subnets.hold(pool));
        drop(one);
        assert!(subnets.choose(pool, 24, &[]).is_none());
        drop(two);
        assert!(subnets.choose(pool, 24, &[]).is_some());
    }
}
