//! The Director ends in the middle of a run, in one way or another.
#![allow(missing_docs, clippy::unwrap_used)]

use anyhow::{Result, ensure};
use atq_api_spec::task::{Step, TaskStatus};
use atq_tests::docker::docker;
use atq_tests::stage::{PATIENCE, Stage, small_task, with};
use serde_json::json;
use std::time::Duration;

#[tokio::test]
async fn a_run_survives_the_directors_death_in_every_step() -> Result<()> {
    let mut stage = Stage::open("test-crash").await?;
    let task = with(
        small_task("crash-me", 2),
        "/master/environment",
        json!(["HOLD=3"]),
    );
    let task = with(task, "/delay", 1);
    for step in [
        Step::Network,
        Step::Discovery,
        Step::Workers,
        Step::Resolve,
        Step::Delay,
        Step::Master,
        Step::Running,
        Step::Cleanup,
    ] {
        let client = stage.client();
        client.start(&task).await?;
        client
            .until("crash-me", PATIENCE, |task| task.step >= step)
            .await?;
        stage.take().crash()?;
        stage.restart().await?;
        let client = stage.client();
        let done = client.done("crash-me", PATIENCE).await?;
        ensure!(
            done.status == TaskStatus::Finished,
            "killed in {step:?}: {done:#?}"
        );
        let log = client.logs("crash-me", "?service=master").await?;
        let answers = log.matches(" answered ").count();
        ensure!(
            answers == 2,
            "killed in {step:?}: the master ran once, on both workers:\n{log}"
        );
        ensure!(client.delete("crash-me").await?.0 == 204);
    }
    stage.close().await
}

#[tokio::test]
async fn sigterm_leaves_running_tests_alone() -> Result<()> {
    let mut stage = Stage::open("test-sigterm").await?;
    let client = stage.client();
    client
        .start(&with(
            small_task("leave-me", 1),
            "/master/environment",
            json!(["HOLD=5"]),
        ))
        .await?;
    let running = client
        .until("leave-me", PATIENCE, |task| {
            task.status == TaskStatus::Started
        })
        .await?;
    let (code, took) = stage.take().terminate()?;
    ensure!(code == Some(0), "exit code {code:?}");
    ensure!(took < Duration::from_secs(5), "the end took {took:?}");
    let state = docker(&[
        "service",
        "ps",
        &running.master.id,
        "--format",
        "{{.CurrentState}}",
    ])
    .await?;
    ensure!(state.starts_with("Running"), "the master goes on: {state}");
    stage.restart().await?;
    let done = stage.client().done("leave-me", PATIENCE).await?;
    ensure!(done.status == TaskStatus::Finished, "{done:#?}");
    stage.close().await
}

#[tokio::test]
async fn tasks_and_bundles_are_still_listed_after_a_crash() -> Result<()> {
    let mut stage = Stage::open("test-listed").await?;
    let client = stage.client();
    let fileid = client
        .upload(atq_tests::bundle::zip(&[("a.txt", b"a")])?)
        .await?;
    client.start(&small_task("listed", 1)).await?;
    let before = client.done("listed", PATIENCE).await?;
    stage.take().crash()?;
    stage.restart().await?;
    let client = stage.client();
    ensure!(client.task("listed").await? == before);
    ensure!(
        client
            .get("/api/databind/list")
            .await?
            .text()
            .await?
            .contains(&fileid)
    );
    stage.close().await
}

#[tokio::test]
async fn a_second_director_on_the_same_data_refuses_to_start() -> Result<()> {
    let mut stage = Stage::open("test-second").await?;
    let first = stage.take();
    let error = stage
        .restart()
        .await
        .err()
        .map(|error| format!("{error:#}"))
        .unwrap_or_default();
    ensure!(error.contains("in use by another process"), "{error}");
    drop(first);
    stage.close().await
}
