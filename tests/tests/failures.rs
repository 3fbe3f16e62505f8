//! Runs that end badly, and the words for it.
#![allow(missing_docs, clippy::unwrap_used)]

use anyhow::{Context, Result, ensure};
use atq_api_spec::task::{Step, Task, TaskStatus};
use atq_tests::stage::{PATIENCE, Stage, small_task, with};
use serde_json::{Value, json};

/// Runs a task to its end and gives it.
async fn run(stage: &Stage, task: Value) -> Result<Task> {
    let client = stage.client();
    let name = task["name"].as_str().context("name")?.to_owned();
    client.start(&task).await?;
    client.outcome(&name, PATIENCE).await?;
    client.done(&name, PATIENCE).await
}

fn code(task: &Task) -> &str {
    task.failure
        .as_ref()
        .map_or("", |failure| failure.code.as_str())
}

fn message(task: &Task) -> &str {
    task.failure
        .as_ref()
        .map_or("", |failure| failure.message.as_str())
}

#[tokio::test]
async fn an_image_that_is_missing_is_named() -> Result<()> {
    let stage = Stage::open("test-no-image").await?;
    let task = run(
        &stage,
        with(
            small_task("no-image", 2),
            "/worker/image",
            "atq-no-such-image:1",
        ),
    )
    .await?;
    ensure!(task.status == TaskStatus::Errored);
    ensure!(code(&task) == "worker_failed", "{task:#?}");
    ensure!(
        message(&task).contains("0 of 2 workers run"),
        "{}",
        message(&task)
    );
    ensure!(
        message(&task).contains("No such image: atq-no-such-image:1"),
        "{}",
        message(&task)
    );
    let answer = stage.client().get("/api/task/no-image").await?;
    ensure!(
        answer.status() == 500,
        "a task that could not be created is a 500 with the task object"
    );
    stage.close().await
}

#[tokio::test]
async fn a_worker_that_exits_before_the_master_exists_is_a_failure() -> Result<()> {
    let stage = Stage::open("test-worker-exits").await?;
    let task = with(
        small_task("worker-exits", 1),
        "/worker/environment",
        json!(["EXIT=0"]),
    );
    let task = run(&stage, with(task, "/delay", 10)).await?;
    ensure!(code(&task) == "worker_failed", "{task:#?}");
    ensure!(
        task.failure
            .as_ref()
            .is_some_and(|failure| failure.step < Step::Master),
        "{task:#?}"
    );
    let log = stage
        .client()
        .logs("worker-exits", "?service=worker")
        .await?;
    ensure!(log.contains("worker ready"), "its log is kept:\n{log}");
    stage.close().await
}

#[tokio::test]
async fn a_wait_command_that_does_not_succeed_ends_the_task() -> Result<()> {
    let stage = Stage::open("test-wait-fails").await?;
    let wait = |command: &str, expected: &str, timeout: u32| json!({"command": command, "expectedResult": expected, "timeout": timeout});
    let task = run(
        &stage,
        with(
            small_task("wait-exit", 1),
            "/waitCommand",
            wait("echo broken; exit 3", "", 2),
        ),
    )
    .await?;
    ensure!(code(&task) == "wait_command_failed", "{task:#?}");
    ensure!(
        message(&task).contains("exited 3") && message(&task).contains("broken"),
        "{}",
        message(&task)
    );
    ensure!(
        stage
            .client()
            .logs("wait-exit", "?service=wait")
            .await?
            .contains("broken")
    );

    let task = run(
        &stage,
        with(
            small_task("wait-text", 1),
            "/waitCommand",
            wait("echo yes", "no", 0),
        ),
    )
    .await?;
    ensure!(
        message(&task).contains("printed `yes`; expected `no`"),
        "{}",
        message(&task)
    );
    ensure!(
        message(&task).contains("tried 1 time"),
        "a time-out of 0 is one try: {}",
        message(&task)
    );

    // A try that began in time may finish, as in the manual's own example.
    let task = run(
        &stage,
        with(
            small_task("wait-slow", 1),
            "/waitCommand",
            wait("sleep 4", "", 2),
        ),
    )
    .await?;
    ensure!(task.status == TaskStatus::Finished, "{task:#?}");
    stage.close().await
}

#[tokio::test]
async fn the_masters_exit_code_is_told() -> Result<()> {
    let stage = Stage::open("test-master-exit").await?;
    let task = run(
        &stage,
        with(
            small_task("master-exit", 1),
            "/master/environment",
            json!(["EXIT=3"]),
        ),
    )
    .await?;
    ensure!(
        task.status == TaskStatus::Errored && task.exit_code == Some(3),
        "{task:#?}"
    );
    ensure!(code(&task) == "master_exit", "{task:#?}");
    let answer = stage.client().get("/api/task/master-exit").await?;
    ensure!(
        answer.status() == 200,
        "the task was created; its test failed"
    );

    let task = with(
        small_task("master-none", 1),
        "/master/image",
        "atq-no-such-image:1",
    );
    let task = run(&stage, task).await?;
    ensure!(code(&task) == "master_failed", "{task:#?}");
    stage.close().await
}

#[tokio::test]
async fn a_stopped_task_ends_stopped_and_keeps_its_logs() -> Result<()> {
    let stage = Stage::open("test-stop").await?;
    let client = stage.client();
    client
        .start(&with(
            small_task("stop-me", 2),
            "/master/environment",
            json!(["HOLD=600"]),
        ))
        .await?;
    client
        .until("stop-me", PATIENCE, |task| {
            task.status == TaskStatus::Started
        })
        .await?;
    ensure!(client.stop("stop-me").await? == 202);
    let done = client.done("stop-me", PATIENCE).await?;
    ensure!(
        done.status == TaskStatus::Stopped && done.failure.is_none(),
        "{done:#?}"
    );
    ensure!(
        client
            .logs("stop-me", "?service=worker&replica=2")
            .await?
            .contains("worker ready")
    );
    stage.close().await
}

#[tokio::test]
async fn delete_really_deletes_whatever_the_task_is_doing() -> Result<()> {
    let stage = Stage::open("test-delete").await?;
    let client = stage.client();
    let task = with(
        small_task("delete-me", 2),
        "/master/environment",
        json!(["HOLD=600"]),
    );
    for step in [Step::Discovery, Step::Resolve, Step::Running] {
        client.start(&task).await?;
        client
            .until("delete-me", PATIENCE, |task| task.step >= step)
            .await?;
        let (status, body) = client.delete("delete-me").await?;
        ensure!(status == 204, "while in {step:?}: {status} {body}");
        ensure!(client.get("/api/task/delete-me").await?.status() == 404);
        let left = atq_tests::docker::labelled("com.atq.task=delete-me").await?;
        ensure!(left.is_empty(), "while in {step:?}: {left:?}");
    }
    ensure!(client.delete("delete-me").await?.0 == 404);
    stage.close().await
}
