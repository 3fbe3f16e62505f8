#![allow(clippy::unwrap_used)]
use super::*;
use crate::tests::{Answer, Script, director};
use axum::Router;
use axum::extract::RawQuery;
use axum::routing::get;
use proptest::prelude::*;
use std::sync::{Arc, Mutex};
use time::Duration;
use time::format_description::well_known::Rfc3339;

fn entry(second: i64, service: &str, replica: u32, text: &str) -> LogEntry {
    let at = OffsetDateTime::UNIX_EPOCH + Duration::seconds(1_000_000_000 + second);
    LogEntry {
        at: at.format(&Rfc3339).unwrap(),
        service: service.to_owned(),
        replica,
        stream: "stdout".to_owned(),
        text: text.to_owned(),
    }
}

fn ndjson(entries: &[LogEntry]) -> String {
    let lines = entries
        .iter()
        .map(|entry| serde_json::to_string(entry).unwrap() + "\n");
    lines.collect()
}

/// Returns the passed lines and the requests.
async fn followed(
    script: Script,
    wanted: &Logs,
) -> (Result<(), CliError>, Vec<String>, Vec<String>) {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let queries = Arc::clone(&asked);
    let answer = move |RawQuery(query): RawQuery| async move {
        queries.lock().unwrap().push(query.unwrap_or_default());
        script.next()
    };
    let context = director(Router::new().route("/task/load/logs", get(answer))).await;
    let mut given = Vec::new();
    let ended = read(&context, wanted, |entry| {
        given.push(format!(
            "{}.{} {}",
            entry.service, entry.replica, entry.text
        ));
        ControlFlow::Continue(())
    })
    .await;
    let asked = asked.lock().unwrap().clone();
    (ended, given, asked)
}

fn load(follow: bool, tail: Option<u32>) -> Logs {
    Logs {
        name: "load".to_owned(),
        follow,
        tail,
        ..Logs::default()
    }
}

#[tokio::test]
async fn no_line_is_lost_or_duplicated_after_a_lost_connection() {
    let lines = [
        entry(1, "worker", 1, "one"),
        entry(1, "worker", 2, "one"),
        entry(2, "worker", 1, "two"),
        // Two different lines with the same time and text.
        entry(2, "worker", 1, "two"),
        entry(2, "worker", 1, "three"),
        entry(0, "master", 1, "late"),
        entry(3, "worker", 2, "two"),
    ];
    let half = ndjson(&lines[..3]) + &ndjson(&lines[3..4])[..30];
    let script = Script::new([
        Answer::Broken(half),
        Answer::Refused(503),
        Answer::Broken(ndjson(&lines[..5])),
        Answer::Whole(ndjson(&lines)),
    ]);
    let (ended, given, asked) = followed(script, &load(true, None)).await;
    ended.unwrap();
    assert_eq!(
        given,
        [
            "worker.1 one",
            "worker.2 one",
            "worker.1 two",
            "worker.1 two",
            "worker.1 three",
            "master.1 late",
            "worker.2 two"
        ]
    );
    assert_eq!(asked, ["follow=1"; 4]);
}

#[tokio::test]
async fn tail_applies_to_the_first_connection() {
    let lines: Vec<LogEntry> = (0..6)
        .map(|n| entry(n, "master", 1, &n.to_string()))
        .collect();
    let script = || {
        Script::new([
            Answer::Broken(ndjson(&lines[2..4])),
            Answer::Whole(ndjson(&lines)),
        ])
    };
    let (ended, given, asked) = followed(script(), &load(true, Some(2))).await;
    ended.unwrap();
    assert_eq!(
        given,
        ["master.1 2", "master.1 3", "master.1 4", "master.1 5"]
    );
    assert_eq!(asked, ["follow=1&tail=2", "follow=1"]);
    let (_, _, asked) = followed(script(), &load(false, Some(2))).await;
    assert_eq!(asked, ["tail=2", "tail=2"]);
}

