//! One run, played again and again, with something going wrong at every point of it (DESIGN,
//! section 6: 4 to 7). After each: an end, a legal history, nothing left.

use super::stage::{Director, Stage, name, task, with_bundle};
use crate::stop_and_delete::StopOptions;
use atq_engine_swarm::SwarmError;
use atq_store::testing::CrashPoint;
use atq_task::state::{Outcome, Step};
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::sync::Notify;

/// The tasks that are played: one with a wait command and a delay, one with everything else that
/// makes a difference to the steps, and one with bundles.
fn tasks() -> [Value; 3] {
    let mut other = task();
    other["waitCommand"] = Value::Null;
    other["delay"] = json!(0);
    other["worker"]["readiness"] = json!({"exec": "probe", "timeout": 20});
    other["onWorkerLoss"] = json!("abort");
    other["exclusive"] = json!("shop");
    [task(), other, with_bundle()]
}

/// Plays `case` for each task and each number up to the one that `most` takes from the calls and
/// records of a run in which nothing goes wrong. Prints how many cases there were.
fn for_each(most: impl Fn((usize, u64)) -> usize, mut case: impl FnMut(&Value, usize)) {
    let mut cases = 0;
    for task in tasks() {
        for k in 1..=most(undisturbed(&task)) {
            case(&task, k);
            cases += 1;
        }
    }
    println!("{cases} cases");
}

fn calls((calls, _): (usize, u64)) -> usize {
    calls
}

fn records((_, records): (usize, u64)) -> usize {
    usize::try_from(records).unwrap()
}

/// Calls and records of the run when nothing goes wrong.
fn undisturbed(task: &Value) -> (usize, u64) {
    let stage = Stage::for_task(task);
    let seq = stage.life(|director| async move {
        let name = director.accepted(task).await;
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
async fn play(director: Director, task: &Value) -> Option<Outcome> {
    match director.submit(task).await {
        Ok(_) => director.ended(&name("load")).await.outcome,
        Err(_) => {
            assert!(director.listed().await.is_empty());
            None
        }
    }
}

#[test]
fn every_call_fails_once_for_a_while() {
    for_each(calls, |task, k| {
        let stage = Stage::for_task(task);
        stage.fake.fail_at(k, away());
        let outcome = stage.life(|director| play(director, task));
        assert!(
            matches!(outcome, None | Some(Outcome::Finished)),
            "call {k}: {outcome:?}"
        );
    });
}

#[test]
fn every_call_succeeds_and_its_answer_is_lost() {
    for_each(calls, |task, k| {
        let stage = Stage::for_task(task);
        stage.fake.lose_answer_at(k, slow());
        let outcome = stage.life(|director| play(director, task));
        assert!(
            matches!(outcome, None | Some(Outcome::Finished)),
            "call {k}: {outcome:?}"
        );
    });
}

#[test]
fn every_call_is_refused_for_good() {
    let mut errored = 0;
    for_each(calls, |task, k| {
        let stage = Stage::for_task(task);
        stage.fake.fail_at(k, refused());
        let outcome = stage.life(|director| play(director, task));
        errored += u32::from(outcome == Some(Outcome::Errored));
    });
    println!("{errored} ended errored");
    assert!(errored > 10);
}

#[test]
fn docker_goes_away_for_a_minute_at_every_call() {
    for_each(calls, |task, k| {
        let stage = Stage::for_task(task);
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
                _ = play(director, task) => {}
                () = back => {}
            }
        });
    });
}

/// A wish for the run.
#[derive(Debug, Clone, Copy)]
enum Wish {
    None,
    Stop,
    StopByForce,
    Delete,
    DeleteByForce,
}

impl Wish {
    fn ending(self) -> StopOptions {
        StopOptions {
            key: None,
            force: matches!(self, Self::StopByForce | Self::DeleteByForce),
        }
    }

    /// Utters it, twice, and looks at the end; `None` when nothing is left to look at.
    async fn come_true(self, director: Director) -> Option<Outcome> {
        let name = name("load");
        director.it.get(&name).await.unwrap()?;
        match self {
            Self::None => {}
            Self::Stop | Self::StopByForce => {
                for _ in 0..2 {
                    director.it.stop_by(&name, &self.ending()).await.unwrap();
                }
            }
            Self::Delete | Self::DeleteByForce => {
                let ending = self.ending();
                let delete = || director.it.delete_by(&name, &ending);
                let (one, two) = tokio::join!(delete(), delete());
                one.and(two).unwrap();
                assert!(director.it.get(&name).await.unwrap().is_none());
                assert_eq!(director.fake.leftovers(), Default::default());
                return None;
            }
        }
        director.ended(&name).await.outcome
    }
}

