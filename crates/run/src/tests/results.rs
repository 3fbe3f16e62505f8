//! Results in `/atq/results` are stored at every kind of end, before anything is removed.

use super::simulation::{CARRIER, Director, Simulation, simple};
use atq_engine_swarm::node_door::fake::CERTIFICATE;
use atq_engine_swarm::plan::{Errand, Role, carrier_token};
use atq_engine_swarm::{Swarm, SwarmError};
use atq_evidence::results::KeptResults;
use atq_task::event::{Event, ResultsSummary};
use atq_task::spec::TaskName;
use atq_task::state::{Outcome, State, Step};
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use std::time::Duration;
use tokio_util::bytes::Bytes;

/// Workers and masters write results at their start and at their end.
fn simulation() -> Simulation {
    let simulation = Simulation::new();
    let tenth = Duration::from_millis(100);
    let leaves = |image: &str| {
        simulation
            .fake
            .image(image)
            .writes_result("own.csv", b"1,2\n")
            .on_sigterm(&[], tenth, 0)
            .writes_result_on_sigterm("last.txt", b"bye")
            .in_role(Role::Wait)
            .exits(0);
    };
    leaves("tool:1");
    simulation
        .fake
        .image("boss:1")
        .writes_result("results.jtl", b"a,b\n");
    simulation
        .fake
        .image("endless:1")
        .writes_result("results.jtl", b"a,b\n")
        .on_sigterm(&[], tenth, 143)
        .writes_result_on_sigterm("end/summary", b"all");
    simulation
}

fn endless(name: &str) -> Value {
    let mut task = simple(name);
    task["master"]["image"] = json!("endless:1");
    task["worker"]["replicas"] = json!(2);
    task
}

async fn kept(director: &Director, name: &TaskName) -> Vec<KeptResults> {
    let run = director.state(name).run;
    let evidence = &director.orchestrator.shared().evidence;
    evidence.results(name, &run).await.unwrap()
}

/// The number of files of each container: `worker.1 2, ...`.
async fn counts(director: &Director, name: &TaskName) -> String {
    let kept = kept(director, name).await;
    let text = |one: &KeptResults| format!("{} {}", one.source, one.files);
    kept.iter().map(text).collect::<Vec<_>>().join(", ")
}

fn last_evidence(director: &Director, name: &TaskName) -> (Vec<ResultsSummary>, Vec<String>) {
    let mut kept = director.events(name).into_iter().filter_map(|event| {
        let Event::EvidenceKept {
            results, missing, ..
        } = event
        else {
            return None;
        };
        Some((results, missing))
    });
    kept.next_back().unwrap()
}

async fn stopped(director: &Director, task: &Value) -> (TaskName, State) {
    let name = director.accepted(task).await;
    director.wait_for_step(&name, Step::Running).await;
    director.orchestrator.stop(&name).await.unwrap();
    let state = director.wait_done(&name).await;
    (name, state)
}

#[test]
fn a_test_that_ends_by_itself_leaves_its_results() {
    simulation().run(|director| async move {
        let name = director.accepted(&simple("natural")).await;
        let state = director.wait_done(&name).await;
        assert_eq!(state.outcome, Some(Outcome::Finished));
        assert_eq!(
            counts(&director, &name).await,
            "worker.1 2, worker.2 2, worker.3 2, master.1 1"
        );
        let (seen, missing) = last_evidence(&director, &name);
        let worker = ResultsSummary {
            source: "worker.1".into(),
            files: 2,
            bytes: 7,
        };
        assert_eq!(
            (seen.first(), seen.len(), missing),
            (Some(&worker), 4, vec![])
        );
        let dir = director.orchestrator.shared().evidence.results_dir(
            &name,
            &state.run,
            kept(&director, &name).await[3].source,
        );
        assert_eq!(std::fs::read(dir.join("results.jtl")).unwrap(), b"a,b\n");
    });
}

#[test]
fn the_results_of_the_master_are_stored_when_the_outcome_is_visible() {
    simulation().run(|director| async move {
        let name = director.accepted(&simple("early")).await;
        director.wait_for_step(&name, Step::Report).await;
        assert_eq!(counts(&director, &name).await, "master.1 1");
        director.wait_done(&name).await;
    });
}

