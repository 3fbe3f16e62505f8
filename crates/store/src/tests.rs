#![allow(clippy::unwrap_used)]
//! Tests the store on a real disk: acknowledged writes survive every kind of termination.

mod broken;
mod damage;
mod full;
mod observer;
mod tokens;
mod transfer;

use super::*;
use atq_task::event::Event;
use atq_task::spec::{Fault, Surroundings};
use atq_task::state::Step;
use atq_task::timestamp::Timestamp;
use serde_json::json;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

struct EveryBundle;

impl Surroundings for EveryBundle {
    fn max_replicas(&self) -> u64 {
        10
    }

    fn has_bundle(&self, _: &str) -> bool {
        true
    }

    fn required_variables(&self, _: &str) -> Result<Vec<String>, String> {
        Ok(Vec::new())
    }
}

fn spec(name: &str) -> TaskSpec {
    let payload = json!({
        "name": name,
        "worker": {"alias": "w", "image": "tool", "environment": ["A=secret"]},
        "master": {"alias": "m", "image": "boss"},
    });
    TaskSpec::parse(&payload, &EveryBundle)
        .map_err(|faults: Vec<Fault>| format!("{faults:?}"))
        .unwrap()
}

fn record(seq: u64, event: Event) -> Record {
    Record {
        seq,
        at: Timestamp(1000 + seq),
        by: None,
        event,
    }
}

fn first() -> Record {
    record(
        1,
        Event::Queued {
            run: "a1b2c3".into(),
            token: "t".into(),
            terms: Default::default(),
        },
    )
}

/// The records of a run that was stopped at once.
fn stopped_run() -> Vec<Record> {
    let kept = Event::EvidenceKept {
        logs: 0,
        missing: Vec::new(),
        workers: Vec::new(),
        exit_code: None,
        lost: Vec::new(),
        results: Vec::new(),
        last_lines: Vec::new(),
    };
    let events = [
        Event::Stopped,
        Event::StepStarted {
            step: Step::Collect,
        },
        kept,
        Event::StepStarted {
            step: Step::Cleanup,
        },
        Event::CleanUpTried {
            leftovers: Vec::new(),
        },
        Event::StepStarted { step: Step::Done },
    ];
    (2..)
        .zip(events)
        .map(|(seq, event)| record(seq, event))
        .collect()
}

/// Creates a task and records `count` further events; gives the state.
async fn fill(store: &Store, spec: &TaskSpec, count: usize) -> State {
    assert_eq!(store.create(spec, &first()).await.unwrap(), None);
    let mut state = store.load(&spec.name).unwrap().unwrap().state;
    for record in stopped_run().iter().take(count) {
        state = machine::next(state, record).unwrap();
        store.append(&spec.name, record, &state).await.unwrap();
    }
    state
}

/// Reopens a store; sled releases the lock of a dropped store on another thread, with a short delay.
fn reopen(dir: &Path) -> Store {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        match Store::open(dir) {
            Err(StoreError::Locked { .. }) if Instant::now() < deadline => std::thread::yield_now(),
            opened => return opened.unwrap(),
        }
    }
}

#[tokio::test]
async fn stored_tasks_survive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (spec("one"), spec("two"));
    let state = {
        let store = Store::open(dir.path()).unwrap();
        fill(&store, &two, 0).await;
        let state = fill(&store, &one, 6).await;
        assert_eq!(
            store
                .set_desired(&two.name, Desired::Stopped)
                .await
                .unwrap(),
            Some(Desired::Stopped)
        );
        state
    };
    let store = reopen(dir.path());
    store.repair().unwrap();
    store.probe().await.unwrap();
    let stored = store.load(&one.name).unwrap().unwrap();
    assert_eq!(
        (stored.spec, stored.state.clone(), stored.desired),
        (one.clone(), state, Desired::Run)
    );
    assert!(stored.state.is_done());
    let history = store.history(&one.name).unwrap();
    assert_eq!(history, [vec![first()], stopped_run()].concat());
    let all: Vec<_> = store
        .all()
        .unwrap()
        .into_iter()
        .map(|stored| (stored.spec.name, stored.desired))
        .collect();
    assert_eq!(
        all,
        [(one.name, Desired::Run), (two.name, Desired::Stopped)]
    );
}

#[tokio::test]
async fn a_history_stays_in_order_beyond_255_events() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let spec = spec("long");
    let mut state = fill(&store, &spec, 6).await;
    for seq in 8..=300 {
        let record = record(
            seq,
            Event::CleanUpTried {
                leftovers: Vec::new(),
            },
        );
        state = machine::next(state, &record).unwrap();
        store.append(&spec.name, &record, &state).await.unwrap();
    }
    let numbers: Vec<u64> = store
        .history(&spec.name)
        .unwrap()
        .iter()
        .map(|record| record.seq)
        .collect();
    assert_eq!(numbers, (1..=300).collect::<Vec<_>>());
}

