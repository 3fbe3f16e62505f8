//! Starts that succeed.

use std::net::TcpListener;
use std::process::Command;
use std::time::Duration;

use crate::proxy::{Fate, proxy};

use crate::process::{Process, Worker, addresses, master, worker, worker_with};

/// The number after a word in a line.
fn number(line: &str, word: &str) -> f64 {
    let rest = line.split_once(word).unwrap().1;
    let end = rest
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(rest.len());
    rest[..end].parse().unwrap()
}

#[test]
fn twenty_workers_start_together_and_their_shares_sum_up_to_the_totals() {
    let script =
        "echo mine $ATQ_SHARE_USERS of $ATQ_SHARE_COUNT index $1 rate $ATQ_SHARE_RATE_LIMIT";
    let workers: Vec<Worker> = (0..20).map(|_| worker(script)).collect();
    let shares = [
        "--share",
        "users=1007",
        "--share",
        "rate-limit=20",
        "--max-skew",
        "5s",
    ];
    let ended = master(&addresses(&workers), &shares).end();
    ended.expect(
        0,
        &[
            "connected to 20 workers",
            "20 tools started; skew ",
            "worker 20 (127.0.0.1:",
        ],
    );
    let line = ended
        .text
        .lines()
        .find(|line| line.contains("skew"))
        .unwrap();
    assert!(line.contains(" ms (uncertainty "), "{line}");
    assert!(number(line, "skew ") < 5000.0, "{line}");
    let mut users = Vec::new();
    for (index, worker) in workers.into_iter().enumerate() {
        let ended = worker.process.end();
        let rest = format!(" of 20 index {index} rate 1");
        ended.expect(0, &[&rest, "the tool has ended: exit code 0 after "]);
        users.push(number(&ended.text, "mine "));
    }
    assert_eq!(users.iter().sum::<f64>(), 1007.0);
    assert!(
        users.iter().all(|part| *part == 50.0 || *part == 51.0),
        "{users:?}"
    );
}

#[test]
fn workers_are_numbered_by_their_containers() {
    let numbers = ["2", "3", "1"];
    let start = |number| worker_with(&[], "echo index=$1", &[("ATQ_REPLICA", number)]);
    let workers = numbers.map(start);
    let ended = master(&addresses(&workers), &[]).end();
    let first = format!("worker 1 ({}): exit code 0", workers[2].address);
    ended.expect(0, &[&first]);
    for (number, worker) in numbers.into_iter().zip(workers) {
        let index = number.parse::<u32>().unwrap() - 1;
        worker
            .process
            .end()
            .expect(0, &[&format!("index={index}\n")]);
    }
}

#[test]
fn the_worst_exit_code_is_that_of_the_master_and_each_worker_keeps_its_own() {
    let workers = ["exit 0", "exit 3", "kill -KILL $$", "exit 1"].map(worker);
    let ended = master(&addresses(&workers), &[]).end();
    ended.expect(
        137,
        &[
            ": exit code 0 after",
            ": exit code 3 after",
            ": ended by SIGKILL after",
            ": exit code 1 after",
        ],
    );
    let codes = workers.map(|one| one.process.end().code);
    assert_eq!(codes, [0, 3, 137, 1]);
}

#[test]
fn a_probe_that_connects_and_closes_is_ignored() {
    let worker = worker("exit 0");
    for _ in 0..40 {
        drop(std::net::TcpStream::connect(&worker.address).unwrap());
    }
    master(&[&worker.address], &[]).end().expect(0, &[]);
    let ended = worker.process.end();
    ended.expect(0, &[]);
    assert!(!ended.text.contains("no master"), "{}", ended.text);
}

#[test]
fn the_tool_has_no_standard_input_and_its_own_process_group() {
    let worker = worker(
        "cat; read -r pid rest </proc/self/stat; set -- $(ps -o pgid= $$); echo group $1 pid $$",
    );
    master(&[&worker.address], &[]).end().expect(0, &[]);
    let text = worker.process.end().text;
    let group = number(&text, "group ");
    assert_eq!(group, number(&text, "pid "), "{text}");
}

#[test]
fn a_master_that_ends_before_the_start_can_be_replaced() {
    let mut one = worker("exit 5");
    let missing = crate::process::free_address();
    let mut first = master(&[&one.address, &missing], &[]);
    one.process.until("is connected");
    first.until("waiting for worker 2");
    first.signal(rustix::process::Signal::KILL);
    one.process.until("waiting for another master");
    master(&[&one.address], &[]).end().expect(5, &[]);
    one.process.end().expect(5, &[]);
}

#[test]
fn help_lists_the_exit_codes() {
    let ended = Process::start(&["--help"], &[]).end();
    ended.expect(
        0,
        &[
            "120  a worker did not connect",
            "127  the tool or its interpreter",
        ],
    );
}

#[test]
fn a_failed_worker_ends_after_its_master() {
    let one = worker("exit 1");
    let ended = master(&[&one.address], &[]).end();
    let after_master = std::time::Instant::now();
    ended.expect(1, &[]);
    one.process.end().expect(1, &[]);
    assert!(after_master.elapsed() >= Duration::from_secs(1));
}

#[test]
fn workers_stay_connected_while_they_wait_for_the_comparison_of_their_clocks() {
    // One more than are compared at the same time; each comparison takes longer than --lost-after.
    let start = |_| worker_with(&["--lost-after", "3s"], "echo ran", &[]);
    let workers: Vec<Worker> = (0..9).map(start).collect();
    let slow = |worker: &Worker| {
        proxy(&worker.address, |line| match line.contains("pong") {
            true => Fate::Delay(Duration::from_millis(300)),
            false => Fate::Forward,
        })
    };
    let proxies: Vec<String> = workers.iter().map(slow).collect();
    let all: Vec<&str> = proxies.iter().map(String::as_str).collect();
    let ended = master(&all, &["--max-skew", "5s"]).end();
    ended.expect(0, &["9 tools started"]);
}

#[test]
fn gaps_in_the_numbers_of_workers_are_shown_and_the_labels_keep_them() {
    let workers = ["1", "4"].map(|number| worker_with(&[], "exit 0", &[("ATQ_REPLICA", number)]));
    let ended = master(&addresses(&workers), &[]).end();
    let label = format!("worker 4 ({})", workers[1].address);
    ended.expect(0, &["not numbered from 1 to 2", "have gaps", &label]);
}

#[test]
fn the_master_raises_its_limit_of_file_descriptors() {
    // The system accepts the connections; no hello is answered.
    let listeners: Vec<TcpListener> = (0..40)
        .map(|_| TcpListener::bind("127.0.0.1:0").unwrap())
        .collect();
    let address = |one: &TcpListener| one.local_addr().unwrap().to_string();
    let list: Vec<String> = listeners.iter().map(address).collect();
    let output = Command::new("/bin/sh")
        .args(["-c", "ulimit -Sn 20 && exec \"$0\" \"$@\""])
        .args([env!("CARGO_BIN_EXE_atq-sync"), "master"])
        .args(["--connect-timeout", "1s", "--workers", &list.join(",")])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(120), "{text}");
    assert!(!text.contains("open files"), "{text}");
}
