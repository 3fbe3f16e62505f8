//! Conditions that end a run early.

use super::live::{Writer, report, results, running, simulation, worker};
use super::simulation::{Director, simple};
use atq_task::event::Event;
use atq_task::spec::TaskName;
use atq_task::state::{Outcome, State, Step};
use atq_task::verdict::Verdict;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::sleep;

/// A test of one worker with these conditions.
fn task(name: &str, conditions: Value) -> Value {
    let mut task = simple(name);
    task["worker"]["replicas"] = json!(1);
    task["stopWhen"] = conditions;
    task
}

/// Number of events that fix the outcome.
fn outcomes(director: &Director, name: &TaskName) -> usize {
    let events = director.events(name);
    let is_outcome = |event: &&Event| {
        matches!(
            event,
            Event::Stopped
                | Event::StopConditionMet { .. }
                | Event::MasterEnded { .. }
                | Event::Failed { .. }
        )
    };
    events.iter().filter(is_outcome).count()
}

fn judgement(state: &State) -> (Verdict, String) {
    let judgement = state.judgement.clone().unwrap();
    (judgement.verdict, judgement.reasons.join("; "))
}

#[test]
fn a_condition_that_is_met_stops_the_run_which_fails() {
    let (simulation, files) = simulation(600);
    simulation.run(|director| async move {
        let mut task = task(
            "failing",
            json!(["p95 > 10s for 5s", "errors > 20% for 3s"]),
        );
        task["criteria"] = json!(["errors < 1%", "p95 of Search < 1s"]);
        task["minSamples"] = json!(100_000);
        let name = running(&director, &task).await;
        let mut writer = Writer::new(&files, &[1]);
        writer.write(&director, 5, 1).await;
        assert_eq!(director.state(&name).outcome, None);
        writer.write(&director, 6, 5).await;
        let state = director.wait_done(&name).await;
        assert_eq!(state.outcome, Some(Outcome::Stopped));
        let lasted = state.finished_at.unwrap().since(state.started_at.unwrap());
        assert!(lasted < Duration::from_secs(12), "{lasted:?}");
        let met = state.stopped_when.clone().unwrap();
        assert_eq!(met.condition, "errors > 20% for 3s");
        let (verdict, reasons) = judgement(&state);
        let text = format!(
            "the run was stopped, as `errors > 20% for 3s` was met: {}",
            met.seen
        );
        assert_eq!((verdict, reasons), (Verdict::Fail, text));
        assert_eq!(outcomes(&director, &name), 1);
        let report = report(&director, &name).await;
        let samples = report.total.samples;
        assert!((55..=80).contains(&samples), "{samples}");
        let events = director.events(&name);
        assert!(events.contains(&Event::StopConditionMet {
            condition: met.condition,
            seen: met.seen
        }));
    });
}

#[test]
fn a_condition_that_is_not_met_does_not_stop_the_run_which_passes() {
    let (simulation, files) = simulation(12);
    simulation.run(|director| async move {
        let task = task(
            "fine",
            json!(["errors > 20% for 3s", "p95 of Search > 1ms for 1s"]),
        );
        let name = running(&director, &task).await;
        let mut writer = Writer::new(&files, &[1]);
        writer.write(&director, 10, 1).await;
        let snapshot = results(&director, &name).await.snapshot().await;
        assert_eq!(snapshot.conditions[0].seen, Ok("10 %".to_owned()));
        let unknown = snapshot.conditions[1].seen.clone().unwrap_err();
        assert_eq!(unknown, "there is no sample of `Search` yet");
        let state = director.wait_done(&name).await;
        assert_eq!(state.outcome, Some(Outcome::Finished));
        assert_eq!(judgement(&state), (Verdict::Pass, String::new()));
    });
}

#[test]
fn a_run_with_conditions_and_without_samples_is_inconclusive() {
    let (simulation, _) = simulation(10);
    simulation.run(|director| async move {
        let name = running(
            &director,
            &task("silent", json!(["throughput < 1/s for 2s"])),
        )
        .await;
        let state = director.wait_done(&name).await;
        assert_eq!(state.outcome, Some(Outcome::Finished));
        let (verdict, reasons) = judgement(&state);
        assert_eq!(verdict, Verdict::Invalid);
        assert!(reasons.starts_with("there is no sample"), "{reasons}");
    });
}

#[test]
fn a_test_that_hangs_is_stopped() {
    let (simulation, files) = simulation(600);
    simulation.run(|director| async move {
        let name = running(
            &director,
            &task("hanging", json!(["throughput < 1/s for 5s"])),
        )
        .await;
        let mut writer = Writer::new(&files, &[1]);
        writer.write(&director, 10, 0).await;
        assert_eq!(director.state(&name).outcome, None);
        let state = director.wait_done(&name).await;
        assert_eq!(state.outcome, Some(Outcome::Stopped));
        assert_eq!(judgement(&state).0, Verdict::Fail, "{:?}", state.judgement);
        let lasted = state.finished_at.unwrap().since(state.started_at.unwrap());
        assert!(lasted < Duration::from_secs(45), "{lasted:?}");
    });
}

