//! What still runs when the outcome is fixed: it is told to end, heard, and only then removed.

use super::stage::{Director, Stage, simple};
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

/// Workers and a master that run until they are told to end, and say so.
fn stage() -> Stage {
    let stage = Stage::new();
    let tenth = Duration::from_millis(100);
    stage
        .fake
        .image("tool:1")
        .on_sigterm(&["worker told"], tenth, 0);
    stage
        .fake
        .image("endless:1")
        .prints(&["hello"])
        .on_sigterm(&["results written"], Duration::from_secs(4), 143);
    stage
}

async fn log(director: &Director, name: &TaskName) -> String {
    let view = director.view(name);
    let lines = director.it.logs(&view, LogFilter::default()).await.unwrap();
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
    director.until_step(&name, Step::Running).await;
    director.it.stop(&name).await.unwrap();
    director.ended(&name).await
}

#[test]
fn a_stop_hears_the_master_out_and_then_the_workers() {
    stage().life(|director| async move {
        let state = stopped_while_it_runs(&director, None).await;
        assert_eq!(state.outcome, Some(Outcome::Stopped));
        let name = super::stage::name("endless");
        let all = "worker.1 ready\nworker.1 worker told\nworker.2 ready\nworker.2 worker told\n\
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
fn a_master_that_takes_too_long_to_end_is_killed_after_its_grace_period() {
    stage().life(|director| async move {
        stopped_while_it_runs(&director, Some(2)).await;
        let name = super::stage::name("endless");
        let log = log(&director, &name).await;
        assert!(log.contains("master.1 hello"), "{log}");
        assert!(!log.contains("results written"), "{log}");
    });
}

#[test]
fn workers_are_heard_out_after_a_test_that_ends_by_itself() {
    stage().life(|director| async move {
        let name = director.accepted(&simple("natural")).await;
        let collected = director.until_step(&name, Step::Cleanup).await;
        assert_eq!(collected.outcome, Some(Outcome::Finished));
        let state = director.ended(&name).await;
        assert!(log(&director, &name).await.contains("worker.3 worker told"));
        assert!(
            state
                .workers
                .iter()
                .all(|worker| worker.exit_code == Some(0))
        );
        // The master had ended; only the workers had to be told.
        assert_eq!(calls(&director, "end_service"), [state.worker.unwrap()]);
    });
}

#[test]
fn a_delete_waits_for_no_last_words_and_no_network_goes_before_its_containers() {
    let stage = stage();
    stage
        .fake
        .image("endless:1")
        .on_sigterm(&["x"], Duration::from_secs(500), 0);
    stage.life(|director| async move {
        let mut task = simple("endless");
        task["master"]["image"] = json!("endless:1");
        task["master"]["stopGracePeriod"] = json!(600);
        let name = director.accepted(&task).await;
        director.until_step(&name, Step::Running).await;
        // Neither at once, nor in the middle of a stop.
        director.it.stop(&name).await.unwrap();
        director.until_step(&name, Step::Collect).await;
        let left = director.it.delete(&name).await.unwrap_err();
        assert!(matches!(left, ControlError::Remains { .. }), "{left}");
        assert_eq!(director.fake.leftovers().services, 0);
        assert_eq!(director.fake.leftovers().networks, 1);
        tokio::time::sleep(Duration::from_secs(450)).await;
        // It may be over by now.
        let _ = director.it.delete(&name).await;
        assert_eq!(director.fake.leftovers(), Default::default());
        assert!(director.it.get(&name).await.unwrap().is_none());
    });
}

#[test]
fn an_end_that_docker_refuses_is_not_waited_for() {
    let stage = stage();
    let reason = "constraint expected".to_owned();
    let what = "the end of a service".to_owned();
    stage
        .fake
        .refuse("end_service", SwarmError::Rejected { what, reason });
    stage.life(|director| async move {
        let state = stopped_while_it_runs(&director, Some(600)).await;
        assert!(state.timings[&Step::Collect] < 5_000, "{:?}", state.timings);
        assert_eq!(state.outcome, Some(Outcome::Stopped));
    });
}

#[test]
fn a_node_that_is_lost_holds_no_last_words_up() {
    let stage = stage();
    stage.fake.add_node("node-2");
    stage.life(|director| async move {
        let mut task = simple("lost");
        task["master"]["image"] = json!("endless:1");
        let name = director.accepted(&task).await;
        director.until_step(&name, Step::Running).await;
        director.fake.lose_node("node-2");
        director.until(&name, |state| !state.lost.is_empty()).await;
        director.it.stop(&name).await.unwrap();
        let state = director
            .until(&name, |state| state.step >= Step::Cleanup)
            .await;
        assert!(
            state.timings[&Step::Collect] < 20_000,
            "{:?}",
            state.timings
        );
        director.fake.return_node("node-2");
        director.ended(&name).await;
    });
}

#[test]
fn a_lost_worker_aborts_the_test_when_asked_for() {
    stage().life(|director| async move {
        let mut task = simple("abort");
        task["master"]["image"] = json!("endless:1");
        task["onWorkerLoss"] = json!("abort");
        let name = director.accepted(&task).await;
        let state = director.until_step(&name, Step::Running).await;
        director.fake.kill(&state.worker.unwrap(), 2, 137);
        let failure = director.failed(&name).await;
        assert_eq!(
            failure,
            "running: WorkerLost: 1 of 3 workers lost while the test ran; replica 2: failed: task: non-zero exit (137)"
        );
        assert!(log(&director, &name).await.contains("results written"));
    });
}

#[test]
fn a_test_that_runs_longer_than_its_definition_allows_is_ended() {
    stage().life(|director| async move {
        let mut task = simple("long");
        task["master"]["image"] = json!("endless:1");
        task["maxDuration"] = json!(30);
        let name = director.accepted(&task).await;
        let failure = director.failed(&name).await;
        assert_eq!(
            failure,
            "running: MaxDuration: the test ran longer than 30 s"
        );
        assert!(log(&director, &name).await.contains("results written"));
        assert_eq!(director.view(&name).spec.worker.replicas, 3);
        let logs = director
            .it
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
fn a_master_that_is_about_to_start_when_the_task_is_stopped_never_does() {
    let stage = stage();
    let slowly = Duration::from_secs(4);
    stage
        .fake
        .image("tool:1")
        .on_sigterm(&["told"], slowly, 0);
    stage.life(|director| async move {
        let mut task = simple("early");
        task["master"]["image"] = json!("endless:1");
        let name = director.accepted(&task).await;
        director.until(&name, |state| state.master.is_some()).await;
        director.it.stop(&name).await.unwrap();
        let state = director.ended(&name).await;
        assert_eq!(state.outcome, Some(Outcome::Stopped));
        let log = log(&director, &name).await;
        assert!(log.contains("worker.3 told"), "{log}");
        assert!(!log.contains("master"), "{log}");
    });
}
