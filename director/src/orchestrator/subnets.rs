//! Subnets that are being taken. Docker accepts two overlay networks with the same subnet, and the
//! second one then never gives an address (SWARM.md, section 5), so the Director chooses itself, and
//! two tasks that choose at the same time must not choose the same.

use crate::task::plan::free_subnet;
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