#[tokio::test]
async fn names_with_a_common_prefix_do_not_mix() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    fill(&store, &spec("abc"), 0).await;
    fill(&store, &spec("abc-d"), 3).await;
    assert_eq!(store.history(&spec("abc").name).unwrap().len(), 1);
    store.remove(&spec("abc").name).await.unwrap();
    assert_eq!(store.history(&spec("abc-d").name).unwrap().len(), 4);
    assert_eq!(store.names().unwrap(), [spec("abc-d").name]);
}

#[tokio::test]
async fn a_name_is_used_once() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let spec = spec("one");
    let state = fill(&store, &spec, 2).await;
    let again = record(
        1,
        Event::Queued {
            run: "zzzzzz".into(),
            token: "other".into(),
            terms: Default::default(),
        },
    );
    let present = store.create(&spec, &again).await.unwrap().unwrap();
    assert_eq!(present.state, state);
    assert_eq!(store.history(&spec.name).unwrap()[0], first());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_many_concurrent_creations_succeeds() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    for round in 0..10 {
        let spec = spec(&format!("task-{round}"));
        let tries = (0..8).map(|_| {
            let (store, spec) = (store.clone(), spec.clone());
            tokio::spawn(async move { store.create(&spec, &first()).await.unwrap().is_none() })
        });
        let results = futures_util::future::join_all(tries).await;
        let created = results
            .into_iter()
            .filter(|created| *created.as_ref().unwrap())
            .count();
        assert_eq!(created, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_desired_state_is_never_weakened() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    for round in 0..20 {
        let spec = spec(&format!("task-{round}"));
        fill(&store, &spec, 0).await;
        let requests = [Desired::Stopped, Desired::Deleted, Desired::Stopped].map(|desired| {
            let (store, name) = (store.clone(), spec.name.clone());
            tokio::spawn(async move { store.set_desired(&name, desired).await.unwrap() })
        });
        futures_util::future::join_all(requests).await;
        assert_eq!(
            store.load(&spec.name).unwrap().unwrap().desired,
            Desired::Deleted
        );
    }
}

#[tokio::test]
async fn neither_a_removed_task_nor_a_late_request_leaves_a_key() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let spec = spec("one");
    fill(&store, &spec, 6).await;
    store
        .set_desired(&spec.name, Desired::Deleted)
        .await
        .unwrap();
    store.remove(&spec.name).await.unwrap();
    assert_eq!(
        store
            .set_desired(&spec.name, Desired::Deleted)
            .await
            .unwrap(),
        None
    );
    let keys: Vec<_> = store
        .db()
        .unwrap()
        .iter()
        .keys()
        .map(|key| key.unwrap())
        .collect();
    assert_eq!(keys, ["meta/format"]);
    assert_eq!(store.load(&spec.name).unwrap(), None);
    assert!(store.history(&spec.name).unwrap().is_empty());
    fill(&store, &spec, 0).await;
    assert_eq!(
        store.load(&spec.name).unwrap().unwrap().desired,
        Desired::Run
    );
}

#[tokio::test]
async fn a_creation_that_fails_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    // A file that cannot be synced simulates a failing disk.
    store.handle.replace_file(unsyncable());
    let spec = spec("one");
    let error = store.create(&spec, &first()).await.unwrap_err();
    assert!(matches!(error, StoreError::Io(_)), "{error}");
    assert_eq!(store.load(&spec.name).unwrap(), None);
    assert!(store.names().unwrap().is_empty() && store.history(&spec.name).unwrap().is_empty());
    // The next write reopens the store; the refused task is removed from the disk, too.
    store.probe().await.unwrap();
    let keys: Vec<_> = store
        .db()
        .unwrap()
        .iter()
        .keys()
        .map(Result::unwrap)
        .collect();
    assert_eq!(keys, ["meta/format", "meta/probe"]);
    fill(&store, &spec, 0).await;
}

/// The write end of a pipe: `fdatasync` fails with EINVAL.
fn unsyncable() -> File {
    let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
    let file = File::from(std::os::fd::OwnedFd::from(child.stdin.take().unwrap()));
    // The child exits when the test's file is closed.
    std::thread::spawn(move || child.wait());
    file
}

