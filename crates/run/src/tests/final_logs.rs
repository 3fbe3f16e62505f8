//! Containers that still run when the outcome is fixed: they are stopped, their final logs kept, and then removed.

use super::simulation::{Director, Simulation, simple};
use crate::logs::LogFilter;
use crate::stop_and_delete::ControlError;
use atq_engine::Role;
use atq_engine_swarm::SwarmError;
use atq_evidence::Source;
use atq_task::spec::TaskName;
use atq_task::state::{Outcome, State, Step};
use futures_util::TryStreamExt;
use serde_json::json;
use std::time::Duration;

/// Workers and a master that run until SIGTERM and then write a last line.
fn simulation() -> Simulation {
    let simulation = Simulation::new();
    let tenth = Duration::from_millis(100);
    simulation
        .fake
        .image("tool:1")
        .on_sigterm(&["worker stopped"], tenth, 0);
    simulation
        .fake
        .image("endless:1")
        .prints(&["hello"])
        .on_sigterm(&["results written"], Duration::from_secs(4), 143);
    simulation
}

async fn log(director: &Director, name: &TaskName) -> String {
    let view = director.view(name);
    let lines = director
        .orchestrator
        .logs(&view, LogFilter::default())
        .await
        .unwrap();
    let lines: Vec<_> = lines.try_collect().await.unwrap();
    let text =
        |(source, line): &(Source, atq_engine_swarm::LogLine)| format!("{source} {}", line.text);
    lines.iter().map(text).collect::<Vec<_>>().join("\n")
}

fn calls(director: &Director, method: &str) -> Vec<String> {
    let calls = director.fake.calls().into_iter();
    calls
        .filter(|call| call.method == method)
        .map(|call| call.object)
        .collect()
}

async fn stopped_while_it_runs(director: &Director, grace: Option<u64>) -> State {
    let mut task = simple("endless");
    task["master"]["image"] = json!("endless:1");
    task["worker"]["replicas"] = json!(2);
    if let Some(seconds) = grace {
        task["master"]["stopGracePeriod"] = json!(seconds);
    }
    let name = director.accepted(&task).await;
    director.wait_for_step(&name, Step::Running).await;
    director.orchestrator.stop(&name).await.unwrap();
    director.wait_done(&name).await
}

#[test]
fn a_stop_keeps_the_final_logs_of_the_master_and_then_of_the_workers() {
    simulation().run(|director| async move {
        let state = stopped_while_it_runs(&director, None).await;
        assert_eq!(state.outcome, Some(Outcome::Stopped));
        let name = super::simulation::name("endless");
        let all = "worker.1 ready\nworker.1 worker stopped\nworker.2 ready\nworker.2 worker stopped\n\
                   master.1 hello\nmaster.1 results written";
        assert_eq!(log(&director, &name).await, all);
        let ended = calls(&director, "end_service");
        assert_eq!(ended, [state.master.unwrap(), state.worker.unwrap()]);
        let codes: Vec<_> = state
            .workers
            .iter()
            .map(|worker| worker.exit_code)
            .collect();
        assert_eq!(codes, [Some(0), Some(0)]);
    });
}

#[test]
fn the_manifest_has_the_final_states_of_the_containers() {
    simulation().run(|director| async move {
        let state = stopped_while_it_runs(&director, None).await;
        let name = super::simulation::name("endless");
        let evidence = &director.orchestrator.shared().evidence;
        let observed = evidence.observed(&name, &state.run).containers;
        for worker in &state.workers {
            let container = &observed[&format!("worker.{}", worker.replica)];
            assert_eq!(container.state, worker.state);
            assert_eq!(container.exit_code, worker.exit_code);
            assert!(container.address.is_some() && container.node.is_some());
        }
        assert_eq!(observed.len(), 3, "{observed:?}");
        assert_ne!(observed["master.1"].state, "running");
    });
}

#[test]
fn a_master_is_killed_after_its_grace_period() {
    simulation().run(|director| async move {
        stopped_while_it_runs(&director, Some(2)).await;
        let name = super::simulation::name("endless");
        let log = log(&director, &name).await;
        assert!(log.contains("master.1 hello"), "{log}");
        assert!(!log.contains("results written"), "{log}");
    });
}

#[test]
fn the_final_logs_of_workers_are_kept_after_a_test_that_ends_by_itself() {
    simulation().run(|director| async move {
        let name = director.accepted(&simple("natural")).await;
        let collected = director.wait_for_step(&name, Step::Cleanup).await;
        assert_eq!(collected.outcome, Some(Outcome::Finished));
        let state = director.wait_done(&name).await;
        assert!(
            log(&director, &name)
                .await
                .contains("worker.3 worker stopped")
        );
        assert!(
            state
                .workers
                .iter()
                .all(|worker| worker.exit_code == Some(0))
        );
        // The master had ended; only the workers are stopped.
        assert_eq!(calls(&director, "end_service"), [state.worker.unwrap()]);
    });
}

