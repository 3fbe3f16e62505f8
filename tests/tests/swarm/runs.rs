//! Whole runs on the real Swarm.

use anyhow::{Context, Result, ensure};
use atq_api_spec::task::{Step, TaskStatus};
use atq_tests::bundle::zip;
use atq_tests::docker::{Target, docker, labelled};
use atq_tests::fixture::{Fixture, RUN_TIMEOUT, small_task, with};
use serde_json::{Value, json};
use std::collections::BTreeSet;

fn lines_of<'a>(log: &'a str, source: &str) -> Vec<&'a str> {
    log.lines()
        .filter_map(|line| line.split_once(' '))
        .filter_map(|(_, rest)| rest.split_once(' '))
        .filter(|(from, _)| *from == source)
        .map(|(_, text)| text)
        .collect()
}

#[tokio::test]
async fn a_task_runs_from_put_to_delete() -> Result<()> {
    let fixture = Fixture::start("test-put-to-gone").await?;
    let client = fixture.client();
    let fileid = client
        .upload(zip(&[("hello.txt", b"from the bundle\n")])?)
        .await?;
    let task = with(
        small_task("put-to-gone", 3),
        "/worker/fileid",
        fileid.as_str(),
    );
    let task = with(
        task,
        "/waitCommand",
        json!({"command": "cat /atq/data/hello.txt", "expectedResult": "from the bundle", "timeout": 5}),
    );
    let task = with(task, "/delay", 1);
    let accepted = client.start(&task).await?;
    ensure!(accepted.status == TaskStatus::Initializing);

    let running = client
        .until("put-to-gone", RUN_TIMEOUT, |task| {
            task.step >= Step::Resolve
        })
        .await?;
    ensure!(
        !running.worker.id.is_empty(),
        "the worker's service id is reported once it exists"
    );
    let ended = client.outcome("put-to-gone", RUN_TIMEOUT).await?;
    ensure!(ended.status == TaskStatus::Finished, "{ended:#?}");
    ensure!(ended.exit_code == Some(0));
    let addresses: BTreeSet<_> = ended
        .workers
        .iter()
        .map(|worker| worker.address.clone())
        .collect();
    ensure!(
        addresses.len() == 3,
        "three workers with an address each: {:?}",
        ended.workers
    );

    let log = client.logs("put-to-gone", "").await?;
    let answered = lines_of(&log, "master.1")
        .iter()
        .filter(|line| line.contains(" answered "))
        .count();
    ensure!(answered == 3, "the master reached each worker:\n{log}");
    for replica in 1..=3 {
        let own = lines_of(&log, &format!("worker.{replica}"));
        ensure!(
            own.iter().any(|line| line.contains("ready")),
            "worker {replica} has a log:\n{log}"
        );
    }
    ensure!(
        lines_of(&log, "wait.1") == ["from the bundle"],
        "the wait command saw the bundle:\n{log}"
    );

    let done = client.done("put-to-gone", RUN_TIMEOUT).await?;
    ensure!(
        done.timings["delay"] >= 1000,
        "the delay was slept: {:?}",
        done.timings
    );
    ensure!(done.leftovers.is_empty());
    ensure!(labelled("com.atq.task=put-to-gone").await?.is_empty());
    ensure!(
        client.logs("put-to-gone", "").await? == log,
        "logs outlive the containers"
    );

    ensure!(client.delete("put-to-gone").await?.0 == 204);
    ensure!(client.get("/api/task/put-to-gone").await?.status() == 404);
    fixture.finish().await
}

#[tokio::test]
async fn the_task_of_the_manual_runs_unchanged() -> Result<()> {
    let fixture = Fixture::start("test-manual").await?;
    let client = fixture.client();
    let plan = include_bytes!("../../data/sleep.jmx");
    let fileid = client.upload(zip(&[("abvetmadrid.jmx", plan)])?).await?;
    let manual: Value = serde_json::from_str(include_str!("../../data/seed-task.json"))?;
    client
        .start(&with(manual, "/master/fileid", fileid))
        .await?;
    let ended = client.outcome("jm11", RUN_TIMEOUT).await?;
    let log = client.logs("jm11", "?service=master").await?;
    ensure!(ended.status == TaskStatus::Finished, "{ended:#?}\n{log}");
    ensure!(log.contains("atq: total samples=60 errors=0"), "{log}");
    ensure!(
        !log.contains('\r'),
        "carriage returns of terminals are stripped"
    );
    ensure!(client.delete("jm11").await?.0 == 204);
    fixture.finish().await
}

