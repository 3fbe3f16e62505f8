//! One run, repeated with a fault at every point of it (ARCHITECTURE.md, Invariants: 4 to 7). Each time the run must
//! complete with a legal history and leave no objects.

use super::sample::{Sampled, sample};
use super::simulation::{Director, Simulation, name, task, with_bundle};
use crate::stop_and_delete::{ControlError, StopOptions};
use atq_engine_swarm::SwarmError;
use atq_store::testing::CrashPoint;
use atq_task::state::{Outcome, Step};
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::sync::Notify;

/// The tasks: one with a wait command and a delay, one with the other options that affect the steps, and one with
/// bundles.
fn tasks() -> [Value; 3] {
    let mut other = task();
    other["waitCommand"] = Value::Null;
    other["delay"] = json!(0);
    other["worker"]["readiness"] = json!({"exec": "probe", "timeout": 20});
    other["onWorkerLoss"] = json!("abort");
    other["exclusive"] = json!("shop");
    [task(), other, with_bundle()]
}

/// Runs `case` for each task and each number up to the result of `max`, which is given the numbers of calls and records
/// of an undisturbed run. In a sample, only some of these cases run. Returns and prints the number of cases that ran.
fn for_each(max: impl Fn((usize, u64)) -> usize, mut case: impl FnMut(&Value, usize)) -> Sampled {
    let tasks = tasks();
    let numbers = |task| 1..=max(undisturbed(task));
    let cases = tasks
        .iter()
        .flat_map(|task| numbers(task).map(move |k| (task, k)));
    let (chosen, sampled) = sample(cases.collect());
    for (task, k) in chosen {
        case(task, k);
    }
    println!("{sampled}");
    sampled
}

fn calls((calls, _): (usize, u64)) -> usize {
    calls
}

fn records((_, records): (usize, u64)) -> usize {
    usize::try_from(records).unwrap()
}

/// The numbers of calls and records of an undisturbed run.
fn undisturbed(task: &Value) -> (usize, u64) {
    let simulation = Simulation::for_task(task);
    let seq = simulation.run(|director| async move {
        let name = director.accepted(task).await;
        director.wait_done(&name).await.seq
    });
    (simulation.fake.calls().len(), seq)
}

fn unavailable() -> SwarmError {
    SwarmError::Unavailable {
        host: "unix:///fake.sock".into(),
        reason: "connection reset".into(),
    }
}

