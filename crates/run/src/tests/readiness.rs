//! Workers that run and are not ready yet.

use super::stage::{Director, Stage, simple};
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
    let state = director.ended(&name).await;
    assert_eq!(state.outcome, Some(Outcome::Finished), "{state:#?}");
    state.timings.into_keys().collect()
}

#[test]
fn the_step_is_taken_only_when_it_is_asked_for() {
    Stage::new().life(|director| async move {
        let steps = steps(&director, &simple("plain")).await;
        assert!(!steps.contains(&Step::Readiness));
    });
}

#[test]
fn a_command_that_succeeds_for_every_worker_lets_the_test_begin() {
    let stage = Stage::new();
    stage.fake.image("tool:1").in_role(Role::Readiness).exits(0);
    stage.life(|director| async move {
        let steps = steps(&director, &probed(json!({"exec": "check"}))).await;
        assert!(steps.contains(&Step::Readiness));
    });
}

#[test]
fn a_command_that_fails_for_a_worker_names_it_and_what_it_printed() {
    let stage = Stage::new();
    stage
        .fake
        .image("tool:1")
        .in_role(Role::Readiness)
        .prints(&["ready 10.224.0.4", "not-ready 10.224.0.5 3 no licence yet"])
        .exits(1)
        .after(Duration::from_secs(5));
    stage.life(|director| async move {
        let task = probed(json!({"exec": "check", "timeout": 5}));
        let name = director.accepted(&task).await;
        assert_snapshot!(director.failed(&name).await, @"readiness: WorkersNotReady: 1 of 3 workers answered the readiness command with success within 5 s; replica 2 (10.224.0.5): the command exited 3 and printed `no licence yet`; replica 3 (10.224.0.6): the command gave no answer; does the image have `sh`, `date` and `sleep`?");
    });
}

#[test]
fn a_command_that_never_ends_is_bounded_and_says_who_is_silent() {
    let stage = Stage::new();
    stage
        .fake
        .image("tool:1")
        .in_role(Role::Readiness)
        .prints(&["ready 10.224.0.4"])
        .exits(0)
        .after(Duration::from_secs(3000));
    stage.life(|director| async move {
        let task = probed(json!({"exec": "sleep 3000", "timeout": 7}));
        let name = director.accepted(&task).await;
        assert_snapshot!(director.failed(&name).await, @"readiness: WorkersNotReady: 1 of 3 workers answered the readiness command with success within 7 s; replica 2 (10.224.0.5): the command did not end; replica 3 (10.224.0.6): the command did not end");
    });
}

#[test]
fn a_worker_that_dies_meanwhile_ends_the_wait() {
    let stage = Stage::new();
    stage
        .fake
        .image("tool:1")
        .in_role(Role::Readiness)
        .exits(0)
        .after(Duration::from_secs(3000));
    stage.life(|director| async move {
        let task = probed(json!({"exec": "sleep 3000", "timeout": 3600}));
        let name = director.accepted(&task).await;
        let state = director.until_step(&name, Step::Readiness).await;
        director.fake.kill(&state.worker.unwrap(), 3, 1);
        assert_snapshot!(director.failed(&name).await, @"readiness: WorkerFailed: 2 of 3 workers run; replica 3: failed: task: non-zero exit (1)");
    });
}

#[test]
fn the_sidecar_is_asked_until_every_worker_accepts_a_connection() {
    let stage = Stage::new();
    stage.discovery.warm_up(3);
    let discovery = stage.discovery.clone();
    stage.life(|director| async move {
        steps(&director, &probed(json!({"tcp": 1099}))).await;
        let probed = discovery.probed();
        assert_eq!(probed.len(), 4);
        assert!(probed.iter().all(|(probe, _)| *probe == Probe::Tcp(1099)));
        assert_eq!(probed[0].1.len(), 3);
    });
}

#[test]
fn a_worker_that_does_not_answer_is_named_with_its_reason_and_only_it_is_asked_again() {
    let stage = Stage::new();
    let late = "10.224.0.5".parse().unwrap();
    stage
        .discovery
        .unready(&[(late, "answered 503; expected 200")]);
    let discovery = stage.discovery.clone();
    stage.life(|director| async move {
        let http = json!({"http": {"port": 8080, "path": "/health"}, "timeout": 30});
        let name = director.accepted(&probed(http)).await;
        assert_snapshot!(director.failed(&name).await, @"readiness: WorkersNotReady: 2 of 3 workers answered `http://ADDRESS:8080/health` with 200 within 30 s; replica 2 (10.224.0.5): answered 503; expected 200");
        let (_, last) = discovery.probed().pop().unwrap();
        assert_eq!(last, [late]);
    });
}

#[test]
fn a_sidecar_that_falls_silent_ends_the_wait_at_its_deadline() {
    let stage = Stage::new();
    let discovery = stage.discovery.clone();
    discovery.warm_up(usize::MAX);
    stage.life(|director| async move {
        let task = probed(json!({"tcp": 1099, "timeout": 30}));
        let name = director.accepted(&task).await;
        director.until_step(&name, Step::Readiness).await;
        discovery.set_unreachable(true);
        assert_snapshot!(director.failed(&name).await, @"discovery: DiscoveryFailed: the sidecar could not be asked whether the workers are ready: the sidecar at `http://127.0.0.1:32769` does not answer: connection refused");
    });
}

#[test]
fn a_restart_goes_on_asking_within_the_same_time() {
    let stage = Stage::new();
    stage.discovery.warm_up(usize::MAX);
    let task = probed(json!({"tcp": 1099, "timeout": 60}));
    stage.life(|director| async move {
        let name = director.accepted(&task).await;
        director.until_step(&name, Step::Readiness).await;
        tokio::time::sleep(Duration::from_secs(40)).await;
    });
    stage.life(|director| async move {
        let name = super::stage::name("probed");
        director.failed(&name).await;
        let spent = director.state(&name).timings[&Step::Readiness];
        assert!((60_000..70_000).contains(&spent), "{spent} ms");
    });
}

#[test]
fn workers_are_asked_once_more_by_a_director_that_was_away_for_too_long() {
    let stage = Stage::new();
    stage.discovery.warm_up(1);
    let discovery = stage.discovery.clone();
    stage.life(|director| async move {
        let task = probed(json!({"tcp": 1099, "timeout": 60}));
        let name = director.accepted(&task).await;
        director.until_step(&name, Step::Readiness).await;
        while discovery.probed().is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    stage.away(Duration::from_secs(300));
    stage.life(|director| async move {
        let state = director.ended(&super::stage::name("probed")).await;
        assert_eq!(state.outcome, Some(Outcome::Finished), "{state:#?}");
    });
}

#[test]
fn a_worker_that_dies_is_seen_also_when_the_sidecar_answers_nothing() {
    let stage = Stage::new();
    let discovery = stage.discovery.clone();
    discovery.warm_up(usize::MAX);
    stage.life(|director| async move {
        let task = probed(json!({"tcp": 1099, "timeout": 600}));
        let name = director.accepted(&task).await;
        let state = director.until_step(&name, Step::Readiness).await;
        discovery.set_unreachable(true);
        director.fake.kill(&state.worker.unwrap(), 3, 1);
        assert_snapshot!(director.failed(&name).await, @"readiness: WorkerFailed: 2 of 3 workers run; replica 3: failed: task: non-zero exit (1)");
    });
}
