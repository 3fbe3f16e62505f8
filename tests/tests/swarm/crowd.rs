//! Many tasks at once, and readers who are answered all the time.

use anyhow::{Result, ensure};
use atq_api_spec::task::{Step, TaskStatus};
use atq_tests::client::Client;
use atq_tests::docker::docker;
use atq_tests::readers::while_reading;
use atq_tests::stage::{Stage, small_task, with};
use atq_tests::stats::spread;
use futures_util::future::try_join_all;
use serde_json::json;
use std::time::{Duration, Instant};

const TASKS: usize = 20;
/// The machine starts 100 containers.
const PATIENCE: Duration = Duration::from_secs(300);
const PAUSE: Duration = Duration::from_millis(10);

/// Ends the pause of a task's master, which goes on to its end then.
async fn release(name: &str) -> Result<()> {
    let (task, role) = (
        format!("label=com.atq.task={name}"),
        "label=com.atq.role=master",
    );
    let begun = Instant::now();
    loop {
        let container = docker(&["ps", "-q", "--filter", &task, "--filter", role]).await?;
        let wake = [
            "exec",
            container.as_str(),
            "sh",
            "-c",
            "kill $(pidof sleep)",
        ];
        match docker(&wake).await {
            Ok(_) => return Ok(()),
            // It has not gone to sleep yet.
            Err(error) => ensure!(begun.elapsed() < PATIENCE, "{name}: {error:#}"),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn all_run_and_end(client: &Client, names: &[String]) -> Result<()> {
    let begun = Instant::now();
    let started = names
        .iter()
        .map(|name| client.until(name, PATIENCE, |task| task.step >= Step::Running));
    try_join_all(started).await?;
    for name in names {
        let task = client.task(name).await?;
        ensure!(task.status == TaskStatus::Started, "{task:#?}");
    }
    println!("all started after {:.1} s", begun.elapsed().as_secs_f64());
    try_join_all(names.iter().map(|name| release(name))).await?;
    for done in try_join_all(names.iter().map(|name| client.done(name, PATIENCE))).await? {
        ensure!(done.status == TaskStatus::Finished, "{done:#?}");
        ensure!(done.workers.len() == 3, "{done:#?}");
    }
    println!("all done after {:.1} s", begun.elapsed().as_secs_f64());
    Ok(())
}

#[tokio::test]
async fn twenty_tasks_run_at_once_and_readers_are_answered_meanwhile() -> Result<()> {
    let more = format!("maxConcurrentTasks: {TASKS}\norchestrationTimeout: 300\n");
    let stage = Stage::open_with("test-crowd", &more).await?;
    let client = stage.client();
    let names: Vec<String> = (1..=TASKS)
        .map(|number| format!("crowd-{number}"))
        .collect();
    for name in &names {
        // They are woken when all of them run.
        let task = with(
            small_task(name, 3),
            "/master/environment",
            json!(["HOLD=3600"]),
        );
        client.start(&task).await?;
    }
    let work = all_run_and_end(&client, &names);
    let ((), answers) = while_reading(&client, &names, PAUSE, work).await?;
    for (read, answers) in answers {
        println!("{}: n={}, {}", read.name(), answers.len(), spread(&answers));
        ensure!(!answers.is_empty(), "nobody asked {}", read.name());
    }
    for name in &names {
        let (status, body) = client.delete(name).await?;
        ensure!(status == 204, "{status}: {body}");
    }
    stage.close().await
}
