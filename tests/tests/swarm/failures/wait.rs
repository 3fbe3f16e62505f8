//! Wait commands that do not succeed.

use super::case::{AT_ONCE, Case, play};
use anyhow::{Result, ensure};
use atq_api_spec::task::{Step, TaskStatus};
use atq_tests::stage::{PATIENCE, Stage, small_task, with};
use atq_tests::witness::Witness;
use serde_json::{Value, json};

fn task(name: &str, command: &str, expected: &str, timeout: u32) -> Value {
    let wait = json!({"command": command, "expectedResult": expected, "timeout": timeout});
    with(small_task(name, 1), "/waitCommand", wait)
}

fn case(task: Value) -> Case {
    Case::new(task, Step::WaitCommand, "wait_command_failed")
}

#[tokio::test]
async fn a_wait_command_that_does_not_succeed_is_named() -> Result<()> {
    let more = format!("{AT_ONCE}orchestrationTimeout: 25\n");
    let stage = Stage::open_with("test-wait", &more).await?;
    let witness = Witness::of("test-wait")?;
    let client = stage.client();
    // The sidecar's image has a program that runs on, and no shell.
    let no_shell = task("wait-no-shell", "true", "", 0);
    let no_shell = with(no_shell, "/worker/image", "atq-discovery:dev");
    let no_shell = with(no_shell, "/worker/args", json!([]));
    let token = "x".repeat(40);
    let no_shell = with(
        no_shell,
        "/worker/environment",
        json!([format!("DISCOVERY_TOKEN={token}")]),
    );
    let cases = [
        case(task("wait-exit", "echo broken; exit 3", "", 0))
            .says("did not succeed in 0 s, tried 1 time; the last try: it exited 3 and printed `broken`")
            .hints("?service=wait"),
        case(task("wait-again", "exit 1", "", 3))
            .says("did not succeed in 3 s, tried ")
            .says("; the last try: it exited 1 and printed nothing")
            .hints("?service=wait"),
        case(task("wait-stderr", "no-such-program", "", 0))
            .says("the last try: it exited 127 and wrote `")
            .says("no-such-program: not found` to standard error")
            .hints("?service=wait"),
        case(task("wait-text", "echo yes", "no", 0))
            .says("the last try: it exited 0 and printed `yes`; expected `no`")
            .hints("`expectedResult`"),
        case(task("wait-hangs", "echo asking; sleep 600", "", 2))
            .says("try 1 of the wait command did not end in time: it was still running, and printed `asking`")
            .hints("`timeout`"),
        case(no_shell)
            .says("the last try: it exited 127 and wrote `")
            .says("/bin/sh failed: No such file or directory")
            .hints("the worker's image"),
    ];
    // A try that began in time may finish, as in the manual's own example.
    client.start(&task("wait-slow", "sleep 4", "", 2)).await?;
    play(&stage, &witness, &cases).await?;
    let slow = client.done("wait-slow", PATIENCE).await?;
    ensure!(slow.status == TaskStatus::Finished, "{slow:#?}");
    for (name, said) in [("wait-exit", "broken"), ("wait-hangs", "asking")] {
        let log = client.logs(name, "?service=wait").await?;
        ensure!(log.contains(said), "{name}: {log}");
    }
    stage.close().await
}