#[test]
fn a_test_that_is_stopped_runs_too_long_or_loses_a_worker_leaves_its_results() {
    simulation().run(|director| async move {
        let all = "worker.1 2, worker.2 2, master.1 2";
        let (name, state) = stopped(&director, &endless("stopped")).await;
        assert_eq!(state.outcome, Some(Outcome::Stopped));
        assert_eq!(counts(&director, &name).await, all);

        let mut long = endless("long");
        long["maxDuration"] = json!(30);
        let name = director.accepted(&long).await;
        assert!(director.wait_failed(&name).await.contains("MaxDuration"));
        assert_eq!(counts(&director, &name).await, all);

        let mut abort = endless("abort");
        abort["onWorkerLoss"] = json!("abort");
        let name = director.accepted(&abort).await;
        let state = director.wait_for_step(&name, Step::Running).await;
        director.fake.kill(&state.worker.unwrap(), 2, 137);
        assert!(director.wait_failed(&name).await.contains("WorkerLost"));
        assert_eq!(
            counts(&director, &name).await,
            "worker.1 2, worker.2 1, master.1 2"
        );
    });
}

#[test]
fn workers_that_end_before_the_master_starts_leave_their_results() {
    let simulation = simulation();
    simulation
        .fake
        .image("broken:1")
        .writes_result("crash.txt", b"why")
        .exits(3)
        .after(Duration::from_secs(1));
    simulation.run(|director| async move {
        let mut task = simple("broken");
        task["worker"]["image"] = json!("broken:1");
        task["worker"]["replicas"] = json!(1);
        task["delay"] = json!(60);
        let name = director.accepted(&task).await;
        director.wait_failed(&name).await;
        assert_eq!(counts(&director, &name).await, "worker.1 1");
    });
}

#[test]
fn results_are_fetched_after_a_downtime() {
    for step in [Step::Collect, Step::Report] {
        let simulation = simulation();
        let name = simulation.run(|director| async move {
            let name = director.accepted(&simple("between")).await;
            director.wait_for_step(&name, step).await;
            name
        });
        simulation.downtime(Duration::from_secs(20));
        simulation.run(|director| async move {
            director.wait_done(&name).await;
            assert_eq!(
                counts(&director, &name).await,
                "worker.1 2, worker.2 2, worker.3 2, master.1 1"
            );
        });
    }
}

#[test]
fn endless_results_are_truncated_and_listed() {
    let simulation = simulation();
    simulation.fake.image("boss:1").hangs_on_results();
    simulation.run(|director| async move {
        let name = director.accepted(&simple("hangs")).await;
        let state = director.wait_done(&name).await;
        assert_eq!(state.outcome, Some(Outcome::Finished));
        let collected = state.timings[&Step::Collect];
        assert!((59_000..75_000).contains(&collected), "{collected}");
        let events = format!("{:?}", director.events(&name));
        let text = "the results of master.1 are incomplete: the transfer was interrupted: timeout after 60 s";
        assert!(events.contains(text), "{events}");
        // Received files are kept.
        assert!(counts(&director, &name).await.ends_with("master.1 1"));
    });
}

#[test]
fn a_delete_waits_for_no_results() {
    let simulation = simulation();
    simulation.fake.image("boss:1").hangs_on_results();
    simulation.run(|director| async move {
        let name = director.accepted(&simple("unwanted")).await;
        director.wait_for_step(&name, Step::Collect).await;
        let begun = tokio::time::Instant::now();
        director.orchestrator.delete(&name).await.unwrap();
        assert!(
            begun.elapsed() < Duration::from_secs(30),
            "{:?}",
            begun.elapsed()
        );
        assert!(director.orchestrator.get(&name).await.unwrap().is_none());
    });
}

#[test]
fn results_beyond_the_limit_are_truncated_and_listed() {
    let mut simulation = simulation();
    simulation.settings.results.bytes = 20;
    simulation
        .fake
        .image("boss:1")
        .writes_result("large", &[b'x'; 100]);
    simulation.run(|director| async move {
        let name = director.accepted(&simple("large")).await;
        assert_eq!(director.wait_done(&name).await.outcome, Some(Outcome::Finished));
        let events = format!("{:?}", director.events(&name));
        let text = "the results of master.1 are incomplete: the results of the run exceed 20 bytes (`limits.resultsBytes`)";
        assert!(events.contains(text), "{events}");
        assert!(counts(&director, &name).await.ends_with("master.1 2"));
    });
}