#[tokio::test]
async fn repair_removes_a_definition_without_history_and_rebuilds_states() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let (lost, wrong, torn, gone) = (spec("lost"), spec("wrong"), spec("torn"), spec("gone"));
    let mut states = Vec::new();
    for spec in [&lost, &wrong, &torn] {
        states.push(fill(&store, spec, 4).await);
    }
    fill(&store, &gone, 0).await;
    store
        .db()
        .unwrap()
        .remove(event_key(&gone.name, 1))
        .unwrap();
    store.db().unwrap().remove(state_key(&lost.name)).unwrap();
    let other = encode(&store.load(&gone.name).unwrap().unwrap().state).unwrap();
    store
        .db()
        .unwrap()
        .insert(state_key(&wrong.name), other)
        .unwrap();
    store
        .db()
        .unwrap()
        .insert(state_key(&torn.name), b"{\"seq\":")
        .unwrap();
    assert!(matches!(
        store.load(&torn.name),
        Err(StoreError::Damaged { .. })
    ));

    assert_eq!(store.repair().unwrap(), []);
    for (spec, state) in [&lost, &wrong, &torn].into_iter().zip(states) {
        assert_eq!(store.load(&spec.name).unwrap().unwrap().state, state);
    }
    assert_eq!(store.load(&gone.name).unwrap(), None);
    assert!(!store.names().unwrap().contains(&gone.name));
}

#[test]
fn a_store_in_use_and_a_broken_one_cause_different_errors() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let error = Store::open(dir.path()).map(|_| ()).unwrap_err();
    assert!(matches!(error, StoreError::Locked { .. }), "{error}");
    assert!(
        error
            .to_string()
            .contains("is another Director running on this `datadir`?")
    );
    drop(store);

    let file = dir.path().join("plain");
    std::fs::write(&file, "x").unwrap();
    let error = Store::open(&file.join("below")).map(|_| ()).unwrap_err();
    assert!(matches!(error, StoreError::Open { .. }), "{error}");
}

#[test]
fn a_store_of_another_format_is_unchanged() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    store.db().unwrap().insert("meta/format", "7").unwrap();
    store.sync().unwrap();
    let error = store
        .check_format(dir.path().into())
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("has format `7`; this Director reads format `1`\n"),
        "{error}"
    );
    store.db().unwrap().remove("meta/format").unwrap();
    store.db().unwrap().insert("spec/one", "x").unwrap();
    let error = store.check_format(dir.path().into()).unwrap_err();
    assert!(matches!(error, StoreError::Open { .. }), "{error}");
}

// ---- kill -9

const CHILD_DIR: &str = "ATQ_TEST_STORE_CHILD";

/// The child process of the next test, not a test of its own. It prints each record on standard
/// output once `append` has returned.
#[tokio::test]
async fn child_that_appends_until_it_is_killed() {
    let Ok(dir) = std::env::var(CHILD_DIR) else {
        return;
    };
    let store = Store::open(Path::new(&dir)).unwrap();
    let spec = spec("killed");
    let mut state = match store.load(&spec.name).unwrap() {
        Some(stored) => stored.state,
        None => fill(&store, &spec, 6).await,
    };
    loop {
        let record = record(
            state.seq + 1,
            Event::CleanUpTried {
                leftovers: Vec::new(),
            },
        );
        state = machine::next(state, &record).unwrap();
        store.append(&spec.name, &record, &state).await.unwrap();
        // Bypasses the output capture of the test harness.
        writeln!(std::io::stderr(), "acknowledged {}", state.seq).unwrap();
    }
}

#[tokio::test]
async fn acknowledged_writes_survive_kill_9() {
    let dir = tempfile::tempdir().unwrap();
    let mut last = 0;
    for round in 0..8_u32 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "tests::child_that_appends_until_it_is_killed",
                "--nocapture",
            ])
            .env(CHILD_DIR, dir.path())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        // Kills the child after a different number of lines in each round. Lines that were printed before the kill are
        // read, too.
        let enough = 3 + round * 17 % 40;
        let mut printed = 0;
        while printed < enough {
            let line = lines.next().expect("the child exited early").unwrap();
            last = acknowledged(&line).unwrap_or(last);
            printed += 1;
        }
        child.kill().unwrap();
        for line in lines {
            last = acknowledged(&line.unwrap()).unwrap_or(last);
        }
        child.wait().unwrap();
        let store = reopen(dir.path());
        let name = TaskName::parse("killed").unwrap();
        let history = store.history(&name).unwrap();
        let state = store.load(&name).unwrap().unwrap().state;
        assert!(history.len() as u64 >= last, "{} of {last}", history.len());
        assert_eq!(machine::fold(&history).unwrap(), state);
        last = state.seq;
    }
    println!("{last} records survived 8 kills");
}

fn acknowledged(line: &str) -> Option<u64> {
    line.strip_prefix("acknowledged ")?.parse().ok()
}
