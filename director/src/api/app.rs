//! State of the handlers.

use super::access::Access;
use super::health::StoreCheck;
use super::slots::Slots;
use crate::config::Config;
use crate::metrics::Metrics;
use atq_bundle_store::BundleStore;
use atq_run::Orchestrator;
use std::sync::Arc;
use tokio::sync::watch;

/// State of the handlers. Cheap to clone.
#[derive(Clone)]
pub struct App {
    /// Management of tasks; also the access to bundles and the engine.
    pub orchestrator: Orchestrator,
    /// The rules for access.
    pub access: Access,
    /// The configuration.
    pub config: Arc<Config>,
    /// Whether the recovery of earlier tasks is complete.
    pub recovered: watch::Receiver<bool>,
    /// Limits of concurrent large responses.
    pub slots: Slots,
    /// The check of the store for `GET /readyz`.
    pub store_check: StoreCheck,
    /// The metrics for `GET /metrics`.
    pub metrics: Metrics,
}

impl App {
    pub(super) fn bundles(&self) -> &BundleStore {
        &self.orchestrator.shared().bundles
    }
}
