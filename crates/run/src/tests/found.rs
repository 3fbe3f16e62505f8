//! Failures that only a Swarm in memory can be made to have, and how soon definite ones are told.

use super::stage::{Director, Stage, simple};
use crate::View;
use atq_engine_swarm::plan::{Labels, Role, RunPlan, ServicePlan};
use atq_engine_swarm::{Swarm, SwarmTask, TaskState};
use atq_task::event::Event;
use atq_task::spec::TaskName;
use atq_task::state::{Outcome, Step};
use insta::assert_snapshot;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// A service of somebody else's, with the name that the run will want for its workers.
fn foreign(view: &View) -> ServicePlan {
    let plan = RunPlan {
        spec: &view.spec,
        run: &view.state.run,
        director: "somebody",
        place: "here",
        networks_tried: 1,
    };
    let mut plan = plan.workers("10.9.0.0/24".parse().unwrap(), Vec::new());
    (plan.labels, plan.networks) = (Labels::new(), Vec::new());
    plan
}

/// The failure of a run with its random part left out, and what there is to do.
async fn told(director: &Director, name: &TaskName) -> String {
    let failure = director.failed(name).await;
    let state = director.state(name);
    let hint = state.failure.unwrap().hint;
    format!("{failure}; hint: {hint}").replace(&state.run, "RUN")
}

#[test]
fn a_service_name_that_somebody_else_has_is_a_failure_and_theirs_is_left_alone() {
    Stage::new().life(|director| async move {
        let name = director.accepted(&simple("load")).await;
        let theirs = foreign(&director.view(&name));
        director.fake.create_service(&theirs).await.unwrap();
        assert_snapshot!(told(&director, &name).await, @"workers: EngineRefused: service `load-RUN-worker` already exists: rpc error: code = AlreadyExists desc = name conflicts with an existing object: service `load-RUN-worker` already exists; hint: the text after the colon is Docker's own; what it speaks of comes from the definition or from the configuration");
        assert_eq!(director.fake.plans(), [theirs]);
    });
}

#[test]
fn a_network_name_that_somebody_else_has_is_a_failure_and_theirs_is_left_alone() {
    Stage::new().life(|director| async move {
        let name = director.accepted(&simple("load")).await;
        let theirs = format!("load-{}-net", director.state(&name).run);
        let subnet = "10.9.0.0/24".parse().unwrap();
        let id = director.fake.add_network(&theirs, subnet);
        assert_snapshot!(told(&director, &name).await, @"network: EngineRefused: network `load-RUN-net` already exists: network with name load-RUN-net already exists; hint: the text after the colon is Docker's own; what it speaks of comes from the definition or from the configuration");
        let networks = director.fake.networks().await.unwrap();
        assert!(networks.iter().any(|network| network.id == id));
    });
}

#[test]
fn logs_that_hang_do_not_hold_up_the_end_and_are_named() {
    let stage = Stage::new();
    stage.fake.image("tool:1").hangs_on_log();
    stage.life(|director| async move {
        let name = director.accepted(&simple("load")).await;
        let begun = Instant::now();
        let state = director.ended(&name).await;
        assert_eq!(state.outcome, Some(Outcome::Finished));
        let took = begun.elapsed();
        assert!(took < Duration::from_secs(180), "{took:?}");
        let events = director.events(&name);
        let missing = events.iter().find_map(|event| match event {
            Event::EvidenceKept { missing, .. } => Some(missing.join("; ")),
            _ => None,
        });
        assert_snapshot!(missing.unwrap(), @"the log of worker.1 is incomplete: it could not be read to its end in time; the log of worker.2 is incomplete: it could not be read to its end in time; the log of worker.3 is incomplete: it could not be read to its end in time");
    });
}

#[test]
fn the_log_of_a_wait_command_that_hangs_does_not_hold_up_its_end() {
    let stage = Stage::new();
    stage
        .fake
        .image("tool:1")
        .in_role(Role::Wait)
        .exits(4)
        .hangs_on_log();
    stage.life(|director| async move {
        let mut task = simple("load");
        task["waitCommand"] = json!({"command": "check", "timeout": 0});
        let name = director.accepted(&task).await;
        assert_snapshot!(told(&director, &name).await, @"waitCommand: WaitCommandFailed: the wait command did not succeed in 0 s, tried 1 time; the last try: it exited 4 and printed `ok`; hint: its log says more: GET /task/load/logs?service=wait");
    });
}

