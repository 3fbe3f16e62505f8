//! Tools without a master on several nodes.

use crate::workers_by_node;
use anyhow::{Context, Result, ensure};
use atq_api_spec::task::{Step, Task};
use atq_tests::fixture::RUN_TIMEOUT;
use atq_tests::image::Image;
use atq_tests::nodes::{Nodes, NodesFixture, until};
use atq_tests::sync::{skew_ms, sync_task};
use std::time::Duration;

pub async fn tools_started_together(nodes: &Nodes) -> Result<String> {
    let fixture = NodesFixture::start(nodes, "nodes-sync", "").await?;
    let client = fixture.director.client.clone();
    let image = Image::sync("atq-test-sync:nodes").await?;
    nodes.load(&image.name).await?;
    let task = sync_task("together", &image.name, 6, "exit 0", &["--max-skew", "2s"]);
    client.start(&task).await?;
    let done = client.done("together", RUN_TIMEOUT).await?;
    let log = client.logs("together", "?service=master").await?;
    ensure!(done.exit_code == Some(0), "{done:#?}\n{log}");
    let on = workers_by_node(nodes, &done).await?;
    ensure!(on.len() == 3, "workers on every node: {on:?}");
    let skew = skew_ms(&log).with_context(|| format!("no skew in {log}"))?;
    fixture.finish().await?;
    Ok(format!("6 tools on 3 nodes started {skew} ms apart"))
}

/// A node fails as in a power loss: its worker is named, the others run to their end.
pub async fn tools_on_a_lost_node(nodes: &Nodes) -> Result<String> {
    let fixture = NodesFixture::start(nodes, "nodes-sync-lost", "").await?;
    let client = fixture.director.client.clone();
    let image = Image::sync("atq-test-sync:nodes-lost").await?;
    nodes.load(&image.name).await?;
    let options = ["--max-skew", "2s", "--lost-after", "5s"];
    let task = sync_task("lost-node", &image.name, 3, "sleep 20", &options);
    client.start(&task).await?;
    let running = client
        .until("lost-node", RUN_TIMEOUT, |task| task.step == Step::Running)
        .await?;
    let started = async || {
        let log = client.logs("lost-node", "?service=master").await?;
        Ok(log.contains("3 tools started"))
    };
    until("the start of the tools", RUN_TIMEOUT, started).await?;
    let victim = without_master(nodes, &running).await?;
    nodes.control("kill", victim)?;
    let done = client.outcome("lost-node", RUN_TIMEOUT).await?;
    let log = client.logs("lost-node", "?service=master").await?;
    ensure!(done.exit_code == Some(121), "{done:#?}\n{log}");
    let line = log.lines().find(|line| line.contains(": lost: "));
    let line = line
        .with_context(|| format!("no lost worker in {log}"))?
        .to_owned();
    ensure!(log.matches(": exit code 0 after 20.").count() == 2, "{log}");
    nodes.control("start", victim)?;
    nodes.until_status(victim, "Ready").await?;
    client.done("lost-node", Duration::from_secs(240)).await?;
    fixture.finish().await?;
    Ok(format!(
        "node {victim} lost; `{line}`; the other tools ended by themselves"
    ))
}

async fn without_master(nodes: &Nodes, task: &Task) -> Result<u8> {
    let master = nodes.of_service(&task.master.id).await?;
    let victim = [2, 3].into_iter().find(|node| !master.contains(node));
    victim.context("no node without the master")
}
