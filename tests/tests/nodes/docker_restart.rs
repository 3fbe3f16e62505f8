//! The manager's Engine stops and starts again.

use crate::{failure, long_task};
use anyhow::{Context, Result, ensure};
use atq_api_spec::task::{Step, Task, TaskStatus};
use atq_tests::fixture::{RUN_TIMEOUT, small_task, with};
use atq_tests::nodes::{MANAGER, Nodes, NodesFixture, until};
use serde_json::{Value, json};

/// The manager's Engine is restarted while master and workers run on other nodes.
pub async fn docker_restarted(nodes: &Nodes) -> Result<String> {
    nodes.set_availability(MANAGER, "drain").await?;
    let fixture = NodesFixture::start(nodes, "nodes-restarted", "").await?;
    let client = fixture.director.client.clone();
    client.start(&long_task("restarted", 3)).await?;
    let running = client
        .until("restarted", RUN_TIMEOUT, |task| task.step == Step::Running)
        .await?;
    nodes.control("stop", MANAGER)?;
    let body = fixture.until_ready(false).await?;
    ensure!(body.contains("cannot reach Docker"), "{body}");
    let refused = client.put(&small_task("refused", 1)).await?;
    let (status, body) = (refused.status(), refused.text().await?);
    ensure!(status == 503, "PUT: {status} {body}");
    ensure!(
        client.get("/api/task/refused").await?.status() == 404,
        "a task was stored"
    );
    let meanwhile = client.task("restarted").await?;
    ensure!(meanwhile.status == TaskStatus::Started, "{meanwhile:#?}");
    nodes.control("start", MANAGER)?;
    fixture.until_ready(true).await?;
    for node in [2, 3] {
        nodes.until_status(node, "Ready").await?;
    }
    fixture.end_master(&running.master.id).await?;
    let done = client.done("restarted", RUN_TIMEOUT).await?;
    ensure!(done.status == TaskStatus::Finished, "{done:#?}");
    let lost = client.events("restarted", "workerLost").await?;
    ensure!(lost.is_empty(), "{lost:#?}");
    fixture.finish().await?;
    nodes.set_availability(MANAGER, "active").await?;
    Ok(format!(
        "meanwhile /readyz and PUT 503, nothing stored, the run `started`; then finished: {}",
        body.replace('\n', " ")
    ))
}

/// Enough workers that their start takes seconds, during which Docker stops.
const MANY_WORKERS: u32 = 24;

/// Like [`docker_restarted`], while one task waits for its workers, one for its wait command, one for the end of its
/// delay, and one for workers that never listen. The last one needs its sidecar, whose published port Docker loses in the
/// restart, so it gets a new sidecar.
pub async fn docker_restarted_in_steps(nodes: &Nodes) -> Result<String> {
    nodes.set_availability(MANAGER, "drain").await?;
    let fixture = NodesFixture::start(nodes, "nodes-steps", "").await?;
    let client = fixture.director.client.clone();
    // None of these steps ends before Docker is stopped, however slow the machine is.
    let gate = fixture.director.dir.join("gate");
    let command = format!("until [ -e {} ]; do sleep 0.2; done", gate.display());
    let wait = json!({"command": command, "expectedResult": "", "timeout": 0});
    let readiness = json!({"tcp": 7001, "timeout": 600});
    let held = [
        (
            with(small_task("in-wait", 1), "/waitCommand", wait),
            Step::WaitCommand,
        ),
        (
            with(
                small_task("in-readiness", 1),
                "/worker/readiness",
                readiness,
            ),
            Step::Readiness,
        ),
        (with(small_task("in-delay", 1), "/delay", 60), Step::Delay),
        (small_task("in-resolve", MANY_WORKERS), Step::Resolve),
    ];
    for (task, step) in &held {
        let id = client.start(task).await?.id;
        let reached = move |task: &Task| task.step >= *step;
        client.until(&id, RUN_TIMEOUT, reached).await?;
    }
    nodes.control("stop", MANAGER)?;
    fixture.until_ready(false).await?;
    for (task, step) in &held {
        let task = client.task(name_of(task)?).await?;
        ensure!(
            task.step == *step,
            "Docker was not stopped in {step:?}: {task:#?}"
        );
    }
    nodes.control("start", MANAGER)?;
    std::fs::write(&gate, "")?;
    until("a second sidecar is placed", RUN_TIMEOUT, async || {
        let sidecars = client.events("in-readiness", "discoveryPlaced").await?;
        Ok(sidecars.len() == 2)
    })
    .await?;
    client.stop("in-readiness").await?;
    let mut ends = Vec::new();
    for (task, _) in &held {
        let done = client.done(name_of(task)?, RUN_TIMEOUT).await?;
        ends.push(end_of(&done)?);
    }
    fixture.finish().await?;
    nodes.set_availability(MANAGER, "active").await?;
    Ok(ends.join(", "))
}

fn name_of(task: &Value) -> Result<&str> {
    task["name"].as_str().context("a task without a name")
}

/// Describes how a task ended; a stop is only expected for `in-readiness`.
fn end_of(task: &Task) -> Result<String> {
    let end = match (task.id.as_str(), task.status) {
        ("in-readiness", TaskStatus::Stopped) => "stopped".to_owned(),
        ("in-readiness", _) => anyhow::bail!("{task:#?}"),
        (_, TaskStatus::Finished) => "finished".to_owned(),
        (_, TaskStatus::Errored) => {
            let why = failure(task)?;
            format!("errored `{}` {}", why.code, why.message)
        }
        _ => anyhow::bail!("{task:#?}"),
    };
    Ok(format!("{} {end}", task.id))
}

/// Docker is stopped for longer than `orchestrationTimeout`.
pub async fn docker_stopped(nodes: &Nodes) -> Result<String> {
    nodes.set_availability(MANAGER, "drain").await?;
    let fixture = NodesFixture::start(nodes, "nodes-stopped", "orchestrationTimeout: 20\n").await?;
    let client = fixture.director.client.clone();
    client.start(&small_task("cut-off", MANY_WORKERS)).await?;
    client
        .until("cut-off", RUN_TIMEOUT, |task| task.step >= Step::Resolve)
        .await?;
    nodes.control("stop", MANAGER)?;
    let failed = client
        .until("cut-off", RUN_TIMEOUT, |task| task.failure.is_some())
        .await?;
    let why = failure(&failed)?;
    ensure!(
        why.code == "docker_unavailable" && why.step == Step::Resolve,
        "{why:?}"
    );
    let refused = client.put(&small_task("refused", 1)).await?;
    ensure!(refused.status() == 503, "PUT: {}", refused.status());
    ensure!(
        client.get("/api/task/refused").await?.status() == 404,
        "a task was stored"
    );
    nodes.control("start", MANAGER)?;
    let done = client.done("cut-off", RUN_TIMEOUT).await?;
    ensure!(
        done.status == TaskStatus::Errored && done.leftovers.is_empty(),
        "{done:#?}"
    );
    fixture.finish().await?;
    nodes.set_availability(MANAGER, "active").await?;
    Ok(format!(
        "during resolve: `{}` {}; PUT 503; all removed after the restart",
        why.code, why.message
    ))
}