#[test]
fn a_worker_that_dies_while_the_master_starts_is_a_loss_and_the_test_goes_on() {
    Stage::new().life(|director| async move {
        let name = director.accepted(&simple("load")).await;
        let state = director.until(&name, |state| state.master.is_some()).await;
        assert_eq!(state.step, Step::Master);
        let plans = director.fake.plans();
        let worker = plans.iter().find(|plan| plan.role == Role::Worker).unwrap();
        director.fake.kill(&worker.name, 2, 9);
        let state = director.ended(&name).await;
        assert_eq!(state.outcome, Some(Outcome::Finished));
        let lost: Vec<_> = state.lost.iter().map(|lost| lost.replica).collect();
        assert_eq!(lost, [2]);
    });
}

/// Ended by itself, or without a node and with a reason.
fn in_trouble(task: &SwarmTask) -> bool {
    let unplaced = task.state == TaskState::Pending && task.error.is_some();
    let by_order = task.state == TaskState::Shutdown || task.desired == TaskState::Remove;
    unplaced || (task.state.is_terminal() && !by_order)
}

/// Time from the moment at which Docker lists a failure to the one at which the outcome is recorded.
async fn lag(director: &Director, name: &TaskName) -> Duration {
    let mut known = None;
    while director.state(name).outcome.is_none() {
        let tasks = director.fake.tasks(&Labels::new()).await.unwrap();
        if tasks.iter().any(in_trouble) {
            known.get_or_insert_with(Instant::now);
        }
        sleep(Duration::from_millis(1)).await;
    }
    known.map_or(Duration::ZERO, |known| known.elapsed())
}

/// A task of which one thing is wrong.
struct Wrong {
    what: &'static str,
    prepare: fn(&Stage),
    task: Value,
}

impl Wrong {
    fn new(what: &'static str, prepare: fn(&Stage)) -> Self {
        let task = simple("load");
        Self {
            what,
            prepare,
            task,
        }
    }

    fn with(mut self, pointer: &str, value: Value) -> Self {
        *self.task.pointer_mut(pointer).unwrap() = value;
        self
    }
}

fn definite_failures() -> [Wrong; 8] {
    let none = json!("none:1");
    [
        Wrong::new("no image of the workers", |_| ()).with("/worker/image", none.clone()),
        Wrong::new("no image of the master", |_| ()).with("/master/image", none),
        Wrong::new("the workers exit 0 at once", |stage| {
            stage.fake.image("tool:1").exits(0);
        }),
        Wrong::new("the workers exit 1 in the delay", |stage| {
            let after = Duration::from_millis(4321);
            stage.fake.image("tool:1").exits(1).after(after);
        })
        .with("/delay", json!(60)),
        Wrong::new("no program in the image", |stage| {
            stage.fake.image("tool:1").fails_to_start("exec: no file");
        }),
        Wrong::new("no node for the workers", |stage| {
            stage.fake.image("tool:1").stays_pending("no suitable node");
        }),
        Wrong::new("no node for the master", |stage| {
            stage.fake.image("boss:1").stays_pending("no suitable node");
        }),
        Wrong::new("the master exits 3", |stage| {
            stage.fake.image("boss:1").exits(3);
        }),
    ]
}

/// In virtual time: the figures are the same on every machine.
#[test]
fn a_definite_failure_is_told_within_a_second_of_dockers_knowing() {
    for wrong in definite_failures() {
        let stage = Stage::new();
        (wrong.prepare)(&stage);
        stage.life(|director| async move {
            let (what, name) = (wrong.what, director.accepted(&wrong.task).await);
            let lag = lag(&director, &name).await;
            println!("{what}: {} ms", lag.as_millis());
            let known = lag > Duration::ZERO;
            assert!(known && lag <= Duration::from_secs(1), "{what}: {lag:?}");
            let state = director.ended(&name).await;
            assert_eq!(state.outcome, Some(Outcome::Errored), "{what}");
            assert!(!state.failure.unwrap().hint.is_empty(), "{what}");
        });
    }
}

#[test]
fn the_masters_exit_code_is_known_after_a_stop() {
    let stage = Stage::new();
    let second = Duration::from_secs(1);
    stage
        .fake
        .image("endless:1")
        .on_sigterm(&["bye"], second, 143);
    stage.life(|director| async move {
        let mut task = simple("load");
        task["master"]["image"] = json!("endless:1");
        let name = director.accepted(&task).await;
        director.until_step(&name, Step::Running).await;
        director.it.stop(&name).await.unwrap();
        let state = director.ended(&name).await;
        assert_eq!(state.outcome, Some(Outcome::Stopped));
        assert_eq!(state.exit_code, Some(143));
    });
}