fn timed_out() -> SwarmError {
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

/// Runs the task once. If Docker fails during the submission, the definition is refused and nothing exists.
async fn run_task(director: Director, task: &Value) -> Option<Outcome> {
    match director.submit(task).await {
        Ok(_) => director.wait_done(&name("load")).await.outcome,
        Err(_) => {
            assert!(director.listed().await.is_empty());
            None
        }
    }
}

#[test]
fn every_call_fails_once_with_a_temporary_error() {
    for_each(calls, |task, k| {
        let simulation = Simulation::for_task(task);
        simulation.fake.fail_at(k, unavailable());
        let outcome = simulation.run(|director| run_task(director, task));
        assert!(
            matches!(outcome, None | Some(Outcome::Finished)),
            "call {k}: {outcome:?}"
        );
    });
}

#[test]
fn every_call_succeeds_and_its_response_is_lost() {
    for_each(calls, |task, k| {
        let simulation = Simulation::for_task(task);
        simulation.fake.lose_answer_at(k, timed_out());
        let outcome = simulation.run(|director| run_task(director, task));
        assert!(
            matches!(outcome, None | Some(Outcome::Finished)),
            "call {k}: {outcome:?}"
        );
    });
}

#[test]
fn every_call_fails_once_with_a_permanent_error() {
    let mut errored = 0_usize;
    let sampled = for_each(calls, |task, k| {
        let simulation = Simulation::for_task(task);
        simulation.fake.fail_at(k, refused());
        let outcome = simulation.run(|director| run_task(director, task));
        errored += usize::from(outcome == Some(Outcome::Errored));
    });
    println!("{errored} ended errored");
    assert!(
        errored > 10 * sampled.ran / sampled.of,
        "{errored} of {sampled}"
    );
}

#[test]
fn docker_is_unavailable_for_a_minute_from_every_call() {
    for_each(calls, |task, k| {
        let simulation = Simulation::for_task(task);
        let fake = simulation.fake.clone();
        let gone = Arc::new(Notify::new());
        let notify = Arc::clone(&gone);
        simulation.fake.on_call(move |number, _| {
            if number == k {
                fake.down(true);
                notify.notify_one();
            }
        });
        let fake = simulation.fake.clone();
        simulation.run(|director| async move {
            let restore = async {
                gone.notified().await;
                tokio::time::sleep(std::time::Duration::from_secs(60)).await;
                fake.down(false);
                std::future::pending::<()>().await;
            };
            tokio::select! {
                _ = run_task(director, task) => {}
                () = restore => {}
            }
        });
    });
}

/// A request to end the run.
#[derive(Debug, Clone, Copy)]
enum Request {
    None,
    Stop,
    StopByForce,
    Delete,
    DeleteByForce,
}

impl Request {
    fn options(self) -> StopOptions {
        StopOptions {
            key: None,
            by: None,
            force: matches!(self, Self::StopByForce | Self::DeleteByForce),
        }
    }

    /// Sends the request twice and waits for the end of the run; `None` if the task is deleted.
    async fn send(self, director: Director) -> Option<Outcome> {
        let name = name("load");
        director.orchestrator.get(&name).await.unwrap()?;
        match self {
            Self::None => {}
            Self::Stop | Self::StopByForce => {
                for _ in 0..2 {
                    director
                        .orchestrator
                        .stop_with(&name, &self.options())
                        .await
                        .unwrap();
                }
            }
            Self::Delete | Self::DeleteByForce => {
                let options = self.options();
                let delete = || director.orchestrator.delete_with(&name, &options);
                let (one, two) = tokio::join!(delete(), delete());
                // A request that begins after the other one has ended finds no task.
                for other in [&one, &two] {
                    assert!(
                        matches!(other, Ok(()) | Err(ControlError::NotFound { .. })),
                        "{other:?}"
                    );
                }
                one.or(two).unwrap();
                assert!(director.orchestrator.get(&name).await.unwrap().is_none());
                assert_eq!(director.fake.leftovers(), Default::default());
                return None;
            }
        }
        director.wait_done(&name).await.outcome
    }
}

/// Runs the task until the record is on the disk, then calls `then`.
fn after_record<T>(
    simulation: &Simulation,
    task: &Value,
    seq: usize,
    then: impl AsyncFnOnce(Director, CrashPoint) -> T,
) -> T {
    let seq = u64::try_from(seq).unwrap();
    simulation.run(|director| async move {
        let point = director.orchestrator.shared().store.crash.clone();
        point.set(seq);
        director.accepted(task).await;
        if seq > 1 {
            point.reached().await;
            assert_eq!(director.state(&name("load")).seq, seq);
        }
        then(director, point).await
    })
}

/// A simulation whose Director was killed right after the record.
fn crash_after_record(task: &Value, seq: usize) -> Simulation {
    let simulation = Simulation::for_task(task);
    after_record(&simulation, task, seq, async |_, _| ());
    simulation
}

fn request_after_record(request: Request) {
    for_each(records, |task, seq| {
        let simulation = Simulation::for_task(task);
        let outcome = after_record(&simulation, task, seq, async |director, point| {
            let resume = async {
                // The request arrives before the driver continues.
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
                point.resume();
            };
            tokio::join!(request.send(director), resume).0
        });
        let stopped = matches!(outcome, None | Some(Outcome::Stopped | Outcome::Finished));
        assert!(stopped, "record {seq}, {request:?}: {outcome:?}");
    });
}

#[test]
fn stop_after_every_record() {
    request_after_record(Request::Stop);
}

#[test]
fn delete_after_every_record() {
    request_after_record(Request::Delete);
}

#[test]
fn stop_by_force_after_every_record() {
    request_after_record(Request::StopByForce);
}

#[test]
fn delete_by_force_after_every_record() {
    request_after_record(Request::DeleteByForce);
}

#[test]
fn crash_after_every_record_and_resume() {
    for_each(records, |task, seq| {
        let simulation = crash_after_record(task, seq);
        let outcome = simulation.run(|director| Request::None.send(director));
        assert_eq!(outcome, Some(Outcome::Finished), "record {seq}");
    });
}

#[test]
fn crash_after_every_record_and_stop() {
    for_each(records, |task, seq| {
        let simulation = crash_after_record(task, seq);
        let outcome = simulation.run(|director| Request::Stop.send(director));
        assert!(
            matches!(outcome, Some(Outcome::Stopped | Outcome::Finished)),
            "record {seq}: {outcome:?}"
        );
    });
}

#[test]
fn crash_after_every_record_and_stop_by_force() {
    for_each(records, |task, seq| {
        let simulation = crash_after_record(task, seq);
        let outcome = simulation.run(|director| Request::StopByForce.send(director));
        assert!(
            matches!(outcome, Some(Outcome::Stopped | Outcome::Finished)),
            "record {seq}: {outcome:?}"
        );
    });
}

#[test]
fn crash_after_every_record_and_delete() {
    for_each(records, |task, seq| {
        crash_after_record(task, seq).run(|director| Request::Delete.send(director));
    });
}

#[test]
fn crash_after_every_call_before_it_is_recorded() {
    for_each(calls, |task, k| {
        let simulation = Simulation::for_task(task);
        let reached = Arc::new(Notify::new());
        let notify = Arc::clone(&reached);
        simulation.fake.on_call(move |number, _| {
            if number == k {
                notify.notify_one();
            }
        });
        simulation.run(|director| async move {
            tokio::select! {
                biased;
                () = reached.notified() => {}
                outcome = run_task(director, task) => assert_eq!(outcome, Some(Outcome::Finished)),
            }
        });
        let outcome = simulation.run(|director| Request::None.send(director));
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
        let simulation = crash_after_record(task, seq);
        let first = u64::try_from(seq).unwrap();
        let second = simulation.run(|director| async move {
            // The first record of the second Director, or the end of the run.
            director
                .wait_until(&name("load"), |state| {
                    state.seq > first || state.step == Step::Done
                })
                .await
                .seq
        });
        assert!(second >= first);
        let outcome = simulation.run(|director| Request::None.send(director));
        assert_eq!(outcome, Some(Outcome::Finished), "record {seq}");
    });
}
