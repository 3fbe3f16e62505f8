//! Many concurrent tasks, while reads are answered.

use anyhow::{Result, ensure};
use atq_api_spec::task::{Step, TaskStatus};
use atq_tests::client::Client;
use atq_tests::docker::docker;
use atq_tests::fixture::{Fixture, small_task, with};
use atq_tests::readers::while_reading;
use atq_tests::stats::spread;
use futures_util::future::try_join_all;
use serde_json::json;
use std::time::{Duration, Instant};

const TASKS: usize = 20;
/// Long enough for the start of 100 containers.
const TIMEOUT: Duration = Duration::from_secs(300);
const READ_INTERVAL: Duration = Duration::from_millis(10);

/// Ends the `sleep` of a task's master, which then completes.
async fn release(name: &str) -> Result<()> {
    let (task, role) = (
        format!("label=com.atq.task={name}"),
        "label=com.atq.role=master",
    );
    let begun = Instant::now();
    loop {
        let container = docker(&["ps", "-q", "--filter", &task, "--filter", role]).await?;
        let kill = [
            "exec",
            container.as_str(),
            "sh",
            "-c",
            "kill $(pidof sleep)",
        ];
        match docker(&kill).await {
            Ok(_) => return Ok(()),
            // It does not sleep yet.
            Err(error) => ensure!(begun.elapsed() < TIMEOUT, "{name}: {error:#}"),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn all_run_and_end(client: &Client, names: &[String]) -> Result<()> {
    let begun = Instant::now();
    let started = names
        .iter()
        .map(|name| client.until(name, TIMEOUT, |task| task.step >= Step::Running));
    try_join_all(started).await?;
    for name in names {
        let task = client.task(name).await?;
        ensure!(task.status == TaskStatus::Started, "{task:#?}");
    }
    println!("all started after {:.1} s", begun.elapsed().as_secs_f64());
    try_join_all(names.iter().map(|name| release(name))).await?;
    for done in try_join_all(names.iter().map(|name| client.done(name, TIMEOUT))).await? {
        ensure!(done.status == TaskStatus::Finished, "{done:#?}");
        ensure!(done.workers.len() == 3, "{done:#?}");
    }
    println!("all done after {:.1} s", begun.elapsed().as_secs_f64());
    Ok(())
}

#[tokio::test]
async fn twenty_tasks_run_at_once_while_reads_are_answered() -> Result<()> {
    let more = format!("maxConcurrentTasks: {TASKS}\norchestrationTimeout: 300\n");
    let fixture = Fixture::start_with("test-concurrency", &more).await?;
    let client = fixture.client();
    let names: Vec<String> = (1..=TASKS)
        .map(|number| format!("concurrent-{number}"))
        .collect();
    for name in &names {
        // They sleep until all of them run.
        let task = with(
            small_task(name, 3),
            "/master/environment",
            json!(["HOLD=3600"]),
        );
        client.start(&task).await?;
    }
    let work = all_run_and_end(&client, &names);
    let ((), latencies) = while_reading(&client, &names, READ_INTERVAL, work).await?;
    for (read, latencies) in latencies {
        println!(
            "{}: n={}, {}",
            read.name(),
            latencies.len(),
            spread(&latencies)
        );
        ensure!(!latencies.is_empty(), "no request {}", read.name());
    }
    for name in &names {
        let (status, body) = client.delete(name).await?;
        ensure!(status == 204, "{status}: {body}");
    }
    fixture.finish().await
}