#[test]
fn files_that_are_not_read_stop_no_run() {
    let (simulation, files) = simulation(60);
    simulation.run(|director| async move {
        let name = running(
            &director,
            &task("unread", json!(["throughput < 1/s for 2s"])),
        )
        .await;
        let mut writer = Writer::new(&files, &[1]);
        writer.write(&director, 8, 0).await;
        files.fail(Some("no node reaches the Director"));
        sleep(Duration::from_secs(10)).await;
        let snapshot = results(&director, &name).await.snapshot().await;
        let unknown = snapshot.conditions[0].seen.clone().unwrap_err();
        assert!(
            unknown.contains("no node reaches the Director"),
            "{unknown}"
        );
        let state = director.wait_done(&name).await;
        assert_eq!(state.outcome, Some(Outcome::Finished));
        let notes = report(&director, &name).await.notes;
        let is_noted =
            |note: &String| note.starts_with("`stopWhen` was not evaluated until the end");
        assert!(notes.iter().any(is_noted), "{notes:?}");
    });
}

#[test]
fn samples_that_were_written_during_a_downtime_are_read_before_a_condition_is_evaluated() {
    const DOWNTIME: u64 = 200;
    let (simulation, files) = simulation(600);
    let mut writer = Writer::new(&files, &[1]);
    let definition = task("downtime", json!(["throughput < 1/s for 60s"]));
    let (name, mut writer, ended) = simulation.run(|director| async move {
        let name = running(&director, &definition).await;
        writer.write(&director, 10, 0).await;
        (name, writer, director.orchestrator.shared().clock.now())
    });
    for number in 0..DOWNTIME * 10 {
        let end = ended.0 + number * 100;
        writer.append(|_| format!("{},10,Login,true\n", end - 10));
    }
    simulation.downtime(Duration::from_secs(DOWNTIME));
    files.disconnect(worker(1));
    simulation.run(|director| async move {
        // Its carriers reach the Director a moment after its start.
        sleep(Duration::from_secs(3)).await;
        files.connect(worker(1));
        writer.write(&director, 20, 0).await;
        let snapshot = results(&director, &name).await.snapshot().await;
        let seen = snapshot.conditions[0].seen.clone();
        assert!(seen.is_ok(), "{seen:?}");
        let state = director.state(&name);
        assert_eq!(state.outcome, None, "{:?}", state.stopped_when);
    });
}

#[test]
fn a_condition_that_never_had_a_value_is_noted() {
    let (simulation, files) = simulation(10);
    simulation.run(|director| async move {
        let conditions = json!(["errors > 50% for 2s", "p95 of Logn > 2s for 1m"]);
        let name = running(&director, &task("misspelled", conditions)).await;
        let mut writer = Writer::new(&files, &[1]);
        writer.write(&director, 8, 0).await;
        let state = director.wait_done(&name).await;
        assert_eq!(judgement(&state).0, Verdict::Pass);
        let notes = report(&director, &name).await.notes;
        let never = "the stop condition `p95 of Logn > 2s for 60s` was never evaluated: ";
        assert!(
            notes.iter().any(|note| note.starts_with(never)),
            "{notes:?}"
        );
        assert_eq!(
            notes
                .iter()
                .filter(|note| note.contains("stop condition"))
                .count(),
            1,
            "{notes:?}"
        );
    });
}

#[test]
fn files_that_are_not_followed_stop_no_run_and_delay_no_figures() {
    let (simulation, files) = simulation(60);
    simulation.run(|director| async move {
        files.leave_out(worker(1), Some("there are too many files"));
        let conditions = json!(["errors > 20% for 3s"]);
        let name = running(&director, &task("left-out", conditions)).await;
        let mut writer = Writer::new(&files, &[1]);
        let live = results(&director, &name).await;
        for _ in 0..5 {
            writer.write(&director, 2, 5).await;
            let snapshot = live.snapshot().await;
            let text = "some results of worker.1 are not read: there are too many files";
            assert_eq!(snapshot.problem.as_deref(), Some(text));
            assert_eq!(snapshot.conditions[0].seen, Err(text.to_owned()));
            assert!(snapshot.lag.unwrap() < 100, "{:?}", snapshot.lag);
        }
        assert_eq!(director.state(&name).outcome, None);
        files.leave_out(worker(1), None);
        writer.write(&director, 5, 5).await;
        let state = director.wait_done(&name).await;
        assert_eq!(state.outcome, Some(Outcome::Stopped));
    });
}

