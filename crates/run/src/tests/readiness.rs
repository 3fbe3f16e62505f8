//! Workers that run but are not yet ready.

use super::simulation::{Director, Simulation, simple};
use atq_engine::Role;
use atq_engine_swarm::discovery::Probe;
use atq_task::state::{Outcome, Step};
use insta::assert_snapshot;
use serde_json::{Value, json};
use std::time::Duration;

fn probed(readiness: Value) -> Value {
    let mut task = simple("probed");
    task["worker"]["readiness"] = readiness;
    task
}

async fn steps(director: &Director, task: &Value) -> Vec<Step> {
    let name = director.accepted(task).await;
    let state = director.wait_done(&name).await;
    assert_eq!(state.outcome, Some(Outcome::Finished), "{state:#?}");
    state.timings.into_keys().collect()
}

#[test]
fn the_step_runs_only_if_defined() {
    Simulation::new().run(|director| async move {
        let steps = steps(&director, &simple("plain")).await;
        assert!(!steps.contains(&Step::Readiness));
    });
}

#[test]
fn the_test_begins_when_the_command_succeeds_for_every_worker() {
    let simulation = Simulation::new();
    simulation
        .fake
        .image("tool:1")
        .in_role(Role::Readiness)
        .exits(0);
    simulation.run(|director| async move {
        let steps = steps(&director, &probed(json!({"exec": "check"}))).await;
        assert!(steps.contains(&Step::Readiness));
    });
}

#[test]
fn a_failure_of_the_command_names_the_worker_and_the_output() {
    let simulation = Simulation::new();
    simulation
        .fake
        .image("tool:1")
        .in_role(Role::Readiness)
        .prints(&["ready 10.224.0.4", "not-ready 10.224.0.5 3 no licence yet"])
        .exits(1)
        .after(Duration::from_secs(5));
    simulation.run(|director| async move {
        let task = probed(json!({"exec": "check", "timeout": 5}));
        let name = director.accepted(&task).await;
        assert_snapshot!(director.wait_failed(&name).await, @"readiness: WorkersNotReady: 1 of 3 workers answered the readiness command with success within 5 s; replica 2 (10.224.0.5): the command exited 3 and printed `no licence yet`; replica 3 (10.224.0.6): the command returned no result; check that the image has `sh`, `date` and `sleep`");
    });
}

#[test]
fn a_command_that_never_ends_is_bounded_and_lists_workers_without_a_result() {
    let simulation = Simulation::new();
    simulation
        .fake
        .image("tool:1")
        .in_role(Role::Readiness)
        .prints(&["ready 10.224.0.4"])
        .exits(0)
        .after(Duration::from_secs(3000));
    simulation.run(|director| async move {
        let task = probed(json!({"exec": "sleep 3000", "timeout": 7}));
        let name = director.accepted(&task).await;
        assert_snapshot!(director.wait_failed(&name).await, @"readiness: WorkersNotReady: 1 of 3 workers answered the readiness command with success within 7 s; replica 2 (10.224.0.5): the command did not end; replica 3 (10.224.0.6): the command did not end");
    });
}

#[test]
fn a_worker_that_fails_meanwhile_ends_the_wait() {
    let simulation = Simulation::new();
    simulation
        .fake
        .image("tool:1")
        .in_role(Role::Readiness)
        .exits(0)
        .after(Duration::from_secs(3000));
    simulation.run(|director| async move {
        let task = probed(json!({"exec": "sleep 3000", "timeout": 3600}));
        let name = director.accepted(&task).await;
        let state = director.wait_for_step(&name, Step::Readiness).await;
        director.fake.kill(&state.worker.unwrap(), 3, 1);
        assert_snapshot!(director.wait_failed(&name).await, @"readiness: WorkerFailed: 2 of 3 workers run; replica 3: failed: task: non-zero exit (1)");
    });
}

