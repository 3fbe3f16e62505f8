//! Readiness probes of workers from inside the task's network.

use anyhow::{Result, ensure};
use atq_api_spec::task::{Step, Task, TaskStatus};
use atq_tests::fixture::{Fixture, RUN_TIMEOUT, small_task, with};
use serde_json::{Value, json};

async fn run(fixture: &Fixture, name: &str, readiness: Value) -> Result<Task> {
    let client = fixture.client();
    let task = with(small_task(name, 2), "/worker/readiness", readiness);
    client.start(&task).await?;
    client.done(name, RUN_TIMEOUT).await
}

fn failure(task: &Task) -> (String, String) {
    match &task.failure {
        Some(failure) => (failure.code.clone(), failure.message.clone()),
        None => Default::default(),
    }
}

#[tokio::test]
async fn the_test_starts_when_the_workers_are_ready() -> Result<()> {
    let fixture = Fixture::start("test-ready").await?;
    let command = "echo | nc -w 1 $ATQ_WORKER_ADDRESS 7000 | grep /";
    let (tcp, exec) = tokio::try_join!(
        run(&fixture, "ready-tcp", json!({"tcp": 7000})),
        run(&fixture, "ready-exec", json!({"exec": command})),
    )?;
    for task in [tcp, exec] {
        ensure!(task.status == TaskStatus::Finished, "{task:#?}");
        ensure!(task.timings.contains_key("readiness"), "{task:#?}");
        ensure!(task.timings.contains_key("startSkew"), "{task:#?}");
        println!("{}: {:?}", task.id, task.timings);
    }
    fixture.finish().await
}

#[tokio::test]
async fn workers_are_probed_over_http() -> Result<()> {
    let fixture = Fixture::start("test-ready-http").await?;
    let client = fixture.client();
    let serve = |name: &str, readiness: Value| {
        let task = with(small_task(name, 2), "/worker/args", json!(["target"]));
        with(task, "/worker/readiness", readiness)
    };
    let good = json!({"http": {"port": 8080, "path": "/"}});
    let bad = json!({"http": {"port": 8080, "path": "/nowhere"}, "timeout": 2});
    client.start(&serve("http-good", good)).await?;
    client.start(&serve("http-bad", bad)).await?;
    let good = client.done("http-good", RUN_TIMEOUT).await?;
    // The master ran, but its workers only serve HTTP and do not respond to it.
    ensure!(good.exit_code == Some(69), "{good:#?}");
    let bad = client.done("http-bad", RUN_TIMEOUT).await?;
    let (code, message) = failure(&bad);
    ensure!(code == "workers_not_ready", "{bad:#?}");
    ensure!(message.contains("0 of 2 workers answered"), "{message}");
    ensure!(message.contains("answered 404; expected 200"), "{message}");
    println!("{message}");
    fixture.finish().await
}

#[tokio::test]
async fn a_worker_that_is_not_ready_is_named_with_its_reason() -> Result<()> {
    let fixture = Fixture::start("test-not-ready").await?;
    // Fails for the worker with the higher address.
    let command =
        "test $ATQ_WORKER_ADDRESS = ${WORKER_CSV_VIPS%%,*} || { echo no licence; exit 3; }";
    let (tcp, exec, hangs) = tokio::try_join!(
        run(&fixture, "not-tcp", json!({"tcp": 7001, "timeout": 2})),
        run(&fixture, "not-exec", json!({"exec": command, "timeout": 2})),
        run(&fixture, "not-run", json!({"exec": "exit 1", "timeout": 1})),
    )?;
    for (task, parts) in [
        (
            &tcp,
            [
                "0 of 2 workers answered on TCP port 7001",
                "connection refused",
            ],
        ),
        (
            &exec,
            [
                "1 of 2 workers answered",
                "exited 3 and printed `no licence`",
            ],
        ),
        (&hangs, ["0 of 2 workers answered", "exited 1"]),
    ] {
        let (code, message) = failure(task);
        println!("{message}");
        ensure!(code == "workers_not_ready", "{task:#?}");
        for part in parts {
            ensure!(message.contains(part), "{message}");
        }
        ensure!(
            task.step == Step::Done && task.leftovers.is_empty(),
            "{task:#?}"
        );
    }
    let log = fixture
        .client()
        .logs("not-exec", "?service=readiness")
        .await?;
    ensure!(
        log.contains("not-ready"),
        "the command's log is kept:\n{log}"
    );
    fixture.finish().await
}
