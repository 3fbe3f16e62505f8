//! The events of a task as sentences.

use crate::table::{api_name, millis};
use atq_api_spec::task::TaskEvent;
use serde_json::Value;

/// An event as one line. An unknown event is shown with its data.
pub fn sentence(event: &TaskEvent) -> String {
    let data = &event.data;
    let text = |name: &str| text(data, name);
    let known = match event.event.as_str() {
        "queued" => Some("definition accepted, task queued".to_owned()),
        "stepStarted" => Some(format!("step {} started", api_name(&event.step))),
        "bundlesDelivered" => Some(delivered(data)),
        "subnetChosen" => text("subnet").map(|subnet| format!("subnet {subnet} reserved")),
        "networkCreated" => text("id").map(|id| format!("network {id} created")),
        "discoveryPlaced" => Some("discovery sidecar created".to_owned()),
        "workersCreated" => text("service").map(|id| format!("worker service {id} created")),
        "workersReady" => Some(ready(data)),
        "workersProbed" => Some("all workers passed their readiness probe".to_owned()),
        "waitTried" => waited(data),
        "delayStarted" => text("until").map(|until| format!("delay started, until {until}")),
        "delayEnded" => Some("delay ended".to_owned()),
        "masterCreated" => text("service").map(|id| format!("master service {id} created")),
        "masterStarted" => Some("master running".to_owned()),
        "workerLost" => lost(data),
        "masterEnded" => Some(match data["exitCode"].as_i64() {
            Some(code) => format!("master ended with exit code {code}"),
            None => "master ended, exit code unknown".to_owned(),
        }),
        "failed" => failed(data),
        "stopped" => Some("stopped on request".to_owned()),
        "stopConditionMet" => stopped_by_condition(data),
        "forced" => Some("forced on request: grace periods are skipped".to_owned()),
        "evidenceKept" => Some(kept(data)),
        "reported" => Some(reported(data)),
        "cleanUpTried" => Some(cleaned(data)),
        _ => None,
    };
    known.unwrap_or_else(|| unknown(event))
}

fn unknown(event: &TaskEvent) -> String {
    match &event.data {
        Value::Null => event.event.clone(),
        Value::Object(data) if data.is_empty() => event.event.clone(),
        data => format!("{}: {data}", event.event),
    }
}

/// A text without control characters, which would break the line.
fn text(data: &Value, name: &str) -> Option<String> {
    data[name].as_str().map(one_line)
}

fn one_line(text: &str) -> String {
    let escaped = text.chars().map(|c| match c.is_control() {
        true => c.escape_debug().to_string(),
        false => c.to_string(),
    });
    escaped.collect()
}

fn texts(data: &Value, name: &str) -> Vec<String> {
    let items = data[name].as_array().into_iter().flatten();
    items.filter_map(Value::as_str).map(one_line).collect()
}

/// `1 node`, `2 nodes`.
fn count(number: u64, noun: &str) -> String {
    match number {
        1 => format!("1 {noun}"),
        _ => format!("{number} {noun}s"),
    }
}

fn stopped_by_condition(data: &Value) -> Option<String> {
    let (condition, seen) = (text(data, "condition")?, text(data, "seen")?);
    Some(format!("stopped, as `{condition}` was met: {seen}"))
}

fn delivered(data: &Value) -> String {
    let nodes = data["nodes"].as_array().map_or(&[][..], Vec::as_slice);
    let fetched = nodes.iter().filter(|node| node["fetched"] == true);
    let (nodes, fetched) = (count(nodes.len() as u64, "node"), fetched.count());
    format!("bundles are on {nodes}; {fetched} downloaded them")
}

fn ready(data: &Value) -> String {
    let addresses = texts(data, "addresses");
    let skew = data["startSkew"].as_u64();
    let skew = skew.map(|skew| format!("; start skew {}", millis(skew)));
    format!(
        "{} ready: {}{}",
        count(addresses.len() as u64, "worker"),
        addresses.join(", "),
        skew.unwrap_or_default()
    )
}

fn waited(data: &Value) -> Option<String> {
    let outcome = match data["succeeded"].as_bool()? {
        true => "succeeded",
        false => "failed",
    };
    let seen = text(data, "seen").unwrap_or_default();
    let attempt = &data["attempt"];
    Some(format!(
        "wait command, attempt {attempt}, {outcome}: {seen}"
    ))
}

