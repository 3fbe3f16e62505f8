//! `atq show`.

use crate::args::Named;
use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use crate::out::{DIM, FAILURE, SUCCESS, WARNING};
use crate::path::segment;
use crate::run::summary::{log_line, reasons};
use crate::table::{NO_VALUE, api_name, millis, table};
use anstyle::Style;
use atq_api_spec::manifest::Manifest;
use atq_api_spec::report::{CriterionResult, Judgement, Verdict};
use atq_api_spec::task::{Failure, Step, Task, TaskService, TaskStatus, WorkerState};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// Prints a task.
///
/// # Errors
/// When the task does not exist, or the Director is unreachable.
pub async fn show(context: &Context, args: &Named) -> Result<Exit, CliError> {
    let task = context.director.task(&args.name).await?;
    let hosts = match task.workers.iter().any(|worker| worker.node.is_some()) {
        true if !context.out.json => hosts(context, &args.name).await,
        _ => Hosts::new(),
    };
    context.out.show(lines(&task, &hosts), &task);
    Ok(Exit::Pass)
}

/// Host names by Docker's id of the node.
type Hosts = BTreeMap<String, String>;

/// The host names of the nodes of the task. Without a manifest, nodes are shown by id.
async fn hosts(context: &Context, name: &str) -> Hosts {
    let path = format!("task/{}/manifest", segment(name));
    let manifest: Result<Manifest, CliError> = context.director.get(&path).await;
    let nodes = manifest.map(|manifest| manifest.nodes).unwrap_or_default();
    let named = nodes.into_iter().map(|(id, node)| (id, node.hostname));
    named.filter(|(_, host)| !host.is_empty()).collect()
}

/// The lines of a task, with colours.
fn lines(task: &Task, hosts: &Hosts) -> Vec<String> {
    let mut lines = vec![headline(task)];
    lines.extend(task.judgement.iter().flat_map(|given| verdict(given, task)));
    lines.extend(task.failure.iter().flat_map(failure));
    lines.extend(
        task.leftovers
            .iter()
            .map(|left| format!("not removed yet: {left}")),
    );
    lines.push(String::new());
    lines.extend(facts(task));
    lines.extend(section("timings", timings(task)));
    lines.extend(section("workers", workers(&task.workers, hosts)));
    lines
}

/// Indented lines below a title; empty without lines.
fn section(title: &str, lines: Vec<String>) -> impl Iterator<Item = String> {
    let head = lines.first().map(|_| [String::new(), title.to_owned()]);
    let body = lines.into_iter().map(|line| format!("  {line}"));
    head.into_iter().flatten().chain(body)
}

fn headline(task: &Task) -> String {
    let style = match task.status {
        TaskStatus::Finished => SUCCESS,
        TaskStatus::Errored => FAILURE,
        TaskStatus::Stopped => WARNING,
        TaskStatus::Initializing | TaskStatus::Started => Style::new(),
    };
    let position = task
        .queue_position
        .map(|position| format!(", position {position} in the queue"));
    format!(
        "`{}` {style}{}{style:#}; step {}{}",
        task.id,
        api_name(&task.status),
        api_name(&task.step),
        position.unwrap_or_default()
    )
}

fn verdict(judgement: &Judgement, task: &Task) -> Vec<String> {
    let style = match judgement.verdict {
        Verdict::Pass => SUCCESS,
        Verdict::Fail => FAILURE,
        Verdict::Invalid => WARNING,
    };
    let verdict = format!("verdict: {style}{}{style:#}", api_name(&judgement.verdict));
    let reasons = reasons(task).map(|reason| format!("  {reason}"));
    let criteria = judgement.criteria.iter().map(criterion);
    std::iter::once(verdict)
        .chain(reasons)
        .chain(criteria)
        .collect()
}

/// Whether a criterion holds, as a word.
pub(super) fn mark(result: &CriterionResult) -> (Style, &'static str) {
    match result.holds {
        true => (SUCCESS, "holds"),
        false => (FAILURE, "fails"),
    }
}

fn criterion(result: &CriterionResult) -> String {
    let (style, mark) = mark(result);
    format!(
        "  {style}{mark}{style:#}  {}: {}",
        result.criterion, result.seen
    )
}

fn failure(failure: &Failure) -> Vec<String> {
    let (step, hint) = (api_name(&failure.step), &failure.hint);
    let line = format!(
        "{FAILURE}failed{FAILURE:#} in step {step}: {} ({})",
        failure.message, failure.code
    );
    let hint = (!hint.is_empty()).then(|| format!("{DIM}hint: {hint}{DIM:#}"));
    let last = failure.last_lines.iter().map(|line| log_line(line));
    std::iter::once(line).chain(last).chain(hint).collect()
}

fn facts(task: &Task) -> Vec<String> {
    let known = [
        ("created", Some(task.created_at.clone())),
        ("started", task.started_at.clone()),
        ("finished", task.finished_at.clone()),
        ("exit code", task.exit_code.map(|code| code.to_string())),
        ("master", Some(service(&task.master))),
        ("worker", Some(service(&task.worker))),
    ];
    let fact = |(name, value): (&str, Option<String>)| Some(format!("{name:<9}  {}", value?));
    known.into_iter().filter_map(fact).collect()
}

fn service(service: &TaskService) -> String {
    let bundle = match service.file_id.as_str() {
        "" => String::new(),
        id => format!(", bundle {id}"),
    };
    format!(
        "{}, {} x {}{bundle}",
        service.alias, service.replicas, service.image
    )
}

