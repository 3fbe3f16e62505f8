//! The manager's own Engine goes away, and comes back.

use crate::{failure, long_task};
use anyhow::{Context, Result, ensure};
use atq_api_spec::task::{Step, Task, TaskStatus};
use atq_tests::nodes::{MANAGER, Nodes, NodesStage, until};
use atq_tests::stage::{PATIENCE, small_task, with};
use serde_json::{Value, json};

/// The manager's own Engine is stopped and started while master and workers run on other nodes.
pub async fn docker_restarted(nodes: &Nodes) -> Result<String> {
    nodes.availability(MANAGER, "drain").await?;
    let stage = NodesStage::open(nodes, "nodes-restarted", "").await?;
    let client = stage.director.client.clone();
    client.start(&long_task("restarted", 3)).await?;
    let running = client
        .until("restarted", PATIENCE, |task| task.step == Step::Running)
        .await?;
    nodes.tell("stop", MANAGER)?;
    let words = stage.until_ready(false).await?;
    ensure!(words.contains("cannot reach Docker"), "{words}");
    let refused = client.put(&small_task("refused", 1)).await?;
    let (status, body) = (refused.status(), refused.text().await?);
    ensure!(status == 503, "PUT: {status} {body}");
    ensure!(
        client.get("/api/task/refused").await?.status() == 404,
        "something was stored"
    );
    let meanwhile = client.task("restarted").await?;
    ensure!(meanwhile.status == TaskStatus::Started, "{meanwhile:#?}");
    nodes.tell("start", MANAGER)?;
    stage.until_ready(true).await?;
    for node in [2, 3] {
        nodes.until_status(node, "Ready").await?;
    }
    stage.end_master(&running.master.id).await?;
    let done = client.done("restarted", PATIENCE).await?;
    ensure!(done.status == TaskStatus::Finished, "{done:#?}");
    let lost = client.events("restarted", "workerLost").await?;
    ensure!(lost.is_empty(), "{lost:#?}");
    stage.close().await?;
    nodes.availability(MANAGER, "active").await?;
    Ok(format!(
        "meanwhile /readyz and PUT 503, nothing stored, the run `started`; then finished: {}",
        body.replace('\n', " ")
    ))
}

/// So many workers take seconds to start, which is when Docker is to go away.
const MANY: u32 = 24;

/// The same while one task waits for its workers, another for its wait command, a third one for the
/// end of its delay, and a fourth one for workers that never listen. The last one needs its sidecar,
/// whose port Docker has forgotten by then, so it gets another one.
pub async fn docker_restarted_in_steps(nodes: &Nodes) -> Result<String> {
    nodes.availability(MANAGER, "drain").await?;
    let stage = NodesStage::open(nodes, "nodes-steps", "").await?;
    let client = stage.director.client.clone();
    // None of these steps ends before Docker is away, however slow the machine is.
    let gate = stage.director.dir.join("gate");
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
        (small_task("in-resolve", MANY), Step::Resolve),
    ];
    for (task, step) in &held {
        let id = client.start(task).await?.id;
        let reached = move |task: &Task| task.step >= *step;
        client.until(&id, PATIENCE, reached).await?;
    }
    nodes.tell("stop", MANAGER)?;
    stage.until_ready(false).await?;
    for (task, step) in &held {
        let task = client.task(name_of(task)?).await?;
        ensure!(
            task.step == *step,
            "Docker was not away in {step:?}: {task:#?}"
        );
    }
    nodes.tell("start", MANAGER)?;
    std::fs::write(&gate, "")?;
    until("a second sidecar is placed", PATIENCE, async || {
        let sidecars = client.events("in-readiness", "discoveryPlaced").await?;
        Ok(sidecars.len() == 2)
    })
    .await?;
    client.stop("in-readiness").await?;
    let mut ends = Vec::new();
    for (task, _) in &held {
        let done = client.done(name_of(task)?, PATIENCE).await?;
        ends.push(end_of(&done)?);
    }
    stage.close().await?;
    nodes.availability(MANAGER, "active").await?;
    Ok(ends.join(", "))
}

fn name_of(task: &Value) -> Result<&str> {
    task["name"].as_str().context("a task without a name")
}

/// How a task ended, which no wish but the test's own may have caused.
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

/// Docker stays away for longer than the preparation may take.
pub async fn docker_stopped(nodes: &Nodes) -> Result<String> {
    nodes.availability(MANAGER, "drain").await?;
    let stage = NodesStage::open(nodes, "nodes-stopped", "orchestrationTimeout: 20\n").await?;
    let client = stage.director.client.clone();
    client.start(&small_task("cut-off", MANY)).await?;
    client
        .until("cut-off", PATIENCE, |task| task.step >= Step::Resolve)
        .await?;
    nodes.tell("stop", MANAGER)?;
    let failed = client
        .until("cut-off", PATIENCE, |task| task.failure.is_some())
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
        "something was stored"
    );
    nodes.tell("start", MANAGER)?;
    let done = client.done("cut-off", PATIENCE).await?;
    ensure!(
        done.status == TaskStatus::Errored && done.leftovers.is_empty(),
        "{done:#?}"
    );
    stage.close().await?;
    nodes.availability(MANAGER, "active").await?;
    Ok(format!(
        "in the middle of resolve: `{}` {}; PUT 503; all removed once it was back",
        why.code, why.message
    ))
}
