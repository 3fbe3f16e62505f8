//! Workers on several nodes, collection of their results, and a drained manager.

use crate::workers_by_node;
use anyhow::{Result, ensure};
use atq_api_spec::task::{Step, TaskStatus, WorkerState};
use atq_tests::fixture::{RUN_TIMEOUT, small_task, with};
use atq_tests::nodes::{ALL, MANAGER, Nodes, NodesFixture};
use serde_json::json;
use std::collections::BTreeSet;

pub async fn workers_spread(nodes: &Nodes) -> Result<String> {
    let fixture = NodesFixture::start(nodes, "nodes-spread", "").await?;
    let client = fixture.director.client.clone();
    client.start(&small_task("spread", 6)).await?;
    let done = client.done("spread", RUN_TIMEOUT).await?;
    ensure!(done.status == TaskStatus::Finished, "{done:#?}");
    let on = workers_by_node(nodes, &done).await?;
    let seen: BTreeSet<u8> = on.keys().copied().collect();
    ensure!(seen == BTreeSet::from(ALL), "workers by node: {on:?}");
    let log = client.logs("spread", "?service=master").await?;
    ensure!(log.matches(" answered ").count() == 6, "{log}");
    fixture.finish().await?;
    Ok(format!(
        "6 workers by node {on:?}, all responded to the master; nothing left on any node"
    ))
}

/// Results are collected from nodes whose containers the Director cannot access.
pub async fn results_collected(nodes: &Nodes) -> Result<String> {
    let fixture = NodesFixture::start(nodes, "nodes-results", "").await?;
    let client = fixture.director.client.clone();
    let task = with(
        small_task("results", 6),
        "/master/environment",
        json!(["HOLD=12"]),
    );
    client.start(&task).await?;
    let done = client.done("results", RUN_TIMEOUT).await?;
    ensure!(done.status == TaskStatus::Finished, "{done:#?}");
    let on = workers_by_node(nodes, &done).await?;
    ensure!(on.len() == 3, "workers on every node: {on:?}");
    let response = client.get("/task/results/results").await?;
    ensure!(response.status() == 200, "{}", response.text().await?);
    let zip = zip::ZipArchive::new(std::io::Cursor::new(response.bytes().await?))?;
    let names = zip.file_names().map(|name| Ok(name?.into_owned()));
    let names = names.collect::<Result<BTreeSet<String>>>()?;
    let mut all: BTreeSet<String> = (1..=6).map(|n| format!("worker.{n}/worker.csv")).collect();
    all.insert("master.1/results.csv".to_owned());
    ensure!(names == all, "{names:?}");
    ensure!(client.delete("results").await?.0 == 204);
    fixture.finish().await?;
    Ok("results of 6 workers on 3 nodes".to_owned())
}

/// Containers that ignore SIGTERM and have a grace period of an hour are killed, also on nodes other than the Director's.
pub async fn force_stopped(nodes: &Nodes) -> Result<String> {
    let fixture = NodesFixture::start(nodes, "nodes-force", "").await?;
    let client = fixture.director.client.clone();
    let mut task = small_task("ignores-term", 6);
    for (role, environment) in [
        ("worker", json!(["DEAF=1"])),
        ("master", json!(["DEAF=1", "HOLD=3600"])),
    ] {
        task = with(task, &format!("/{role}/environment"), environment);
        task = with(task, &format!("/{role}/stopGracePeriod"), 3600);
    }
    client.start(&task).await?;
    let running = client.until("ignores-term", RUN_TIMEOUT, |task| {
        task.step == Step::Running
    });
    let on = workers_by_node(nodes, &running.await?).await?;
    ensure!(on.len() == 3, "workers on every node: {on:?}");
    ensure!(client.stop_by_force("ignores-term").await? == 202);
    let done = client.done("ignores-term", RUN_TIMEOUT).await?;
    ensure!(done.status == TaskStatus::Stopped, "{done:#?}");
    let killed = |worker: &WorkerState| worker.exit_code == Some(137);
    ensure!(done.workers.iter().all(killed), "{done:#?}");
    let response = client.get("/task/ignores-term/results").await?;
    ensure!(response.status() == 200, "{}", response.text().await?);
    fixture.finish().await?;
    Ok(format!(
        "6 workers by node {on:?} were killed; nothing left on any node"
    ))
}

pub async fn manager_drained(nodes: &Nodes) -> Result<String> {
    nodes.set_availability(MANAGER, "drain").await?;
    let fixture = NodesFixture::start(nodes, "nodes-drained", "").await?;
    let client = fixture.director.client.clone();
    client
        .start(&with(small_task("drained", 2), "/delay", 3))
        .await?;
    client
        .until("drained", RUN_TIMEOUT, |task| task.step >= Step::Resolve)
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
    let done = client.done("drained", RUN_TIMEOUT).await?;
    ensure!(done.status == TaskStatus::Finished, "{done:#?}");
    let on = workers_by_node(nodes, &done).await?;
    ensure!(!on.contains_key(&MANAGER), "workers by node: {on:?}");
    fixture.finish().await?;
    nodes.set_availability(MANAGER, "active").await?;
    Ok(format!(
        "the sidecar ran on node {}, workers by node {on:?}, finished",
        sidecar[0]
    ))
}
