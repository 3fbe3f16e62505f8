//! Failures that only a simulated Swarm can produce, and the latency of definite ones.

use super::simulation::{Director, Simulation, simple};
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

/// A foreign service with the name of the workers' service.
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

/// Failure and hint of a run, with the suffix of the run replaced.
async fn failure_and_hint(director: &Director, name: &TaskName) -> String {
    let failure = director.wait_failed(name).await;
    let state = director.state(name);
    let hint = state.failure.unwrap().hint;
    format!("{failure}; hint: {hint}").replace(&state.run, "RUN")
}

#[test]
fn a_foreign_service_with_the_same_name_fails_the_run_and_is_kept() {
    Simulation::new().run(|director| async move {
        let name = director.accepted(&simple("load")).await;
        let foreign = foreign(&director.view(&name));
        director.fake.create_service(&foreign).await.unwrap();
        assert_snapshot!(failure_and_hint(&director, &name).await, @"workers: EngineRefused: service `load-RUN-worker` already exists: rpc error: code = AlreadyExists desc = name conflicts with an existing object: service `load-RUN-worker` already exists; hint: the text after the colon is Docker's own; the rejected value comes from the definition or from the configuration");
        assert_eq!(director.fake.plans(), [foreign]);
    });
}

#[test]
fn a_foreign_network_with_the_same_name_fails_the_run_and_is_kept() {
    Simulation::new().run(|director| async move {
        let name = director.accepted(&simple("load")).await;
        let name_of_network = format!("load-{}-net", director.state(&name).run);
        let subnet = "10.9.0.0/24".parse().unwrap();
        let id = director.fake.add_network(&name_of_network, subnet);
        assert_snapshot!(failure_and_hint(&director, &name).await, @"network: EngineRefused: network `load-RUN-net` already exists: network with name load-RUN-net already exists; hint: the text after the colon is Docker's own; the rejected value comes from the definition or from the configuration");
        let networks = director.fake.networks().await.unwrap();
        assert!(networks.iter().any(|network| network.id == id));
    });
}

#[test]
fn hanging_logs_do_not_block_the_end_and_are_listed() {
    let simulation = Simulation::new();
    simulation.fake.image("tool:1").hangs_on_log();
    simulation.run(|director| async move {
        let name = director.accepted(&simple("load")).await;
        let begun = Instant::now();
        let state = director.wait_done(&name).await;
        assert_eq!(state.outcome, Some(Outcome::Finished));
        let took = begun.elapsed();
        assert!(took < Duration::from_secs(180), "{took:?}");
        let events = director.events(&name);
        let missing = events.iter().find_map(|event| match event {
            Event::EvidenceKept { missing, .. } => Some(missing.join("; ")),
            _ => None,
        });
        assert_snapshot!(missing.unwrap(), @"the log of worker.1 is incomplete: reading it timed out; the log of worker.2 is incomplete: reading it timed out; the log of worker.3 is incomplete: reading it timed out");
    });
}

#[test]
fn a_hanging_log_of_a_wait_command_does_not_block_its_end() {
    let simulation = Simulation::new();
    simulation
        .fake
        .image("tool:1")
        .in_role(Role::Wait)
        .exits(4)
        .hangs_on_log();
    simulation.run(|director| async move {
        let mut task = simple("load");
        task["waitCommand"] = json!({"command": "check", "timeout": 0});
        let name = director.accepted(&task).await;
        assert_snapshot!(failure_and_hint(&director, &name).await, @"waitCommand: WaitCommandFailed: the wait command did not succeed within 0 s (1 attempt); last attempt: it exited 4 and printed `ok`; hint: see its log: GET /task/load/logs?service=wait");
    });
}

#[test]
fn a_worker_that_fails_while_the_master_starts_is_lost_and_the_test_continues() {
    Simulation::new().run(|director| async move {
        let name = director.accepted(&simple("load")).await;
        let state = director
            .wait_until(&name, |state| state.master.is_some())
            .await;
        assert_eq!(state.step, Step::Master);
        let plans = director.fake.plans();
        let worker = plans.iter().find(|plan| plan.role == Role::Worker).unwrap();
        director.fake.kill(&worker.name, 2, 9);
        let state = director.wait_done(&name).await;
        assert_eq!(state.outcome, Some(Outcome::Finished));
        let lost: Vec<_> = state.lost.iter().map(|lost| lost.replica).collect();
        assert_eq!(lost, [2]);
    });
}

/// Whether it ended by itself, or is pending with a reason.
fn has_failed(task: &SwarmTask) -> bool {
    let unplaced = task.state == TaskState::Pending && task.error.is_some();
    let by_order = task.state == TaskState::Shutdown || task.desired == TaskState::Remove;
    unplaced || (task.state.is_terminal() && !by_order)
}

