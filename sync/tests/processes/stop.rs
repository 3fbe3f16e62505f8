//! Stops: by signals, by the master, by the loss of it.

use std::io::Write;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::proxy::{Fate, proxy};

use crate::process::{Worker, addresses, master, worker, worker_with};

/// A tool that ends with 9 at SIGTERM.
const OBEDIENT: &str = "trap 'echo told; exit 9' TERM; echo up; while :; do sleep 0.1; done";

fn running(mut worker: Worker) -> Worker {
    worker.process.until("up");
    worker
}

#[test]
fn sigterm_to_the_master_stops_all_tools() {
    let workers = [OBEDIENT, OBEDIENT].map(worker);
    let mut process = master(&addresses(&workers), &[]);
    process.until("2 tools started");
    let workers = workers.map(running);
    process.signal(Signal::TERM);
    process
        .end()
        .expect(143, &["received SIGTERM", ": exit code 9 after "]);
    for worker in workers {
        worker
            .process
            .end()
            .expect(9, &["told", "the master stops the tool: received SIGTERM"]);
    }
}

#[test]
fn a_killed_master_leaves_no_load_behind() {
    let workers = [OBEDIENT, OBEDIENT].map(worker);
    let mut process = master(&addresses(&workers), &[]);
    process.until("2 tools started");
    let workers = workers.map(running);
    process.signal(Signal::KILL);
    for worker in workers {
        worker.process.end().expect(
            121,
            &[
                "told",
                "was lost: the connection was closed; stopping the tool",
            ],
        );
    }
}

#[test]
fn sigterm_to_a_worker_reaches_its_tool_and_the_run_is_no_success() {
    let workers = [
        "trap 'exit 0' TERM; echo up; while :; do sleep 0.1; done",
        "echo up; sleep 3",
    ]
    .map(worker);
    let process = master(&addresses(&workers), &[]);
    let [first, second] = workers.map(running);
    first.process.signal(Signal::TERM);
    first
        .process
        .end()
        .expect(0, &["stopping the tool after a signal"]);
    process.end().expect(
        143,
        &[
            "exit code 0 after ",
            ", after a signal to the worker",
            ": exit code 0 after 3.",
        ],
    );
    second.process.end().expect(0, &[]);
}

#[test]
fn sigterm_to_a_waiting_worker_ends_it() {
    let one = worker("echo ran");
    one.process.signal(Signal::TERM);
    one.process.end().expect(143, &[]);
}

#[test]
fn a_tool_that_ignores_sigterm_is_killed_with_its_group_after_the_grace_period() {
    let script = "trap '' TERM; sleep 600 & echo up; wait; wait; sleep 600";
    let one = worker_with(&["--stop-grace", "1s"], script, &[]);
    let process = master(&[&one.address], &[]);
    let one = running(one);
    process.signal(Signal::TERM);
    process.end().expect(143, &["ended by SIGKILL after "]);
    // The output ends, so no process of the group is left.
    one.process.end().expect(
        137,
        &["the tool still runs 1s after SIGTERM; sending SIGKILL"],
    );
}

#[test]
fn tools_that_run_too_long_are_stopped_and_named() {
    let workers = ["exit 0", "exec sleep 600"].map(worker);
    let ended = master(&addresses(&workers), &["--timeout", "2s"]).end();
    let named = format!(
        "tools still run after 2s (--timeout): worker 2 ({})",
        workers[1].address
    );
    ended.expect(
        124,
        &[
            &named,
            ": exit code 0 after ",
            ": ended by SIGTERM after 2.",
        ],
    );
}

#[test]
fn a_process_that_the_tool_leaves_behind_is_killed() {
    let script =
        "(trap '' TERM; echo left; sleep 600) & while ! [ -e /proc/$! ]; do :; done; exit 7";
    let one = worker(script);
    master(&[&one.address], &[])
        .end()
        .expect(7, &[": exit code 7 after "]);
    // The output ends only if no process of the group is left.
    one.process.end().expect(7, &[]);
}

#[test]
fn a_killed_worker_does_not_start_its_tool_any_more() {
    let dir = tempfile::tempdir().unwrap();
    let mark = dir.path().join("started");
    let one = worker(&format!("touch {}", mark.display()));
    let mut process = master(&[&one.address], &["--lead", "3s"]);
    process.until("all tools start in");
    one.process.signal(Signal::KILL);
    // The output ends only if no process is left.
    assert_eq!(one.process.end().code, 137);
    process
        .end()
        .expect(121, &["lost: the connection was closed"]);
    assert!(!mark.exists());
}

#[test]
fn a_master_with_frozen_workers_ends_within_the_ten_seconds_of_docker() {
    let one = worker(OBEDIENT);
    let frozen = proxy(&one.address, |line| {
        match line.contains(r#""type":"stop""#) {
            true => Fate::Freeze,
            false => Fate::Forward,
        }
    });
    let mut process = master(&[&frozen], &[]);
    process.until("1 tool started");
    process.signal(Signal::TERM);
    let signalled = Instant::now();
    process.end().expect(143, &[]);
    let time = signalled.elapsed();
    assert!(time < Duration::from_millis(9_700), "{time:?}");
}

#[test]
fn the_tool_of_a_killed_worker_is_killed() {
    let one = worker("echo up; exec sleep 600");
    let process = master(&[&one.address], &[]);
    let one = running(one);
    one.process.signal(Signal::KILL);
    // The output ends only if no process is left.
    assert_eq!(one.process.end().code, 137);
    process.end().expect(121, &["lost:"]);
}

#[test]
fn sigterm_ends_a_worker_that_waits_for_the_end_of_its_master() {
    let mut one = worker("exit 0");
    let mut stream = std::net::TcpStream::connect(&one.address).unwrap();
    let mut send = |line: &str| writeln!(stream, "{line}").unwrap();
    send(r#"{"type":"hello","version":1}"#);
    send(r#"{"type":"prepare","share":{"index":0,"count":1,"parts":{}}}"#);
    send(r#"{"type":"stop","reason":"test"}"#);
    send(r#"{"type":"release"}"#);
    one.process.until("the start was cancelled");
    std::thread::sleep(Duration::from_millis(200));
    one.process.signal(Signal::TERM);
    let signalled = Instant::now();
    assert_eq!(one.process.end().code, 123);
    assert!(signalled.elapsed() < Duration::from_secs(2));
}
