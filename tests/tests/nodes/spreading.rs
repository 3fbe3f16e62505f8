//! Workers on several nodes, what they leave there, and a manager that takes no containers.

use crate::spread;
use anyhow::{Result, ensure};
use atq_api_spec::task::{Step, TaskStatus, WorkerState};
use atq_tests::nodes::{ALL, MANAGER, Nodes, NodesStage};
use atq_tests::stage::{PATIENCE, small_task, with};
use serde_json::json;
use std::collections::BTreeSet;

pub async fn workers_spread(nodes: &Nodes) -> Result<String> {
    let stage = NodesStage::open(nodes, "nodes-spread", "").await?;
    let client = stage.director.client.clone();
    client.start(&small_task("spread", 6)).await?;
    let done = client.done("spread", PATIENCE).await?;
    ensure!(done.status == TaskStatus::Finished, "{done:#?}");
    let on = spread(nodes, &done).await?;
    let seen: BTreeSet<u8> = on.keys().copied().collect();
    ensure!(seen == BTreeSet::from(ALL), "workers by node: {on:?}");
    let log = client.logs("spread", "?service=master").await?;
    ensure!(log.matches(" answered ").count() == 6, "{log}");
    stage.close().await?;
    Ok(format!(
        "6 workers by node {on:?}, all answered the master; nothing left on any node"
    ))
}

/// Results come from nodes where the Director cannot reach into containers.
pub async fn results_brought(nodes: &Nodes) -> Result<String> {
    let stage = NodesStage::open(nodes, "nodes-results", "").await?;
    let client = stage.director.client.clone();
    let task = with(
        small_task("results", 6),
        "/master/environment",
        json!(["HOLD=12"]),
    );
    client.start(&task).await?;
    let done = client.done("results", PATIENCE).await?;
    ensure!(done.status == TaskStatus::Finished, "{done:#?}");
    let on = spread(nodes, &done).await?;
    ensure!(on.len() == 3, "workers on every node: {on:?}");
    let answer = client.get("/task/results/results").await?;
    ensure!(answer.status() == 200, "{}", answer.text().await?);
    let zip = zip::ZipArchive::new(std::io::Cursor::new(answer.bytes().await?))?;
    let names = zip.file_names().map(|name| Ok(name?.into_owned()));
    let names = names.collect::<Result<BTreeSet<String>>>()?;
    let mut all: BTreeSet<String> = (1..=6).map(|n| format!("worker.{n}/worker.csv")).collect();
    all.insert("master.1/results.csv".to_owned());
    ensure!(names == all, "{names:?}");
    ensure!(client.delete("results").await?.0 == 204);
    stage.close().await?;
    Ok("results of 6 workers on 3 nodes".to_owned())
}

/// Containers that ignore SIGTERM and have an hour of grace end by force, also on nodes without a Director.
pub async fn ended_by_force(nodes: &Nodes) -> Result<String> {
    let stage = NodesStage::open(nodes, "nodes-force", "").await?;
    let client = stage.director.client.clone();
    let mut task = small_task("deaf", 6);
    for (role, environment) in [
        ("worker", json!(["DEAF=1"])),
        ("master", json!(["DEAF=1", "HOLD=3600"])),
    ] {
        task = with(task, &format!("/{role}/environment"), environment);
        task = with(task, &format!("/{role}/stopGracePeriod"), 3600);
    }
    client.start(&task).await?;
    let running = client.until("deaf", PATIENCE, |task| task.step == Step::Running);
    let on = spread(nodes, &running.await?).await?;
    ensure!(on.len() == 3, "workers on every node: {on:?}");
    ensure!(client.stop_by_force("deaf").await? == 202);
    let done = client.done("deaf", PATIENCE).await?;
    ensure!(done.status == TaskStatus::Stopped, "{done:#?}");
    let killed = |worker: &WorkerState| worker.exit_code == Some(137);
    ensure!(done.workers.iter().all(killed), "{done:#?}");
    let answer = client.get("/task/deaf/results").await?;
    ensure!(answer.status() == 200, "{}", answer.text().await?);
    stage.close().await?;
    Ok(format!(
        "6 workers by node {on:?} were killed; nothing left on any node"
    ))
}

pub async fn manager_drained(nodes: &Nodes) -> Result<String> {
    nodes.availability(MANAGER, "drain").await?;
    let stage = NodesStage::open(nodes, "nodes-drained", "").await?;
    let client = stage.director.client.clone();
    client
        .start(&with(small_task("drained", 2), "/delay", 3))
        .await?;
    client
        .until("drained", PATIENCE, |task| task.step >= Step::Resolve)
        .await?;
    let role = "label=com.atq.role=discovery";
    let service = nodes
        .docker(MANAGER, &["service", "ls", "-q", "--filter", role])
        .await?;
    let sidecar = nodes.of_service(&service).await?;
    ensure!(
        sidecar.len() == 1 && sidecar != [MANAGER],
        "the sidecar is on {sidecar:?}"
    );
    let done = client.done("drained", PATIENCE).await?;
    ensure!(done.status == TaskStatus::Finished, "{done:#?}");
    let on = spread(nodes, &done).await?;
    ensure!(!on.contains_key(&MANAGER), "workers by node: {on:?}");
    stage.close().await?;
    nodes.availability(MANAGER, "active").await?;
    Ok(format!(
        "the sidecar ran on node {}, workers by node {on:?}, finished",
        sidecar[0]
    ))
}
