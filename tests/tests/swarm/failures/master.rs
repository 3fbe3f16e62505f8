//! Masters that fail.

use super::case::{AT_ONCE, Case, run_all};
use anyhow::{Result, ensure};
use atq_api_spec::task::Step;
use atq_tests::docker::docker;
use atq_tests::failure_watcher::FailureWatcher;
use atq_tests::fixture::{Fixture, RUN_TIMEOUT, small_task, with};
use atq_tests::image::{Image, container};
use serde_json::json;

#[tokio::test]
async fn a_failed_master_is_named() -> Result<()> {
    let fixture = Fixture::start_with("test-master", AT_ONCE).await?;
    let watcher = FailureWatcher::start("test-master")?;
    let client = fixture.client();
    let hold = |name: &str| {
        let environment = json!(["HOLD=600"]);
        with(small_task(name, 1), "/master/environment", environment)
    };
    let exits = with(
        small_task("master-exits", 1),
        "/master/environment",
        json!(["EXIT=3"]),
    );
    let exits = Case::new(exits, Step::Running, "master_exit")
        .message("the master ended with exit code 3")
        .hint("?service=master");
    let killed = Case::new(hold("master-killed"), Step::Running, "master_exit")
        .message("the master ended with exit code 137 (killed")
        .hint("?service=master");
    let shell = Image::shell("atq-test-master-shell:1").await?;
    let fills_memory = |name: &str, role: &str| {
        let limit = json!({"limits": {"memory": "16m"}});
        let task = with(small_task(name, 1), &format!("/{role}/resources"), limit);
        let task = with(task, &format!("/{role}/image"), shell.name.as_str());
        let script = "echo filling; exec tail /dev/zero";
        with(task, &format!("/{role}/args"), json!([script]))
    };
    let greedy = Case::new(
        fills_memory("master-greedy", "master"),
        Step::Running,
        "master_exit",
    )
    .message("137 (killed: most likely out of memory, its memory limit is 16 MiB)")
    .hint("?service=master");
    let greedy_worker = with(fills_memory("worker-greedy", "worker"), "/delay", 60);
    let greedy_worker = Case::new(greedy_worker, Step::Resolve, "worker_failed")
        .or_in(Step::Delay)
        .message("replica 1: failed: task: non-zero exit (137)")
        .hint("its memory limit is 16 MiB");
    let endless = with(hold("master-endless"), "/maxDuration", 3);
    let endless = Case::new(endless, Step::Running, "max_duration")
        .message("the test ran longer than 3 s")
        .hint("`maxDuration`");
    // Swarm stops the container and then removes the Swarm task; either may be observed first.
    let removed = Case::new(hold("master-removed"), Step::Running, "master_lost")
        .or_with("master_exit")
        .message("the master")
        .hint("");
    for case in [&killed, &removed] {
        case.start(&client).await?;
    }
    run_all(&fixture, &watcher, &[exits, endless, greedy, greedy_worker]).await?;
    let task = client.task("master-exits").await?;
    ensure!(task.exit_code == Some(3), "{task:#?}");

    for case in [&killed, &removed] {
        client
            .until(case.name(), RUN_TIMEOUT, |task| task.step >= Step::Running)
            .await?;
    }
    let master = container("master-killed", "master", 1).await?;
    docker(&["kill", "--signal", "KILL", &master]).await?;
    let service = client.task("master-removed").await?.master.id;
    docker(&["service", "rm", &service]).await?;
    let task = killed.check(&client, &watcher).await?;
    ensure!(task.exit_code == Some(137), "{task:#?}");
    let log = client.logs("master-killed", "?service=master").await?;
    ensure!(log.contains(" answered "), "{log}");
    removed.check(&client, &watcher).await?;
    fixture.finish().await
}