/// Plays until the record is on the disk, and then `then`.
fn after_record<T>(
    stage: &Stage,
    task: &Value,
    seq: usize,
    then: impl AsyncFnOnce(Director, CrashPoint) -> T,
) -> T {
    let seq = u64::try_from(seq).unwrap();
    stage.life(|director| async move {
        let point = director.it.shared().store.crash.clone();
        point.set(seq);
        director.accepted(task).await;
        if seq > 1 {
            point.reached().await;
            assert_eq!(director.state(&name("load")).seq, seq);
        }
        then(director, point).await
    })
}

/// A stage whose Director has died right after the record.
fn crash_after_record(task: &Value, seq: usize) -> Stage {
    let stage = Stage::for_task(task);
    after_record(&stage, task, seq, async |_, _| ());
    stage
}

fn wish_after_record(wish: Wish) {
    for_each(records, |task, seq| {
        let stage = Stage::for_task(task);
        let outcome = after_record(&stage, task, seq, async |director, point| {
            let go_on = async {
                // The wish is there before the driver goes on.
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
                point.go_on();
            };
            tokio::join!(wish.come_true(director), go_on).0
        });
        let stopped = matches!(outcome, None | Some(Outcome::Stopped | Outcome::Finished));
        assert!(stopped, "record {seq}, {wish:?}: {outcome:?}");
    });
}

#[test]
fn stop_after_every_record() {
    wish_after_record(Wish::Stop);
}

#[test]
fn delete_after_every_record() {
    wish_after_record(Wish::Delete);
}

#[test]
fn stop_by_force_after_every_record() {
    wish_after_record(Wish::StopByForce);
}

#[test]
fn delete_by_force_after_every_record() {
    wish_after_record(Wish::DeleteByForce);
}

#[test]
fn crash_after_every_record_and_go_on() {
    for_each(records, |task, seq| {
        let stage = crash_after_record(task, seq);
        let outcome = stage.life(|director| Wish::None.come_true(director));
        assert_eq!(outcome, Some(Outcome::Finished), "record {seq}");
    });
}

#[test]
fn crash_after_every_record_and_stop() {
    for_each(records, |task, seq| {
        let stage = crash_after_record(task, seq);
        let outcome = stage.life(|director| Wish::Stop.come_true(director));
        assert!(
            matches!(outcome, Some(Outcome::Stopped | Outcome::Finished)),
            "record {seq}: {outcome:?}"
        );
    });
}

#[test]
fn crash_after_every_record_and_stop_by_force() {
    for_each(records, |task, seq| {
        let stage = crash_after_record(task, seq);
        let outcome = stage.life(|director| Wish::StopByForce.come_true(director));
        assert!(
            matches!(outcome, Some(Outcome::Stopped | Outcome::Finished)),
            "record {seq}: {outcome:?}"
        );
    });
}

#[test]
fn crash_after_every_record_and_delete() {
    for_each(records, |task, seq| {
        crash_after_record(task, seq).life(|director| Wish::Delete.come_true(director));
    });
}

#[test]
fn crash_after_every_call_before_it_is_recorded() {
    for_each(calls, |task, k| {
        let stage = Stage::for_task(task);
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
                outcome = play(director, task) => assert_eq!(outcome, Some(Outcome::Finished)),
            }
        });
        let outcome = stage.life(|director| Wish::None.come_true(director));
        assert!(
            matches!(outcome, None | Some(Outcome::Finished)),
            "call {k}: {outcome:?}"
        );
    });
}

#[test]
fn crash_twice() {
    for_each(records, |task, seq| {
        if seq % 3 != 2 {
            return;
        }
        let stage = crash_after_record(task, seq);
        let first = u64::try_from(seq).unwrap();
        let second = stage.life(|director| async move {
            // The first record of the second life, or its end.
            director
                .until(&name("load"), |state| {
                    state.seq > first || state.step == Step::Done
                })
                .await
                .seq
        });
        assert!(second >= first);
        let outcome = stage.life(|director| Wish::None.come_true(director));
        assert_eq!(outcome, Some(Outcome::Finished), "record {seq}");
    });
}
