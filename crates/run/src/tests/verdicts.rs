//! Verdicts of whole runs.

use super::simulation::{Director, Simulation, task};
use atq_engine_swarm::Swarm;
use atq_task::event::Event;
use atq_task::spec::TaskName;
use atq_task::state::{Outcome, State, Step};
use atq_task::verdict::{Judgement, Verdict};
use serde_json::{Value, json};
use std::time::Duration;

/// A test with criteria. The master of [`Simulation`] writes no results by default.
fn with_criteria(criteria: Value) -> Value {
    let mut task = task();
    task["criteria"] = criteria;
    task
}

/// Samples with these durations, dated within the run of the master in simulated time.
fn jtl(director: &Director, millis: &[u64]) -> Vec<u8> {
    let mut text = "timeStamp,elapsed,label,responseCode,success\n".to_owned();
    // The delay of 2 s begins now; then the master runs for 3 s.
    let at = director.orchestrator.shared().clock.now().0 + 3000;
    for (number, elapsed) in millis.iter().enumerate() {
        text.push_str(&format!(
            "{},{elapsed},Login,200,true\n",
            at + number as u64
        ));
    }
    text.into_bytes()
}

/// Runs a task whose master writes samples with these durations.
async fn run(director: &Director, task: &Value, results: &[u64]) -> (TaskName, State) {
    let name = director.accepted(task).await;
    director.wait_for_step(&name, Step::Delay).await;
    let content = jtl(director, results);
    if !results.is_empty() {
        director
            .fake
            .image("boss:1")
            .writes_result("results.jtl", &content);
    }
    let state = director.wait_done(&name).await;
    (name, state)
}

fn judgement(state: &State) -> Judgement {
    state.judgement.clone().unwrap()
}

#[test]
fn a_run_whose_criteria_hold_passes_and_its_report_is_kept() {
    let simulation = Simulation::new();
    simulation.run(|director| async move {
        let task = with_criteria(json!(["p95 of Login < 500ms", "errors = 0"]));
        let (name, state) = run(&director, &task, &[100, 200, 300]).await;
        let judgement = judgement(&state);
        assert_eq!(judgement.verdict, Verdict::Pass, "{judgement:?}");
        assert_eq!(judgement.criteria.len(), 2);
        let evidence = &director.orchestrator.shared().evidence;
        let report = evidence.report(&name, &state.run).await.unwrap().unwrap();
        assert_eq!(report.total.samples, 3);
    });
}

#[test]
fn a_criterion_that_does_not_hold_fails_a_run_that_finished() {
    let simulation = Simulation::new();
    simulation.run(|director| async move {
        let task = with_criteria(json!(["max < 250ms", "samples >= 3"]));
        let (_, state) = run(&director, &task, &[100, 200, 300]).await;
        assert_eq!(state.outcome, Some(Outcome::Finished));
        let judgement = judgement(&state);
        assert_eq!(judgement.verdict, Verdict::Fail, "{judgement:?}");
        assert_eq!(
            (
                judgement.criteria[0].seen.as_str(),
                judgement.criteria[0].wanted.as_str()
            ),
            ("300 ms", "< 250 ms")
        );
    });
}

#[test]
fn a_run_without_samples_does_not_pass() {
    let simulation = Simulation::new();
    simulation.run(|director| async move {
        let (_, state) = run(&director, &with_criteria(json!(["errors < 1%"])), &[]).await;
        assert_eq!(state.outcome, Some(Outcome::Finished));
        let judgement = judgement(&state);
        assert_eq!(judgement.verdict, Verdict::Invalid);
        assert!(
            judgement.reasons[0].starts_with("there is no sample"),
            "{judgement:?}"
        );
    });
}

