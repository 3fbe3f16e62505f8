#![allow(clippy::unwrap_used)]
//! Kept logs.

use super::*;
use atq_engine::Role;
use futures_util::{FutureExt, StreamExt, stream};

const CAPS: Caps = Caps {
    head: 100,
    tail: 60,
};

fn evidence(caps: Caps) -> (tempfile::TempDir, Evidence) {
    let dir = tempfile::tempdir().unwrap();
    let evidence = Evidence {
        caps,
        ..Evidence::new(dir.path())
    };
    (dir, evidence)
}

fn small() -> (tempfile::TempDir, Evidence) {
    evidence(CAPS)
}

fn task() -> TaskName {
    TaskName::parse("load").unwrap()
}

const MASTER: Source = Source {
    role: Role::Master,
    replica: 1,
};

fn line(text: &str) -> LogLine {
    LogLine {
        at: "2026-01-01T00:00:00Z".into(),
        stream: LogStream::Stdout,
        text: text.into(),
    }
}

fn broken() -> EngineError {
    EngineError {
        code: "failed",
        temporary: true,
        message: "Docker failed at the log: node away".into(),
    }
}

async fn keep(evidence: &Evidence, lines: Vec<Result<LogLine, EngineError>>) -> Result<(), String> {
    evidence
        .keep_log((&task(), "run"), MASTER, stream::iter(lines), None, soon())
        .await
}

async fn read(evidence: &Evidence) -> Vec<LogLine> {
    let mut log = evidence.read_log(&task(), "run", MASTER).await.unwrap();
    let mut lines = Vec::new();
    while let Some(line) = log.next().await.unwrap() {
        lines.push(line);
    }
    lines
}

async fn texts(evidence: &Evidence) -> Vec<String> {
    read(evidence)
        .await
        .into_iter()
        .map(|line| line.text)
        .collect()
}

#[tokio::test]
async fn lines_are_read_back_unchanged() {
    let (_dir, evidence) = evidence(Caps {
        head: HEAD_BYTES,
        tail: TAIL_BYTES,
    });
    let lines = vec![
        line("one"),
        line(""),
        line("  spaces  at the edges "),
        LogLine {
            stream: LogStream::Stderr,
            ..line("failed")
        },
        LogLine {
            at: String::new(),
            ..line("without a time")
        },
        line("ünïcode \u{1f600} \u{fffd}"),
        line("stdout stderr"),
    ];
    keep(&evidence, lines.iter().cloned().map(Ok).collect())
        .await
        .unwrap();
    assert_eq!(read(&evidence).await, lines);
}

#[tokio::test]
async fn a_large_log_keeps_its_beginning_and_its_end_and_reports_the_gap() {
    let (_dir, evidence) = small();
    // Each line takes 35 bytes: three for the beginning, one for the end.
    let lines = (0..10)
        .map(|index| Ok(line(&format!("line-{index}"))))
        .collect();
    keep(&evidence, lines).await.unwrap();
    let texts = texts(&evidence).await;
    assert_eq!(
        texts,
        [
            "line-0",
            "line-1",
            "line-2",
            "... 6 lines (210 bytes) omitted ...",
            "line-9"
        ]
    );
    assert_eq!(read(&evidence).await[3].stream, LogStream::Stderr);
}

#[tokio::test]
async fn a_log_of_exactly_the_limit_is_complete() {
    let (_dir, evidence) = small();
    let lines = (0..4)
        .map(|index| Ok(line(&format!("line-{index}"))))
        .collect();
    keep(&evidence, lines).await.unwrap();
    assert_eq!(texts(&evidence).await.len(), 4);
}

#[tokio::test]
async fn a_line_that_is_larger_than_the_end_is_not_dropped_silently() {
    let (_dir, evidence) = small();
    let mut lines: Vec<_> = (0..3)
        .map(|index| Ok(line(&format!("line-{index}"))))
        .collect();
    lines.push(Ok(line(&"x".repeat(200))));
    keep(&evidence, lines).await.unwrap();
    let texts = texts(&evidence).await;
    assert_eq!(texts.last().unwrap(), "... 1 lines (229 bytes) omitted ...");
}

