//! k6's summary in JSON: of `--summary-export`, of `handleSummary` (the same figures with `values` around
//! them), and the machine-readable one of k6 1.5 and later (a list of metrics).

use super::{Decoder, whole};
use crate::file_tally::FileTally;
use crate::histogram::{to_f64, to_u64};
use crate::samples::MOST_LABELS;
use crate::summary::Summary;
use atq_api_spec::report::{Figures, NamedFigures, PercentilePoint};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// No summary is larger: it has a line per metric, and one per check.
const LARGEST: usize = 2 * 1024 * 1024;

/// A file of this format.
pub fn decoder() -> Box<dyn Decoder> {
    whole::decoder(LARGEST, read)
}

#[derive(Deserialize)]
struct Document {
    metrics: BTreeMap<String, Value>,
    state: Option<State>,
}

#[derive(Deserialize)]
struct State {
    #[serde(rename = "testRunDurationMs")]
    millis: Option<f64>,
}

#[derive(Deserialize)]
struct Listed {
    config: Option<Config>,
    results: Results,
}

#[derive(Deserialize)]
struct Config {
    /// Seconds.
    duration: Option<f64>,
}

#[derive(Deserialize)]
struct Results {
    metrics: Vec<Metric>,
}

#[derive(Deserialize)]
struct Metric {
    name: String,
    values: Value,
}

impl From<Listed> for Document {
    fn from(listed: Listed) -> Self {
        let metrics = listed.results.metrics.into_iter();
        let seconds = listed.config.and_then(|config| config.duration);
        Self {
            metrics: metrics.map(|metric| (metric.name, metric.values)).collect(),
            state: Some(State {
                millis: seconds.map(|seconds| seconds * 1000.0),
            }),
        }
    }
}

impl Document {
    /// A value of a metric.
    fn value(&self, metric: &str, name: &str) -> Option<f64> {
        let metric = self.metrics.get(metric)?;
        metric.get("values").unwrap_or(metric).get(name)?.as_f64()
    }

    /// How long the test took.
    fn seconds(&self) -> Option<f64> {
        Some(self.state.as_ref()?.millis? / 1000.0)
    }

    /// How many of a counter there were a second. Not every form tells it, but all that do not tell the
    /// duration.
    fn rate(&self, counter: &str) -> Option<f64> {
        self.value(counter, "rate").or_else(|| {
            let seconds = self.seconds().filter(|seconds| *seconds > 0.0)?;
            Some(self.value(counter, "count")? / seconds)
        })
    }

    fn count(&self, metric: &str, name: &str) -> Option<u64> {
        self.value(metric, name).map(to_u64)
    }
}

fn read(text: &[u8], into: &mut FileTally) -> Result<(), String> {
    // One after the other: what may be either would be kept in memory as a whole.
    let named = serde_json::from_slice::<Document>(text);
    let document = named.or_else(|error| {
        let listed = serde_json::from_slice::<Listed>(text);
        listed
            .map(Document::from)
            .map_err(|_| format!("not a summary of k6: {error}"))
    })?;
    let summary = summary(&document, into);
    into.found.samples = summary.total.samples;
    if summary.total.samples > 0 {
        into.summary = Some(summary);
    }
    Ok(())
}

fn summary(document: &Document, into: &mut FileTally) -> Summary {
    let http = document.metrics.contains_key("http_reqs");
    if !http {
        into.note("there are no HTTP requests in k6's summary: samples are its iterations");
    }
    let (counter, trend, failed) = if http {
        ("http_reqs", "http_req_duration", "http_req_failed")
    } else {
        ("iterations", "iteration_duration", "")
    };
    let mut total = figures(document, counter, trend, failed);
    total.received_bytes = document.count("data_received", "count").unwrap_or_default();
    total.sent_bytes = document.count("data_sent", "count").unwrap_or_default();
    note(document, &total, into);
    let rate = (total.throughput > 0.0).then(|| to_f64(total.samples) / total.throughput);
    Summary {
        form: "k6",
        worker: into.worker().to_owned(),
        labels: labels(document),
        distribution: distribution(document, trend),
        duration: document.seconds().or(rate),
        total,
    }
}