#[test]
fn results_refused_by_docker_are_listed() {
    let simulation = simulation();
    let what = "container `x`".to_owned();
    simulation
        .fake
        .refuse("archive", SwarmError::NotFound { what });
    simulation.run(|director| async move {
        let name = director.accepted(&simple("refused")).await;
        assert_eq!(
            director.wait_done(&name).await.outcome,
            Some(Outcome::Finished)
        );
        let (seen, missing) = last_evidence(&director, &name);
        assert_eq!(seen, []);
        let text = "the results of worker.1 could not be read: container `x` does not exist";
        assert!(missing.contains(&text.to_owned()), "{missing:?}");
    });
}

/// Simulates collectors on their nodes: each sends the requested results.
fn simulate_collectors(director: &Director, except_on: &'static str) {
    let (endpoint, fake) = (director.carrier_endpoint.clone(), director.fake.clone());
    let seen = director.fake.clone();
    director.fake.on_call(move |_, call| {
        let created = seen
            .plans()
            .into_iter()
            .find(|plan| plan.name == call.object);
        let Some(plan) =
            created.filter(|plan| call.method == "create_service" && plan.role == Role::Collector)
        else {
            return;
        };
        if plan.constraints == [format!("node.id=={except_on}")] {
            return;
        }
        let order = variable(&plan.environment, "ATQ_CARRIER_ORDER=");
        let token = variable(&plan.environment, "ATQ_CARRIER_TOKEN=");
        let node = plan.constraints[0]
            .strip_prefix("node.id==")
            .unwrap()
            .to_owned();
        let (endpoint, fake) = (endpoint.clone(), fake.clone());
        tokio::spawn(async move {
            let order: Value = serde_json::from_str(&order).unwrap();
            assert_eq!(order["url"], "https://director:8081");
            assert_eq!(order["certificate"], CERTIFICATE);
            let run = order["run"].as_str().unwrap();
            for container in order["containers"].as_array().unwrap() {
                let id = container["id"].as_str().unwrap();
                let tar = Bytes::from(fake.results_of(id).unwrap());
                let tar = stream::iter([Ok(tar)]).boxed();
                let source = container["source"].as_str().unwrap();
                endpoint
                    .receive_results(run, &token, &node, source, tar)
                    .await
                    .unwrap();
            }
        });
    });
}

fn variable(environment: &[String], name: &str) -> String {
    let found = environment.iter().find_map(|one| one.strip_prefix(name));
    found.unwrap().to_owned()
}

/// A simulation of three nodes that all reach the Director.
fn three_nodes() -> Simulation {
    let mut simulation = simulation();
    simulation.fake.add_node("node-2");
    simulation.fake.add_node("node-3");
    simulation.advertise("director");
    simulation
        .fake
        .image(CARRIER)
        .in_role(Role::Collector)
        .exits(0)
        .after(Duration::from_secs(2));
    simulation.fake.image(CARRIER).in_role(Role::Watcher);
    simulation
}

#[test]
fn carriers_send_results_from_other_nodes() {
    three_nodes().run(|director| async move {
        simulate_collectors(&director, "none");
        let (name, _) = stopped(&director, &endless("spread")).await;
        assert_eq!(
            counts(&director, &name).await,
            "worker.1 2, worker.2 2, master.1 2"
        );
        assert_eq!(last_evidence(&director, &name).1, Vec::<String>::new());
        let run = director.state(&name).run;
        let evidence = &director.orchestrator.shared().evidence;
        let usage = evidence.cpu_usage(&name, &run).await;
        let clocks = usage.unwrap().unwrap().clock_offsets;
        assert!(
            !clocks.is_empty() && clocks.values().all(|millis| *millis == 1),
            "{clocks:?}"
        );
    });
}

#[test]
fn a_failed_carrier_is_listed_and_other_results_are_kept() {
    let simulation = three_nodes();
    simulation
        .fake
        .image(CARRIER)
        .in_role(Role::Collector)
        .fails_on("node-2", "cannot reach the Director");
    simulation.run(|director| async move {
        simulate_collectors(&director, "node-2");
        let mut task = endless("partly");
        task["worker"]["replicas"] = json!(4);
        let (name, state) = stopped(&director, &task).await;
        assert_eq!(state.outcome, Some(Outcome::Stopped));
        let events = format!("{:?}", director.events(&name));
        assert!(
            events.contains("could not be read: cannot reach the Director"),
            "{events}"
        );
        let kept = kept(&director, &name).await;
        let on_others = state
            .workers
            .iter()
            .filter(|worker| worker.node.as_deref() != Some("node-2"));
        for worker in on_others {
            assert!(
                kept.iter().any(|kept| kept.source.role == Role::Worker
                    && kept.source.replica == worker.replica
                    && kept.files == 2),
                "{} of {kept:?}",
                worker.replica
            );
        }
    });
}

