//! Nodes that are lost while tasks run, and come back.

use crate::{failure, long_task, spread};
use anyhow::{Context, Result, ensure};
use atq_api_spec::task::{Step, TaskStatus};
use atq_tests::nodes::{ALL, Nodes, NodesStage, until};
use atq_tests::stage::{PATIENCE, small_task, with};
use std::time::{Duration, Instant};

/// A node is lost like a machine without power while two tasks run, of which one puts up with that and
/// the other does not, and a third one waits for the end of its delay; then it comes back.
pub async fn node_killed(nodes: &Nodes) -> Result<String> {
    let stage = NodesStage::open(nodes, "nodes-killed", "").await?;
    let client = stage.director.client.clone();
    client.start(&long_task("goes-on", 3)).await?;
    client
        .start(&with(long_task("gives-up", 3), "/onWorkerLoss", "abort"))
        .await?;
    client
        .start(&with(small_task("too-soon", 3), "/delay", 600))
        .await?;
    let gives_up = client
        .until("gives-up", PATIENCE, |task| task.step == Step::Running)
        .await?;
    let running = client
        .until("goes-on", PATIENCE, |task| task.step == Step::Running)
        .await?;
    let waiting = client
        .until("too-soon", PATIENCE, |task| task.step == Step::Delay)
        .await?;
    let master = nodes.of_service(&running.master.id).await?;
    // A node with a worker of each, but without the master.
    let victim = [2, 3]
        .into_iter()
        .find(|node| !master.contains(node))
        .context("which node?")?;
    for task in [&running, &gives_up, &waiting] {
        let on = spread(nodes, task).await?;
        ensure!(on.get(&victim) == Some(&1), "workers by node: {on:?}");
    }
    nodes.tell("kill", victim)?;
    let killed = Instant::now();
    nodes.until_status(victim, "Down").await?;
    let down = killed.elapsed();

    let errored = client.outcome("too-soon", Duration::from_secs(10)).await?;
    let told = killed.elapsed();
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
    let lost = lost_workers(&stage, "goes-on", 1).await?;
    lost_workers(&stage, "gives-up", 1).await?;
    let aborted = client.outcome("gives-up", Duration::from_secs(60)).await?;
    let aborted = failure(&aborted)?;
    ensure!(
        aborted.code == "worker_lost" && aborted.step == Step::Running,
        "{aborted:?}"
    );
    let goes_on = client.task("goes-on").await?;
    ensure!(goes_on.status == TaskStatus::Started, "{goes_on:#?}");
    stage.end_master(&running.master.id).await?;
    let mut cleaned = 0;
    for (name, outcome) in [
        ("goes-on", TaskStatus::Finished),
        ("gives-up", TaskStatus::Errored),
        ("too-soon", TaskStatus::Errored),
    ] {
        let done = client.done(name, PATIENCE).await?;
        ensure!(
            done.status == outcome && done.leftovers.is_empty(),
            "{done:#?}"
        );
        cleaned = cleaned.max(done.timings["cleanup"]);
    }
    for node in ALL.into_iter().filter(|node| *node != victim) {
        let left = nodes.present(node).await?;
        ensure!(left.is_empty(), "while node {victim} is away: {left:?}");
    }
    nodes.tell("start", victim)?;
    nodes.until_status(victim, "Ready").await?;
    stage.close().await?;
    Ok(format!(
        "node {victim} down after {:.1} s; before the master `{}` {:.1} s later; while it runs {lost:?}, finished, \
         or with `abort` `{}`; \
         clean-up without the node took {cleaned} ms at most; nothing left before and after it is back",
        down.as_secs_f32(),
        why.message,
        (told - down).as_secs_f32(),
        aborted.message
    ))
}

/// Waits for `count` events `workerLost` and gives their words.
async fn lost_workers(stage: &NodesStage<'_>, task: &str, count: usize) -> Result<Vec<String>> {
    let client = &stage.director.client;
    let look = || async { Ok(client.events(task, "workerLost").await?.len() >= count) };
    until("the event `workerLost`", Duration::from_secs(30), look).await?;
    let events = client.events(task, "workerLost").await?;
    ensure!(events.len() == count, "{events:#?}");
    let words = events.iter().map(|event| {
        let replica = event.data["replica"].as_u64().context("no replica")?;
        let reason = event.data["reason"].as_str().context("no reason")?;
        ensure!(reason.starts_with("its node was lost"), "{reason}");
        Ok(format!("replica {replica}: {reason}"))
    });
    words.collect()
}

/// A node is out of reach, but its containers run on and must end when it is back.
pub async fn node_unplugged(nodes: &Nodes) -> Result<String> {
    let stage = NodesStage::open(nodes, "nodes-unplugged", "").await?;
    let client = stage.director.client.clone();
    client.start(&long_task("unplugged", 3)).await?;
    let running = client
        .until("unplugged", PATIENCE, |task| task.step == Step::Running)
        .await?;
    let master = nodes.of_service(&running.master.id).await?;
    let victim = [3, 2]
        .into_iter()
        .find(|node| !master.contains(node))
        .context("which node?")?;
    nodes.tell("unplug", victim)?;
    let lost = lost_workers(&stage, "unplugged", 1).await?;
    stage.end_master(&running.master.id).await?;
    let done = client.done("unplugged", PATIENCE).await?;
    ensure!(
        done.status == TaskStatus::Finished && done.leftovers.is_empty(),
        "{done:#?}"
    );
    // Its Engine knows nothing of the end. Without this the rest would prove nothing.
    let left = nodes.present(victim).await?;
    ensure!(
        left.iter().any(|object| object.starts_with("container ")),
        "on node {victim}: {left:?}"
    );
    nodes.tell("plug", victim)?;
    nodes.until_status(victim, "Ready").await?;
    stage.close().await?;
    Ok(format!(
        "{lost:?}, finished; while node {victim} was away it kept {} object(s), none after it was back",
        left.len()
    ))
}