#[test]
fn files_that_were_not_followed_are_in_doubt_after_the_end_of_their_container() {
    let (simulation, files) = simulation(20);
    simulation.run(|director| async move {
        let reason = "there are too many files";
        files.leave_out(worker(1), Some(reason));
        let conditions = json!(["errors > 20% for 3s"]);
        let name = running(&director, &task("ended", conditions)).await;
        let mut writer = Writer::new(&files, &[1]);
        writer.write(&director, 5, 5).await;
        let state = director.wait_done(&name).await;
        assert_eq!(state.outcome, Some(Outcome::Finished));
        let notes = report(&director, &name).await.notes;
        let is_noted = |note: &String| note.contains("was not evaluated") && note.contains(reason);
        assert!(notes.iter().any(is_noted), "{notes:?}");
    });
}

#[test]
fn a_condition_is_met_after_a_restart() {
    let (simulation, files) = simulation(600);
    let mut writer = Writer::new(&files, &[1]);
    let (name, mut writer) = simulation.run(|director| async move {
        let name = running(&director, &task("again", json!(["errors > 20% for 5s"]))).await;
        writer.write(&director, 3, 5).await;
        (name, writer)
    });
    simulation.run(|director| async move {
        assert_eq!(director.state(&name).outcome, None);
        writer.write(&director, 8, 5).await;
        let state = director.wait_done(&name).await;
        assert_eq!(state.outcome, Some(Outcome::Stopped));
        assert_eq!(judgement(&state).0, Verdict::Fail);
        assert_eq!(outcomes(&director, &name), 1);
    });
}

#[test]
fn a_stop_or_the_end_of_the_master_at_the_same_time_is_one_outcome() {
    for (seconds, is_stopped) in [(600, true), (9, false), (10, false), (11, false)] {
        let (simulation, files) = simulation(seconds);
        simulation.run(|director| async move {
            let name = running(&director, &task("race", json!(["errors > 20% for 3s"]))).await;
            let mut writer = Writer::new(&files, &[1]);
            writer.write(&director, 3, 0).await;
            let stopping = director.clone();
            let to_stop = name.clone();
            let writing = writer.write(&director, 6, 9);
            let stop = async move {
                stopping
                    .wait_until(&to_stop, |state| state.outcome.is_some() || !is_stopped)
                    .await;
                if is_stopped {
                    stopping.orchestrator.stop(&to_stop).await.unwrap();
                }
            };
            tokio::join!(writing, stop);
            let state = director.wait_done(&name).await;
            assert_eq!(
                outcomes(&director, &name),
                1,
                "{:?}",
                director.events(&name)
            );
            assert_eq!(
                state.stopped_when.is_some(),
                state.outcome == Some(Outcome::Stopped)
            );
        });
    }
}

#[test]
fn a_lost_worker_does_not_hide_a_condition_and_makes_the_run_inconclusive() {
    let (simulation, files) = simulation(600);
    simulation.run(|director| async move {
        let mut task = task("both", json!(["errors > 20% for 3s"]));
        task["worker"]["replicas"] = json!(2);
        let name = running(&director, &task).await;
        let state = director.wait_for_step(&name, Step::Running).await;
        let mut writer = Writer::new(&files, &[1, 2]);
        writer.write(&director, 3, 0).await;
        director.fake.kill(&state.worker.unwrap(), 2, 137);
        files.disconnect(worker(2));
        let mut writer = Writer::new(&files, &[1]);
        writer.write(&director, 8, 9).await;
        let state = director.wait_done(&name).await;
        assert_eq!(state.outcome, Some(Outcome::Stopped));
        let (verdict, reasons) = judgement(&state);
        assert_eq!(verdict, Verdict::Invalid, "{reasons}");
        assert!(
            reasons.contains("worker 2 was lost") && reasons.contains("errors > 20%"),
            "{reasons}"
        );
    });
}

#[test]
fn workers_that_end_before_their_master_leave_no_doubt() {
    let (simulation, files) = simulation(600);
    simulation
        .fake
        .image("tool:1")
        .exits(0)
        .after(Duration::from_secs(10));
    simulation.run(|director| async move {
        let name = running(
            &director,
            &task("ended", json!(["throughput < 1/s for 5s"])),
        )
        .await;
        let mut writer = Writer::new(&files, &[1]);
        writer.write(&director, 8, 0).await;
        sleep(Duration::from_secs(3)).await;
        // Nothing is read any more of a container that has ended.
        files.disconnect(worker(1));
        let state = director.wait_done(&name).await;
        assert_eq!(state.outcome, Some(Outcome::Stopped));
        let lasted = state.finished_at.unwrap().since(state.started_at.unwrap());
        assert!(lasted < Duration::from_secs(60), "{lasted:?}");
    });
}
