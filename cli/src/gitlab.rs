//! The figures as GitLab's load performance report.

use atq_api_spec::report::{Figures, Report};
use serde_json::{Map, Value, json};

#[cfg(test)]
mod tests;

/// The document in the format of a k6 summary (`k6 run --summary-export`), which GitLab reads from
/// `artifacts:reports:load_performance`.
///
/// GitLab's widget in a merge request shows four of its figures:
///
/// | widget | read from | here |
/// | --- | --- | --- |
/// | Checks | `checks.passes`, `checks.fails` | samples without and with an error |
/// | RPS | `http_reqs.rate` | samples per second |
/// | TTFB P90, TTFB P95 | `http_req_waiting` | omitted: result files have the end of a response, not its first byte |
///
/// For other readers of k6 summaries, the document also has response times in `http_req_duration` (milliseconds), failed samples
/// in `http_req_failed`, and bytes in `data_received` and `data_sent`. Figures that the tool does not report are omitted; a
/// run without samples has no metrics, and GitLab then shows nothing.
pub fn document(report: &Report) -> String {
    let metrics = metrics(&report.total, report.duration);
    format!("{:#}\n", json!({ "metrics": metrics }))
}

#[allow(clippy::cast_precision_loss)] // bytes per second
fn metrics(total: &Figures, seconds: f64) -> Map<String, Value> {
    let mut metrics = Map::new();
    if total.samples == 0 {
        return metrics;
    }
    let has = |name: &str| !total.missing.iter().any(|missing| missing == name);
    let mut add = |name: &str, metric: Value| metrics.insert(name.to_owned(), metric);
    if has("errors") {
        let good = total.samples.saturating_sub(total.errors);
        add("checks", rate(good, total.errors));
        // In this metric, a pass is a failed request.
        add("http_req_failed", rate(total.errors, good));
    }
    let throughput = has("throughput").then_some(total.throughput);
    add("http_reqs", amount(total.samples, throughput));
    let trend = trend(total, has);
    if !trend.is_empty() {
        add("http_req_duration", trend.into());
    }
    for (name, key, bytes) in [
        ("data_received", "receivedBytes", total.received_bytes),
        ("data_sent", "sentBytes", total.sent_bytes),
    ] {
        if has(key) {
            let rate = (seconds > 0.0).then_some(bytes as f64 / seconds);
            add(name, amount(bytes, rate));
        }
    }
    metrics
}

#[allow(clippy::cast_precision_loss)] // a share, not a count
fn rate(passes: u64, fails: u64) -> Value {
    let share = passes as f64 / (passes + fails) as f64;
    json!({ "passes": passes, "fails": fails, "value": share })
}

fn trend(total: &Figures, has: impl Fn(&str) -> bool) -> Map<String, Value> {
    let all = [
        ("min", "min", total.min),
        ("avg", "mean", total.mean),
        ("med", "p50", total.p50),
        ("p(90)", "p90", total.p90),
        ("p(95)", "p95", total.p95),
        ("p(99)", "p99", total.p99),
        ("max", "max", total.max),
    ];
    all.into_iter()
        .filter(|(_, ours, _)| has(ours))
        .map(|(theirs, _, value)| (theirs.to_owned(), json!(value)))
        .collect()
}

fn amount(count: u64, rate: Option<f64>) -> Value {
    match rate {
        Some(rate) => json!({ "count": count, "rate": rate }),
        None => json!({ "count": count }),
    }
}
