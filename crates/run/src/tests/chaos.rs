//! Invariants 2, 4, 5, 6 and 7 of ARCHITECTURE.md as a property: every task completes with a legal history and leaves
//! no objects, with any faults of Docker, crashes of the Director, and stops or deletes.

use super::sample::limit;
use super::simulation::{Director, Simulation, name, task, with_bundle};
use crate::stop_and_delete::StopOptions;
use atq_engine::Role;
use atq_engine_swarm::SwarmError;
use atq_task::state::Outcome;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::time::Duration;

/// A fault of a call to Docker.
#[derive(Debug, Clone, Copy)]
enum Fault {
    Unavailable,
    ResponseLost,
    Rejected,
}

/// The end of a Director.
#[derive(Debug, Clone, Copy)]
enum Crash {
    /// It crashes this number of milliseconds after its start.
    Plain(u64),
    /// A stop or delete arrives before the crash.
    AfterStop(u64, Force),
    AfterDelete(u64, Force),
}

/// Whether grace periods are skipped.
type Force = bool;

fn tasks() -> impl Strategy<Value = Value> {
    let readiness = prop_oneof![
        Just(Value::Null),
        Just(json!({"tcp": 1099, "timeout": 5})),
        Just(json!({"exec": "probe", "timeout": 5})),
    ];
    let wait = prop_oneof![
        Just(Value::Null),
        Just(json!({"command": "check", "expectedResult": "ok", "timeout": 3})),
    ];
    let masters = prop_oneof![Just("boss:1"), Just("failing:1"), Just("endless:1")];
    let losses = prop_oneof![Just("continue"), Just("abort")];
    (
        readiness,
        wait,
        masters,
        losses,
        1..4_u32,
        0..3_u64,
        any::<bool>(),
    )
        .prop_map(|(readiness, wait, master, loss, replicas, delay, bundle)| {
            let mut task = if bundle { with_bundle() } else { task() };
            task["worker"]["replicas"] = json!(replicas);
            task["worker"]["readiness"] = readiness;
            task["waitCommand"] = wait;
            task["master"]["image"] = json!(master);
            task["onWorkerLoss"] = json!(loss);
            task["delay"] = json!(delay);
            task["maxDuration"] = json!(30);
            task
        })
}

fn faults() -> impl Strategy<Value = Vec<(usize, Fault)>> {
    let fault = prop_oneof![
        4 => Just(Fault::Unavailable),
        4 => Just(Fault::ResponseLost),
        1 => Just(Fault::Rejected),
    ];
    // The first calls are health checks, without which no definition is accepted.
    prop::collection::vec((4..160_usize, fault), 0..6)
}

fn crashes() -> impl Strategy<Value = Vec<Crash>> {
    let after = 0..9_000_u64;
    let crash = prop_oneof![
        3 => after.clone().prop_map(Crash::Plain),
        1 => (after.clone(), any::<Force>()).prop_map(|(after, force)| Crash::AfterStop(after, force)),
        1 => (after, any::<Force>()).prop_map(|(after, force)| Crash::AfterDelete(after, force)),
    ];
    prop::collection::vec(crash, 0..4)
}

fn simulation(task: &Value, faults: &[(usize, Fault)], lost_worker: Option<u64>) -> Simulation {
    let simulation = Simulation::for_task(task);
    simulation
        .fake
        .image("failing:1")
        .exits(3)
        .after(Duration::from_secs(1));
    simulation
        .fake
        .image("endless:1")
        .on_sigterm(&["bye"], Duration::from_secs(2), 143);
    for (call, fault) in faults {
        let (host, reason) = ("unix:///fake.sock".to_owned(), "reset".to_owned());
        let away = SwarmError::Unavailable { host, reason };
        let refused = SwarmError::Rejected {
            what: "the call".into(),
            reason: "because".into(),
        };
        match fault {
            Fault::Unavailable => simulation.fake.fail_at(*call, away),
            Fault::ResponseLost => simulation.fake.lose_answer_at(*call, away),
            Fault::Rejected => simulation.fake.fail_at(*call, refused),
        }
    }
    if let Some(call) = lost_worker {
        let fake = simulation.fake.clone();
        simulation.fake.on_call(move |number, _| {
            let workers = || {
                fake.plans()
                    .into_iter()
                    .find(|plan| plan.role == Role::Worker)
            };
            if number as u64 == call
                && let Some(plan) = workers()
            {
                fake.kill(&plan.name, 1, 137);
            }
        });
    }
    simulation
}

/// Runs a Director until its crash. Requests may fail, for example if there is no task any more.
async fn run_until_crash(director: Director, crash: Crash) {
    let name = name("load");
    let (Crash::Plain(after) | Crash::AfterStop(after, _) | Crash::AfterDelete(after, _)) = crash;
    tokio::time::sleep(Duration::from_millis(after)).await;
    let moment = Duration::from_millis(after % 700);
    match crash {
        Crash::Plain(_) => {}
        Crash::AfterStop(_, force) => {
            let options = StopOptions {
                force,
                ..StopOptions::default()
            };
            let _ = tokio::time::timeout(moment, director.orchestrator.stop_with(&name, &options))
                .await;
        }
        Crash::AfterDelete(_, force) => {
            let options = StopOptions {
                force,
                ..StopOptions::default()
            };
            let _ =
                tokio::time::timeout(moment, director.orchestrator.delete_with(&name, &options))
                    .await;
        }
    }
}

/// Number of runs; fewer in a sample.
fn cases() -> u32 {
    let all = 192;
    let limit = limit().and_then(|limit| u32::try_from(limit).ok());
    let cases = limit.map_or(all, |limit| limit.min(all));
    println!("{cases} of {all} cases");
    cases
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn every_run_completes_and_leaves_no_objects(
        task in tasks(), faults in faults(), crashes in crashes(), lost_worker in prop::option::of(20..120_u64),
    ) {
        let simulation = simulation(&task, &faults, lost_worker);
        let accepted = simulation.run(|director| async move {
            let accepted = director.submit(&task).await.is_ok();
            tokio::time::sleep(Duration::from_millis(1)).await;
            accepted
        });
        for crash in &crashes {
            simulation.run(|director| run_until_crash(director, *crash));
        }
        let outcome = simulation.run(|director| async move {
            let name = name("load");
            if director.orchestrator.get(&name).await.unwrap().is_none() {
                assert_eq!(director.fake.leftovers(), Default::default());
                return None;
            }
            // A task that is being deleted may disappear at any time.
            let begun = tokio::time::Instant::now();
            while director.orchestrator.get(&name).await.unwrap().is_some_and(|view| !view.state.is_done()) {
                assert!(begun.elapsed() < Duration::from_secs(3600), "{:#?}", director.orchestrator.history(&name).await);
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            match director.orchestrator.get(&name).await.unwrap() {
                Some(_) => director.wait_done(&name).await.outcome,
                None => None,
            }
        });
        let deleted = crashes.iter().any(|crash| matches!(crash, Crash::AfterDelete(..)));
        let requested = deleted || crashes.iter().any(|crash| matches!(crash, Crash::AfterStop(..)));
        prop_assert!(accepted || outcome.is_none());
        prop_assert!(outcome.is_some() || !accepted || deleted);
        prop_assert!(outcome != Some(Outcome::Stopped) || requested);
    }
}
