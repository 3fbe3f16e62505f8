//! What containers leave in `/atq/results` is with the Director at every kind of end, before anything
//! is removed.

use super::stage::{CARRIER, Director, Stage, simple};
use atq_engine_swarm::plan::{Role, carrier_token};
use atq_engine_swarm::{Swarm, SwarmError};
use atq_evidence::results::KeptResults;
use atq_task::event::{Event, ResultsSummary};
use atq_task::spec::TaskName;
use atq_task::state::{Outcome, State, Step};
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use std::time::Duration;
use tokio_util::bytes::Bytes;

/// Workers write something at their start and at their end; so do masters.
fn stage() -> Stage {
    let stage = Stage::new();
    let tenth = Duration::from_millis(100);
    let leaves = |image: &str| {
        stage
            .fake
            .image(image)
            .writes_result("own.csv", b"1,2\n")
            .on_sigterm(&[], tenth, 0)
            .writes_result_on_sigterm("last.txt", b"bye")
            .in_role(Role::Wait)
            .exits(0);
    };
    leaves("tool:1");
    stage.fake.image("boss:1").writes_result("results.jtl", b"a,b\n");
    stage
        .fake
        .image("endless:1")
        .writes_result("results.jtl", b"a,b\n")
        .on_sigterm(&[], tenth, 143)
        .writes_result_on_sigterm("end/summary", b"all");
    stage
}

fn endless(name: &str) -> Value {
    let mut task = simple(name);
    task["master"]["image"] = json!("endless:1");
    task["worker"]["replicas"] = json!(2);
    task
}

async fn kept(director: &Director, name: &TaskName) -> Vec<KeptResults> {
    let run = director.state(name).run;
    let evidence = &director.it.shared().evidence;
    evidence.results(name, &run).await.unwrap()
}

/// `worker.1 2, ...`: containers and their numbers of files.
async fn counts(director: &Director, name: &TaskName) -> String {
    let kept = kept(director, name).await;
    let text = |one: &KeptResults| format!("{} {}", one.source, one.files);
    kept.iter().map(text).collect::<Vec<_>>().join(", ")
}

fn told(director: &Director, name: &TaskName) -> (Vec<ResultsSummary>, Vec<String>) {
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
    director.until_step(&name, Step::Running).await;
    director.it.stop(&name).await.unwrap();
    let state = director.ended(&name).await;
    (name, state)
}

#[test]
fn a_test_that_ends_by_itself_leaves_its_results() {
    stage().life(|director| async move {
        let name = director.accepted(&simple("natural")).await;
        let state = director.ended(&name).await;
        assert_eq!(state.outcome, Some(Outcome::Finished));
        assert_eq!(
            counts(&director, &name).await,
            "worker.1 2, worker.2 2, worker.3 2, master.1 1"
        );
        let (seen, missing) = told(&director, &name);
        let worker = ResultsSummary {
            source: "worker.1".into(),
            files: 2,
            bytes: 7,
        };
        assert_eq!(
            (seen.first(), seen.len(), missing),
            (Some(&worker), 4, vec![])
        );
        let dir = director.it.shared().evidence.results_dir(
            &name,
            &state.run,
            kept(&director, &name).await[3].source,
        );
        assert_eq!(std::fs::read(dir.join("results.jtl")).unwrap(), b"a,b\n");
    });
}

#[test]
fn the_master_s_results_are_in_when_the_outcome_shows() {
    stage().life(|director| async move {
        let name = director.accepted(&simple("early")).await;
        director.until_step(&name, Step::Report).await;
        assert_eq!(counts(&director, &name).await, "master.1 1");
        director.ended(&name).await;
    });
}

#[test]
fn a_test_that_is_stopped_runs_too_long_or_loses_a_worker_leaves_its_results() {
    stage().life(|director| async move {
        let all = "worker.1 2, worker.2 2, master.1 2";
        let (name, state) = stopped(&director, &endless("stopped")).await;
        assert_eq!(state.outcome, Some(Outcome::Stopped));
        assert_eq!(counts(&director, &name).await, all);

        let mut long = endless("long");
        long["maxDuration"] = json!(30);
        let name = director.accepted(&long).await;
        assert!(director.failed(&name).await.contains("MaxDuration"));
        assert_eq!(counts(&director, &name).await, all);

        let mut abort = endless("abort");
        abort["onWorkerLoss"] = json!("abort");
        let name = director.accepted(&abort).await;
        let state = director.until_step(&name, Step::Running).await;
        director.fake.kill(&state.worker.unwrap(), 2, 137);
        assert!(director.failed(&name).await.contains("WorkerLost"));
        assert_eq!(
            counts(&director, &name).await,
            "worker.1 2, worker.2 1, master.1 2"
        );
    });
}