#[tokio::test]
async fn an_incomplete_log_is_kept_but_never_replaces_a_complete_one() {
    let (dir, evidence) = small();
    let error = keep(&evidence, vec![Ok(line("half")), Err(broken())])
        .await
        .unwrap_err();
    assert_eq!(
        error,
        "the log of master.1 is incomplete: Docker failed at the log: node away"
    );
    assert_eq!(texts(&evidence).await, ["half"]);
    keep(&evidence, vec![Ok(line("one")), Ok(line("two"))])
        .await
        .unwrap();
    assert_eq!(texts(&evidence).await, ["one", "two"]);
    keep(&evidence, vec![Err(broken())]).await.unwrap_err();
    assert_eq!(texts(&evidence).await, ["one", "two"]);
    keep(&evidence, vec![Ok(line("three"))]).await.unwrap();
    assert_eq!(texts(&evidence).await, ["three"]);
    let files = std::fs::read_dir(dir.path().join("evidence/load/run/logs"))
        .unwrap()
        .count();
    assert_eq!(files, 1, "a part of a file is left");
}

#[tokio::test]
async fn only_logs_are_listed_by_role_and_number() {
    let (dir, evidence) = small();
    assert!(evidence.logs(&task(), "run").await.unwrap().is_empty());
    let sources = [
        (Role::Wait, 2),
        (Role::Worker, 10),
        (Role::Worker, 9),
        (Role::Master, 1),
    ];
    for (role, replica) in sources {
        let source = Source { role, replica };
        evidence
            .keep_log(
                (&task(), "run"),
                source,
                stream::iter(Vec::new()),
                None,
                soon(),
            )
            .await
            .unwrap();
    }
    let logs = dir.path().join("evidence/load/run/logs");
    for name in ["master.2.part", "boss.1.log", "worker.x.log", "README"] {
        std::fs::write(logs.join(name), "x").unwrap();
    }
    let listed = evidence.logs(&task(), "run").await.unwrap();
    let names: Vec<_> = listed.iter().map(ToString::to_string).collect();
    assert_eq!(names, ["worker.9", "worker.10", "wait.2", "master.1"]);
    assert!(evidence.logs(&task(), "other").await.unwrap().is_empty());
}

#[tokio::test]
async fn removal_takes_all_runs_of_a_task_and_no_other_task() {
    let (dir, evidence) = small();
    keep(&evidence, vec![Ok(line("x"))]).await.unwrap();
    let other = TaskName::parse("load-2").unwrap();
    evidence
        .keep_log(
            (&other, "run"),
            MASTER,
            stream::iter(Vec::new()),
            None,
            soon(),
        )
        .await
        .unwrap();
    evidence.remove(&task()).await.unwrap();
    evidence.remove(&task()).await.unwrap();
    assert!(!dir.path().join("evidence/load").exists());
    assert_eq!(evidence.logs(&other, "run").await.unwrap(), [MASTER]);
}

#[tokio::test]
async fn a_failed_write_is_reported() {
    let (dir, evidence) = small();
    std::fs::write(dir.path().join("evidence"), "in the way").unwrap();
    let error = keep(&evidence, Vec::new()).await.unwrap_err();
    assert!(
        error.starts_with("cannot write the log of master.1: "),
        "{error}"
    );
}

fn soon() -> tokio::time::Instant {
    tokio::time::Instant::now() + std::time::Duration::from_secs(60)
}

#[tokio::test(start_paused = true)]
async fn a_log_that_takes_too_long_to_read_is_kept_as_far_as_it_was_read() {
    let dir = tempfile::tempdir().unwrap();
    let evidence = Evidence::new(dir.path());
    let first = stream::iter(vec![Ok(line("the beginning"))]);
    let endless = first.chain(stream::pending()).boxed();
    let kept = evidence
        .keep_log((&task(), "run"), MASTER, endless, None, soon())
        .await;
    assert!(kept.unwrap_err().contains("reading it timed out"));
    let mut log = evidence.read_log(&task(), "run", MASTER).await.unwrap();
    assert_eq!(log.next().await.unwrap().unwrap().text, "the beginning");
    assert!(log.next().await.unwrap().is_none());
}

/// The `number`-th line of a log, with a time of its own as Docker writes it.
fn numbered(number: u64) -> LogLine {
    LogLine {
        at: format!("2026-01-01T00:00:00.{number:09}Z"),
        ..line(&format!("line-{number}"))
    }
}

