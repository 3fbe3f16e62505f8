//! A sidecar that does not start or is killed.

use super::case::{AT_ONCE, Case, run_all};
use anyhow::{Result, ensure};
use atq_api_spec::task::{Step, TaskStatus};
use atq_tests::docker::docker;
use atq_tests::failure_watcher::FailureWatcher;
use atq_tests::fixture::{Fixture, RUN_TIMEOUT, small_task, with};
use atq_tests::image::{Image, container};

#[tokio::test]
async fn a_sidecar_that_cannot_start_is_named() -> Result<()> {
    let more = "discoveryImage: atq-no-such-sidecar:1\n";
    let fixture = Fixture::start_with("test-no-sidecar", more).await?;
    let watcher = FailureWatcher::start("test-no-sidecar")?;
    let case = Case::new(
        small_task("no-sidecar", 1),
        Step::Discovery,
        "discovery_failed",
    )
    .message("the sidecar does not run: rejected: No such image: atq-no-such-sidecar:1")
    .hint("`discoveryImage`");
    run_all(&fixture, &watcher, &[case]).await?;
    fixture.finish().await
}

#[tokio::test]
async fn a_killed_sidecar_fails_the_task_only_while_it_is_needed() -> Result<()> {
    let more = format!("{AT_ONCE}orchestrationTimeout: 30\n");
    let fixture = Fixture::start_with("test-sidecar-dies", &more).await?;
    let watcher = FailureWatcher::start("test-sidecar-dies")?;
    let client = fixture.client();
    // A container with a health check is `running` in Swarm only after the first successful check.
    let check = "HEALTHCHECK --interval=600s CMD true";
    let slow = Image::build("atq-test-slow:1", check).await?;
    let slow_worker = |name: &str| with(small_task(name, 1), "/worker/image", slow.name.as_str());

    let needed = Case::new(
        slow_worker("sidecar-needed"),
        Step::Discovery,
        "discovery_failed",
    )
    .message("the sidecar does not run: failed: task: non-zero exit (137)")
    .hint("killed");
    let late = Case::new(
        slow_worker("workers-late"),
        Step::Resolve,
        "workers_timed_out",
    )
    .message("the workers were not ready after 30 s: 0 of 1 workers run")
    .message("replica 1: starting")
    .hint("`orchestrationTimeout`");
    needed.start(&client).await?;
    late.start(&client).await?;
    let later = with(small_task("sidecar-later", 1), "/delay", 6);
    client.start(&later).await?;

    kill_sidecar(&client, "sidecar-needed", Step::Resolve).await?;
    kill_sidecar(&client, "sidecar-later", Step::Delay).await?;
    let task = client.done("sidecar-later", RUN_TIMEOUT).await?;
    ensure!(task.status == TaskStatus::Finished, "{task:#?}");
    needed.check(&client, &watcher).await?;
    late.check(&client, &watcher).await?;
    fixture.finish().await
}

/// Kills the sidecar's container as soon as the task is in `step` and the container exists.
async fn kill_sidecar(client: &atq_tests::client::Client, task: &str, step: Step) -> Result<()> {
    let task = client
        .until(task, RUN_TIMEOUT, |task| task.step >= step)
        .await?;
    ensure!(task.step == step, "too late: {task:#?}");
    loop {
        if let Ok(sidecar) = container(&task.id, "discovery", 1).await {
            docker(&["kill", "--signal", "KILL", &sidecar]).await?;
            return Ok(());
        }
        ensure!(client.task(&task.id).await?.step == step, "no sidecar yet");
    }
}
