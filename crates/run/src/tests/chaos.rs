//! Invariants 2, 4, 5, 6 and 7 of ARCHITECTURE.md as properties: any task, with any faults of Docker,
//! any deaths of the Director and any wishes, comes to an end with a legal history and leaves nothing.

use super::stage::{Director, Stage, name, task, with_bundle};
use crate::stop_and_delete;
use atq_engine::Role;
use atq_engine_swarm::SwarmError;
use atq_task::state::Outcome;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::time::Duration;

/// What goes wrong at a call of Docker's.
#[derive(Debug, Clone, Copy)]
enum Fault {
    Away,
    AnswerLost,
    Refused,
}

/// How one life of the Director ends.
#[derive(Debug, Clone, Copy)]
enum Ending {
    /// It dies so many milliseconds after its start.
    Death(u64),
    /// Before it dies somebody wishes the task's end.
    StopAndDeath(u64, Force),
    DeleteAndDeath(u64, Force),
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
        4 => Just(Fault::Away),
        4 => Just(Fault::AnswerLost),
        1 => Just(Fault::Refused),
    ];
    // The first calls belong to the watcher, without which nothing would begin.
    prop::collection::vec((4..160_usize, fault), 0..6)
}

fn endings() -> impl Strategy<Value = Vec<Ending>> {
    let after = 0..9_000_u64;
    let ending = prop_oneof![
        3 => after.clone().prop_map(Ending::Death),
        1 => (after.clone(), any::<Force>()).prop_map(|(after, force)| Ending::StopAndDeath(after, force)),
        1 => (after, any::<Force>()).prop_map(|(after, force)| Ending::DeleteAndDeath(after, force)),
    ];
    prop::collection::vec(ending, 0..4)
}

fn stage(task: &Value, faults: &[(usize, Fault)], lost_worker: Option<u64>) -> Stage {
    let stage = Stage::for_task(task);
    stage
        .fake
        .image("failing:1")
        .exits(3)
        .after(Duration::from_secs(1));
    stage
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
            Fault::Away => stage.fake.fail_at(*call, away),
            Fault::AnswerLost => stage.fake.lose_answer_at(*call, away),
            Fault::Refused => stage.fake.fail_at(*call, refused),
        }
    }
    if let Some(call) = lost_worker {
        let fake = stage.fake.clone();
        stage.fake.on_call(move |number, _| {
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
    stage
}

/// One life. A wish may come when there is no task any more, or find Docker away: only the end counts.
async fn live(director: Director, ending: Ending) {
    let name = name("load");
    let (Ending::Death(after) | Ending::StopAndDeath(after, _) | Ending::DeleteAndDeath(after, _)) =
        ending;
    tokio::time::sleep(Duration::from_millis(after)).await;
    let moment = Duration::from_millis(after % 700);
    match ending {
        Ending::Death(_) => {}
        Ending::StopAndDeath(_, force) => {
            let ending = StopOptions { key: None, force };
            let _ = tokio::time::timeout(moment, director.it.stop_by(&name, &ending)).await;
        }
        Ending::DeleteAndDeath(_, force) => {
            let ending = StopOptions { key: None, force };
            let _ = tokio::time::timeout(moment, director.it.delete_by(&name, &ending)).await;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_there_is_an_end_and_nothing_is_left(
        task in tasks(), faults in faults(), endings in endings(), lost_worker in prop::option::of(20..120_u64),
    ) {
        let stage = stage(&task, &faults, lost_worker);
        let taken = stage.life(|director| async move {
            let taken = director.submit(&task).await.is_ok();
            tokio::time::sleep(Duration::from_millis(1)).await;
            taken
        });
        for ending in &endings {
            stage.life(|director| live(director, *ending));
        }
        let outcome = stage.life(|director| async move {
            let name = name("load");
            if director.it.get(&name).await.unwrap().is_none() {
                assert_eq!(director.fake.leftovers(), Default::default());
                return None;
            }
            // One that is being deleted may vanish while it is looked at.
            let begun = tokio::time::Instant::now();
            while director.it.get(&name).await.unwrap().is_some_and(|view| !view.state.is_done()) {
                assert!(begun.elapsed() < Duration::from_secs(3600), "{:#?}", director.it.history(&name).await);
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            match director.it.get(&name).await.unwrap() {
                Some(_) => director.ended(&name).await.outcome,
                None => None,
            }
        });
        let deleted = endings.iter().any(|ending| matches!(ending, Ending::DeleteAndDeath(..)));
        let wished = deleted || endings.iter().any(|ending| matches!(ending, Ending::StopAndDeath(..)));
        prop_assert!(taken || outcome.is_none());
        prop_assert!(outcome.is_some() || !taken || deleted);
        prop_assert!(outcome != Some(Outcome::Stopped) || wished);
    }
}