/// The durations of the steps in their order. The map is ordered by name.
fn timings(task: &Task) -> Vec<String> {
    let shown = task.timings.iter().filter_map(|(name, time)| {
        let step = Step::deserialize(Value::from(name.as_str())).ok();
        let is_shown = name == "startSkew" || step.is_some_and(|step| step < Step::Done);
        let row = format!("{name:<11}  {:>10}", millis(*time));
        is_shown.then_some((step.is_none(), step, row))
    });
    let mut rows: Vec<_> = shown.collect();
    rows.sort();
    rows.into_iter().map(|(.., row)| row).collect()
}

fn workers(workers: &[WorkerState], hosts: &Hosts) -> Vec<String> {
    if workers.is_empty() {
        return Vec::new();
    }
    let or_nothing = |text: &Option<String>| text.clone().unwrap_or_else(|| NO_VALUE.to_owned());
    let host = |worker: &WorkerState| {
        let node = worker.node.as_ref()?;
        Some(hosts.get(node).unwrap_or(node).clone())
    };
    let rows: Vec<_> = workers
        .iter()
        .map(|worker| {
            [
                worker.replica.to_string(),
                worker.state.clone(),
                or_nothing(&host(worker)),
                or_nothing(&worker.address),
                or_nothing(&worker.exit_code.map(|code| code.to_string())),
                worker.error.clone().unwrap_or_default(),
            ]
        })
        .collect();
    table(
        ["REPLICA", "STATE", "NODE", "ADDRESS", "EXIT", "ERROR"],
        &rows,
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use anstream::adapter::strip_str;
    use serde_json::{Value, json};

    fn shown(changes: Value) -> String {
        let service = |alias: &str| json!({"id": "s", "alias": alias, "fileId": "", "image": "jmeter:5", "replicas": 2, "tty": false, "args": []});
        let mut task = json!({
            "id": "load", "status": "initializing", "step": "queued", "delay": 0, "timings": {}, "workers": [],
            "createdAt": "2026-03-04T12:00:00Z", "master": service("boss"), "worker": service("minions"),
        });
        for (key, value) in changes.as_object().unwrap() {
            task[key] = value.clone();
        }
        let task = serde_json::from_value(task).unwrap();
        let hosts = Hosts::from([("n1".to_owned(), "rack-a-1".to_owned())]);
        strip_str(&lines(&task, &hosts).join("\n")).to_string()
    }

    #[test]
    fn a_queued_task() {
        insta::assert_snapshot!(shown(json!({"queuePosition": 3})), @"
        `load` initializing; step queued, position 3 in the queue

        created    2026-03-04T12:00:00Z
        master     boss, 2 x jmeter:5
        worker     minions, 2 x jmeter:5
        ");
    }

    #[test]
    fn a_task_with_failed_criteria() {
        insta::assert_snapshot!(shown(json!({
            "status": "finished", "step": "done", "exitCode": 0, "verdict": "fail",
            "startedAt": "2026-03-04T12:00:05Z", "finishedAt": "2026-03-04T12:03:05Z",
            "timings": {"workers": 31, "startSkew": 214, "queued": 1, "running": 180_000, "resolve": 1010},
            "judgement": {
                "verdict": "fail", "reasons": ["the tool itself says so"],
                "criteria": [
                    {"criterion": "p95 < 500ms", "holds": false, "seen": "612 ms", "wanted": "< 500 ms"},
                    {"criterion": "errors < 1%", "holds": true, "seen": "0.2%", "wanted": "< 1%"},
                ],
            },
            "workers": [
                {"replica": 1, "node": "n1", "address": "10.224.0.3", "state": "complete", "exitCode": 0},
                {"replica": 2, "node": "n2", "state": "rejected", "error": "no such image"},
            ],
        })), @"
        `load` finished; step done
        verdict: fail
          the tool itself says so
          fails  p95 < 500ms: 612 ms
          holds  errors < 1%: 0.2%

        created    2026-03-04T12:00:00Z
        started    2026-03-04T12:00:05Z
        finished   2026-03-04T12:03:05Z
        exit code  0
        master     boss, 2 x jmeter:5
        worker     minions, 2 x jmeter:5

        timings
          queued             1 ms
          workers           31 ms
          resolve           1.0 s
          running              3m
          startSkew        214 ms

        workers
          REPLICA  STATE     NODE      ADDRESS     EXIT  ERROR
          1        complete  rack-a-1  10.224.0.3  0
          2        rejected  n2        -           -     no such image
        ");
    }

    #[test]
    fn a_task_that_could_not_be_started() {
        insta::assert_snapshot!(shown(json!({
            "status": "errored", "step": "cleanup", "error": "a worker failed",
            "failure": {"step": "workers", "code": "worker_failed", "message": "a worker failed", "hint": "look at its log"},
            "verdict": "invalid",
            "judgement": {"verdict": "invalid", "reasons": ["the run failed in the step `workers`: a worker failed"]},
            "leftovers": ["network `load-x1`"],
        })), @"
        `load` errored; step cleanup
        verdict: invalid
        failed in step workers: a worker failed (worker_failed)
        hint: look at its log
        not removed yet: network `load-x1`

        created    2026-03-04T12:00:00Z
        master     boss, 2 x jmeter:5
        worker     minions, 2 x jmeter:5
        ");
    }
}
