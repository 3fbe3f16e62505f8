//! Memory and time of figures during a run.
#![allow(clippy::unwrap_used)]

use atq_api_spec::live::SourceState;
use atq_report::live::Live;
use std::fmt::Write as _;
use std::time::Instant;

const T: u64 = 1_760_000_000_000;
const HEAD: &str = "timestamp,elapsed,label,success,code,active\n";
const MIB: u64 = 1024 * 1024;

/// A value of the process in bytes.
fn memory(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib * 1024
}

/// The peak of the memory that an action needs in addition.
fn peak(action: impl FnOnce()) -> u64 {
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = memory("VmRSS:");
    action();
    memory("VmHWM:").saturating_sub(before)
}

/// A single test, because memory is measured for the whole process.
#[test]
fn memory_is_bounded() {
    let run = peak(three_workers);
    println!("a run of three workers: {} MiB", run / MIB);
    assert!(run < 16 * MIB, "a run of three workers: {} MiB", run / MIB);
    let line = peak(an_endless_line);
    println!("line: {} MiB", line / MIB);
    assert!(line < 24 * MIB, "a line of 100 MB: {} MiB", line / MIB);
    let binary = peak(binary_data);
    println!("binary: {} MiB", binary / MIB);
    assert!(binary < 4 * MIB, "binary data: {} MiB", binary / MIB);
    let labels = peak(many_labels);
    println!("labels: {} MiB", labels / MIB);
    assert!(labels < 32 * MIB, "100,000 labels: {} MiB", labels / MIB);
    // At the end, because its memory may be used again.
    let quotes = peak(quotes_without_end);
    println!("quotes: {} MiB", quotes / MIB);
    assert!(quotes < 320 * MIB, "open quotes: {} MiB", quotes / MIB);
}

/// Three workers with 20 labels and fractions of milliseconds, for ten minutes.
fn three_workers() {
    let mut live = Live::default();
    let mut text = String::new();
    let mut slowest = 0.0_f64;
    for second in 0..600_u64 {
        for worker in 1..=3 {
            text.clear();
            if second == 0 {
                text.push_str(HEAD);
            }
            for n in 0..100_u64 {
                let at = T + second * 1000 + n * 10;
                let elapsed = (second * 7919 + n * 104_729 + worker * 31) % 900;
                writeln!(text, "{at},{elapsed}.{n:02},label {},true,200,5", n % 20).unwrap();
            }
            live.feed(&format!("worker.{worker}/r.csv"), text.as_bytes());
        }
        let begun = Instant::now();
        let snapshot = live.snapshot(T + (second + 1) * 1000);
        slowest = slowest.max(begun.elapsed().as_secs_f64());
        assert_eq!(snapshot.total.samples, (second + 1) * 300);
    }
    println!(
        "slowest snapshot of three workers: {:.1} ms",
        slowest * 1000.0
    );
}

fn an_endless_line() {
    let mut live = Live::default();
    live.feed("worker.1/r.csv", HEAD.as_bytes());
    let garbage = vec![b'x'; 256 * 1024];
    for _ in 0..400 {
        live.feed("worker.1/r.csv", &garbage);
    }
    live.feed("worker.1/r.csv", format!("\n{T},5,a,true,,\n").as_bytes());
    let snapshot = live.snapshot(T + 5000);
    assert_eq!(snapshot.total.samples, 1);
    assert!(snapshot.sources[0].problem.is_some());
}

/// Rows of seven MiB in 80 files.
fn quotes_without_end() {
    let mut live = Live::default();
    let text = vec![b'x'; 1024 * 1024];
    for number in 0..80 {
        let path = format!("worker.{number}/r.csv");
        live.feed(&path, HEAD.as_bytes());
        live.feed(&path, format!("{T},5,a,true,,\n\"").as_bytes());
        for _ in 0..7 {
            live.feed(&path, &text);
        }
    }
    let doubts = live.snapshot(T + 1000).doubts;
    let text = "its figures need too much memory while the test runs; the report counts it";
    assert!(doubts[0].ends_with(text), "{doubts:?}");
}

fn binary_data() {
    let mut live = Live::default();
    let garbage: Vec<u8> = (0..256 * 1024_u64).map(|n| (n * n % 251) as u8).collect();
    for _ in 0..400 {
        live.feed("worker.1/core", &garbage);
    }
    assert_eq!(live.snapshot(T).sources[0].state, SourceState::Skipped);
}

fn many_labels() {
    let mut live = Live::default();
    let mut slowest = 0.0_f64;
    for worker in 1..=3_u64 {
        let path = format!("worker.{worker}/r.csv");
        live.feed(&path, HEAD.as_bytes());
        for part in 0..100_u64 {
            let rows = (0..3000_u64).map(|n| {
                let number = part * 3000 + n;
                let label = number % 100_000;
                format!(
                    "{},{}.5,label {label},true,200,5\n",
                    T + number,
                    (n + worker) % 900
                )
            });
            live.feed(&path, rows.collect::<String>().as_bytes());
            let begun = Instant::now();
            live.snapshot(T + part * 3000 + 3000);
            slowest = slowest.max(begun.elapsed().as_secs_f64());
        }
    }
    let snapshot = live.snapshot(T + 300_000);
    assert_eq!(snapshot.total.samples, 900_000);
    assert_eq!(
        (snapshot.labels.len(), snapshot.labels_left_out),
        (50, 1951)
    );
    assert!(snapshot.notes[0].contains("more than 2000 labels"));
    println!(
        "slowest snapshot of 2000 labels: {:.1} ms",
        slowest * 1000.0
    );
}
