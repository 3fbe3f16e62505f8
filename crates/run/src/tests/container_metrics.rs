//! The resource usage of all containers of a run is kept and in the report.

use super::simulation::{CARRIER, Director, Simulation, simple, task};
use atq_engine_swarm::carrier_endpoint::{ContainerReport, NodeSample};
use atq_engine_swarm::plan::{Errand, Role, carrier_token};
use atq_engine_swarm::{Swarm, SwarmTask, TaskState, role_of};
use atq_report::{ContainerFigures, Report};
use atq_task::spec::TaskName;
use atq_task::state::Step;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;

const MIB: u64 = 1 << 20;

/// Workers use 1 of 4 CPUs, and the master takes this many seconds.
fn simulation(seconds: u64) -> Simulation {
    let simulation = Simulation::new();
    simulation
        .fake
        .image("tool:1")
        .uses_cpus(1.0)
        .uses_memory(100 * MIB, 512 * MIB)
        .transfers([1000, 100, 10, 1]);
    simulation
        .fake
        .image("boss:1")
        .after(Duration::from_secs(seconds));
    simulation
}

/// A simulation of three nodes; their watchers run until they are removed.
fn three_nodes(seconds: u64) -> Simulation {
    let mut simulation = simulation(seconds);
    simulation.fake.add_node("node-2");
    simulation.fake.add_node("node-3");
    simulation.advertise("director");
    simulation.fake.image(CARRIER).in_role(Role::Watcher);
    simulation
}

/// Does the work of the watchers that run.
fn simulate_watchers(director: &Director, name: &TaskName) {
    let (director, name) = (director.clone(), name.clone());
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_secs(2)).await;
            let tasks = director.fake.tasks(&Default::default()).await.unwrap();
            let is_running = |task: &&SwarmTask| task.state == TaskState::Running;
            for watcher in tasks.iter().filter(is_running) {
                if role_of(&watcher.labels) == Some(Role::Watcher) {
                    report_node(
                        &director,
                        &name,
                        watcher.node_id.as_deref().unwrap(),
                        &tasks,
                    );
                }
            }
        }
    });
}

fn report_node(director: &Director, name: &TaskName, node: &str, tasks: &[SwarmTask]) {
    let state = director.state(name);
    let token = carrier_token(&state.token, &state.run, Errand::Watch);
    let report = |task: &SwarmTask| {
        let role = role_of(&task.labels)?;
        let tools = [Role::Worker, Role::Master, Role::Wait];
        let id = task
            .container_id
            .clone()
            .filter(|_| tools.contains(&role))?;
        let usage = director.fake.usage_of(&id)?;
        (usage.cpu.elapsed > 0).then(|| ContainerReport {
            source: format!("{role}.{}", task.slot),
            id,
            percent: usage.cpu.used as f64 / usage.cpu.elapsed as f64 * 400.0,
            usage: usage.usage,
        })
    };
    let own = tasks
        .iter()
        .filter(|task| task.node_id.as_deref() == Some(node));
    let sample = NodeSample {
        node: node.to_owned(),
        processors: 4,
        percent: 50.0,
        containers: own.filter_map(report).collect(),
    };
    // Refused before the run has seen its containers there.
    let endpoint = &director.carrier_endpoint;
    let _ = endpoint.record_usage(&state.run, &token, &sample);
}

async fn report(director: &Director, name: &TaskName) -> Report {
    let run = director.state(name).run;
    let evidence = &director.orchestrator.shared().evidence;
    evidence.report(name, &run).await.unwrap().unwrap()
}

/// The resource usage until now.
async fn figures(director: &Director, name: &TaskName) -> Vec<ContainerFigures> {
    let state = director.state(name);
    let evidence = &director.orchestrator.shared().evidence;
    let read = evidence.container_figures(name, &state.run, state.started_at);
    read.await.unwrap()
}

fn names(containers: &[ContainerFigures]) -> Vec<&str> {
    containers.iter().map(|one| one.name.as_str()).collect()
}

/// A task whose wait command takes some seconds.
fn with_slow_wait(simulation: &Simulation) -> Value {
    simulation
        .fake
        .image("tool:1")
        .in_role(Role::Wait)
        .after(Duration::from_secs(7));
    task()
}

fn text(simulation: &Simulation, director: &Director, name: &TaskName) -> String {
    let run = director.state(name).run;
    let path = simulation.evidence(name.as_str()).join(run);
    std::fs::read_to_string(path.join("container-metrics.csv")).unwrap()
}

