//! Wait commands that do not succeed.

use super::case::{AT_ONCE, Case, run_all};
use anyhow::{Result, ensure};
use atq_api_spec::task::{Step, TaskStatus};
use atq_tests::failure_watcher::FailureWatcher;
use atq_tests::fixture::{Fixture, RUN_TIMEOUT, small_task, with};
use serde_json::{Value, json};

fn task(name: &str, command: &str, expected: &str, timeout: u32) -> Value {
    let wait = json!({"command": command, "expectedResult": expected, "timeout": timeout});
    with(small_task(name, 1), "/waitCommand", wait)
}

fn case(task: Value) -> Case {
    Case::new(task, Step::WaitCommand, "wait_command_failed")
}

#[tokio::test]
async fn a_failed_wait_command_is_named() -> Result<()> {
    let more = format!("{AT_ONCE}orchestrationTimeout: 25\n");
    let fixture = Fixture::start_with("test-wait", &more).await?;
    let watcher = FailureWatcher::start("test-wait")?;
    let client = fixture.client();
    // The sidecar's image has a long-running program and no shell.
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
            .message("did not succeed within 0 s (1 attempt); last attempt: it exited 3 and printed `broken`")
            .hint("?service=wait"),
        case(task("wait-again", "exit 1", "", 3))
            .message("did not succeed within 3 s (")
            .message("; last attempt: it exited 1 and printed nothing")
            .hint("?service=wait"),
        case(task("wait-stderr", "no-such-program", "", 0))
            .message("last attempt: it exited 127 and wrote `")
            .message("no-such-program: not found` to standard error")
            .hint("?service=wait"),
        case(task("wait-text", "echo yes", "no", 0))
            .message("last attempt: it exited 0 and printed `yes`; expected `no`")
            .hint("`expectedResult`"),
        case(task("wait-hangs", "echo asking; sleep 600", "", 2))
            .message("attempt 1 of the wait command did not end in time: it was still running, and printed `asking`")
            .hint("`timeout`"),
        case(no_shell)
            .message("last attempt: it exited 127 and wrote `")
            .message("/bin/sh failed: No such file or directory")
            .hint("the worker's image"),
    ];
    // An attempt that began in time may finish, as in the manual's example.
    client.start(&task("wait-slow", "sleep 4", "", 2)).await?;
    run_all(&fixture, &watcher, &cases).await?;
    let slow = client.done("wait-slow", RUN_TIMEOUT).await?;
    ensure!(slow.status == TaskStatus::Finished, "{slow:#?}");
    for (name, output) in [("wait-exit", "broken"), ("wait-hangs", "asking")] {
        let log = client.logs(name, "?service=wait").await?;
        ensure!(log.contains(output), "{name}: {log}");
    }
    fixture.finish().await
}
