//! Docker becomes unavailable during a step, or stops reporting something.

use super::simulation::{Simulation, simple, task};
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
fn docker_unavailable_until_the_deadline_is_the_failure() {
    for step in [
        Step::Discovery,
        Step::Resolve,
        Step::WaitCommand,
        Step::Master,
    ] {
        let simulation = Simulation::new();
        simulation.run(|director| async move {
            let name = director.accepted(&task()).await;
            director.wait_for_step(&name, step).await;
            director.fake.down(true);
            let state = director
                .wait_until(&name, |state| state.failure.is_some())
                .await;
            let failure = state.failure.unwrap();
            assert_eq!(failure.step, step);
            assert_eq!(failure.code, FailureCode::EngineUnavailable);
            let message = "cannot reach Docker at `unix:///fake.sock`: connection refused";
            assert_eq!(failure.message, message);
            director.fake.down(false);
            director.wait_done(&name).await;
        });
    }
}

#[test]
fn a_manager_that_is_briefly_no_manager_does_not_fail_the_run() {
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
        let simulation = Simulation::new();
        simulation.run(|director| async move {
            let name = director.accepted(&task()).await;
            director.wait_for_step(&name, step).await;
            director.fake.fail_all(Some(error));
            sleep(Duration::from_secs(10)).await;
            director.fake.fail_all(None);
            let outcome = director.wait_done(&name).await.outcome;
            assert_eq!(outcome, Some(Outcome::Finished), "in {step:?}");
        });
    }
}

#[test]
fn workers_are_checked_before_the_master_starts_even_if_docker_was_unavailable() {
    Simulation::new().run(|director| async move {
        let name = director.accepted(&task()).await;
        director.wait_for_step(&name, Step::Delay).await;
        director.fake.down(true);
        let plans = director.fake.plans();
        let worker = plans.iter().find(|plan| plan.role == Role::Worker).unwrap();
        director.fake.kill(&worker.name, 2, 1);
        director.wait_for_step(&name, Step::Master).await;
        director.fake.down(false);
        assert_snapshot!(director.wait_failed(&name).await, @"master: WorkerFailed: 2 of 3 workers run; replica 2: failed: task: non-zero exit (1)");
        assert!(director.state(&name).master.is_none());
    });
}

#[test]
fn the_log_of_a_worker_on_a_lost_node_is_listed_as_missing_and_not_requested() {
    let simulation = Simulation::new();
    simulation.fake.add_node("node-2");
    simulation
        .fake
        .image("boss:1")
        .after(Duration::from_secs(30));
    simulation.run(|director| async move {
        let mut task = simple("load");
        task["worker"]["replicas"] = json!(2);
        let name = director.accepted(&task).await;
        let state = director.wait_for_step(&name, Step::Running).await;
        director.fake.lose_node("node-2");
        let tasks = director.fake.tasks(&Labels::new()).await.unwrap();
        let lost = tasks
            .iter()
            .filter(|task| Some(&task.service_id) == state.worker.as_ref())
            .find(|task| task.node_id.as_deref() == Some("node-2"))
            .unwrap();
        director.wait_for_step(&name, Step::Cleanup).await;
        director.fake.return_node("node-2");
        let calls = director.fake.calls();
        let requested: Vec<&str> = calls
            .iter()
            .filter(|call| call.method == "task_logs")
            .map(|call| call.object.as_str())
            .collect();
        assert!(
            !requested.is_empty() && !requested.contains(&lost.id.as_str()),
            "{requested:?}"
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
        director.wait_done(&name).await;
    });
}

#[test]
fn a_sidecar_without_a_port_is_replaced() {
    let simulation = Simulation::new();
    simulation.fake.set_name_lag(Duration::from_secs(1));
    simulation.run(|director| async move {
        let name = director.accepted(&simple("load")).await;
        let before = director.wait_for_step(&name, Step::Resolve).await;
        director.fake.forget_ports();
        let state = director.wait_done(&name).await;
        assert_eq!(state.outcome, Some(Outcome::Finished), "{state:#?}");
        assert_ne!(state.discovery, before.discovery);
    });
}

#[test]
fn a_crash_during_the_replacement_of_a_sidecar_is_harmless() {
    let simulation = Simulation::new();
    simulation.fake.set_name_lag(Duration::from_secs(1));
    let (name, before) = simulation.run(|director| async move {
        let name = director.accepted(&simple("load")).await;
        let before = director.wait_for_step(&name, Step::Resolve).await;
        director.fake.forget_ports();
        director.fake.set_latency(Duration::from_millis(200));
        let removes = |call: &PortCall| call.method == "remove_service";
        while !director.fake.calls().iter().any(removes) {
            sleep(Duration::from_millis(10)).await;
        }
        (name, before)
    });
    simulation.run(|director| async move {
        director.fake.set_latency(Duration::from_millis(2));
        let state = director.wait_done(&name).await;
        assert_eq!(state.outcome, Some(Outcome::Finished), "{state:#?}");
        assert_ne!(state.discovery, before.discovery);
    });
}
