//! A sidecar that does not start, or dies.

use super::case::{AT_ONCE, Case, play};
use anyhow::{Result, ensure};
use atq_api_spec::task::{Step, TaskStatus};
use atq_tests::docker::docker;
use atq_tests::image::{Image, container};
use atq_tests::stage::{PATIENCE, Stage, small_task, with};
use atq_tests::witness::Witness;

#[tokio::test]
async fn a_sidecar_that_cannot_start_is_named() -> Result<()> {
    let more = "discoveryImage: atq-no-such-sidecar:1\n";
    let stage = Stage::open_with("test-no-sidecar", more).await?;
    let witness = Witness::of("test-no-sidecar")?;
    let case = Case::new(
        small_task("no-sidecar", 1),
        Step::Discovery,
        "discovery_failed",
    )
    .says("the sidecar does not run: rejected: No such image: atq-no-such-sidecar:1")
    .hints("`discoveryImage`");
    play(&stage, &witness, &[case]).await?;
    stage.close().await
}

#[tokio::test]
async fn a_sidecar_that_is_killed_is_named_while_it_is_needed_and_not_missed_later() -> Result<()> {
    let more = format!("{AT_ONCE}orchestrationTimeout: 30\n");
    let stage = Stage::open_with("test-sidecar-dies", &more).await?;
    let witness = Witness::of("test-sidecar-dies")?;
    let client = stage.client();
    // Swarm counts a container as running only when its health check has succeeded once.
    let check = "HEALTHCHECK --interval=600s CMD true";
    let slow = Image::build("atq-test-slow:1", check).await?;
    let slow_worker = |name: &str| with(small_task(name, 1), "/worker/image", slow.name.as_str());

    let needed = Case::new(
        slow_worker("sidecar-needed"),
        Step::Discovery,
        "discovery_failed",
    )
    .says("the sidecar does not run: failed: task: non-zero exit (137)")
    .hints("killed");
    let late = Case::new(
        slow_worker("workers-late"),
        Step::Resolve,
        "workers_timed_out",
    )
    .says("the workers were not ready after 30 s: 0 of 1 workers run")
    .says("replica 1: starting")
    .hints("`orchestrationTimeout`");
    needed.start(&client).await?;
    late.start(&client).await?;
    let later = with(small_task("sidecar-later", 1), "/delay", 6);
    client.start(&later).await?;

    kill_sidecar(&client, "sidecar-needed", Step::Resolve).await?;
    kill_sidecar(&client, "sidecar-later", Step::Delay).await?;
    let task = client.done("sidecar-later", PATIENCE).await?;
    ensure!(task.status == TaskStatus::Finished, "{task:#?}");
    needed.judge(&client, &witness).await?;
    late.judge(&client, &witness).await?;
    stage.close().await
}

/// Kills the sidecar's container as soon as the task is in `step` and there is one.
async fn kill_sidecar(client: &atq_tests::client::Client, task: &str, step: Step) -> Result<()> {
    let task = client
        .until(task, PATIENCE, |task| task.step >= step)
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
