//! Tools without a master, on the real Swarm.

use anyhow::{Context, Result, ensure};
use atq_api_spec::report::{Report, Verdict};
use atq_api_spec::task::{TaskStatus, WorkerState};
use atq_tests::client::Client;
use atq_tests::docker::docker;
use atq_tests::fixture::{Fixture, RUN_TIMEOUT, with};
use atq_tests::image::{Image, container};
use atq_tests::sync::{skew_ms, sync_task};
use serde_json::json;

/// Writes as many samples as its share says, and the start time of each worker as the first one.
const SAMPLES: &str = r#"
    file=/atq/results/samples.csv
    echo timestamp,elapsed,label,success >$file
    for i in $(seq "$ATQ_SHARE_SAMPLES"); do
        echo "$(date +%s)000,10,worker-$ATQ_SHARE_INDEX,true" >>$file
    done"#;

async fn report(client: &Client, task: &str) -> Result<Report> {
    let response = client.get(&format!("/task/{task}/report")).await?;
    ensure!(response.status() == 200, "{}", response.status());
    Ok(response.json().await?)
}

#[tokio::test]
async fn tools_start_together_and_the_samples_of_all_workers_are_in_the_report() -> Result<()> {
    let fixture = Fixture::start("test-sync").await?;
    let client = fixture.client();
    let image = Image::sync("atq-test-sync:all").await?;
    let options = ["--share", "samples=57", "--max-skew", "2s"];
    let task = sync_task("sync-all", &image.name, 5, SAMPLES, &options);
    client
        .start(&with(
            task,
            "/criteria",
            json!(["samples = 57", "errors = 0"]),
        ))
        .await?;
    let done = client.done("sync-all", RUN_TIMEOUT).await?;
    let log = client.logs("sync-all", "?service=master").await?;
    ensure!(done.verdict == Some(Verdict::Pass), "{done:#?}\n{log}");
    let all = report(&client, "sync-all").await?;
    let mut counts: Vec<(&str, u64)> = all
        .labels
        .iter()
        .map(|label| (label.name.as_str(), label.figures.samples))
        .collect();
    counts.sort_unstable();
    let expected = [12, 12, 11, 11, 11];
    ensure!(
        counts.iter().map(|(_, count)| *count).eq(expected),
        "{counts:?}"
    );
    let skew = skew_ms(&log).with_context(|| format!("no skew in {log}"))?;
    eprintln!("skew of 5 tools on one node: {skew} ms");
    ensure!(log.matches(": exit code 0 after ").count() == 5, "{log}");
    fixture.finish().await
}

#[tokio::test]
async fn the_worst_tool_decides_and_no_failed_worker_counts_as_lost() -> Result<()> {
    let fixture = Fixture::start("test-sync-worst").await?;
    let client = fixture.client();
    let image = Image::sync("atq-test-sync:worst").await?;
    let script = "exit $((ATQ_SHARE_INDEX * 3))";
    client
        .start(&sync_task("sync-worst", &image.name, 3, script, &[]))
        .await?;
    let done = client.done("sync-worst", RUN_TIMEOUT).await?;
    ensure!(done.exit_code == Some(6), "{done:#?}");
    ensure!(done.verdict != Some(Verdict::Invalid), "{done:#?}");
    let lost = client.events("sync-worst", "workerLost").await?;
    ensure!(lost.is_empty(), "{lost:#?}");
    let log = client.logs("sync-worst", "?service=master").await?;
    for (number, code) in [(1, 0), (2, 3), (3, 6)] {
        let line = log
            .lines()
            .find(|line| line.contains(&format!("worker {number} (10.")));
        let line = line.with_context(|| format!("no worker {number} in {log}"))?;
        ensure!(line.contains(&format!(": exit code {code} after")), "{log}");
    }
    fixture.finish().await
}

