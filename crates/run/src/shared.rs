//! What the drivers of all tasks share.

use super::clock::Clock;
use super::health::Health;
use super::queue::Queue;
use super::settings::Settings;
use atq_bundle_store::BundleStore;
use atq_engine::Engine;
use atq_evidence::Evidence;
use atq_store::Store;
use std::sync::Arc;

/// Everything that drivers share.
pub struct Shared {
    /// The part of the configuration that drivers use.
    pub settings: Settings,
    /// What is remembered.
    pub store: Store,
    /// Where the containers run.
    pub engine: Arc<dyn Engine>,
    /// Uploads.
    pub bundles: Arc<BundleStore>,
    /// Logs.
    pub evidence: Evidence,
    /// The time.
    pub clock: Clock,
    /// Whose turn it is.
    pub queue: Arc<Queue>,
    /// Whether the engine can be used.
    pub health: Health,
}
