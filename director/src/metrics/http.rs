//! Requests, by the template of their route, their method and the status of the response.

use super::Histograms;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use std::sync::{Arc, OnceLock};
use tokio::time::Instant;

/// Upper bounds of the histogram in seconds.
const BUCKETS: [f64; 9] = [0.001, 0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 10.0, 60.0];
/// Route of requests to unknown paths, and of those that are refused before routing.
const NO_ROUTE: &str = "none";
/// Methods with a label of their own.
const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"];
/// Label of all other methods.
const OTHER_METHOD: &str = "other";
/// Status of requests whose client disconnected before the response.
const DISCONNECTED: u16 = 499;

/// The counters of requests. Cheap to clone; clones count together.
#[derive(Debug, Clone)]
pub struct HttpMetrics {
    requests: Family<RequestLabels, Counter>,
    durations: Histograms<DurationLabels>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    route: Arc<str>,
    method: &'static str,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DurationLabels {
    route: Arc<str>,
    method: &'static str,
}

impl Default for HttpMetrics {
    fn default() -> Self {
        Self {
            requests: Family::default(),
            durations: Family::new_with_constructor(|| Histogram::new(BUCKETS)),
        }
    }
}

impl HttpMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "http_requests",
            "Requests by template of the route, method and status of the response",
            self.requests.clone(),
        );
        registry.register_with_unit(
            "http_request_duration",
            "Time until the head of the response",
            Unit::Seconds,
            self.durations.clone(),
        );
    }

    /// Notes that a request begins; it is counted when the result is dropped.
    pub fn begin(&self, method: &str) -> PendingRequest {
        let known = METHODS.into_iter().find(|known| *known == method);
        PendingRequest {
            metrics: self.clone(),
            method: known.unwrap_or(OTHER_METHOD),
            route: Route::default(),
            status: DISCONNECTED,
            started: Instant::now(),
        }
    }
}

/// The route of a request, set once it is known. Clones are the same route.
#[derive(Debug, Clone, Default)]
pub struct Route(Arc<OnceLock<Arc<str>>>);

impl Route {
    /// Sets the template of the route, such as `/task/{id}`. Only the first call has an effect.
    pub fn set(&self, template: &str) {
        // An error means that it is set.
        let _ = self.0.set(template.into());
    }

    fn label(&self) -> Arc<str> {
        let known = self.0.get().cloned();
        known.unwrap_or_else(|| NO_ROUTE.into())
    }
}

/// A request without a response.
#[derive(Debug)]
pub struct PendingRequest {
    metrics: HttpMetrics,
    method: &'static str,
    route: Route,
    status: u16,
    started: Instant,
}

impl PendingRequest {
    /// Its route, to be set by the router.
    pub fn route(&self) -> Route {
        self.route.clone()
    }

    /// Counts the request with the status of its response. Without this call, its client has disconnected.
    pub fn answered(mut self, status: u16) {
        self.status = status;
    }
}

impl Drop for PendingRequest {
    fn drop(&mut self) {
        let (route, method) = (self.route.label(), self.method);
        let labels = DurationLabels {
            route: Arc::clone(&route),
            method,
        };
        let seconds = self.started.elapsed().as_secs_f64();
        self.metrics
            .durations
            .get_or_create(&labels)
            .observe(seconds);
        let labels = RequestLabels {
            route,
            method,
            status: self.status,
        };
        self.metrics.requests.get_or_create(&labels).inc();
    }
}
