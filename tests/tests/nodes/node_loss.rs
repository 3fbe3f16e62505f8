//! Nodes that are lost while tasks run, and rejoin.

use crate::{failure, long_task, workers_by_node};
use anyhow::{Context, Result, ensure};
use atq_api_spec::task::{Step, TaskStatus};
use atq_tests::fixture::{RUN_TIMEOUT, small_task, with};
use atq_tests::nodes::{ALL, Nodes, NodesFixture, until};
use std::time::{Duration, Instant};

/// A node fails as in a power loss while one task continues after a worker loss, one aborts, and one is in its delay;
/// then the node rejoins.
pub async fn node_killed(nodes: &Nodes) -> Result<String> {
    let fixture = NodesFixture::start(nodes, "nodes-killed", "").await?;
    let client = fixture.director.client.clone();
    client.start(&long_task("goes-on", 3)).await?;
    client
        .start(&with(long_task("gives-up", 3), "/onWorkerLoss", "abort"))
        .await?;
    client
        .start(&with(small_task("too-soon", 3), "/delay", 600))
        .await?;
    let gives_up = client
        .until("gives-up", RUN_TIMEOUT, |task| task.step == Step::Running)
        .await?;
    let running = client
        .until("goes-on", RUN_TIMEOUT, |task| task.step == Step::Running)
        .await?;
    let waiting = client
        .until("too-soon", RUN_TIMEOUT, |task| task.step == Step::Delay)
        .await?;
    let master = nodes.of_service(&running.master.id).await?;
    // A node with a worker of each task, but without the master.
    let victim = [2, 3]
        .into_iter()
        .find(|node| !master.contains(node))
        .context("no node without the master")?;
    for task in [&running, &gives_up, &waiting] {
        let on = workers_by_node(nodes, task).await?;
        ensure!(on.get(&victim) == Some(&1), "workers by node: {on:?}");
    }
    nodes.control("kill", victim)?;
    let killed = Instant::now();
    nodes.until_status(victim, "Down").await?;
    let down = killed.elapsed();

    let errored = client.outcome("too-soon", Duration::from_secs(10)).await?;
    let reported = killed.elapsed();
    let why = failure(&errored)?;
    ensure!(
        why.code == "worker_failed" && why.step == Step::Delay,
        "{why:?}"
    );
    ensure!(
        why.message.contains("2 of 3 workers run; replica ")
            && why.message.contains("its node was lost"),
        "{}",
        why.message
    );
    let lost = lost_workers(&fixture, "goes-on", 1).await?;
    lost_workers(&fixture, "gives-up", 1).await?;
    let aborted = client.outcome("gives-up", Duration::from_secs(60)).await?;
    let aborted = failure(&aborted)?;
    ensure!(
        aborted.code == "worker_lost" && aborted.step == Step::Running,
        "{aborted:?}"
    );
    let goes_on = client.task("goes-on").await?;
    ensure!(goes_on.status == TaskStatus::Started, "{goes_on:#?}");
    fixture.end_master(&running.master.id).await?;
    let mut cleaned = 0;
    for (name, outcome) in [
        ("goes-on", TaskStatus::Finished),
        ("gives-up", TaskStatus::Errored),
        ("too-soon", TaskStatus::Errored),
    ] {
        let done = client.done(name, RUN_TIMEOUT).await?;
        ensure!(
            done.status == outcome && done.leftovers.is_empty(),
            "{done:#?}"
        );
        cleaned = cleaned.max(done.timings["cleanup"]);
    }
    for node in ALL.into_iter().filter(|node| *node != victim) {
        let left = nodes.objects(node).await?;
        ensure!(left.is_empty(), "while node {victim} is down: {left:?}");
    }
    nodes.control("start", victim)?;
    nodes.until_status(victim, "Ready").await?;
    fixture.finish().await?;
    Ok(format!(
        "node {victim} down after {:.1} s; before the master `{}` {:.1} s later; while it runs {lost:?}, finished, \
         or with `abort` `{}`; \
         clean-up without the node took {cleaned} ms at most; nothing left before and after it rejoined",
        down.as_secs_f32(),
        why.message,
        (reported - down).as_secs_f32(),
        aborted.message
    ))
}

/// Waits for `count` events `workerLost` and returns their replicas and reasons.
async fn lost_workers(fixture: &NodesFixture<'_>, task: &str, count: usize) -> Result<Vec<String>> {
    let client = &fixture.director.client;
    let are_recorded = || async { Ok(client.events(task, "workerLost").await?.len() >= count) };
    until(
        "the event `workerLost`",
        Duration::from_secs(30),
        are_recorded,
    )
    .await?;
    let events = client.events(task, "workerLost").await?;
    ensure!(events.len() == count, "{events:#?}");
    let losses = events.iter().map(|event| {
        let replica = event.data["replica"].as_u64().context("no replica")?;
        let reason = event.data["reason"].as_str().context("no reason")?;
        ensure!(reason.starts_with("its node was lost"), "{reason}");
        Ok(format!("replica {replica}: {reason}"))
    });
    losses.collect()
}

/// A node is unreachable; its containers continue to run and must end when it rejoins.
pub async fn node_unplugged(nodes: &Nodes) -> Result<String> {
    let fixture = NodesFixture::start(nodes, "nodes-unplugged", "").await?;
    let client = fixture.director.client.clone();
    client.start(&long_task("unplugged", 3)).await?;
    let running = client
        .until("unplugged", RUN_TIMEOUT, |task| task.step == Step::Running)
        .await?;
    let master = nodes.of_service(&running.master.id).await?;
    let victim = [3, 2]
        .into_iter()
        .find(|node| !master.contains(node))
        .context("no node without the master")?;
    nodes.control("unplug", victim)?;
    let lost = lost_workers(&fixture, "unplugged", 1).await?;
    fixture.end_master(&running.master.id).await?;
    let done = client.done("unplugged", RUN_TIMEOUT).await?;
    ensure!(
        done.status == TaskStatus::Finished && done.leftovers.is_empty(),
        "{done:#?}"
    );
    // Its Engine has not received the end of the task; otherwise the rest would prove nothing.
    let left = nodes.objects(victim).await?;
    ensure!(
        left.iter().any(|object| object.starts_with("container ")),
        "on node {victim}: {left:?}"
    );
    nodes.control("plug", victim)?;
    nodes.until_status(victim, "Ready").await?;
    fixture.finish().await?;
    Ok(format!(
        "{lost:?}, finished; while node {victim} was unreachable it kept {} object(s), none after it rejoined",
        left.len()
    ))
}