#[tokio::test]
async fn without_a_tail_no_old_lines_appear_later() {
    let now = OffsetDateTime::now_utc();
    let mut late = entry(0, "master", 1, "new");
    late.at = (now + Duration::seconds(5)).format(&Rfc3339).unwrap();
    let script = Script::new([
        Answer::Broken(String::new()),
        Answer::Whole(ndjson(&[entry(0, "master", 1, "old"), late])),
    ]);
    let (ended, given, _) = followed(script, &load(true, Some(0))).await;
    ended.unwrap();
    assert_eq!(given, ["master.1 new"]);
}

#[tokio::test]
async fn a_rejection_is_returned() {
    let (ended, given, asked) =
        followed(Script::new([Answer::Refused(404)]), &load(true, None)).await;
    assert_eq!(ended.unwrap_err().to_string(), "there is none");
    assert!(given.is_empty() && asked.len() == 1, "{given:?} {asked:?}");
    let gone = Script::new([
        Answer::Broken(ndjson(&[entry(0, "master", 1, "x")])),
        Answer::Refused(404),
    ]);
    let (ended, given, _) = followed(gone, &load(true, None)).await;
    assert!(matches!(ended, Err(CliError::Rejected { status: 404, .. })));
    assert_eq!(given.len(), 1);
}

#[tokio::test]
async fn the_caller_can_stop() {
    let lines = [entry(0, "master", 1, "a"), entry(1, "master", 1, "b")];
    let text = ndjson(&lines);
    let routes = Router::new().route("/task/load/logs", get(|| async { text }));
    let context = director(routes).await;
    let mut given = 0;
    let stop = |_: &LogEntry| {
        given += 1;
        ControlFlow::Break(())
    };
    read(&context, &load(false, None), stop).await.unwrap();
    assert_eq!(given, 1);
}

#[test]
fn every_filter_is_sent() {
    let wanted = Logs {
        name: "a b".to_owned(),
        follow: true,
        service: Some("wor&ker".to_owned()),
        replica: Some(2),
        tail: Some(0),
    };
    let all = "task/a%20b/logs?follow=1&service=wor%26ker&replica=2&tail=0";
    assert_eq!(path(&wanted, false), all);
    assert_eq!(path(&load(false, None), false), "task/load/logs");
}

/// Lines of a container: time steps, also of zero and one backwards, and lines without a time.
fn written() -> impl Strategy<Value = Vec<LogEntry>> {
    let line = (0..3u32, 1..3u32, prop::bool::ANY, -1..3i64, 0..10u8);
    prop::collection::vec(line, 0..40).prop_map(|lines| {
        let mut second = 0;
        let entries = lines.into_iter().enumerate().map(|(number, line)| {
            let (service, replica, is_error, step, odd) = line;
            second += step;
            let service = ["worker", "master", "wait"][service as usize];
            let mut entry = entry(second, service, replica, &number.to_string());
            if is_error {
                entry.stream = "stderr".to_owned();
            }
            if odd == 0 {
                entry.at = String::new();
            }
            entry
        });
        entries.collect()
    })
}

proptest! {
    #[test]
    fn each_line_is_passed_once_wherever_the_connection_breaks(
        lines in written(),
        cuts in prop::collection::vec(0..41usize, 0..5),
    ) {
        let mut position = LogPosition::default();
        let mut given = Vec::new();
        for cut in cuts.into_iter().chain([lines.len()]) {
            let mut replay = position.replay();
            // Containers may be interleaved differently.
            let mut sorted: Vec<&LogEntry> = lines.iter().take(cut).collect();
            if cut % 2 == 0 {
                sorted.sort_by_key(|line| (&line.service, line.replica));
            }
            for line in sorted {
                if replay.is_new(line) {
                    position.record(line);
                    given.push(line.text.parse::<usize>().unwrap());
                }
            }
        }
        given.sort_unstable();
        prop_assert_eq!(given, (0..lines.len()).collect::<Vec<_>>());
    }
}