#[test]
fn a_lost_node_is_listed_and_does_not_block() {
    three_nodes().run(|director| async move {
        simulate_collectors(&director, "none");
        let mut task = endless("lost");
        task["worker"]["replicas"] = json!(3);
        let name = director.accepted(&task).await;
        let state = director.wait_for_step(&name, Step::Running).await;
        let master = state.master.clone().unwrap();
        let tasks = director.fake.tasks(&Default::default()).await.unwrap();
        let master = tasks.iter().find(|task| task.service_id == master).unwrap();
        let lost = ["node-2", "node-3"]
            .into_iter()
            .find(|node| master.node_id.as_deref() != Some(node))
            .unwrap();
        director.fake.lose_node(lost);
        director
            .wait_until(&name, |state| !state.lost.is_empty())
            .await;
        director.orchestrator.stop(&name).await.unwrap();
        director.wait_for_step(&name, Step::Cleanup).await;
        director.fake.return_node(lost);
        let state = director.wait_done(&name).await;
        let events = format!("{:?}", director.events(&name));
        let worker = state.lost[0].replica;
        let text = format!("the results of worker.{worker} could not be read: its node was lost");
        assert!(events.contains(&text), "{events}");
        assert_eq!(kept(&director, &name).await.len(), 3);
    });
}

#[test]
fn only_carriers_of_the_run_may_send_results_and_only_during_the_collection() {
    let simulation = simulation();
    simulation.fake.image("boss:1").hangs_on_results();
    simulation.run(|director| async move {
        let name = director.accepted(&simple("guarded")).await;
        let state = director.wait_for_step(&name, Step::Running).await;
        let run = state.run.clone();
        let token = |errand| carrier_token(&state.token, &run, errand);
        let own = token(Errand::Collect { node: "node-1" });
        let send = async |token: &str, node: &str, source: &str| {
            let nothing = stream::empty().boxed();
            let sent = director
                .carrier_endpoint
                .receive_results(&run, token, node, source, nothing);
            sent.await.map_err(|refused| refused.to_string())
        };
        let closed = "results of `master.1` are not expected";
        assert_eq!(
            send(&own, "node-1", "master.1").await,
            Err(closed.to_owned())
        );
        director.wait_for_step(&name, Step::Collect).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        let fetch = Errand::Fetch { bundle: "b1" };
        let others = [fetch, Errand::Watch, Errand::Collect { node: "node-2" }];
        let others = others.map(token).into_iter();
        for wrong in others.chain([state.token.clone(), "wrong".to_owned()]) {
            let refused = send(&wrong, "node-1", "master.1").await.unwrap_err();
            assert!(refused.contains("token"), "{refused}");
        }
        // The token of another node: its containers only.
        let other = token(Errand::Collect { node: "node-2" });
        for (token, node, source) in [
            (&other, "node-2", "master.1"),
            (&own, "node-1", "worker.9"),
            (&own, "node-1", "../x"),
        ] {
            let refused = send(token, node, source).await.unwrap_err();
            let expected = format!("`{source}` of this run is not on the node `{node}`");
            assert_eq!(refused, expected);
        }
        director.wait_done(&name).await;
    });
}

#[test]
fn the_cpu_usage_of_generators_is_stored() {
    let simulation = simulation();
    simulation.fake.image("tool:1").uses_cpus(3.0);
    simulation
        .fake
        .image("boss:1")
        .after(Duration::from_secs(21));
    simulation.run(|director| async move {
        let mut task = simple("busy");
        task["worker"]["resources"] = json!({"limits": {"cpus": 2}});
        task["criteria"] = json!(["errors < 1%"]);
        let name = director.accepted(&task).await;
        let run = director.wait_done(&name).await.run;
        let evidence = &director.orchestrator.shared().evidence;
        let usage = evidence.cpu_usage(&name, &run).await.unwrap().unwrap();
        let worker = &usage.sources["worker.2"];
        assert_eq!((worker.node.as_str(), worker.processors), ("node-1", 2.0));
        assert!(worker.busy.samples >= 8, "{worker:?}");
        assert_eq!(worker.busy.mean, 150.0);
        assert!(worker.busy.is_saturated());
        assert!(!usage.sources["master.1"].busy.is_saturated());
    });
}
