//! The permission to end a run, and renewing the lease.

use super::*;
use crate::args::Run;
use crate::run::invocation::Invocation;

async fn running() -> (Director, Shared) {
    canned(Canned {
        task: Some(at(Step::Running)),
        streams: vec![vec![]],
        stops_on_request: true,
        ..Canned::default()
    })
    .await
}

#[tokio::test]
async fn a_run_of_another_client_is_never_stopped() {
    for (input, is_interactive) in [
        (Input::Interrupt, false),
        (Input::Interrupt, true),
        (Input::Terminate, false),
    ] {
        let (director, canned) = running().await;
        let attached = WatchOptions {
            role: Role::Attached,
            ..options()
        };
        let (interrupts, sender) = Interrupts::new(is_interactive, drop);
        let (watched, mut lines) = watching(director, attached, interrupts);
        line(&mut lines, "the test runs", &mut Vec::new()).await;
        sender.send(input).await.unwrap();
        line(&mut lines, "another client", &mut Vec::new()).await;
        let watched = watched.await.unwrap().unwrap();
        assert_eq!(watched.early_end, Some(EarlyEnd::Detached));
        assert_eq!(canned.lock().unwrap().stops, 0);
    }
}

#[tokio::test]
async fn the_timeout_of_one_client_does_not_stop_the_run_of_another() {
    let (director, canned) = running().await;
    let attached = WatchOptions {
        role: Role::Attached,
        timeout: Some(Duration::from_millis(100)),
        ..options()
    };
    let (interrupts, _sender) = Interrupts::new(false, drop);
    let (watched, _lines) = watching(director, attached, interrupts);
    let watched = watched.await.unwrap().unwrap();
    assert_eq!(watched.early_end, Some(EarlyEnd::TimedOut));
    assert_eq!(canned.lock().unwrap().stops, 0);
}

#[tokio::test]
async fn a_timeout_enforced_by_the_director_sends_no_stop_request() {
    let (director, canned) = running().await;
    let limited_task = Task {
        deadline_at: Some("2026-01-31T12:00:01Z".to_owned()),
        ..at(Step::Running)
    };
    canned.lock().unwrap().task = Some(limited_task);
    let limited = WatchOptions {
        timeout: Some(Duration::from_millis(500)),
        ..options()
    };
    let (interrupts, _sender) = Interrupts::new(false, drop);
    let (watched, mut lines) = watching(director, limited, interrupts);
    line(&mut lines, "--timeout", &mut Vec::new()).await;
    canned.lock().unwrap().task = Some(task("t"));
    let watched = watched.await.unwrap().unwrap();
    assert_eq!(watched.early_end, Some(EarlyEnd::TimedOut));
    assert_eq!(canned.lock().unwrap().stops, 0);
}

#[tokio::test]
async fn the_lease_is_renewed_while_the_run_is_watched_despite_failures() {
    let (director, canned) = running().await;
    let args = Run {
        lease: Some(Duration::from_secs(1)),
        ..Run::default()
    };
    let leased = WatchOptions {
        invocation: Invocation::new(&args).unwrap(),
        ..options()
    };
    let (interrupts, _sender) = Interrupts::new(false, drop);
    let (watched, _lines) = watching(director, leased, interrupts);
    // The first renewals fail with a gateway error.
    let begun = std::time::Instant::now();
    while canned.lock().unwrap().renewals.len() < 4 {
        assert!(begun.elapsed() < Duration::from_secs(20));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    canned.lock().unwrap().task = Some(task("t"));
    watched.await.unwrap().unwrap();
    let renewals = std::mem::take(&mut canned.lock().unwrap().renewals);
    assert!(
        renewals.iter().all(|key| *key == renewals[0]),
        "{renewals:?}"
    );
    assert!(!renewals[0].is_empty());
}