fn lost(data: &Value) -> Option<String> {
    let reason = text(data, "reason")?;
    Some(format!("worker {} lost: {reason}", data["replica"]))
}

/// A failure without its hint, which `atq show` prints.
fn failed(data: &Value) -> Option<String> {
    let failure = &data["failure"];
    let message = text(failure, "message")?;
    let code = text(failure, "code").unwrap_or_default();
    Some(format!("failed: {message} ({code})"))
}

fn kept(data: &Value) -> String {
    let logs = count(data["logs"].as_u64().unwrap_or(0), "log");
    let results = data["results"].as_array().into_iter().flatten();
    let files: u64 = results.filter_map(|one| one["files"].as_u64()).sum();
    let files = count(files, "result file");
    let missing = texts(data, "missing");
    match missing.is_empty() {
        true => format!("{logs} and {files} kept"),
        false => format!("{logs} and {files} kept; missing: {}", missing.join("; ")),
    }
}

fn reported(data: &Value) -> String {
    let samples = count(data["samples"].as_u64().unwrap_or(0), "sample");
    let verdict = text(&data["judgement"], "verdict");
    let verdict = verdict.unwrap_or_else(|| "unknown".to_owned());
    let reasons = texts(&data["judgement"], "reasons");
    let problem = text(data, "problem").filter(|problem| !reasons.contains(problem));
    let why: Vec<String> = reasons.into_iter().chain(problem).collect();
    match why.is_empty() {
        true => format!("verdict {verdict}, {samples}"),
        false => format!("verdict {verdict}, {samples}: {}", why.join("; ")),
    }
}

fn cleaned(data: &Value) -> String {
    let leftovers = texts(data, "leftovers");
    match leftovers.is_empty() {
        true => "everything removed from Docker".to_owned(),
        false => format!("not removed yet: {}", leftovers.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    fn line(event: &str, data: Value) -> String {
        let event = json!({
            "id": 3, "at": "2026-01-31T12:00:01.25Z", "event": event, "step": "network", "data": data
        });
        sentence(&serde_json::from_value(event).unwrap())
    }

    #[test]
    fn every_event_is_one_sentence() {
        let failure = json!({"step": "workers", "code": "worker_failed", "message": "no\nimage", "hint": "pull it"});
        let lines = [
            line("queued", json!({"run": "x1"})),
            line("stepStarted", json!({"step": "network"})),
            line(
                "bundlesDelivered",
                json!({"nodes": [{"node": "a", "fetched": true}, {"node": "b", "fetched": false}]}),
            ),
            line("subnetChosen", json!({"subnet": "10.224.3.0/24"})),
            line("networkCreated", json!({"id": "q6py"})),
            line("discoveryPlaced", json!({"service": "s"})),
            line("workersCreated", json!({"service": "w1"})),
            line(
                "workersReady",
                json!({"addresses": ["10.224.3.2", "10.224.3.3"], "startSkew": 214}),
            ),
            line("workersProbed", Value::Null),
            line(
                "waitTried",
                json!({"attempt": 2, "exitCode": 1, "succeeded": false, "seen": "exit code 1"}),
            ),
            line("delayStarted", json!({"until": "2026-01-31T12:00:09Z"})),
            line("delayEnded", Value::Null),
            line("masterCreated", json!({"service": "m1"})),
            line("masterStarted", Value::Null),
            line("workerLost", json!({"replica": 2, "reason": "killed"})),
            line("masterEnded", json!({"exitCode": 3})),
            line("failed", json!({"failure": failure})),
            line("stopped", Value::Null),
            line(
                "evidenceKept",
                json!({"logs": 1, "missing": ["worker.2: gone"], "results": [{"files": 2}, {"files": 1}]}),
            ),
            line(
                "reported",
                json!({"judgement": {"verdict": "invalid", "reasons": ["worker 2 was lost"]}, "samples": 10}),
            ),
            line("cleanUpTried", json!({"leftovers": []})),
            line("cleanUpTried", json!({"leftovers": ["network `x`"]})),
        ];
        insta::assert_snapshot!(lines.join("\n"));
    }

    #[test]
    fn an_unknown_event_is_shown_with_its_data() {
        assert_eq!(line("paused", json!({"by": "x"})), r#"paused: {"by":"x"}"#);
        assert_eq!(
            line("networkCreated", json!({"name": 3})),
            r#"networkCreated: {"name":3}"#
        );
        assert_eq!(line("paused", json!({})), "paused");
    }
}