#[test]
fn all_containers_of_a_run_on_one_node_are_in_its_report() {
    let simulation = simulation(21);
    let task = with_slow_wait(&simulation);
    simulation.run(|director| async move {
        let name = director.accepted(&task).await;
        director.wait_done(&name).await;
        let report = report(&director, &name).await;
        let containers = &report.containers;
        assert_eq!(
            names(containers),
            ["worker.1", "worker.2", "worker.3", "wait.1", "master.1"]
        );
        let worker = &containers[1];
        assert_eq!(worker.node, "node-1");
        assert_eq!((worker.cpu_mean, worker.cpu_max), (Some(1.0), Some(1.0)));
        assert_eq!(worker.cpu_limit, Some(4.0));
        assert_eq!(worker.memory_max, Some(100 * MIB));
        assert_eq!(worker.memory_limit, Some(512 * MIB));
        // The worker has run before the wait command, too.
        assert!(worker.received_bytes > Some(20_000), "{worker:?}");
        assert_eq!(
            worker.sent_bytes,
            worker.received_bytes.map(|bytes| bytes / 10)
        );
        assert_eq!(
            worker.read_bytes,
            worker.received_bytes.map(|bytes| bytes / 100)
        );
        assert_eq!(
            worker.written_bytes,
            worker.received_bytes.map(|bytes| bytes / 1000)
        );
        assert!((9..=12).contains(&worker.series.points.len()), "{worker:?}");
        let wait = &containers[3];
        assert!(wait.series.points.len() >= 3, "{wait:?}");
        let master = &containers[4];
        assert_eq!((master.cpu_mean, master.received_bytes), (Some(0.0), None));
        let about = |note: &String| note.contains("memory");
        assert!(!report.notes.iter().any(about), "{:?}", report.notes);
    });
}

#[test]
fn all_containers_of_a_run_on_three_nodes_are_in_its_report() {
    let simulation = three_nodes(31);
    let mut task = with_slow_wait(&simulation);
    task["worker"]["replicas"] = json!(2);
    simulation.run(|director| async move {
        let name = director.accepted(&task).await;
        simulate_watchers(&director, &name);
        director.wait_for_step(&name, Step::Running).await;
        director.wait_done(&name).await;
        let report = report(&director, &name).await;
        assert_eq!(
            names(&report.containers),
            ["worker.1", "worker.2", "wait.1", "master.1"]
        );
        let nodes: BTreeSet<&str> = report
            .containers
            .iter()
            .map(|one| one.node.as_str())
            .collect();
        assert!(nodes.len() > 1, "{nodes:?}");
        for worker in &report.containers[..2] {
            assert_eq!(worker.cpu_mean, Some(1.0));
            assert_eq!(worker.memory_max, Some(100 * MIB));
            assert!(worker.received_bytes > Some(25_000), "{worker:?}");
        }
    });
}

#[test]
fn nodes_that_get_containers_later_get_carriers_later() {
    let simulation = three_nodes(31);
    let mut task = simple("late");
    task["worker"]["placement"] = json!({"constraints": ["node.id==node-2"]});
    task["master"]["placement"] = json!({"constraints": ["node.id==node-3"]});
    task["waitCommand"] = json!({"command": "check", "expectedResult": "ok", "timeout": 10});
    simulation
        .fake
        .image("tool:1")
        .in_role(Role::Wait)
        .after(Duration::from_secs(7));
    simulation.run(|director| async move {
        let name = director.accepted(&task).await;
        simulate_watchers(&director, &name);
        director.wait_for_step(&name, Step::Running).await;
        tokio::time::sleep(Duration::from_secs(10)).await;
        let watchers = director.fake.plans().into_iter();
        let watchers = watchers.filter(|plan| plan.role == Role::Watcher).count();
        assert_eq!(watchers, 2);
        director.wait_done(&name).await;
        let report = report(&director, &name).await;
        let found = |name: &str| report.containers.iter().find(|one| one.name == name);
        assert_eq!(found("worker.3").unwrap().node, "node-2");
        assert_eq!(found("master.1").unwrap().node, "node-3");
    });
}

#[test]
fn the_resource_usage_can_be_read_while_the_run_goes_on_and_after_a_restart() {
    let simulation = three_nodes(121);
    let mut task = simple("restarted");
    task["criteria"] = json!(["errors < 1%"]);
    let (name, before) = simulation.run(|director| async move {
        let name = director.accepted(&task).await;
        simulate_watchers(&director, &name);
        director.wait_for_step(&name, Step::Running).await;
        tokio::time::sleep(Duration::from_secs(45)).await;
        let before = figures(&director, &name).await;
        (name, before)
    });
    let all = ["worker.1", "worker.2", "worker.3", "master.1"];
    assert_eq!(names(&before), all);
    assert!(
        (18..=24).contains(&before[0].series.points.len()),
        "{before:?}"
    );
    simulation.downtime(Duration::from_secs(10));
    let name = &name;
    let simulation = &simulation;
    simulation.run(|director| async move {
        simulate_watchers(&director, name);
        director.wait_done(name).await;
        let report = report(&director, name).await;
        assert_eq!(names(&report.containers), all);
        for (one, earlier) in report.containers.iter().zip(&before) {
            let points = &one.series.points;
            // Those of before the restart are all there, and none is doubled.
            assert_eq!(
                points[..earlier.series.points.len() - 1],
                earlier.series.points[..earlier.series.points.len() - 1]
            );
            assert!(
                (45..=58).contains(&points.len()),
                "{} {}",
                one.name,
                points.len()
            );
            assert!(points.windows(2).all(|pair| pair[0].at < pair[1].at));
        }
        assert_eq!(report.containers[0].cpu_mean, Some(1.0));
        let text = text(simulation, &director, name);
        let mut rows: Vec<&str> = text.lines().skip(1).collect();
        let count = rows.len();
        rows.sort_unstable();
        rows.dedup_by_key(|row| row.split(',').take(4).collect::<Vec<_>>().join(","));
        assert_eq!(rows.len(), count);
    });
}