#[tokio::test]
async fn two_tasks_run_concurrently() -> Result<()> {
    let fixture = Fixture::start("test-side-by-side").await?;
    let client = fixture.client();
    for name in ["side-a", "side-b"] {
        client
            .start(&with(
                small_task(name, 2),
                "/master/environment",
                json!(["HOLD=4"]),
            ))
            .await?;
    }
    for name in ["side-a", "side-b"] {
        client
            .until(name, RUN_TIMEOUT, |task| task.step == Step::Running)
            .await?;
    }
    let both = client.task("side-a").await?;
    ensure!(
        both.step == Step::Running,
        "the first still runs when the second does: {both:#?}"
    );
    for name in ["side-a", "side-b"] {
        let ended = client.outcome(name, RUN_TIMEOUT).await?;
        ensure!(ended.status == TaskStatus::Finished, "{ended:#?}");
        ensure!(client.delete(name).await?.0 == 204);
    }
    fixture.finish().await
}

#[tokio::test]
async fn tasks_above_the_limit_are_queued_in_order() -> Result<()> {
    let fixture = Fixture::start_with("test-queue", "maxConcurrentTasks: 1\n").await?;
    let client = fixture.client();
    for name in ["queue-a", "queue-b", "queue-c"] {
        client.start(&small_task(name, 1)).await?;
    }
    ensure!(client.task("queue-c").await?.queue_position == Some(2));
    ensure!(client.stop("queue-b").await? == 202);
    for (name, status) in [
        ("queue-a", TaskStatus::Finished),
        ("queue-b", TaskStatus::Stopped),
        ("queue-c", TaskStatus::Finished),
    ] {
        let done = client.done(name, RUN_TIMEOUT).await?;
        ensure!(done.status == status, "{done:#?}");
    }
    fixture.finish().await
}

#[tokio::test]
async fn a_task_joins_the_network_of_the_system_under_test() -> Result<()> {
    let fixture = Fixture::start("test-networks").await?;
    let client = fixture.client();
    let target = Target::start("atq-test-target", "atq.test=networks").await?;
    let task = with(
        small_task("joins", 1),
        "/master/networks",
        json!(["atq-test-target"]),
    );
    // The master only contacts its workers, so this only checks that it is attached to the network.
    client.start(&task).await?;
    client
        .until("joins", RUN_TIMEOUT, |task| task.step >= Step::Running)
        .await?;
    let service = client.task("joins").await?.master.id;
    let joined = docker(&[
        "service",
        "inspect",
        &service,
        "--format",
        "{{len .Spec.TaskTemplate.Networks}}",
    ])
    .await;
    let ended = client.outcome("joins", RUN_TIMEOUT).await?;
    ensure!(ended.status == TaskStatus::Finished, "{ended:#?}");
    if let Ok(joined) = joined {
        ensure!(joined == "2", "the master is on {joined} networks");
    }
    let unknown = client
        .put(&with(
            small_task("nowhere", 1),
            "/worker/networks",
            json!(["no-such-net"]),
        ))
        .await?;
    ensure!(unknown.status() == 417);
    let body: Value = unknown.json().await?;
    ensure!(body["errors"][0]["field"] == "worker.networks[0]", "{body}");
    ensure!(client.delete("joins").await?.0 == 204);
    target.remove().await?;
    fixture.finish().await
}

#[tokio::test]
async fn the_directors_variables_reach_the_containers() -> Result<()> {
    let fixture = Fixture::start("test-variables").await?;
    let client = fixture.client();
    let task = with(
        small_task("variables", 2),
        "/waitCommand",
        json!({"command": "env", "timeout": 0}),
    );
    let task = with(
        task,
        "/worker/environment",
        json!(["GREETING=a b=c {{.Node.Hostname}}"]),
    );
    client.start(&task).await?;
    client.outcome("variables", RUN_TIMEOUT).await?;
    let log = client.logs("variables", "?service=wait").await?;
    for wanted in [
        "ATQ_TASK=variables",
        "ATQ_ROLE=wait",
        "ATQ_REPLICA=1",
        "GREETING=a b=c {{.Node.Hostname}}",
    ] {
        ensure!(log.contains(wanted), "`{wanted}` is missing in\n{log}");
    }
    let subnet = log
        .lines()
        .find_map(|line| line.split_once("ATQ_SUBNET="))
        .context("ATQ_SUBNET")?
        .1;
    ensure!(subnet.ends_with("/24"), "{subnet}");
    ensure!(log.contains("WORKER_CSV_VIPS="), "{log}");
    ensure!(client.delete("variables").await?.0 == 204);
    fixture.finish().await
}