fn note(document: &Document, total: &Figures, into: &mut FileTally) {
    into.note(
        "percentiles are k6's own; its summary has no figures over time and no kinds of errors",
    );
    let percentiles = total.missing.iter().filter(|name| name.starts_with('p'));
    let missing: Vec<&str> = percentiles.map(String::as_str).collect();
    if !missing.is_empty() {
        let missing = missing.join(", ");
        into.note(format!(
            "k6 did not write {missing}; `--summary-trend-stats=\"avg,min,med,max,p(90),p(95),p(99)\"` makes it"
        ));
    }
    let dropped = document
        .count("dropped_iterations", "count")
        .unwrap_or_default();
    if dropped > 0 {
        into.note(format!(
            "k6 dropped {dropped} iterations: it had too few virtual users for the rate that was asked for"
        ));
    }
    if let Some(users) = document.count("vus_max", "max") {
        into.note(format!("k6 had at most {users} virtual users"));
    }
}

fn figures(document: &Document, counter: &str, trend: &str, failed: &str) -> Figures {
    let mut missing = Vec::new();
    let mut need = |name: &str, value: Option<f64>| {
        if value.is_none() {
            missing.push(name.to_owned());
        }
        value.unwrap_or_default()
    };
    let samples = to_u64(need("samples", document.value(counter, "count")));
    let throughput = need("throughput", document.rate(counter));
    // The rate is of failures, so what `passes` in it has failed.
    let failures = document
        .value(failed, "passes")
        .or_else(|| document.value(failed, "matches"));
    let errors = need("errors", failures);
    let times = |name| document.value(trend, name);
    let figures = Figures {
        samples,
        errors: to_u64(errors),
        error_percent: errors / to_f64(samples.max(1)) * 100.0,
        throughput,
        min: need("min", times("min")),
        mean: need("mean", times("avg")),
        p50: need("p50", times("med").or_else(|| times("p(50)"))),
        p90: need("p90", times("p(90)")),
        p95: need("p95", times("p(95)")),
        p99: need("p99", times("p(99)")),
        max: need("max", times("max")),
        ..Figures::default()
    };
    if missing.iter().any(|name| name == "errors") {
        missing.push("errorPercent".to_owned());
    }
    Figures { missing, ..figures }
}

/// Parts of the requests: k6 writes those that a threshold names, as `http_req_duration{name:Login}`.
fn labels(document: &Document) -> Vec<NamedFigures> {
    let parts = document.metrics.keys().filter_map(|metric| {
        let tags = metric
            .strip_prefix("http_req_duration{")?
            .strip_suffix('}')?;
        if tags == "expected_response:true" {
            return None;
        }
        let of = |metric: &str| format!("{metric}{{{tags}}}");
        let (counter, failed) = (of("http_reqs"), of("http_req_failed"));
        let mut figures = figures(document, &counter, metric, &failed);
        figures
            .missing
            .extend(["receivedBytes", "sentBytes"].map(str::to_owned));
        Some(NamedFigures {
            name: tags.strip_prefix("name:").unwrap_or(tags).to_owned(),
            figures,
        })
    });
    parts.take(MOST_LABELS).collect()
}

fn distribution(document: &Document, trend: &str) -> Vec<PercentilePoint> {
    let Some(metric) = document.metrics.get(trend) else {
        return Vec::new();
    };
    let values = metric.get("values").unwrap_or(metric).as_object();
    let points = values.into_iter().flatten().filter_map(|(name, value)| {
        let percentile = match name.as_str() {
            "min" => 0.0,
            "med" => 50.0,
            "max" => 100.0,
            _ => name.strip_prefix("p(")?.strip_suffix(')')?.parse().ok()?,
        };
        let millis = value.as_f64()?;
        Some(PercentilePoint { percentile, millis })
    });
    let mut points: Vec<PercentilePoint> = points.collect();
    points.sort_by(|a, b| a.percentile.total_cmp(&b.percentile));
    points.dedup_by(|a, b| (a.percentile - b.percentile).abs() < 1e-9);
    points
}