#[test]
fn the_sidecar_probes_until_every_worker_accepts_a_connection() {
    let simulation = Simulation::new();
    simulation.discovery.warm_up(3);
    let discovery = simulation.discovery.clone();
    simulation.run(|director| async move {
        steps(&director, &probed(json!({"tcp": 1099}))).await;
        let probed = discovery.probed();
        assert_eq!(probed.len(), 4);
        assert!(probed.iter().all(|(probe, _)| *probe == Probe::Tcp(1099)));
        assert_eq!(probed[0].1.len(), 3);
    });
}

#[test]
fn a_worker_that_is_not_ready_is_listed_with_its_reason_and_only_it_is_probed_again() {
    let simulation = Simulation::new();
    let late = "10.224.0.5".parse().unwrap();
    simulation
        .discovery
        .unready(&[(late, "answered 503; expected 200")]);
    let discovery = simulation.discovery.clone();
    simulation.run(|director| async move {
        let http = json!({"http": {"port": 8080, "path": "/health"}, "timeout": 30});
        let name = director.accepted(&probed(http)).await;
        assert_snapshot!(director.wait_failed(&name).await, @"readiness: WorkersNotReady: 2 of 3 workers answered `http://ADDRESS:8080/health` with 200 within 30 s; replica 2 (10.224.0.5): answered 503; expected 200");
        let (_, last) = discovery.probed().pop().unwrap();
        assert_eq!(last, [late]);
    });
}

#[test]
fn an_unreachable_sidecar_fails_at_the_deadline() {
    let simulation = Simulation::new();
    let discovery = simulation.discovery.clone();
    discovery.warm_up(usize::MAX);
    simulation.run(|director| async move {
        let task = probed(json!({"tcp": 1099, "timeout": 30}));
        let name = director.accepted(&task).await;
        director.wait_for_step(&name, Step::Readiness).await;
        discovery.set_unreachable(true);
        assert_snapshot!(director.wait_failed(&name).await, @"discovery: DiscoveryFailed: the sidecar could not probe the workers: the sidecar at `http://127.0.0.1:32769` does not answer: connection refused");
    });
}

#[test]
fn a_restart_continues_within_the_same_timeout() {
    let simulation = Simulation::new();
    simulation.discovery.warm_up(usize::MAX);
    let task = probed(json!({"tcp": 1099, "timeout": 60}));
    simulation.run(|director| async move {
        let name = director.accepted(&task).await;
        director.wait_for_step(&name, Step::Readiness).await;
        tokio::time::sleep(Duration::from_secs(40)).await;
    });
    simulation.run(|director| async move {
        let name = super::simulation::name("probed");
        director.wait_failed(&name).await;
        let spent = director.state(&name).timings[&Step::Readiness];
        assert!((60_000..70_000).contains(&spent), "{spent} ms");
    });
}

#[test]
fn workers_are_probed_once_more_after_a_long_downtime() {
    let simulation = Simulation::new();
    simulation.discovery.warm_up(1);
    let discovery = simulation.discovery.clone();
    simulation.run(|director| async move {
        let task = probed(json!({"tcp": 1099, "timeout": 60}));
        let name = director.accepted(&task).await;
        director.wait_for_step(&name, Step::Readiness).await;
        while discovery.probed().is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    simulation.downtime(Duration::from_secs(300));
    simulation.run(|director| async move {
        let state = director.wait_done(&super::simulation::name("probed")).await;
        assert_eq!(state.outcome, Some(Outcome::Finished), "{state:#?}");
    });
}

#[test]
fn the_failure_of_a_worker_is_detected_without_the_sidecar() {
    let simulation = Simulation::new();
    let discovery = simulation.discovery.clone();
    discovery.warm_up(usize::MAX);
    simulation.run(|director| async move {
        let task = probed(json!({"tcp": 1099, "timeout": 600}));
        let name = director.accepted(&task).await;
        let state = director.wait_for_step(&name, Step::Readiness).await;
        discovery.set_unreachable(true);
        director.fake.kill(&state.worker.unwrap(), 3, 1);
        assert_snapshot!(director.wait_failed(&name).await, @"readiness: WorkerFailed: 2 of 3 workers run; replica 3: failed: task: non-zero exit (1)");
    });
}
