//! Docker goes away in the middle of a step, or loses sight of something.

use super::stage::{Stage, simple, task};
use atq_engine_swarm::fake::PortCall;
use atq_engine_swarm::plan::{Labels, Role};
use atq_engine_swarm::{Swarm, SwarmError};
use atq_task::event::{Event, FailureCode};
use atq_task::state::{Outcome, Step};
use insta::assert_snapshot;
use serde_json::json;
use std::time::Duration;
use tokio::time::sleep;

#[test]
fn docker_away_until_the_deadline_is_what_the_wait_fails_for() {
    for step in [
        Step::Discovery,
        Step::Resolve,
        Step::WaitCommand,
        Step::Master,
    ] {
        let stage = Stage::new();
        stage.life(|director| async move {
            let name = director.accepted(&task()).await;
            director.until_step(&name, step).await;
            director.fake.down(true);
            let state = director.until(&name, |state| state.failure.is_some()).await;
            let failure = state.failure.unwrap();
            assert_eq!(failure.step, step);
            assert_eq!(failure.code, FailureCode::EngineUnavailable);
            let words = "cannot reach Docker at `unix:///fake.sock`: connection refused";
            assert_eq!(failure.message, words);
            director.fake.down(false);
            director.ended(&name).await;
        });
    }
}

#[test]
fn a_manager_that_says_for_a_moment_that_it_is_none_is_waited_for() {
    let steps = [
        Step::Network,
        Step::Resolve,
        Step::WaitCommand,
        Step::Delay,
        Step::Running,
    ];
    for (error, step) in steps
        .map(|step| (SwarmError::NotASwarm, step))
        .into_iter()
        .chain([(SwarmError::NotManager, Step::Resolve)])
    {
        let stage = Stage::new();
        stage.life(|director| async move {
            let name = director.accepted(&task()).await;
            director.until_step(&name, step).await;
            director.fake.fail_all(Some(error));
            sleep(Duration::from_secs(10)).await;
            director.fake.fail_all(None);
            let outcome = director.ended(&name).await.outcome;
            assert_eq!(outcome, Some(Outcome::Finished), "in {step:?}");
        });
    }
}

#[test]
fn workers_are_looked_at_before_the_master_also_when_docker_comes_back_only_then() {
    Stage::new().life(|director| async move {
        let name = director.accepted(&task()).await;
        director.until_step(&name, Step::Delay).await;
        director.fake.down(true);
        let plans = director.fake.plans();
        let worker = plans.iter().find(|plan| plan.role == Role::Worker).unwrap();
        director.fake.kill(&worker.name, 2, 1);
        director.until_step(&name, Step::Master).await;
        director.fake.down(false);
        assert_snapshot!(director.failed(&name).await, @"master: WorkerFailed: 2 of 3 workers run; replica 2: failed: task: non-zero exit (1)");
        assert!(director.state(&name).master.is_none());
    });
}

#[test]
fn the_log_of_a_worker_on_a_lost_node_is_named_as_missing_and_not_asked_for() {
    let stage = Stage::new();
    stage.fake.add_node("node-2");
    stage.fake.image("boss:1").after(Duration::from_secs(30));
    stage.life(|director| async move {
        let mut task = simple("load");
        task["worker"]["replicas"] = json!(2);
        let name = director.accepted(&task).await;
        let state = director.until_step(&name, Step::Running).await;
        director.fake.lose_node("node-2");
        let tasks = director.fake.tasks(&Labels::new()).await.unwrap();
        let lost = tasks
            .iter()
            .filter(|task| Some(&task.service_id) == state.worker.as_ref())
            .find(|task| task.node_id.as_deref() == Some("node-2"))
            .unwrap();
        director.until_step(&name, Step::Cleanup).await;
        director.fake.return_node("node-2");
        let calls = director.fake.calls();
        let asked: Vec<&str> = calls
            .iter()
            .filter(|call| call.method == "task_logs")
            .map(|call| call.object.as_str())
            .collect();
        assert!(
            !asked.is_empty() && !asked.contains(&lost.id.as_str()),
            "{asked:?}"
        );
        let missing = format!(
            "the log of worker.{} could not be read: its node was lost",
            lost.slot
        );
        let events = director.events(&name);
        let named = events.iter().any(|event| {
            matches!(event, Event::EvidenceKept { missing: kept, .. } if kept.contains(&missing))
        });
        assert!(named, "{events:#?}");
        director.ended(&name).await;
    });
}

#[test]
fn a_sidecar_whose_port_docker_forgets_is_replaced() {
    let stage = Stage::new();
    stage.fake.set_name_lag(Duration::from_secs(1));
    stage.life(|director| async move {
        let name = director.accepted(&simple("load")).await;
        let before = director.until_step(&name, Step::Resolve).await;
        director.fake.forget_ports();
        let state = director.ended(&name).await;
        assert_eq!(state.outcome, Some(Outcome::Finished), "{state:#?}");
        assert_ne!(state.discovery, before.discovery);
    });
}

#[test]
fn a_crash_between_the_old_sidecar_and_the_new_one_does_no_harm() {
    let stage = Stage::new();
    stage.fake.set_name_lag(Duration::from_secs(1));
    let (name, before) = stage.life(|director| async move {
        let name = director.accepted(&simple("load")).await;
        let before = director.until_step(&name, Step::Resolve).await;
        director.fake.forget_ports();
        director.fake.set_latency(Duration::from_millis(200));
        let removes = |call: &PortCall| call.method == "remove_service";
        while !director.fake.calls().iter().any(removes) {
            sleep(Duration::from_millis(10)).await;
        }
        (name, before)
    });
    stage.life(|director| async move {
        director.fake.set_latency(Duration::from_millis(2));
        let state = director.ended(&name).await;
        assert_eq!(state.outcome, Some(Outcome::Finished), "{state:#?}");
        assert_ne!(state.discovery, before.discovery);
    });
}
