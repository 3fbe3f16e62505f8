//! k6's summary as JSON: of `--summary-export`, of `handleSummary` (the same figures inside of
//! `values`), and the machine-readable summary of k6 1.5 and later (a list of metrics).

use super::{Figures, FileTally, KnownFigures, NamedFigures, PercentilePoint, Summary};
use super::{to_f64, to_u64};
use crate::histogram::curve;
use crate::samples::MAX_LABELS;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// Maximum size of a summary: it has a line per metric, and one per check.
pub const MAX_BYTES: usize = 2 * 1024 * 1024;

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
    /// Duration in seconds.
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

    /// Duration of the test.
    fn seconds(&self) -> Option<f64> {
        Some(self.state.as_ref()?.millis? / 1000.0)
    }

    /// The rate of a counter per second. Some forms omit it, but they contain the
    /// duration.
    fn rate(&self, counter: &str) -> Option<f64> {
        self.value(counter, "rate").or_else(|| {
            let seconds = self.seconds().filter(|seconds| *seconds > 0.0)?;
            Some(self.value(counter, "count")? / seconds)
        })
    }
}

/// Decodes a summary.
pub fn read(text: &[u8], into: &mut FileTally) -> Result<(), String> {
    // Parsed one after the other: an untagged enum would keep the whole document in memory.
    let named = serde_json::from_slice::<Document>(text);
    let document = named.or_else(|error| {
        let listed = serde_json::from_slice::<Listed>(text);
        listed
            .map(Document::from)
            .map_err(|_| format!("not a summary of k6: {error}"))
    })?;
    let summary = summary(&document, into);
    into.summarise(summary);
    Ok(())
}

fn summary(document: &Document, into: &mut FileTally) -> Summary {
    let http = document.metrics.contains_key("http_reqs");
    if !http {
        into.note("there are no HTTP requests in k6's summary: samples are its iterations");
    }
    let metrics = match http {
        true => ["http_reqs", "http_req_duration", "http_req_failed"],
        false => ["iterations", "iteration_duration", ""],
    };
    let bytes = |name| Some(document.value(name, "count").unwrap_or_default());
    let total = figures(document, metrics, ["data_received", "data_sent"].map(bytes));
    note(document, &total, into);
    let rate = (total.throughput > 0.0).then(|| to_f64(total.samples) / total.throughput);
    Summary {
        form: "k6",
        labels: labels(document),
        distribution: distribution(document, metrics[1]),
        duration: document.seconds().or(rate),
        total,
        ..Summary::default()
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
    let dropped = document.value("dropped_iterations", "count");
    let dropped = to_u64(dropped.unwrap_or_default());
    if dropped > 0 {
        into.note(format!(
            "k6 dropped {dropped} iterations: it had too few virtual users for the requested rate"
        ));
    }
    if let Some(users) = document.value("vus_max", "max").map(to_u64) {
        into.note(format!("k6 had at most {users} virtual users"));
    }
}

fn figures(
    document: &Document,
    [counter, trend, failed]: [&str; 3],
    [received, sent]: [Option<f64>; 2],
) -> Figures {
    let samples = document.value(counter, "count");
    // The rate counts failures, so its `passes` are failed requests.
    let failures = document
        .value(failed, "passes")
        .or_else(|| document.value(failed, "matches"));
    let times = |name| document.value(trend, name);
    let known = KnownFigures {
        samples: to_u64(samples.unwrap_or_default()),
        errors: failures.map(to_u64),
        throughput: document.rate(counter),
        min: times("min"),
        mean: times("avg"),
        p50: times("med").or_else(|| times("p(50)")),
        p90: times("p(90)"),
        p95: times("p(95)"),
        p99: times("p(99)"),
        max: times("max"),
        received,
        sent,
    };
    let mut figures = known.figures();
    if samples.is_none() {
        figures.missing.push("samples".to_owned());
    }
    figures
}

/// Parts of the requests: k6 writes those used in a threshold, as `http_req_duration{name:Login}`.
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
        Some(NamedFigures {
            name: tags.strip_prefix("name:").unwrap_or(tags).to_owned(),
            figures: figures(document, [&counter, metric, &failed], [None; 2]),
        })
    });
    parts.take(MAX_LABELS).collect()
}

fn distribution(document: &Document, trend: &str) -> Vec<PercentilePoint> {
    let Some(metric) = document.metrics.get(trend) else {
        return Vec::new();
    };
    let values = metric.get("values").unwrap_or(metric).as_object();
    let named = values.into_iter().flatten().filter_map(|(name, value)| {
        let percentile = match name.as_str() {
            "min" => 0.0,
            "med" => 50.0,
            "max" => 100.0,
            _ => name.strip_prefix("p(")?.strip_suffix(')')?.parse().ok()?,
        };
        Some((percentile, value.as_f64()))
    });
    let mut points = curve(named);
    points.dedup_by(|a, b| (a.percentile - b.percentile).abs() < 1e-9);
    points
}
