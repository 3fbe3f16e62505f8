//! Workers that are killed before and after the start of the master.

use super::case::{AT_ONCE, Case};
use anyhow::{Result, ensure};
use atq_api_spec::task::{Step, TaskEvents, TaskStatus};
use atq_tests::client::Client;
use atq_tests::docker::docker;
use atq_tests::failure_watcher::FailureWatcher;
use atq_tests::fixture::{Fixture, RUN_TIMEOUT, small_task, with};
use atq_tests::image::container;
use serde_json::json;

async fn kill_worker(client: &Client, task: &str, step: Step) -> Result<()> {
    let seen = client
        .until(task, RUN_TIMEOUT, |task| task.step >= step)
        .await?;
    ensure!(seen.step == step, "too late: {seen:#?}");
    let worker = container(task, "worker", 3).await?;
    docker(&["kill", "--signal", "KILL", &worker]).await?;
    Ok(())
}

#[tokio::test]
async fn a_lost_worker_fails_the_preparation_but_not_the_running_test() -> Result<()> {
    let fixture = Fixture::start_with("test-loss", AT_ONCE).await?;
    let watcher = FailureWatcher::start("test-loss")?;
    let client = fixture.client();
    let before = with(small_task("dies-before", 3), "/delay", 600);
    let before = Case::new(before, Step::Delay, "worker_failed")
        .message("2 of 3 workers run; replica 3: failed: task: non-zero exit (137)")
        .hint("?service=worker");
    let wait = json!({"command": "sleep 600", "timeout": 600});
    let while_waiting = with(small_task("dies-in-wait", 3), "/waitCommand", wait);
    let while_waiting = Case::new(while_waiting, Step::WaitCommand, "worker_failed")
        .message("2 of 3 workers run; replica 3: failed: task: non-zero exit (137)");
    let after = |name: &str, exit: u8| {
        let environment = json!(["HOLD=12", format!("EXIT={exit}")]);
        with(small_task(name, 3), "/master/environment", environment)
    };
    let after_errored = Case::new(after("dies-after-bad", 4), Step::Running, "master_exit")
        .message("the master ended with exit code 4");
    for case in [&before, &while_waiting, &after_errored] {
        case.start(&client).await?;
    }
    client.start(&after("dies-after-good", 0)).await?;
    let abort = with(after("dies-abort", 0), "/onWorkerLoss", "abort");
    let abort = Case::new(abort, Step::Running, "worker_lost")
        .message(
            "1 of 3 workers lost while the test ran; replica 3: failed: task: non-zero exit (137)",
        )
        .hint("`onWorkerLoss`");
    abort.start(&client).await?;

    kill_worker(&client, "dies-before", Step::Delay).await?;
    kill_worker(&client, "dies-after-good", Step::Running).await?;
    kill_worker(&client, "dies-after-bad", Step::Running).await?;
    kill_worker(&client, "dies-abort", Step::Running).await?;
    kill_worker(&client, "dies-in-wait", Step::WaitCommand).await?;
    for case in [&before, &while_waiting, &after_errored, &abort] {
        case.check(&client, &watcher).await?;
    }
    let good = client.done("dies-after-good", RUN_TIMEOUT).await?;
    ensure!(good.status == TaskStatus::Finished, "{good:#?}");
    for name in ["dies-after-good", "dies-after-bad"] {
        let history = client.get(&format!("/api/task/{name}/events")).await?;
        let history = history.json::<TaskEvents>().await?;
        let lost = history
            .events
            .iter()
            .find(|event| event.event == "workerLost");
        let lost = &lost.unwrap().data;
        ensure!(lost["replica"] == 3, "{lost}");
        ensure!(
            lost["reason"].to_string().contains("non-zero exit (137)"),
            "{lost}"
        );
    }
    let worker = good.workers.iter().find(|worker| worker.replica == 3);
    ensure!(
        worker.is_some_and(|worker| worker.exit_code == Some(137)),
        "{:#?}",
        good.workers
    );
    fixture.finish().await
}