/// Time from the listing of a failure by Docker to the recorded outcome.
async fn latency(director: &Director, name: &TaskName) -> Duration {
    let mut listed = None;
    while director.state(name).outcome.is_none() {
        let tasks = director.fake.tasks(&Labels::new()).await.unwrap();
        if tasks.iter().any(has_failed) {
            listed.get_or_insert_with(Instant::now);
        }
        sleep(Duration::from_millis(1)).await;
    }
    listed.map_or(Duration::ZERO, |listed: Instant| listed.elapsed())
}

/// A task with one defect.
struct Defect {
    what: &'static str,
    prepare: fn(&Simulation),
    task: Value,
}

impl Defect {
    fn new(what: &'static str, prepare: fn(&Simulation)) -> Self {
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

fn definite_failures() -> [Defect; 8] {
    let none = json!("none:1");
    [
        Defect::new("no image of the workers", |_| ()).with("/worker/image", none.clone()),
        Defect::new("no image of the master", |_| ()).with("/master/image", none),
        Defect::new("the workers exit 0 at once", |simulation| {
            simulation.fake.image("tool:1").exits(0);
        }),
        Defect::new("the workers exit 1 in the delay", |simulation| {
            let after = Duration::from_millis(4321);
            simulation.fake.image("tool:1").exits(1).after(after);
        })
        .with("/delay", json!(60)),
        Defect::new("no program in the image", |simulation| {
            simulation
                .fake
                .image("tool:1")
                .fails_to_start("exec: no file");
        }),
        Defect::new("no node for the workers", |simulation| {
            simulation
                .fake
                .image("tool:1")
                .stays_pending("no suitable node");
        }),
        Defect::new("no node for the master", |simulation| {
            simulation
                .fake
                .image("boss:1")
                .stays_pending("no suitable node");
        }),
        Defect::new("the master exits 3", |simulation| {
            simulation.fake.image("boss:1").exits(3);
        }),
    ]
}

/// The latencies are simulated time, so they are the same on every machine.
#[test]
fn a_definite_failure_is_recorded_within_a_second() {
    for defect in definite_failures() {
        let simulation = Simulation::new();
        (defect.prepare)(&simulation);
        simulation.run(|director| async move {
            let (what, name) = (defect.what, director.accepted(&defect.task).await);
            let latency = latency(&director, &name).await;
            println!("{what}: {} ms", latency.as_millis());
            let is_listed = latency > Duration::ZERO;
            assert!(
                is_listed && latency <= Duration::from_secs(1),
                "{what}: {latency:?}"
            );
            let state = director.wait_done(&name).await;
            assert_eq!(state.outcome, Some(Outcome::Errored), "{what}");
            assert!(!state.failure.unwrap().hint.is_empty(), "{what}");
        });
    }
}

/// Only the shared lists limit the rate of calls. The driver must not wait in addition.
#[test]
fn running_workers_are_detected_soon_although_docker_is_slow() {
    for stagger in [0, 130, 270, 390, 510] {
        let simulation = Simulation::new();
        simulation.fake.set_stagger(Duration::from_millis(stagger));
        simulation.fake.set_latency(Duration::from_millis(100));
        simulation.run(|director| async move {
            let name = director.accepted(&simple("load")).await;
            director.wait_for_step(&name, Step::Resolve).await;
            let labels = Labels::from([("com.atq.role".to_owned(), "worker".to_owned())]);
            let run = |tasks: Vec<SwarmTask>| tasks.iter().all(SwarmTask::is_alive);
            while !run(director.fake.tasks(&labels).await.unwrap()) {}
            let running = Instant::now();
            director
                .wait_until(&name, |state| state.step != Step::Resolve)
                .await;
            let late = running.elapsed();
            assert!(late <= Duration::from_millis(600), "{stagger}: {late:?}");
        });
    }
}

#[test]
fn the_masters_exit_code_is_known_after_a_stop() {
    let simulation = Simulation::new();
    let second = Duration::from_secs(1);
    simulation
        .fake
        .image("endless:1")
        .on_sigterm(&["bye"], second, 143);
    simulation.run(|director| async move {
        let mut task = simple("load");
        task["master"]["image"] = json!("endless:1");
        let name = director.accepted(&task).await;
        director.wait_for_step(&name, Step::Running).await;
        director.orchestrator.stop(&name).await.unwrap();
        let state = director.wait_done(&name).await;
        assert_eq!(state.outcome, Some(Outcome::Stopped));
        assert_eq!(state.exit_code, Some(143));
    });
}
