//! Verdicts of whole runs.

use super::stage::{Director, Stage, task};
use atq_engine_swarm::Swarm;
use atq_task::event::Event;
use atq_task::spec::TaskName;
use atq_task::state::{Outcome, State, Step};
use atq_task::verdict::{Judgement, Verdict};
use serde_json::{Value, json};
use std::time::Duration;

/// A test with criteria; [`Stage`]'s master writes no results unless told.
fn judged(criteria: Value) -> Value {
    let mut task = task();
    task["criteria"] = criteria;
    task
}

/// Samples that took so long, dated as the master's run is in the story's own time.
fn jtl(director: &Director, millis: &[u64]) -> Vec<u8> {
    let mut text = "timeStamp,elapsed,label,responseCode,success\n".to_owned();
    // Now the delay of 2 s begins; after it the master runs for 3 s.
    let at = director.it.shared().clock.now().0 + 3000;
    for (number, elapsed) in millis.iter().enumerate() {
        text.push_str(&format!(
            "{},{elapsed},Login,200,true\n",
            at + number as u64
        ));
    }
    text.into_bytes()
}

/// Plays a task, whose master leaves samples that took so long.
async fn run(director: &Director, task: &Value, results: &[u64]) -> (TaskName, State) {
    let name = director.accepted(task).await;
    director.until_step(&name, Step::Delay).await;
    let content = jtl(director, results);
    if !results.is_empty() {
        director
            .fake
            .image("boss:1")
            .writes_result("results.jtl", &content);
    }
    let state = director.ended(&name).await;
    (name, state)
}

fn judgement(state: &State) -> Judgement {
    state.judgement.clone().unwrap()
}

#[test]
fn a_run_whose_criteria_hold_passes_and_its_report_is_kept() {
    let stage = Stage::new();
    stage.life(|director| async move {
        let task = judged(json!(["p95 of Login < 500ms", "errors = 0"]));
        let (name, state) = run(&director, &task, &[100, 200, 300]).await;
        let judgement = judgement(&state);
        assert_eq!(judgement.verdict, Verdict::Pass, "{judgement:?}");
        assert_eq!(judgement.criteria.len(), 2);
        let evidence = &director.it.shared().evidence;
        let report = evidence.report(&name, &state.run).await.unwrap().unwrap();
        assert_eq!(report.total.samples, 3);
    });
}

#[test]
fn a_criterion_that_does_not_hold_fails_a_run_that_finished() {
    let stage = Stage::new();
    stage.life(|director| async move {
        let task = judged(json!(["max < 250ms", "samples >= 3"]));
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
fn no_sample_at_all_is_no_pass() {
    let stage = Stage::new();
    stage.life(|director| async move {
        let (_, state) = run(&director, &judged(json!(["errors < 1%"])), &[]).await;
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
fn a_run_without_criteria_is_judged_by_its_exit_code() {
    let stage = Stage::new();
    stage.life(|director| async move {
        let (_, state) = run(&director, &task(), &[]).await;
        assert_eq!(judgement(&state).verdict, Verdict::Pass);
    });
    let stage = Stage::new();
    stage
        .fake
        .image("boss:1")
        .exits(3)
        .after(Duration::from_secs(1));
    stage.life(|director| async move {
        let (_, state) = run(&director, &task(), &[]).await;
        let judgement = judgement(&state);
        assert_eq!(judgement.verdict, Verdict::Fail);
        assert_eq!(judgement.reasons, ["the master ended with exit code 3"]);
    });
}

#[test]
fn a_stopped_run_says_nothing() {
    let stage = Stage::new();
    stage.life(|director| async move {
        let name = director.accepted(&task()).await;
        director.until_step(&name, Step::Running).await;
        director.it.stop(&name).await.unwrap();
        let state = director.ended(&name).await;
        let judgement = judgement(&state);
        assert_eq!(judgement.verdict, Verdict::Invalid);
        assert!(
            judgement.reasons[0].starts_with("the run was stopped after"),
            "{judgement:?}"
        );
    });
}

#[test]
fn a_lost_worker_makes_the_run_invalid_though_it_finished() {
    let stage = Stage::new();
    stage
        .fake
        .image("boss:1")
        .exits(0)
        .after(Duration::from_secs(30));
    stage
        .fake
        .image("tool:1")
        .exits(1)
        .after(Duration::from_secs(15));
    stage.life(|director| async move {
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
fn a_director_that_starts_again_reports_what_the_last_one_did_not() {
    let stage = Stage::new();
    let name = stage.life(|director| async move {
        let name = director.accepted(&judged(json!(["p95 < 1s"]))).await;
        director.until_step(&name, Step::Delay).await;
        let content = jtl(&director, &[100]);
        director
            .fake
            .image("boss:1")
            .writes_result("results.jtl", &content);
        director.until_step(&name, Step::Report).await;
        name
    });
    stage.life(|director| async move {
        let state = director.ended(&name).await;
        assert_eq!(judgement(&state).verdict, Verdict::Pass, "{state:?}");
        let reported = |event: &&Event| matches!(event, Event::Reported { samples: 1, .. });
        assert_eq!(director.events(&name).iter().filter(reported).count(), 1);
    });
}

#[test]
fn nobody_waits_for_the_figures_of_a_task_that_is_deleted() {
    let stage = Stage::new();
    stage.life(|director| async move {
        let name = director.accepted(&task()).await;
        director.until_step(&name, Step::Collect).await;
        director.it.delete(&name).await.unwrap();
        assert!(director.it.get(&name).await.unwrap().is_none());
        assert!(
            !director
                .it
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
fn workers_that_vanish_without_a_loss_being_seen_make_the_run_invalid() {
    let stage = Stage::new();
    stage.life(|director| async move {
        let name = director.accepted(&judged(json!(["errors = 0"]))).await;
        director.until_step(&name, Step::Delay).await;
        let content = jtl(&director, &[100]);
        let boss = director.fake.image("boss:1");
        boss.writes_result("results.jtl", &content);
        let running = director.until_step(&name, Step::Running).await;
        // Swarm forgets the tasks of a service that somebody removes.
        let service = running.worker.unwrap();
        director.fake.remove_service(&service).await.unwrap();
        let state = director.ended(&name).await;
        assert_eq!(state.outcome, Some(Outcome::Finished));
        let judgement = judgement(&state);
        assert_eq!(judgement.verdict, Verdict::Invalid, "{judgement:?}");
        let told = judgement.reasons.join("\n");
        assert!(told.contains("worker 1 was lost"), "{told}");
    });
}
