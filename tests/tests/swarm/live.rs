//! Figures of running tests, and their end by `stopWhen`, on the real Swarm.

use anyhow::{Context, Result, ensure};
use atq_api_spec::live::LiveTask;
use atq_api_spec::report::Verdict;
use atq_api_spec::task::{Step, TaskStatus};
use atq_tests::client::Client;
use atq_tests::docker::docker;
use atq_tests::fixture::{Fixture, RUN_TIMEOUT, with};
use atq_tests::live::{live, report, sampling, until_figures};
use futures_util::StreamExt;
use serde_json::json;
use std::time::{Duration, Instant};

/// All states of a stream until its end.
async fn stream(client: &Client, name: &str) -> Result<Vec<LiveTask>> {
    let http = reqwest::Client::builder().no_proxy().build()?;
    let request = http
        .get(format!("{}/task/{name}/live", client.url))
        .header("Accept", "text/event-stream");
    let response = request.send().await?;
    ensure!(response.status() == 200, "{}", response.status());
    let mut text = String::new();
    let mut chunks = response.bytes_stream();
    while let Some(chunk) = chunks.next().await {
        text.push_str(std::str::from_utf8(&chunk?)?);
    }
    let data = text.lines().filter_map(|line| line.strip_prefix("data:"));
    let states = data.map(serde_json::from_str);
    Ok(states.collect::<Result<_, _>>()?)
}

#[tokio::test]
async fn the_figures_of_a_running_test_are_those_of_its_report_at_the_end() -> Result<()> {
    let fixture = Fixture::start("test-live").await?;
    let client = fixture.client();
    client.start(&sampling("live-one", 2, 60)).await?;
    client
        .until("live-one", RUN_TIMEOUT, |task| task.step >= Step::Running)
        .await?;
    let watching = tokio::spawn({
        let client = client.clone();
        async move { stream(&client, "live-one").await }
    });
    let early = until_figures(&client, "live-one", |figures| figures.total.samples > 0).await?;
    let figures = early.figures.as_ref().context("no figures")?;
    ensure!(figures.total.samples < 120, "{early:#?}");
    ensure!(early.workers.running == 2 && early.workers.wanted == 2);
    ensure!(early.lag_ms.is_some_and(|lag| lag < 5000), "{early:#?}");
    let done = client.done("live-one", RUN_TIMEOUT).await?;
    ensure!(done.leftovers.is_empty(), "{done:#?}");
    let states = watching.await??;
    let samples = |state: &LiveTask| state.figures.as_ref().map_or(0, |f| f.total.samples);
    let seen: Vec<u64> = states.iter().map(samples).collect();
    ensure!(seen.is_sorted(), "{seen:?}");
    let between = |count: &&u64| (1..120).contains(*count);
    ensure!(seen.iter().filter(between).count() >= 3, "{seen:?}");
    let last = states.last().context("no state")?;
    ensure!(last.is_final, "{last:#?}");
    let total = &last.figures.as_ref().context("no figures")?.total;
    let report = report(&client, "live-one").await?;
    ensure!(report.total.samples == 120, "{:#?}", report.total);
    ensure!(*total == report.total, "{total:#?} {:#?}", report.total);
    ensure!(live(&client, "live-one").await?.is_final);
    fixture.finish().await
}

#[tokio::test]
async fn a_condition_ends_a_failing_test_early_with_its_verdict_and_its_results() -> Result<()> {
    let fixture = Fixture::start("test-stop-when").await?;
    let client = fixture.client();
    let failing = sampling("stop-when", 2, 3000);
    let failing = with(
        failing,
        "/worker/environment",
        json!(["TURNS=3000", "SUCCESS=false"]),
    );
    let failing = with(failing, "/stopWhen", json!(["errors > 20% for 3s"]));
    client.start(&failing).await?;
    let holds = with(
        sampling("goes-on", 2, 60),
        "/stopWhen",
        json!(["errors > 20% for 3s"]),
    );
    client.start(&holds).await?;
    let stopped = client.done("stop-when", RUN_TIMEOUT).await?;
    ensure!(stopped.status == TaskStatus::Stopped, "{stopped:#?}");
    ensure!(stopped.verdict == Some(Verdict::Fail), "{stopped:#?}");
    let reasons = stopped.judgement.as_ref().context("no verdict")?;
    let reasons = format!("{reasons:?}");
    ensure!(reasons.contains("errors > 20% for 3s"), "{reasons}");
    let report = report(&client, "stop-when").await?;
    ensure!(report.total.samples > 0, "{:#?}", report.total);
    ensure!(report.total.errors == report.total.samples);
    let done = client.done("goes-on", RUN_TIMEOUT).await?;
    ensure!(done.status == TaskStatus::Finished, "{done:#?}");
    ensure!(done.verdict == Some(Verdict::Pass), "{done:#?}");
    fixture.finish().await
}

#[tokio::test]
async fn nothing_is_lost_or_doubled_when_the_director_is_killed_while_it_reads() -> Result<()> {
    let mut fixture = Fixture::start("test-live-crash").await?;
    let client = fixture.client();
    client.start(&sampling("live-crash", 2, 100)).await?;
    until_figures(&client, "live-crash", |figures| figures.total.samples > 20).await?;
    fixture.take().crash()?;
    fixture.restart().await?;
    let client = fixture.client();
    let resumed =
        until_figures(&client, "live-crash", |figures| figures.total.samples > 60).await?;
    let total = &resumed.figures.as_ref().context("no figures")?.total;
    ensure!(total.samples <= 200, "{total:#?}");
    client.done("live-crash", RUN_TIMEOUT).await?;
    let report = report(&client, "live-crash").await?;
    ensure!(report.total.samples == 200, "{:#?}", report.total);
    fixture.finish().await
}

#[tokio::test]
async fn result_volumes_are_removed_after_every_end() -> Result<()> {
    let fixture = Fixture::start("test-live-volumes").await?;
    let client = fixture.client();
    let label = "label=com.atq.director=test-live-volumes";
    let volumes = async || docker(&["volume", "ls", "-q", "--filter", label]).await;
    for name in ["volumes-stopped", "volumes-deleted"] {
        client.start(&sampling(name, 2, 3000)).await?;
        until_figures(&client, name, |figures| figures.total.samples > 0).await?;
        let listed = volumes().await?;
        ensure!(listed.lines().count() >= 3, "{listed}");
        match name {
            "volumes-stopped" => {
                client.stop(name).await?;
                client.done(name, RUN_TIMEOUT).await?;
            }
            _ => {
                client.delete_by_force(name).await?;
            }
        }
        let begun = Instant::now();
        while !volumes().await?.is_empty() {
            let left = volumes().await?;
            ensure!(begun.elapsed() < Duration::from_secs(30), "{name}: {left}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
    fixture.finish().await
}
