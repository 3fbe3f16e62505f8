//! Workers are probed from inside the task's network before the test begins.

use anyhow::{Result, ensure};
use atq_api_spec::task::{Step, Task, TaskStatus};
use atq_tests::stage::{PATIENCE, Stage, small_task, with};
use serde_json::{Value, json};

async fn run(stage: &Stage, name: &str, readiness: Value) -> Result<Task> {
    let client = stage.client();
    let task = with(small_task(name, 2), "/worker/readiness", readiness);
    client.start(&task).await?;
    client.done(name, PATIENCE).await
}

fn failure(task: &Task) -> (String, String) {
    match &task.failure {
        Some(failure) => (failure.code.clone(), failure.message.clone()),
        None => Default::default(),
    }
}

#[tokio::test]
async fn workers_that_answer_let_the_test_begin() -> Result<()> {
    let stage = Stage::open("test-ready").await?;
    let command = "echo | nc -w 1 $ATQ_WORKER_ADDRESS 7000 | grep /";
    let (tcp, exec) = tokio::try_join!(
        run(&stage, "ready-tcp", json!({"tcp": 7000})),
        run(&stage, "ready-exec", json!({"exec": command})),
    )?;
    for task in [tcp, exec] {
        ensure!(task.status == TaskStatus::Finished, "{task:#?}");
        ensure!(task.timings.contains_key("readiness"), "{task:#?}");
        ensure!(task.timings.contains_key("startSkew"), "{task:#?}");
        println!("{}: {:?}", task.id, task.timings);
    }
    stage.close().await
}

#[tokio::test]
async fn workers_are_probed_over_http() -> Result<()> {
    let stage = Stage::open("test-ready-http").await?;
    let client = stage.client();
    let serve = |name: &str, readiness: Value| {
        let task = with(small_task(name, 2), "/worker/args", json!(["target"]));
        with(task, "/worker/readiness", readiness)
    };
    let good = json!({"http": {"port": 8080, "path": "/"}});
    let bad = json!({"http": {"port": 8080, "path": "/nowhere"}, "timeout": 2});
    client.start(&serve("http-good", good)).await?;
    client.start(&serve("http-bad", bad)).await?;
    let good = client.done("http-good", PATIENCE).await?;
    // Its workers speak HTTP and not the language of its master, which has seen them all the same.
    ensure!(good.exit_code == Some(69), "{good:#?}");
    let bad = client.done("http-bad", PATIENCE).await?;
    let (code, message) = failure(&bad);
    ensure!(code == "workers_not_ready", "{bad:#?}");
    ensure!(message.contains("0 of 2 workers answered"), "{message}");
    ensure!(message.contains("answered 404; expected 200"), "{message}");
    println!("{message}");
    stage.close().await
}

#[tokio::test]
async fn a_worker_that_does_not_answer_is_named_with_its_reason() -> Result<()> {
    let stage = Stage::open("test-not-ready").await?;
    // Fails for one of the two: the one whose address is the larger.
    let command =
        "test $ATQ_WORKER_ADDRESS = ${WORKER_CSV_VIPS%%,*} || { echo no licence; exit 3; }";
    let (tcp, exec, hangs) = tokio::try_join!(
        run(&stage, "not-tcp", json!({"tcp": 7001, "timeout": 2})),
        run(&stage, "not-exec", json!({"exec": command, "timeout": 2})),
        run(&stage, "not-run", json!({"exec": "exit 1", "timeout": 1})),
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
    let log = stage
        .client()
        .logs("not-exec", "?service=readiness")
        .await?;
    ensure!(
        log.contains("not-ready"),
        "the command's log is kept:\n{log}"
    );
    stage.close().await
}