#[test]
fn a_delete_skips_final_logs_and_removes_containers_before_the_network() {
    let simulation = simulation();
    simulation
        .fake
        .image("endless:1")
        .on_sigterm(&["x"], Duration::from_secs(500), 0);
    simulation.run(|director| async move {
        let mut task = simple("endless");
        task["master"]["image"] = json!("endless:1");
        task["master"]["stopGracePeriod"] = json!(600);
        let name = director.accepted(&task).await;
        director.wait_for_step(&name, Step::Running).await;
        // A delete during a stop.
        director.orchestrator.stop(&name).await.unwrap();
        director.wait_for_step(&name, Step::Collect).await;
        let left = director.orchestrator.delete(&name).await.unwrap_err();
        assert!(matches!(left, ControlError::Remains { .. }), "{left}");
        assert_eq!(director.fake.leftovers().services, 0);
        assert_eq!(director.fake.leftovers().networks, 1);
        tokio::time::sleep(Duration::from_secs(450)).await;
        // The task may be deleted already.
        let _ = director.orchestrator.delete(&name).await;
        assert_eq!(director.fake.leftovers(), Default::default());
        assert!(director.orchestrator.get(&name).await.unwrap().is_none());
    });
}

#[test]
fn a_stop_refused_by_docker_does_not_block() {
    let simulation = simulation();
    let reason = "constraint expected".to_owned();
    let what = "the end of a service".to_owned();
    simulation
        .fake
        .refuse("end_service", SwarmError::Rejected { what, reason });
    simulation.run(|director| async move {
        let state = stopped_while_it_runs(&director, Some(600)).await;
        assert!(state.timings[&Step::Collect] < 5_000, "{:?}", state.timings);
        assert_eq!(state.outcome, Some(Outcome::Stopped));
    });
}

#[test]
fn a_lost_node_does_not_block_the_final_logs_of_others() {
    let simulation = simulation();
    simulation.fake.add_node("node-2");
    simulation.run(|director| async move {
        let mut task = simple("lost");
        task["master"]["image"] = json!("endless:1");
        let name = director.accepted(&task).await;
        director.wait_for_step(&name, Step::Running).await;
        director.fake.lose_node("node-2");
        director
            .wait_until(&name, |state| !state.lost.is_empty())
            .await;
        director.orchestrator.stop(&name).await.unwrap();
        let state = director
            .wait_until(&name, |state| state.step >= Step::Cleanup)
            .await;
        assert!(
            state.timings[&Step::Collect] < 20_000,
            "{:?}",
            state.timings
        );
        director.fake.return_node("node-2");
        director.wait_done(&name).await;
    });
}

#[test]
fn a_lost_worker_aborts_the_test_if_configured() {
    simulation().run(|director| async move {
        let mut task = simple("abort");
        task["master"]["image"] = json!("endless:1");
        task["onWorkerLoss"] = json!("abort");
        let name = director.accepted(&task).await;
        let state = director.wait_for_step(&name, Step::Running).await;
        director.fake.kill(&state.worker.unwrap(), 2, 137);
        let failure = director.wait_failed(&name).await;
        assert_eq!(
            failure,
            "running: WorkerLost: 1 of 3 workers lost while the test ran; replica 2: failed: task: non-zero exit (137)"
        );
        assert!(log(&director, &name).await.contains("results written"));
    });
}

#[test]
fn a_test_is_stopped_after_its_maximum_duration() {
    simulation().run(|director| async move {
        let mut task = simple("long");
        task["master"]["image"] = json!("endless:1");
        task["maxDuration"] = json!(30);
        let name = director.accepted(&task).await;
        let failure = director.wait_failed(&name).await;
        assert_eq!(
            failure,
            "running: MaxDuration: the test ran longer than 30 s"
        );
        assert!(log(&director, &name).await.contains("results written"));
        assert_eq!(director.view(&name).spec.worker.replicas, 3);
        let logs = director
            .orchestrator
            .shared()
            .evidence
            .logs(&name, &director.state(&name).run)
            .await;
        let masters = logs
            .unwrap()
            .into_iter()
            .filter(|source| source.role == Role::Master);
        assert_eq!(masters.count(), 1);
    });
}

#[test]
fn a_master_does_not_start_after_a_stop() {
    let simulation = simulation();
    let slowly = Duration::from_secs(4);
    simulation
        .fake
        .image("tool:1")
        .on_sigterm(&["stopped"], slowly, 0);
    simulation.run(|director| async move {
        let mut task = simple("early");
        task["master"]["image"] = json!("endless:1");
        let name = director.accepted(&task).await;
        director
            .wait_until(&name, |state| state.master.is_some())
            .await;
        director.orchestrator.stop(&name).await.unwrap();
        let state = director.wait_done(&name).await;
        assert_eq!(state.outcome, Some(Outcome::Stopped));
        let log = log(&director, &name).await;
        assert!(log.contains("worker.3 stopped"), "{log}");
        assert!(!log.contains("master"), "{log}");
    });
}
