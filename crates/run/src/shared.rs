//! State shared by the drivers of all tasks.

use super::clock::Clock;
use super::health::Health;
use super::queue::Queue;
use super::settings::Settings;
use atq_bundle_store::BundleStore;
use atq_engine::Engine;
use atq_evidence::Evidence;
use atq_store::Store;
use std::sync::Arc;

/// State shared by all drivers.
pub struct Shared {
    /// The part of the configuration that drivers use.
    pub settings: Settings,
    /// The store of tasks and events.
    pub store: Store,
    /// The container engine.
    pub engine: Arc<dyn Engine>,
    /// Uploaded bundles.
    pub bundles: Arc<BundleStore>,
    /// Logs, results and reports.
    pub evidence: Evidence,
    /// The clock.
    pub clock: Clock,
    /// The queue of tasks.
    pub queue: Arc<Queue>,
    /// The health of the engine.
    pub health: Health,
}
