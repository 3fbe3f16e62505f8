//! The Director is killed or stopped during a run.

use anyhow::{Context, Result, ensure};
use atq_api_spec::task::{Step, TaskStatus};
use atq_tests::client::Client;
use atq_tests::director::{Director, binary, free_port};
use atq_tests::docker::{docker, labelled, until_nothing};
use atq_tests::fixture::{CleanupGuard, Fixture, RUN_TIMEOUT, small_task, with};
use serde_json::json;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

#[tokio::test]
async fn a_run_survives_a_kill_of_the_director_in_every_step() -> Result<()> {
    let mut fixture = Fixture::start("test-crash").await?;
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
        let client = fixture.client();
        client.start(&task).await?;
        client
            .until("crash-me", RUN_TIMEOUT, |task| task.step >= step)
            .await?;
        fixture.take().crash()?;
        fixture.restart().await?;
        let client = fixture.client();
        let done = client.done("crash-me", RUN_TIMEOUT).await?;
        ensure!(
            done.status == TaskStatus::Finished,
            "killed in {step:?}: {done:#?}"
        );
        let log = client.logs("crash-me", "?service=master").await?;
        let answers = log.matches(" answered ").count();
        ensure!(
            answers == 2,
            "killed in {step:?}: the master must run once, with both workers:\n{log}"
        );
        ensure!(client.delete("crash-me").await?.0 == 204);
    }
    fixture.finish().await
}

#[tokio::test]
async fn sigterm_does_not_stop_running_tests() -> Result<()> {
    let mut fixture = Fixture::start("test-sigterm").await?;
    let client = fixture.client();
    client
        .start(&with(
            small_task("leave-me", 1),
            "/master/environment",
            json!(["HOLD=5"]),
        ))
        .await?;
    let running = client
        .until("leave-me", RUN_TIMEOUT, |task| {
            task.status == TaskStatus::Started
        })
        .await?;
    let (code, took) = fixture.take().terminate()?;
    ensure!(code == Some(0), "exit code {code:?}");
    ensure!(took < Duration::from_secs(5), "the shutdown took {took:?}");
    let state = docker(&[
        "service",
        "ps",
        &running.master.id,
        "--format",
        "{{.CurrentState}}",
    ])
    .await?;
    ensure!(
        state.starts_with("Running"),
        "the master must continue: {state}"
    );
    fixture.restart().await?;
    let done = fixture.client().done("leave-me", RUN_TIMEOUT).await?;
    ensure!(done.status == TaskStatus::Finished, "{done:#?}");
    fixture.finish().await
}

#[tokio::test]
async fn tasks_and_bundles_are_still_listed_after_a_crash() -> Result<()> {
    let mut fixture = Fixture::start("test-listed").await?;
    let client = fixture.client();
    let fileid = client
        .upload(atq_tests::bundle::zip(&[("a.txt", b"a")])?)
        .await?;
    client.start(&small_task("listed", 1)).await?;
    let before = client.done("listed", RUN_TIMEOUT).await?;
    fixture.take().crash()?;
    fixture.restart().await?;
    let client = fixture.client();
    ensure!(client.task("listed").await? == before);
    ensure!(
        client
            .get("/api/databind/list")
            .await?
            .text()
            .await?
            .contains(&fileid)
    );
    fixture.finish().await
}

#[tokio::test]
async fn a_second_director_on_the_same_data_refuses_to_start() -> Result<()> {
    let mut fixture = Fixture::start("test-second").await?;
    let first = fixture.take();
    let error = fixture
        .restart()
        .await
        .err()
        .map(|error| format!("{error:#}"))
        .unwrap_or_default();
    ensure!(error.contains("in use by another process"), "{error}");
    drop(first);
    fixture.finish().await
}

/// Starts a Director without a configured id.
async fn start_in(dir: &Path, port: u16, args: &[&str]) -> Result<Director> {
    let mut command = Command::new(binary()?);
    command.args(args);
    let url = format!("http://127.0.0.1:{port}");
    Director::launch(command, dir, Client::new(&url)?, port, "").await
}

/// Waits until the log of a Director contains a text.
async fn until_logged(director: &Director, text: &str) -> Result<()> {
    let begun = Instant::now();
    while !director.log().contains(text) {
        ensure!(
            begun.elapsed() < RUN_TIMEOUT,
            "no `{text}` in the log:\n{}",
            director.log()
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

#[tokio::test]
async fn orphans_of_a_lost_data_directory_are_found() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let port = free_port()?;
    let director = start_in(dir.path(), port, &[]).await?;
    let id_file = director.dir.join("data/director-id");
    let id = std::fs::read_to_string(&id_file)?.trim().to_owned();
    let label = format!("com.atq.director={id}");
    let _cleanup = CleanupGuard(label.clone());
    let task = with(
        small_task("lose-me", 2),
        "/master/environment",
        json!(["HOLD=600"]),
    );
    director.client.start(&task).await?;
    director
        .client
        .until("lose-me", RUN_TIMEOUT, |task| {
            task.status == TaskStatus::Started
        })
        .await?;
    let lose = |dir: &Path| std::fs::remove_dir_all(dir.join("data"));
    lose(&director.crash()?)?;
    let services = || async {
        let all = labelled(&label).await?;
        let services = all
            .into_iter()
            .filter(|object| object.starts_with("service "));
        anyhow::Ok(services.collect::<Vec<_>>())
    };

    let director = start_in(dir.path(), port, &["--adopt-orphans=keep"]).await?;
    until_logged(&director, "`--adopt-orphans=keep` keeps them").await?;
    ensure!(
        std::fs::read_to_string(&id_file)?.trim() == id,
        "another id"
    );
    ensure!(
        director
            .log()
            .contains("is missing; continuing with the id"),
        "{}",
        director.log()
    );
    let kept = services().await?;
    ensure!(kept.len() >= 2, "kept: {kept:?}");
    ensure!(director.client.get("/api/task/lose-me").await?.status() == 404);
    lose(&director.crash()?)?;

    let director = start_in(dir.path(), port, &[]).await?;
    until_logged(&director, "removal of orphans complete").await?;
    until_nothing(&label, Duration::ZERO)
        .await
        .with_context(|| director.log())?;
    ensure!(director.log().contains(
        "of 1 run(s) that are not in the store (was the data directory lost?): removing them"
    ));
    // The name is free, and no orphan blocks a new run.
    director.client.start(&small_task("lose-me", 1)).await?;
    let done = director.client.done("lose-me", RUN_TIMEOUT).await?;
    ensure!(done.status == TaskStatus::Finished, "{done:#?}");
    ensure!(director.client.delete("lose-me").await?.0 == 204);
    until_nothing(&label, Duration::ZERO).await
}