#[test]
fn workers_that_end_before_there_is_a_master_leave_their_results() {
    let stage = stage();
    stage
        .fake
        .image("broken:1")
        .writes_result("crash.txt", b"why")
        .exits(3)
        .after(Duration::from_secs(1));
    stage.life(|director| async move {
        let mut task = simple("broken");
        task["worker"]["image"] = json!("broken:1");
        task["worker"]["replicas"] = json!(1);
        task["delay"] = json!(60);
        let name = director.accepted(&task).await;
        director.failed(&name).await;
        assert_eq!(counts(&director, &name).await, "worker.1 1");
    });
}

#[test]
fn a_director_that_was_away_fetches_them_all_the_same() {
    for step in [Step::Collect, Step::Report] {
        let stage = stage();
        let name = stage.life(|director| async move {
            let name = director.accepted(&simple("between")).await;
            director.until_step(&name, step).await;
            name
        });
        stage.away(Duration::from_secs(20));
        stage.life(|director| async move {
            director.ended(&name).await;
            assert_eq!(
                counts(&director, &name).await,
                "worker.1 2, worker.2 2, worker.3 2, master.1 1"
            );
        });
    }
}

#[test]
fn results_that_docker_never_ends_are_cut_off_and_named() {
    let stage = stage();
    stage.fake.image("boss:1").hangs_on_results();
    stage.life(|director| async move {
        let name = director.accepted(&simple("hangs")).await;
        let state = director.ended(&name).await;
        assert_eq!(state.outcome, Some(Outcome::Finished));
        let collected = state.timings[&Step::Collect];
        assert!((59_000..75_000).contains(&collected), "{collected}");
        let said = director.events(&name);
        let said = format!("{said:?}");
        let text = "the results of master.1 are incomplete: they did not arrive to their end: there was no more of them within 60 s";
        assert!(said.contains(text), "{said}");
        // What came is kept.
        assert!(counts(&director, &name).await.ends_with("master.1 1"));
    });
}

#[test]
fn a_delete_waits_for_no_results() {
    let stage = stage();
    stage.fake.image("boss:1").hangs_on_results();
    stage.life(|director| async move {
        let name = director.accepted(&simple("unwanted")).await;
        director.until_step(&name, Step::Collect).await;
        let begun = tokio::time::Instant::now();
        director.it.delete(&name).await.unwrap();
        assert!(
            begun.elapsed() < Duration::from_secs(30),
            "{:?}",
            begun.elapsed()
        );
        assert!(director.it.get(&name).await.unwrap().is_none());
    });
}

#[test]
fn results_beyond_the_limit_are_cut_off_and_named() {
    let mut stage = stage();
    stage.settings.results.bytes = 20;
    stage.fake.image("boss:1").writes_result("large", &[b'x'; 100]);
    stage.life(|director| async move {
        let name = director.accepted(&simple("large")).await;
        assert_eq!(director.ended(&name).await.outcome, Some(Outcome::Finished));
        let said = format!("{:?}", director.events(&name));
        let text = "the results of master.1 are incomplete: the run left more than 20 bytes (`limits.resultsBytes`)";
        assert!(said.contains(text), "{said}");
        assert!(counts(&director, &name).await.ends_with("master.1 2"));
    });
}

#[test]
fn what_docker_refuses_is_named() {
    let stage = stage();
    let what = "container `x`".to_owned();
    stage.fake.refuse("archive", SwarmError::NotFound { what });
    stage.life(|director| async move {
        let name = director.accepted(&simple("refused")).await;
        assert_eq!(director.ended(&name).await.outcome, Some(Outcome::Finished));
        let (seen, missing) = told(&director, &name);
        assert_eq!(seen, []);
        let text = "the results of worker.1 could not be read: container `x` does not exist";
        assert!(missing.contains(&text.to_owned()), "{missing:?}");
    });
}

/// What a collector does on its node, played here: sends what it is ordered to send.
fn collectors_work(director: &Director, except_on: &'static str) {
    let (it, fake) = (director.inbound.clone(), director.fake.clone());
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
        let (it, fake) = (it.clone(), fake.clone());
        tokio::spawn(async move {
            let order: Value = serde_json::from_str(&order).unwrap();
            assert_eq!(order["url"], "http://director:1");
            let run = order["run"].as_str().unwrap();
            for container in order["containers"].as_array().unwrap() {
                let id = container["id"].as_str().unwrap();
                let tar = Bytes::from(fake.results_of(id).unwrap());
                let tar = stream::iter([Ok(tar)]).boxed();
                let source = container["source"].as_str().unwrap();
                it.receive_results(run, &token, source, tar).await.unwrap();
            }
        });
    });
}

fn variable(environment: &[String], name: &str) -> String {
    let found = environment.iter().find_map(|one| one.strip_prefix(name));
    found.unwrap().to_owned()
}

/// A stage of three nodes, whose Director can be reached from all.
fn three_nodes() -> Stage {
    let mut stage = stage();
    stage.fake.add_node("node-2");
    stage.fake.add_node("node-3");
    stage.swarm.advertise_url = Some("http://director:1".to_owned());
    stage
        .fake
        .image(CARRIER)
        .in_role(Role::Collector)
        .exits(0)
        .after(Duration::from_secs(2));
    stage.fake.image(CARRIER).in_role(Role::Watcher);
    stage
}

