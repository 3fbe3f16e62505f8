//! Workers that are missing, late, lost, or do not want.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::Signal;

use crate::process::{Process, Worker, addresses, free_address, master, worker, worker_with};
use crate::proxy::{Fate, proxy};

/// Workers that were not started end with 123.
fn expect_cancelled(worker: Worker) {
    let ended = worker.process.end();
    ended.expect(123, &["the master stops the tool"]);
    assert!(!ended.text.contains("ran"), "{}", ended.text);
}

#[test]
fn a_wrong_command_ends_the_worker_before_it_listens() {
    let end = |tool| Process::start(&["worker", "--port", "0", "--", tool], &[]).end();
    let ended = end("no-such-tool");
    ended.expect(127, &["the tool `no-such-tool` is in no directory of PATH"]);
    assert!(!ended.text.contains("listening"), "{}", ended.text);
    end("/etc/passwd").expect(126, &["the tool `/etc/passwd` is not executable"]);
    let unclosed = ["worker", "--port", "0", "--", "true", "{share:users"];
    Process::start(&unclosed, &[])
        .end()
        .expect(2, &["`{share:users` has `{share:` without `}`"]);
}

#[test]
fn a_tool_that_the_system_cannot_execute_stops_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let tool = dir.path().join("tool");
    std::fs::write(&tool, "#!/no/such/interpreter\n").unwrap();
    std::fs::set_permissions(&tool, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let args = [
        "worker",
        "--port",
        "0",
        "--subnet",
        "127.0.0.0/8",
        "--",
        tool.to_str().unwrap(),
    ];
    let mut broken = Process::start(&args, &[]);
    let address = broken
        .until("listening on ")
        .split(' ')
        .nth(3)
        .unwrap()
        .to_owned();
    let other = worker("exec sleep 600");
    let ended = master(&[&address, &other.address], &[]).end();
    let why = "the tool cannot be executed: it or its interpreter does not exist";
    ended.expect(127, &["before the start, worker 1", why]);
    broken.end().expect(127, &[why]);
    // Its tool was stopped, or not started any more.
    let code = other.process.end().code;
    assert!(code == 143 || code == 123, "{code}");
}

#[test]
fn a_worker_that_does_not_connect_is_named_with_its_address_and_the_last_error() {
    let one = worker("echo ran");
    let missing = free_address();
    let ended = master(&[&one.address, &missing], &["--connect-timeout", "2s"]).end();
    let line = format!(
        "1 worker did not connect within --connect-timeout: worker 2 ({missing}): connection refused"
    );
    ended.expect(
        120,
        &[
            &line,
            &format!("worker 2 ({missing}): did not connect: connection refused"),
        ],
    );
    expect_cancelled(one);
}

#[test]
fn a_worker_that_dies_before_the_start_is_named() {
    let workers = ["echo ran", "echo ran"].map(worker);
    let missing = free_address();
    let mut all = addresses(&workers);
    all.push(&missing);
    let mut master = master(&all, &[]);
    let [first, mut second] = workers;
    second.process.until("is connected");
    master.until("waiting for worker 3");
    second.process.signal(Signal::KILL);
    let line = format!(
        "before the start, worker 2 ({}): lost: the connection was closed",
        second.address
    );
    master.end().expect(121, &[&line]);
    expect_cancelled(first);
}

#[test]
fn a_start_that_arrives_late_starts_nothing_and_names_the_worker() {
    let workers = ["echo ran", "echo ran"].map(worker);
    let slow = proxy(&workers[1].address, |line| {
        match line.contains(r#""type":"start""#) {
            true => Fate::Delay(Duration::from_secs(3)),
            false => Fate::Forward,
        }
    });
    let ended = master(&[&workers[0].address, &slow], &["--lead", "500ms"]).end();
    let named = format!("worker 2 ({slow})");
    ended.expect(
        122,
        &[
            "1 worker did not acknowledge the start in time",
            &named,
            "received the start 2.",
        ],
    );
    let [first, second] = workers;
    let ended = first.process.end();
    ended.expect(123, &["the start was cancelled"]);
    assert!(!ended.text.contains("ran\n"), "{}", ended.text);
    second
        .process
        .end()
        .expect(122, &["late; the tool is not started"]);
}

