//! One run, played again and again, with something going wrong at every point of it (DESIGN,
//! section 6: 4 to 7). After each: an end, a legal history, nothing left.

use super::stage::{Director, Stage, name, task};
use crate::swarm::SwarmError;
use crate::task::state::{Outcome, Step};
use std::sync::Arc;
use tokio::sync::Notify;

/// Calls and records of the run when nothing goes wrong.
fn undisturbed() -> (usize, u64) {
    let stage = Stage::new();
    let seq = stage.life(|director| async move {
        let name = director.accepted(&task()).await;
        director.ended(&name).await.seq
    });
    (stage.fake.calls().len(), seq)
}

fn away() -> SwarmError {
    SwarmError::Unavailable {
        host: "unix:///fake.sock".into(),
        reason: "connection reset".into(),
    }
}

fn slow() -> SwarmError {
    SwarmError::TimedOut {
        what: "the call".into(),
        seconds: 30,
    }
}

fn refused() -> SwarmError {
    SwarmError::Rejected {
        what: "the call".into(),
        reason: "because".into(),
    }
}

/// Plays the run once. The definition may be refused when Docker fails just then; then nothing is there.
async fn play(director: Director) -> Option<Outcome> {
    match director.submit(&task()).await {
        Ok(_) => director.ended(&name("load")).await.outcome,
        Err(_) => {
            assert!(director.it.list().unwrap().is_empty());
            None
        }
    }
}

#[test]
fn every_call_fails_once_for_a_while() {
    let (calls, _) = undisturbed();
    for k in 1..=calls {
        let stage = Stage::new();
        stage.fake.fail_at(k, away());
        let outcome = stage.life(play);
        assert!(
            matches!(outcome, None | Some(Outcome::Finished)),
            "call {k}: {outcome:?}"
        );
    }
    println!("{calls} cases");
}

#[test]
fn every_call_succeeds_and_its_answer_is_lost() {
    let (calls, _) = undisturbed();
    for k in 1..=calls {
        let stage = Stage::new();
        stage.fake.lose_answer_at(k, slow());
        let outcome = stage.life(play);
        assert!(
            matches!(outcome, None | Some(Outcome::Finished)),
            "call {k}: {outcome:?}"
        );
    }
    println!("{calls} cases");
}

#[test]
fn every_call_is_refused_for_good() {
    let (calls, _) = undisturbed();
    let mut errored = 0;
    for k in 1..=calls {
        let stage = Stage::new();
        stage.fake.fail_at(k, refused());
        errored += u32::from(stage.life(play) == Some(Outcome::Errored));
    }
    println!("{calls} cases, {errored} ended errored");
    assert!(errored > 5);
}

#[test]
fn docker_goes_away_for_a_minute_at_every_call() {
    let (calls, _) = undisturbed();
    for k in 1..=calls {
        let stage = Stage::new();
        let fake = stage.fake.clone();
        let gone = Arc::new(Notify::new());
        let notify = Arc::clone(&gone);
        stage.fake.on_call(move |number, _| {
            if number == k {
                fake.down(true);
                notify.notify_one();
            }
        });
        let fake = stage.fake.clone();
        stage.life(|director| async move {
            let back = async {
                gone.notified().await;
                tokio::time::sleep(std::time::Duration::from_secs(60)).await;
                fake.down(false);
                std::future::pending::<()>().await;
            };
            tokio::select! {
                _ = play(director) => {}
                () = back => {}
            }
        });
    }
    println!("{calls} cases");
}

/// Crashes once when `crash` says so, restarts, and looks at the end.
fn crash_and_recover(stage: &Stage, wish: Wish) -> Option<Outcome> {
    stage.life(|director| async move {
        let name = name("load");
        director.it.get(&name).unwrap()?;
        match wish {
            Wish::None => {}
            Wish::Stop => {
                director.it.stop(&name).await.unwrap();
            }
            Wish::Delete => {
                director.it.delete(&name).await.unwrap();
                assert!(director.it.get(&name).unwrap().is_none());
                assert_eq!(director.fake.leftovers(), Default::default());
                return None;
            }
        }
        director.ended(&name).await.outcome
    })
}

#[derive(Clone, Copy)]
enum Wish {
    None,
    Stop,
    Delete,
}

fn crash_after_record(seq: u64) -> Stage {
    let stage = Stage::new();
    stage.life(|director| async move {
        let crash = director.it.shared().store.crash.clone();
        crash.set(seq);
        director.accepted(&task()).await;
        if seq > 1 {
            crash.reached().await;
            assert_eq!(director.state(&name("load")).seq, seq);
        }
    });
    stage
}

#[test]
fn crash_after_every_record_and_go_on() {
    let (_, records) = undisturbed();
    for seq in 1..=records {
        let stage = crash_after_record(seq);
        assert_eq!(
            crash_and_recover(&stage, Wish::None),
            Some(Outcome::Finished),
            "record {seq}"
        );
    }
    println!("{records} cases");
}

#[test]
fn crash_after_every_record_and_stop() {
    let (_, records) = undisturbed();
    for seq in 1..=records {
        let stage = crash_after_record(seq);
        let outcome = crash_and_recover(&stage, Wish::Stop).unwrap();
        assert!(
            matches!(outcome, Outcome::Stopped | Outcome::Finished),
            "record {seq}: {outcome:?}"
        );
    }
    println!("{records} cases");
}

#[test]
fn crash_after_every_record_and_delete() {
    let (_, records) = undisturbed();
    for seq in 1..=records {
        crash_and_recover(&crash_after_record(seq), Wish::Delete);
    }
    println!("{records} cases");
}

#[test]
fn crash_after_every_call_before_it_is_recorded() {
    let (calls, _) = undisturbed();
    for k in 1..=calls {
        let stage = Stage::new();
        let reached = Arc::new(Notify::new());
        let notify = Arc::clone(&reached);
        stage.fake.on_call(move |number, _| {
            if number == k {
                notify.notify_one();
            }
        });
        stage.life(|director| async move {
            tokio::select! {
                biased;
                () = reached.notified() => {}
                outcome = play(director) => assert_eq!(outcome, Some(Outcome::Finished)),
            }
        });
        let outcome = crash_and_recover(&stage, Wish::None);
        assert!(
            matches!(outcome, None | Some(Outcome::Finished)),
            "call {k}: {outcome:?}"
        );
    }
    println!("{calls} cases");
}

#[test]
fn crash_twice() {
    let (_, records) = undisturbed();
    for seq in (2..records).step_by(3) {
        let stage = crash_after_record(seq);
        let second = stage.life(|director| async move {
            // The first record of the second life, or its end.
            director
                .until(&name("load"), |state| {
                    state.seq > seq || state.step == Step::Done
                })
                .await
                .seq
        });
        assert!(second >= seq);
        assert_eq!(
            crash_and_recover(&stage, Wish::None),
            Some(Outcome::Finished),
            "record {seq}"
        );
    }
}