#[test]
fn carriers_bring_results_from_other_nodes() {
    three_nodes().life(|director| async move {
        collectors_work(&director, "none");
        let (name, _) = stopped(&director, &endless("spread")).await;
        assert_eq!(
            counts(&director, &name).await,
            "worker.1 2, worker.2 2, master.1 2"
        );
        assert_eq!(told(&director, &name).1, Vec::<String>::new());
        let run = director.state(&name).run;
        let load = director.it.shared().evidence.load(&name, &run).await;
        let clocks = load.unwrap().unwrap().clock_offsets;
        assert!(
            !clocks.is_empty() && clocks.values().all(|millis| *millis == 1),
            "{clocks:?}"
        );
    });
}

#[test]
fn a_carrier_that_fails_is_named_and_the_rest_is_kept() {
    let stage = three_nodes();
    stage
        .fake
        .image(CARRIER)
        .in_role(Role::Collector)
        .fails_on("node-2", "cannot reach the Director");
    stage.life(|director| async move {
        collectors_work(&director, "node-2");
        let mut task = endless("partly");
        task["worker"]["replicas"] = json!(4);
        let (name, state) = stopped(&director, &task).await;
        assert_eq!(state.outcome, Some(Outcome::Stopped));
        let said = format!("{:?}", director.events(&name));
        assert!(
            said.contains("could not be read: cannot reach the Director"),
            "{said}"
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
fn a_lost_node_is_named_and_holds_up_nothing() {
    three_nodes().life(|director| async move {
        collectors_work(&director, "none");
        let mut task = endless("lost");
        task["worker"]["replicas"] = json!(3);
        let name = director.accepted(&task).await;
        let state = director.until_step(&name, Step::Running).await;
        let master = state.master.clone().unwrap();
        let tasks = director.fake.tasks(&Default::default()).await.unwrap();
        let master = tasks.iter().find(|task| task.service_id == master).unwrap();
        let lost = ["node-2", "node-3"]
            .into_iter()
            .find(|node| master.node_id.as_deref() != Some(node))
            .unwrap();
        director.fake.lose_node(lost);
        director.until(&name, |state| !state.lost.is_empty()).await;
        director.it.stop(&name).await.unwrap();
        director.until_step(&name, Step::Cleanup).await;
        director.fake.return_node(lost);
        let state = director.ended(&name).await;
        let said = format!("{:?}", director.events(&name));
        let worker = state.lost[0].replica;
        let text = format!("the results of worker.{worker} could not be read: its node was lost");
        assert!(said.contains(&text), "{said}");
        assert_eq!(kept(&director, &name).await.len(), 3);
    });
}

#[test]
fn only_carriers_of_the_run_are_listened_to_and_only_when_it_waits() {
    let stage = stage();
    stage.fake.image("boss:1").hangs_on_results();
    stage.life(|director| async move {
        let name = director.accepted(&simple("guarded")).await;
        let state = director.until_step(&name, Step::Running).await;
        let (run, token) = (state.run.clone(), carrier_token(&state.token));
        let send = async |token: &str, source: &str| {
            let nothing = stream::empty().boxed();
            let sent = director.inbound.receive_results(&run, token, source, nothing);
            sent.await.map_err(|refused| refused.to_string())
        };
        let closed = "results of `master.1` are not expected";
        assert_eq!(send(&token, "master.1").await, Err(closed.to_owned()));
        director.until_step(&name, Step::Collect).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert!(
            send("wrong", "master.1")
                .await
                .unwrap_err()
                .contains("token")
        );
        assert!(send(&token, "worker.9").await.is_err());
        assert!(send(&token, "../x").await.is_err());
        director.ended(&name).await;
    });
}

#[test]
fn the_load_of_generators_is_kept() {
    let stage = stage();
    stage.fake.image("tool:1").uses_cpus(3.0);
    stage.fake.image("boss:1").after(Duration::from_secs(21));
    stage.life(|director| async move {
        let mut task = simple("busy");
        task["worker"]["resources"] = json!({"limits": {"cpus": 2}});
        task["criteria"] = json!(["errors < 1%"]);
        let name = director.accepted(&task).await;
        let run = director.ended(&name).await.run;
        let load = director.it.shared().evidence.load(&name, &run).await;
        let load = load.unwrap().unwrap();
        let worker = &load.sources["worker.2"];
        assert_eq!((worker.node.as_str(), worker.processors), ("node-1", 2.0));
        assert!(worker.busy.samples >= 8, "{worker:?}");
        assert_eq!(worker.busy.mean, 150.0);
        assert!(worker.busy.is_saturated());
        assert!(!load.sources["master.1"].busy.is_saturated());
    });
}
