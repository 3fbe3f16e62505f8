//! Who may end a run, and the lease that is renewed.

use super::*;
use crate::args::Run;
use crate::run::invocation::Invocation;

async fn running() -> (Director, Shared) {
    canned(Canned {
        task: Some(at(Step::Running)),
        streams: vec![vec![]],
        obeys: true,
        ..Canned::default()
    })
    .await
}

#[tokio::test]
async fn what_another_client_has_started_is_left_and_never_stopped() {
    for (word, attended) in [
        (Word::Interrupt, false),
        (Word::Interrupt, true),
        (Word::Terminate, false),
    ] {
        let (director, canned) = running().await;
        let attached = Wishes {
            attached: true,
            ..wishes()
        };
        let (human, words) = Human::new(attended, drop);
        let (watched, mut lines) = watching(director, attached, human);
        line(&mut lines, "the test runs", &mut Vec::new()).await;
        words.send(word).await.unwrap();
        line(&mut lines, "another client", &mut Vec::new()).await;
        let watched = watched.await.unwrap().unwrap();
        assert_eq!(watched.cut, Some(Cut::Left));
        assert_eq!(canned.lock().unwrap().stops, 0);
    }
}

#[tokio::test]
async fn the_timeout_of_one_client_does_not_stop_the_run_of_another() {
    let (director, canned) = running().await;
    let attached = Wishes {
        attached: true,
        timeout: Some(Duration::from_millis(100)),
        ..wishes()
    };
    let (human, _words) = Human::new(false, drop);
    let (watched, _lines) = watching(director, attached, human);
    let watched = watched.await.unwrap().unwrap();
    assert_eq!(watched.cut, Some(Cut::TimedOut));
    assert_eq!(canned.lock().unwrap().stops, 0);
}

#[tokio::test]
async fn a_director_that_keeps_the_time_is_not_asked_to_stop() {
    let (director, canned) = running().await;
    let kept = Task {
        deadline_at: Some("2026-01-31T12:00:01Z".to_owned()),
        ..at(Step::Running)
    };
    canned.lock().unwrap().task = Some(kept);
    let limited = Wishes {
        timeout: Some(Duration::from_millis(500)),
        ..wishes()
    };
    let (human, _words) = Human::new(false, drop);
    let (watched, mut lines) = watching(director, limited, human);
    line(&mut lines, "--timeout", &mut Vec::new()).await;
    canned.lock().unwrap().task = Some(task("t"));
    let watched = watched.await.unwrap().unwrap();
    assert_eq!(watched.cut, Some(Cut::TimedOut));
    assert_eq!(canned.lock().unwrap().stops, 0);
}

#[tokio::test]
async fn the_lease_is_renewed_while_the_run_is_watched_also_over_failures() {
    let (director, canned) = running().await;
    let args = Run {
        lease: Some(Duration::from_secs(1)),
        ..Run::default()
    };
    let leased = Wishes {
        invocation: Invocation::new(&args).unwrap(),
        ..wishes()
    };
    let (human, _words) = Human::new(false, drop);
    let (watched, _lines) = watching(director, leased, human);
    // The first renewals are refused by something in between.
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