#[test]
fn the_file_of_a_run_of_an_hour_is_small() {
    let simulation = simulation(3600);
    let simulation = &simulation;
    simulation.run(|director| async move {
        let name = director.accepted(&simple("long")).await;
        director.wait_for_step(&name, Step::Running).await;
        let mut largest = 0;
        for _ in 0..59 {
            tokio::time::sleep(Duration::from_secs(60)).await;
            largest = largest.max(text(simulation, &director, &name).len());
        }
        director.wait_until(&name, |state| state.is_done()).await;
        assert!(largest < 1 << 20, "{largest}");
        let text = text(simulation, &director, &name);
        let rows = text.lines().count() - 1;
        assert!((4 * 400..=4 * 600).contains(&rows), "{rows}");
        let report = report(&director, &name).await;
        for one in &report.containers {
            let points = one.series.points.len();
            assert!((200..=300).contains(&points), "{points}");
        }
        assert_eq!(report.containers[0].cpu_mean, Some(1.0));
        let json = serde_json::to_string(&report.containers).unwrap();
        assert!(json.len() < 200_000, "{}", json.len());
    });
}

#[test]
fn a_container_at_its_memory_limit_is_in_a_note() {
    let simulation = simulation(21);
    simulation
        .fake
        .image("tool:1")
        .uses_memory(500 * MIB, 512 * MIB);
    simulation
        .fake
        .image("boss:1")
        .uses_memory(7800 * MIB, 8192 * MIB);
    simulation.run(|director| async move {
        let mut task = simple("full");
        task["worker"]["replicas"] = json!(12);
        task["worker"]["resources"] = json!({"limits": {"memory": "512M"}});
        let name = director.accepted(&task).await;
        director.wait_done(&name).await;
        let report = report(&director, &name).await;
        let notes: Vec<&String> = report
            .notes
            .iter()
            .filter(|note| note.contains("memory"))
            .collect();
        assert_eq!(notes.len(), 11, "{notes:?}");
        assert_eq!(
            notes[0],
            "`worker.1` reached its memory limit: it used 98 % of 512.0 MiB"
        );
        assert_eq!(notes[10], "3 more containers reached their memory limit");
    });
    let simulation = self::simulation(21);
    simulation
        .fake
        .image("boss:1")
        .uses_memory(7800 * MIB, 8192 * MIB);
    simulation.run(|director| async move {
        let name = director.accepted(&simple("greedy")).await;
        director.wait_done(&name).await;
        let notes = report(&director, &name).await.notes;
        let expected = "`master.1` reached the memory of its node: it used 95 % of 8192.0 MiB";
        assert!(notes.iter().any(|note| note == expected), "{notes:?}");
    });
}

#[test]
fn containers_whose_resource_usage_is_unknown_are_in_a_note() {
    // No watcher reports.
    three_nodes(21).run(|director| async move {
        let mut task = simple("dark");
        task["worker"]["replicas"] = json!(6);
        let name = director.accepted(&task).await;
        director.wait_done(&name).await;
        let report = report(&director, &name).await;
        let known = names(&report.containers).len();
        assert!((1..7).contains(&known), "{known}");
        let notes = report.notes.iter();
        let notes: Vec<&String> = notes.filter(|note| note.contains("unknown for")).collect();
        assert_eq!(notes.len(), 1, "{notes:?}");
        let more = format!("and {} more", 7 - known - 1);
        assert!(notes[0].ends_with(&more), "{notes:?}");
    });
}

#[test]
fn a_run_without_criteria_has_no_cpu_usage_for_a_verdict() {
    simulation(21).run(|director| async move {
        let name = director.accepted(&simple("plain")).await;
        let run = director.wait_done(&name).await.run;
        let evidence = &director.orchestrator.shared().evidence;
        assert_eq!(evidence.cpu_usage(&name, &run).await.unwrap(), None);
        assert_eq!(figures(&director, &name).await.len(), 4);
    });
}
