//! Metrics of the Director in the formats of Prometheus, for `GET /metrics`.
//!
//! - [`Instruments`]: counters and histograms. Each is passed to the component in which its events happen
//!   ([`HttpMetrics`], [`RunMetrics`], [`EngineMetrics`]);
//! - [`Metrics`]: all metrics, and their output. Collectors read what other components know at the time of a scrape:
//!   `census` counts stored tasks and measures the disk at intervals, `live` has the figures of running tests, `process`
//!   describes the process.
//!
//! Only the figures of running tests have the name of a task as a label, of a limited number of tasks. The values of every
//! other label are from a fixed set: no path or text of a client becomes a label.

mod calls;
mod census;
mod gauges;
mod http;
mod live;
mod process;
mod runs;

pub use calls::EngineMetrics;
pub use http::{HttpMetrics, Route};
pub use runs::RunMetrics;

use atq_run::Orchestrator;
use census::Census;
use live::LiveTests;
use process::Process;
use prometheus_client::encoding::{prometheus_text, text};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use std::fmt;
use std::sync::Arc;

/// Prefix of all names.
const PREFIX: &str = "atq";

/// A label with its value.
type Label = (&'static str, &'static str);
/// Histograms with these labels.
type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

/// Counters and histograms. Cheap to clone; clones count together.
#[derive(Debug, Clone, Default)]
pub struct Instruments {
    /// Requests.
    pub http: HttpMetrics,
    /// Events of runs.
    pub runs: RunMetrics,
    /// Calls of the container engine.
    pub engine: EngineMetrics,
}

/// A format of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// The text format of Prometheus, 0.0.4.
    Text,
}

impl Format {
    /// Its media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => prometheus_text::CONTENT_TYPE,
        }
    }
}

/// All metrics of a Director. Cheap to clone.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    http: HttpMetrics,
    census: Arc<Census>,
    live: Arc<LiveTests>,
    registry: Registry,
}

impl Metrics {
    /// The metrics of a Director with this orchestrator.
    pub fn new(instruments: Instruments, orchestrator: Orchestrator) -> Self {
        let Instruments { http, runs, engine } = instruments;
        let mut registry = Registry::with_prefix(PREFIX);
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "Version of the Director", build);
        http.register(&mut registry);
        runs.register(&mut registry);
        engine.register(&mut registry);
        // Each collector is one source of values that are read at a scrape.
        let live = Arc::new(LiveTests::new(orchestrator.clone()));
        registry.register_collector(Box::new(Arc::clone(&live)));
        let census = Arc::new(Census::new(orchestrator, engine));
        registry.register_collector(Box::new(Arc::clone(&census)));
        registry.register_collector(Box::new(Process::started_now()));
        Self(Arc::new(Inner {
            http,
            census,
            live,
            registry,
        }))
    }

    /// The counters of requests.
    pub fn http(&self) -> &HttpMetrics {
        &self.0.http
    }

    /// The output in this format. Values that need the disk are renewed at intervals, not for each call.
    ///
    /// # Errors
    /// When the output cannot be written, which is a bug, or the process shuts down.
    pub async fn scrape(&self, format: Format) -> Result<String, ScrapeError> {
        tokio::join!(self.0.census.renew(), self.0.live.renew());
        let inner = Arc::clone(&self.0);
        // The collector of the process reads files of the kernel.
        let encoded = tokio::task::spawn_blocking(move || inner.encode(format)).await;
        encoded.map_err(|_| ScrapeError)?.map_err(|_| ScrapeError)
    }
}

impl Inner {
    fn encode(&self, format: Format) -> Result<String, fmt::Error> {
        let mut output = String::new();
        match format {
            Format::OpenMetrics => text::encode(&mut output, &self.registry)?,
            Format::Text => prometheus_text::encode(&mut output, &self.registry)?,
        }
        Ok(output)
    }
}

/// The metrics cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the metrics cannot be written")]
pub struct ScrapeError;