#[test]
fn the_verdict_without_criteria_depends_on_the_exit_code() {
    let simulation = Simulation::new();
    simulation.run(|director| async move {
        let (_, state) = run(&director, &task(), &[]).await;
        assert_eq!(judgement(&state).verdict, Verdict::Pass);
    });
    let simulation = Simulation::new();
    simulation
        .fake
        .image("boss:1")
        .exits(3)
        .after(Duration::from_secs(1));
    simulation.run(|director| async move {
        let (_, state) = run(&director, &task(), &[]).await;
        let judgement = judgement(&state);
        assert_eq!(judgement.verdict, Verdict::Fail);
        assert_eq!(judgement.reasons, ["the master ended with exit code 3"]);
    });
}

#[test]
fn a_stopped_run_is_invalid() {
    let simulation = Simulation::new();
    simulation.run(|director| async move {
        let name = director.accepted(&task()).await;
        director.wait_for_step(&name, Step::Running).await;
        director.orchestrator.stop(&name).await.unwrap();
        let state = director.wait_done(&name).await;
        let judgement = judgement(&state);
        assert_eq!(judgement.verdict, Verdict::Invalid);
        assert!(
            judgement.reasons[0].starts_with("the run was stopped after"),
            "{judgement:?}"
        );
    });
}

#[test]
fn a_lost_worker_invalidates_a_finished_run() {
    let simulation = Simulation::new();
    simulation
        .fake
        .image("boss:1")
        .exits(0)
        .after(Duration::from_secs(30));
    simulation
        .fake
        .image("tool:1")
        .exits(1)
        .after(Duration::from_secs(15));
    simulation.run(|director| async move {
        let (_, state) = run(&director, &task(), &[]).await;
        assert_eq!(state.outcome, Some(Outcome::Finished));
        let judgement = judgement(&state);
        assert_eq!(judgement.verdict, Verdict::Invalid);
        assert!(
            judgement.reasons[0].contains("was lost while the test ran"),
            "{judgement:?}"
        );
    });
}

#[test]
fn a_restarted_director_completes_the_report() {
    let simulation = Simulation::new();
    let name = simulation.run(|director| async move {
        let name = director.accepted(&with_criteria(json!(["p95 < 1s"]))).await;
        director.wait_for_step(&name, Step::Delay).await;
        let content = jtl(&director, &[100]);
        director
            .fake
            .image("boss:1")
            .writes_result("results.jtl", &content);
        director.wait_for_step(&name, Step::Report).await;
        name
    });
    simulation.run(|director| async move {
        let state = director.wait_done(&name).await;
        assert_eq!(judgement(&state).verdict, Verdict::Pass, "{state:?}");
        let reported = |event: &&Event| matches!(event, Event::Reported { samples: 1, .. });
        assert_eq!(director.events(&name).iter().filter(reported).count(), 1);
    });
}

#[test]
fn a_delete_does_not_wait_for_figures() {
    let simulation = Simulation::new();
    simulation.run(|director| async move {
        let name = director.accepted(&task()).await;
        director.wait_for_step(&name, Step::Collect).await;
        director.orchestrator.delete(&name).await.unwrap();
        assert!(director.orchestrator.get(&name).await.unwrap().is_none());
        assert!(
            !director
                .orchestrator
                .shared()
                .evidence
                .tasks()
                .await
                .unwrap()
                .contains(&name)
        );
    });
}

#[test]
fn undetected_losses_of_workers_invalidate_the_run() {
    let simulation = Simulation::new();
    simulation.run(|director| async move {
        let name = director
            .accepted(&with_criteria(json!(["errors = 0"])))
            .await;
        director.wait_for_step(&name, Step::Delay).await;
        let content = jtl(&director, &[100]);
        let boss = director.fake.image("boss:1");
        boss.writes_result("results.jtl", &content);
        let running = director.wait_for_step(&name, Step::Running).await;
        // Swarm drops the tasks of a removed service.
        let service = running.worker.unwrap();
        director.fake.remove_service(&service).await.unwrap();
        let state = director.wait_done(&name).await;
        assert_eq!(state.outcome, Some(Outcome::Finished));
        let judgement = judgement(&state);
        assert_eq!(judgement.verdict, Verdict::Invalid, "{judgement:?}");
        let reasons = judgement.reasons.join("\n");
        assert!(reasons.contains("worker 1 was lost"), "{reasons}");
    });
}
