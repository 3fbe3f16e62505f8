//! Verdicts and reports of real JMeter tests on the real Swarm.

use anyhow::{Context, Result, ensure};
use atq_api_spec::report::{Report, Verdict};
use atq_api_spec::task::TaskStatus;
use atq_tests::bundle::zip_directory;
use atq_tests::client::Client;
use atq_tests::docker::{Target, docker};
use atq_tests::fixture::{Fixture, RUN_TIMEOUT, with};
use atq_tests::image::container;
use serde_json::{Value, json};
use std::path::PathBuf;

const TARGET: &str = "atq-verdict-target";
const TARGET_LABEL: &str = "atq.test=verdict-target";
const WORKERS: u32 = 2;

/// The demo's test with two workers of two threads, each of which takes `loops` samples.
fn jmeter(name: &str, fileid: &str, loops: u32) -> Result<Value> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let text = std::fs::read_to_string(root.join("deploy/demo/task.json"))?;
    let text = text
        .replace("FILEID", fileid)
        .replace("atq-demo-target", TARGET)
        .replace("-Gloops=100", &format!("-Gloops={loops}"));
    let task = with(serde_json::from_str(&text)?, "/name", name);
    Ok(with(task, "/worker/replicas", WORKERS))
}

async fn report(client: &Client, path: &str) -> Result<Report> {
    let response = client.get(path).await?;
    ensure!(response.status() == 200, "{}", response.status());
    Ok(response.json().await?)
}

#[tokio::test]
async fn real_runs_pass_fail_and_are_invalid() -> Result<()> {
    let fixture = Fixture::start("test-verdict").await?;
    let client = fixture.client();
    let target = Target::start(TARGET, TARGET_LABEL).await?;
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let fileid = client
        .upload(zip_directory(&root.join("deploy/demo/bundle"))?)
        .await?;

    let criteria = json!([
        "errors = 0",
        "samples = 200",
        "p95 < 10s",
        "throughput > 1/s"
    ]);
    let good = with(jmeter("verdict-pass", &fileid, 50)?, "/criteria", criteria);
    client.start(&with(good, "/minSamples", 200)).await?;
    let task = client.done("verdict-pass", RUN_TIMEOUT).await?;
    ensure!(task.verdict == Some(Verdict::Pass), "{task:#?}");
    let passed = report(&client, "/task/verdict-pass/report").await?;
    ensure!(
        passed.total.samples == 200 && passed.total.errors == 0,
        "{:#?}",
        passed.total
    );
    ensure!(
        passed.sources.len() == 1 && passed.sources[0].format == "jtl-csv",
        "{:#?}",
        passed.sources
    );
    ensure!(
        passed.judgement == task.judgement,
        "{:#?}",
        passed.judgement
    );

    let criteria = json!(["max < 0.001ms", "errors < 1%"]);
    client
        .start(&with(
            jmeter("verdict-fail", &fileid, 50)?,
            "/criteria",
            criteria,
        ))
        .await?;
    let task = client.done("verdict-fail", RUN_TIMEOUT).await?;
    ensure!(task.status == TaskStatus::Finished, "{task:#?}");
    ensure!(task.verdict == Some(Verdict::Fail), "{task:#?}");
    let held: Vec<bool> = task
        .judgement
        .iter()
        .flat_map(|given| &given.criteria)
        .map(|one| one.holds)
        .collect();
    ensure!(held == [false, true], "{task:#?}");
    let compared = report(&client, "/task/verdict-fail/report?baseline=verdict-pass").await?;
    ensure!(
        compared
            .comparison
            .is_some_and(|other| other.baseline == "verdict-pass")
    );
    let page = client.get("/task/verdict-fail/report?format=html").await?;
    let page = page.text().await?;
    ensure!(
        page.starts_with("<!DOCTYPE html>") && page.contains("max &lt; 0.001ms"),
        "{page}"
    );

    let long = with(
        jmeter("verdict-lost", &fileid, 100_000)?,
        "/onWorkerLoss",
        "abort",
    );
    client
        .start(&with(long, "/criteria", json!(["errors < 1%"])))
        .await?;
    client
        .until("verdict-lost", RUN_TIMEOUT, |task| {
            task.status == TaskStatus::Started
        })
        .await?;
    let victim = container("verdict-lost", "worker", 1).await?;
    docker(&["kill", "--signal", "KILL", &victim]).await?;
    let task = client.done("verdict-lost", RUN_TIMEOUT).await?;
    ensure!(task.verdict == Some(Verdict::Invalid), "{task:#?}");
    let reasons = task.judgement.context("the task has no judgement")?.reasons;
    ensure!(
        reasons
            .iter()
            .any(|reason| reason.contains("was lost while the test ran")),
        "{reasons:#?}"
    );

    for name in ["verdict-pass", "verdict-fail", "verdict-lost"] {
        client.delete(name).await?;
    }
    let (status, text) = client.delete_bundle(&fileid).await?;
    ensure!(status == 204, "{status} {text}");
    target.remove().await?;
    fixture.finish().await
}
