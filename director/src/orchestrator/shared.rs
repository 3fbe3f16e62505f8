//! What the drivers of all tasks share.

use super::arrivals::Arrivals;
use super::carriers::Carriers;
use super::clock::Clock;
use super::health::Health;
use super::ledger::Ledger;
use super::queue::Queue;
use super::settings::Settings;
use super::subnets::Subnets;
use crate::bundle::BundleStore;
use crate::discovery::Discovery;
use crate::evidence::Evidence;
use crate::reach::Reach;
use crate::store::Store;
use crate::swarm::Swarm;
use std::sync::Arc;

/// Everything that drivers share.
pub struct Shared {
    /// The part of the configuration that drivers use.
    pub settings: Settings,
    /// What is remembered.
    pub store: Store,
    /// Docker.
    pub swarm: Arc<dyn Swarm>,
    /// The sidecars.
    pub discovery: Arc<dyn Discovery>,
    /// Uploads.
    pub bundles: Arc<BundleStore>,
    /// Logs.
    pub evidence: Evidence,
    /// The time.
    pub clock: Clock,
    /// Whose turn it is.
    pub queue: Arc<Queue>,
    /// Subnets that are being taken.
    pub subnets: Subnets,
    /// Whether Docker can be used.
    pub health: Health,
    /// What carriers send.
    pub arrivals: Arrivals,
    /// Who may call from the nodes.
    pub carriers: Arc<Carriers>,
    /// Which volumes of bundles are on which nodes.
    pub ledger: Ledger,
    /// Who is at a URL.
    pub reach: Arc<dyn Reach>,
}