/// Keeps a log of `lines` lines; its last lines can be requested. With `slow`, reading from the beginning hangs after
/// that number of lines.
async fn keep_huge(evidence: &Evidence, lines: u64, slow: Option<usize>) -> Result<(), String> {
    let all = move || (0..lines).map(|number| Ok(numbered(number)));
    let last = move |count: u32| {
        let skipped = lines.saturating_sub(count.into());
        let end = stream::iter(all().skip(usize::try_from(skipped).unwrap()));
        std::future::ready(Ok(end.boxed())).boxed()
    };
    let from_the_beginning = match slow {
        None => stream::iter(all()).boxed(),
        Some(after) => stream::iter(all().take(after))
            .chain(stream::pending())
            .boxed(),
    };
    evidence
        .keep_log(
            (&task(), "run"),
            MASTER,
            from_the_beginning,
            Some(&last),
            soon(),
        )
        .await
}

const LARGER: Caps = Caps {
    head: 1000,
    tail: 500,
};

/// The numbers of the kept lines, and the notes about gaps.
async fn kept_numbers(evidence: &Evidence) -> (Vec<u64>, Vec<String>) {
    let (lines, notes): (Vec<_>, Vec<_>) = texts(evidence)
        .await
        .into_iter()
        .partition(|text| text.starts_with("line-"));
    let number = |text: &String| text["line-".len()..].parse().unwrap();
    (lines.iter().map(number).collect(), notes)
}

#[tokio::test]
async fn the_end_of_a_huge_log_is_kept_without_reading_all_of_it() {
    let (_dir, evidence) = evidence(LARGER);
    keep_huge(&evidence, 1_000_000, None).await.unwrap();
    let (numbers, notes) = kept_numbers(&evidence).await;
    assert_eq!(numbers.first(), Some(&0));
    assert_eq!(numbers.last(), Some(&999_999));
    assert!(numbers.is_sorted(), "{numbers:?}");
    assert!(numbers.len() < 50, "{numbers:?}");
    assert_eq!(notes.len(), 1, "{notes:?}");
    assert!(notes[0].contains("omitted ..."), "{notes:?}");
}

#[tokio::test]
async fn no_line_is_duplicated_and_each_gap_is_reported_for_any_length() {
    let (_dir, evidence) = evidence(LARGER);
    for lines in 1..400 {
        keep_huge(&evidence, lines, None).await.unwrap();
        let (numbers, notes) = kept_numbers(&evidence).await;
        assert_eq!(numbers.first(), Some(&0));
        assert_eq!(numbers.last(), Some(&(lines - 1)));
        assert!(numbers.is_sorted_by(|a, b| a < b), "{lines}: {numbers:?}");
        let gaps = numbers.windows(2).filter(|pair| pair[0] + 1 != pair[1]);
        assert_eq!(gaps.count(), notes.len(), "{lines}: {numbers:?} {notes:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_log_that_is_read_too_slowly_is_kept() {
    let (_dir, evidence) = evidence(LARGER);
    keep_huge(&evidence, 5000, Some(7)).await.unwrap();
    let (numbers, notes) = kept_numbers(&evidence).await;
    assert_eq!(numbers[..8], [0, 1, 2, 3, 4, 5, 6, numbers[7]]);
    assert_eq!(numbers.last(), Some(&4999));
    assert_eq!(notes.len(), 1, "{notes:?}");
}

#[tokio::test]
async fn the_last_lines_of_a_kept_log_are_returned_without_their_times() {
    let (_dir, evidence) = evidence(Caps {
        head: HEAD_BYTES,
        tail: TAIL_BYTES,
    });
    let lines = (0..5000).map(|number| Ok(numbered(number)));
    let lines = lines
        .chain([Ok(line("")), Ok(line("ä long end"))])
        .collect();
    keep(&evidence, lines).await.unwrap();
    let run = (&task(), "run");
    let last = evidence.last_texts(run, MASTER, 3, 6).await;
    assert_eq!(last, ["line-4", "line-4", "ä long"]);
    let other = Source {
        replica: 2,
        ..MASTER
    };
    assert!(evidence.last_texts(run, other, 3, 6).await.is_empty());
}