#[test]
fn starts_that_are_too_far_apart_are_a_failure_and_stop_the_tools() {
    let workers = ["exec sleep 600", "exec sleep 600"].map(worker);
    let ended = master(&addresses(&workers), &["--max-skew", "0s"]).end();
    ended.expect(122, &["more than 0s (--max-skew)", "ended by SIGTERM"]);
    for worker in workers {
        worker
            .process
            .end()
            .expect(143, &["the master stops the tool: the tools started "]);
    }
}

#[test]
fn a_silent_worker_is_named_as_lost_and_stops_its_tool_while_others_go_on() {
    let first = worker("sleep 6; exit 4");
    let second = worker_with(&["--lost-after", "3s"], "exec sleep 600", &[]);
    // The next ping after the start is lost, and everything after it.
    let started = AtomicBool::new(false);
    let address = proxy(&second.address, move |line| {
        started.fetch_or(line.contains(r#""type":"started""#), Ordering::SeqCst);
        match started.load(Ordering::SeqCst) && line.contains(r#""type":"ping""#) {
            true => Fate::Freeze,
            false => Fate::Forward,
        }
    });
    let ended = master(&[&first.address, &address], &["--lost-after", "3s"]).end();
    let lost = format!("worker 2 ({address}): lost: silent for 3s (--lost-after)");
    ended.expect(121, &[&lost, ": exit code 4 after 6."]);
    first.process.end().expect(4, &[]);
    second
        .process
        .end()
        .expect(121, &["it was silent for --lost-after; stopping the tool"]);
}

#[test]
fn a_worker_that_is_killed_while_the_tools_run_is_named_and_others_go_on() {
    let workers = ["exec sleep 600", "echo up; sleep 3"].map(worker);
    let process = master(&addresses(&workers), &[]);
    let [mut first, mut second] = workers;
    first.process.until("the tool was started");
    second.process.until("up");
    first.process.signal(Signal::KILL);
    process.end().expect(
        121,
        &["lost: the connection was closed", ": exit code 0 after 3."],
    );
    second.process.end().expect(0, &[]);
}

#[test]
fn a_share_that_the_arguments_need_and_the_master_has_not_is_named() {
    let one = worker_with(&[], "echo ran", &[]);
    let args = [
        "worker",
        "--port",
        "0",
        "--subnet",
        "127.0.0.0/8",
        "--",
        "echo",
        "ran",
        "{share:users}",
    ];
    let mut other = Process::start(&args, &[]);
    let address = other
        .until("listening on ")
        .split(' ')
        .nth(3)
        .unwrap()
        .to_owned();
    let ended = master(&[&one.address, &address], &["--share", "rate=10"]).end();
    ended.expect(123, &["worker 2", "`{share:users}`, but the master has no `--share users=TOTAL`; known are index, count, rate"]);
    other.end().expect(123, &["{share:users}"]);
    expect_cancelled(one);
}

#[test]
fn arguments_that_cannot_work_are_refused_before_any_connection() {
    let end = |options: &[&str]| master(&["127.0.0.1:1", "127.0.0.1:2"], options).end();
    end(&["--share", "users=1"]).expect(2, &["total of 1 for 2 workers"]);
    end(&["--share", "Users=9"]).expect(2, &["--share", "`Users`"]);
    master(&["127.0.0.1:1", "127.0.0.1:1"], &[])
        .end()
        .expect(2, &["listed twice"]);
    Process::start(&["master"], &[])
        .end()
        .expect(2, &["--workers"]);
}

#[test]
fn a_worker_without_a_master_ends_after_its_timeout() {
    let one = worker_with(&["--start-timeout", "1s"], "echo ran", &[]);
    one.process.end().expect(
        120,
        &["no master started the tool within 1s (--start-timeout)"],
    );
}

#[test]
fn a_worker_that_does_not_answer_a_clock_probe_is_lost_after_two_seconds() {
    let one = worker("echo ran");
    let frozen = proxy(&one.address, |line| {
        match line.contains(r#""type":"ping""#) {
            true => Fate::Freeze,
            false => Fate::Forward,
        }
    });
    let ended = master(&[&frozen], &["--stop-grace", "1s"]).end();
    ended.expect(121, &["lost: it did not answer a clock probe within 2 s"]);
}