#[tokio::test]
async fn a_wrong_command_fails_the_task_before_its_master_starts() -> Result<()> {
    let fixture = Fixture::start("test-sync-wrong").await?;
    let client = fixture.client();
    let image = Image::sync("atq-test-sync:wrong").await?;
    let task = sync_task("sync-wrong", &image.name, 2, "", &[]);
    let task = with(
        task,
        "/worker/args",
        json!(["worker", "--", "no-such-tool"]),
    );
    client.start(&task).await?;
    let done = client.done("sync-wrong", RUN_TIMEOUT).await?;
    let failure = done.failure.as_ref().context("no failure")?;
    ensure!(failure.code == "worker_failed", "{failure:?}");
    ensure!(
        done.workers.iter().any(|one| one.exit_code == Some(127)),
        "{done:#?}"
    );
    let log = client.logs("sync-wrong", "?service=worker").await?;
    ensure!(
        log.contains("the tool `no-such-tool` is in no directory of PATH"),
        "{log}"
    );
    fixture.finish().await
}

#[tokio::test]
async fn a_killed_worker_is_named_and_the_others_continue() -> Result<()> {
    let fixture = Fixture::start("test-sync-killed").await?;
    let client = fixture.client();
    let image = Image::sync("atq-test-sync:killed").await?;
    // The tools end once this test has created a file.
    let script = "touch /tmp/up; until [ -e /tmp/end ]; do sleep 0.2; done";
    client
        .start(&sync_task(
            "sync-killed",
            &image.name,
            3,
            script,
            &["--max-skew", "2s"],
        ))
        .await?;
    client
        .until("sync-killed", RUN_TIMEOUT, |task| {
            task.status == TaskStatus::Started
        })
        .await?;
    let begun = std::time::Instant::now();
    while !client
        .logs("sync-killed", "?service=master")
        .await?
        .contains("3 tools started")
    {
        ensure!(begun.elapsed() < RUN_TIMEOUT, "the tools do not start");
    }
    let victim = container("sync-killed", "worker", 2).await?;
    docker(&["kill", "--signal", "KILL", &victim]).await?;
    for replica in [1, 3] {
        let other = container("sync-killed", "worker", replica).await?;
        docker(&["exec", &other, "touch", "/tmp/end"]).await?;
    }
    let done = client.done("sync-killed", RUN_TIMEOUT).await?;
    let log = client.logs("sync-killed", "?service=master").await?;
    ensure!(done.exit_code == Some(121), "{done:#?}\n{log}");
    ensure!(
        log.contains("worker 2 (10.") && log.contains("lost: the connection was closed"),
        "{log}"
    );
    ensure!(log.matches(": exit code 0 after ").count() == 2, "{log}");
    fixture.finish().await
}

#[tokio::test]
async fn a_stop_of_the_task_reaches_the_tools() -> Result<()> {
    let fixture = Fixture::start("test-sync-stop").await?;
    let client = fixture.client();
    let image = Image::sync("atq-test-sync:stop").await?;
    let script =
        "trap 'echo the tool got SIGTERM; exit 5' TERM; echo up; while :; do sleep 0.2; done";
    client
        .start(&sync_task(
            "sync-stop",
            &image.name,
            2,
            script,
            &["--max-skew", "2s"],
        ))
        .await?;
    client
        .until("sync-stop", RUN_TIMEOUT, |task| {
            task.status == TaskStatus::Started
        })
        .await?;
    let begun = std::time::Instant::now();
    while client
        .logs("sync-stop", "?service=worker")
        .await?
        .matches("up\n")
        .count()
        < 2
    {
        ensure!(begun.elapsed() < RUN_TIMEOUT, "the tools do not start");
    }
    client.stop("sync-stop").await?;
    let done = client.done("sync-stop", RUN_TIMEOUT).await?;
    ensure!(done.status == TaskStatus::Stopped, "{done:#?}");
    let stopped = |worker: &WorkerState| worker.exit_code == Some(5);
    let log = client.logs("sync-stop", "").await?;
    ensure!(done.workers.iter().all(stopped), "{done:#?}\n{log}");
    ensure!(log.matches("the tool got SIGTERM").count() == 2, "{log}");
    ensure!(log.contains("received SIGTERM"), "{log}");
    fixture.finish().await
}
