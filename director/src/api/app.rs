//! What the handlers work with.

use super::slots::Slots;
use crate::config::Config;
use atq_bundle_store::BundleStore;
use atq_run::Orchestrator;
use std::sync::Arc;
use tokio::sync::watch;

/// What the handlers work with. Cheap to clone.
#[derive(Clone)]
pub struct App {
    /// The tasks; also the way to bundles and the engine.
    pub orchestrator: Orchestrator,
    /// The configuration.
    pub config: Arc<Config>,
    /// Whether the tasks of an earlier life are taken up again.
    pub recovered: watch::Receiver<bool>,
    /// How many large answers there are at once.
    pub slots: Slots,
}

impl App {
    pub(super) fn bundles(&self) -> &BundleStore {
        &self.orchestrator.shared().bundles
    }
}
