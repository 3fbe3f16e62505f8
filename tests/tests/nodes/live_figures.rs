//! Figures of running tests on several nodes, one of which is lost.

use crate::workers_by_node;
use anyhow::{Context, Result, ensure};
use atq_api_spec::live::LiveFigures;
use atq_api_spec::task::{Step, Task, TaskStatus};
use atq_tests::client::Client;
use atq_tests::fixture::RUN_TIMEOUT;
use atq_tests::live::{live, report, sampling, until_figures};
use atq_tests::nodes::{ALL, Nodes, NodesFixture};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// Samples of each worker, ten a second.
const SAMPLES: u32 = 300;
/// Time for which the figures of a test are observed.
const OBSERVED: Duration = Duration::from_secs(20);
/// A snapshot may be this late, in milliseconds: the carriers look twice a second.
const MAX_LAG: u64 = 2000;

/// The figures of three nodes follow the files of all workers, equal the report at the end, and leave no volume.
pub async fn figures_followed(nodes: &Nodes) -> Result<String> {
    let fixture = NodesFixture::start(nodes, "nodes-live", "").await?;
    let client = fixture.director.client.clone();
    client.start(&sampling("live", 3, SAMPLES)).await?;
    let running = started(&client, "live").await?;
    let on = workers_by_node(nodes, &running).await?;
    ensure!(on.len() == 3, "workers by node: {on:?}");
    until_figures(&client, "live", has_all_workers).await?;
    let run = live(&client, "live").await?.run.context("no run")?;
    for node in ALL {
        let objects = nodes.objects(node).await?;
        let has = |what: &str| objects.iter().any(|object| object.starts_with(what));
        ensure!(has(&format!("volume atq-results-{run}-")), "{objects:?}");
        ensure!(has(&format!("container live-{run}-tail")), "{objects:?}");
    }
    let mut lags = Vec::new();
    let begun = Instant::now();
    while begun.elapsed() < OBSERVED {
        let now = live(&client, "live").await?;
        ensure!(!now.is_final, "{now:#?}");
        ensure!(now.problem.is_none(), "{:?}", now.problem);
        lags.push(now.lag_ms.context("no lag")?);
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let most = lags.iter().max().context("no lag")?;
    ensure!(*most <= MAX_LAG, "{lags:?}");
    let all = u64::from(3 * SAMPLES);
    let last = until_figures(&client, "live", |figures| figures.total.samples >= all).await?;
    let last = last.figures.context("no figures")?;
    ensure!(client.stop("live").await? == 202);
    client.done("live", RUN_TIMEOUT).await?;
    let report = report(&client, "live").await?;
    ensure!(report.total.samples == all, "{:#?}", report.total);
    ensure!(last.total == report.total, "{last:#?} {:#?}", report.total);
    fixture.finish().await?;
    Ok(format!(
        "{all} samples of 3 nodes, at most {most} ms late, equal to the report; nothing left on any node"
    ))
}

/// A node fails while a test runs: the samples that its worker had written before are in the results and in the report.
pub async fn samples_of_a_lost_node(nodes: &Nodes) -> Result<String> {
    let fixture = NodesFixture::start(nodes, "nodes-live-lost", "").await?;
    let client = fixture.director.client.clone();
    client.start(&sampling("lost", 3, SAMPLES)).await?;
    let running = started(&client, "lost").await?;
    let master = nodes.of_service(&running.master.id).await?;
    let victim = [2, 3]
        .into_iter()
        .find(|node| !master.contains(node))
        .context("no node without the master")?;
    let ids = nodes.by_id().await?;
    let of_victim = running.workers.iter().find(|worker| {
        let node = worker.node.as_ref().and_then(|id| ids.get(id));
        node == Some(&victim)
    });
    let lost = format!("worker.{}", of_victim.context("no worker there")?.replica);
    let of = |figures: &LiveFigures| {
        let worker = figures.workers.iter().find(|one| one.name == lost);
        worker.map_or(0, |worker| worker.total.samples)
    };
    let before = until_figures(&client, "lost", |figures| of(figures) >= 50).await?;
    nodes.control("kill", victim)?;
    let before = of(&before.figures.context("no figures")?);
    until_figures(&client, "lost", |figures| {
        figures.total.samples > u64::from(2 * SAMPLES)
    })
    .await?;
    let during = live(&client, "lost").await?;
    ensure!(during.workers.lost.len() == 1, "{:#?}", during.workers);
    let during = of(&during.figures.context("no figures")?);
    ensure!(client.stop("lost").await? == 202);
    let done = client.done("lost", RUN_TIMEOUT).await?;
    ensure!(done.status == TaskStatus::Stopped, "{done:#?}");
    ensure!(done.leftovers.is_empty(), "{done:#?}");
    let report = report(&client, "lost").await?;
    let worker = report.workers.iter().find(|one| one.name.contains(&lost));
    let kept = worker
        .context("no figures of the lost worker")?
        .figures
        .samples;
    ensure!(before <= kept && kept == during, "{before} {during} {kept}");
    let kept_evidence = client.events("lost", "evidenceKept").await?;
    let text = format!("{kept_evidence:?}");
    ensure!(text.contains("they are partial: received until"), "{text}");
    nodes.control("start", victim)?;
    nodes.until_status(victim, "Ready").await?;
    fixture.finish().await?;
    Ok(format!(
        "node {victim} was lost; {kept} samples of its worker are in the report as partial; nothing left after it rejoined"
    ))
}

async fn started(client: &Client, name: &str) -> Result<Task> {
    let is_running = |task: &Task| task.step == Step::Running;
    client.until(name, RUN_TIMEOUT, is_running).await
}

fn has_all_workers(figures: &LiveFigures) -> bool {
    let with_samples = figures.workers.iter().filter(|one| one.total.samples > 0);
    with_samples
        .map(|one| &one.name)
        .collect::<BTreeSet<_>>()
        .len()
        == 3
}
