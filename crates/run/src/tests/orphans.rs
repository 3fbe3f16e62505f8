//! Orphans in Docker after the loss of the data directory, and damaged tasks.

use super::sample::sample;
use super::simulation::{Director, Simulation, name, simple};
use crate::orphans::{FoundObjects, OrphanPolicy, OrphanRun, classify};
use crate::stop_and_delete::ControlError;
use crate::submit::SubmitError;
use atq_engine::Owned;
use atq_engine_swarm::SwarmError;
use atq_engine_swarm::fake::Leftovers;
use atq_engine_swarm::plan::{LABEL_DIRECTOR, LABEL_RUN, LABEL_TASK, Labels};
use atq_store::{KnownRuns, StoreError};

use atq_task::state::{Outcome, Step};
use std::time::Duration;
use tokio::time::{Instant, sleep};

fn object(director: &str, task: &str, run: &str) -> Owned {
    let named = !task.is_empty() && !run.is_empty();
    Owned {
        kind: "service",
        name: format!("{task}-{run}"),
        director: director.to_owned(),
        is_here: true,
        run: named.then(|| (task.to_owned(), run.to_owned())),
    }
}

#[test]
fn an_object_is_known_by_task_and_run() {
    let known: KnownRuns = [
        ("one".to_owned(), Some("aaaaaa".to_owned())),
        ("torn".to_owned(), None),
    ]
    .into();
    let objects = vec![
        object("me", "one", "aaaaaa"),
        object("me", "one", "bbbbbb"),
        object("me", "two", "aaaaaa"),
        object("me", "torn", "cccccc"),
        object("me", "", "dddddd"),
        object("me", "two", ""),
        object("other", "one", "bbbbbb"),
        object("other", "two", "eeeeee"),
        Owned {
            is_here: false,
            ..object("me", "three", "ffffff")
        },
    ];
    let found = classify(objects, &known, "me");
    let run = |task: &str, run: &str| OrphanRun {
        task: task.into(),
        run: run.into(),
    };
    let item = |name: &str| ("service", name.to_owned());
    assert_eq!(
        found,
        FoundObjects {
            runs: [
                (run("one", "bbbbbb"), vec![item("one-bbbbbb")]),
                (run("two", "aaaaaa"), vec![item("two-aaaaaa")]),
            ]
            .into(),
            elsewhere: [(run("three", "ffffff"), vec![item("three-ffffff")])].into(),
            unassigned: vec![item("-dddddd"), item("two-")],
            others: [("other".to_owned(), 2)].into(),
        }
    );
}

/// A simulation with a running task whose record is lost.
fn with_an_orphan() -> Simulation {
    let simulation = Simulation::new();
    simulation
        .fake
        .image("boss:1")
        .exits(0)
        .after(Duration::from_secs(10_000));
    simulation.run(async |director| {
        let task = director.accepted(&simple("lost")).await;
        director.wait_for_step(&task, Step::Running).await;
        // The sidecar is removed when the test has begun.
        sleep(Duration::from_secs(60)).await;
    });
    std::fs::remove_dir_all(simulation.data()).unwrap();
    simulation
}

async fn until_nothing(director: &Director) {
    let begun = Instant::now();
    while director.fake.leftovers() != Leftovers::default() {
        assert!(
            begun.elapsed() < Duration::from_secs(3600),
            "{:?}",
            director.fake.leftovers()
        );
        sleep(Duration::from_millis(100)).await;
    }
}

#[test]
fn orphans_are_removed_without_a_leak() {
    let simulation = with_an_orphan();
    assert!(simulation.fake.leftovers().services > 1);
    simulation.run(async |director| {
        director
            .orchestrator
            .clone()
            .handle_orphans(OrphanPolicy::Remove)
            .await;
        assert_eq!(director.fake.leftovers(), Leftovers::default());
    });
}

#[test]
fn a_director_with_a_duplicate_id_keeps_the_objects_of_the_other() {
    let mut simulation = with_an_orphan();
    simulation.swarm.place = "place-2".into();
    simulation.run(async |director| {
        let before = director.fake.leftovers();
        director
            .orchestrator
            .clone()
            .handle_orphans(OrphanPolicy::Remove)
            .await;
        assert_eq!(director.fake.leftovers(), before);
        // Unless configured to remove them.
        director
            .orchestrator
            .clone()
            .handle_orphans(OrphanPolicy::RemoveAll)
            .await;
        assert_eq!(director.fake.leftovers(), Leftovers::default());
    });
}

#[test]
fn orphans_are_kept_on_request() {
    let simulation = with_an_orphan();
    simulation.run(async |director| {
        let (before, calls) = (director.fake.leftovers(), director.fake.calls().len());
        director
            .orchestrator
            .clone()
            .handle_orphans(OrphanPolicy::Keep)
            .await;
        sleep(Duration::from_secs(60)).await;
        assert_eq!(director.fake.leftovers(), before);
        let mut calls = director.fake.calls().into_iter().skip(calls);
        assert!(!calls.any(|call| call.method.starts_with("remove")));
    });
    simulation.run(async |director| {
        director
            .orchestrator
            .clone()
            .handle_orphans(OrphanPolicy::Remove)
            .await;
        assert_eq!(director.fake.leftovers(), Leftovers::default());
    });
}

#[test]
fn orphans_with_the_name_of_a_new_task_are_distinguished_from_it() {
    let simulation = with_an_orphan();
    simulation.run(async |director| {
        // Simulates the retry of a client that got no response.
        let task = director.accepted(&simple("lost")).await;
        director.wait_for_step(&task, Step::Running).await;
        let with_both = director.fake.leftovers();
        director
            .orchestrator
            .clone()
            .handle_orphans(OrphanPolicy::Remove)
            .await;
        let with_one = director.fake.leftovers();
        assert_eq!(with_both.networks, with_one.networks + 1);
        assert_eq!(director.state(&task).step, Step::Running);
        director.orchestrator.stop(&task).await.unwrap();
        assert_eq!(
            director.wait_done(&task).await.outcome,
            Some(Outcome::Stopped)
        );
    });
}

#[test]
fn objects_of_other_directors_and_of_no_run_are_kept() {
    let simulation = with_an_orphan();
    let label = |id: &str| Labels::from([(LABEL_DIRECTOR.to_owned(), id.to_owned())]);
    simulation.fake.add_volume("mine", label("director-1"));
    let mut theirs = label("director-2");
    theirs.insert(LABEL_TASK.into(), "lost".into());
    theirs.insert(LABEL_RUN.into(), "aaaaaa".into());
    simulation.fake.add_volume("theirs", theirs);
    simulation.run(async |director| {
        director
            .orchestrator
            .clone()
            .handle_orphans(OrphanPolicy::Remove)
            .await;
        let left = director.fake.leftovers();
        assert_eq!((left.volumes, left.services, left.networks), (2, 0, 0));
    });
}

#[test]
fn docker_may_be_unavailable_at_start_without_blocking() {
    let simulation = with_an_orphan();
    simulation.fake.down(true);
    simulation.run(async |director| {
        let looking = tokio::spawn(
            director
                .orchestrator
                .clone()
                .handle_orphans(OrphanPolicy::Remove),
        );
        sleep(Duration::from_secs(1800)).await;
        assert!(!looking.is_finished());
        director.fake.down(false);
        until_nothing(&director).await;
        looking.await.unwrap();
    });
}

#[test]
fn a_failed_removal_is_retried() {
    let remove = async |director: Director| {
        director
            .orchestrator
            .clone()
            .handle_orphans(OrphanPolicy::Remove)
            .await;
        assert_eq!(director.fake.leftovers(), Leftovers::default());
        director.fake.calls().len()
    };
    let simulation = with_an_orphan();
    let before = simulation.fake.calls().len();
    let calls = simulation.run(remove) - before;
    let (cases, sampled) = sample((1..=calls).collect());
    for call in cases {
        let simulation = with_an_orphan();
        let fails_at = simulation.fake.calls().len() + call;
        let error = SwarmError::Internal {
            what: "a call".into(),
            reason: "unlucky".into(),
        };
        simulation.fake.fail_at(fails_at, error);
        assert!(simulation.run(remove) >= fails_at);
    }
    println!("{sampled}: calls failed, one at a time");
    assert!(sampled.of > 10, "{sampled}");
}

#[test]
fn logs_of_tasks_that_are_not_stored_are_removed() {
    let simulation = Simulation::new();
    simulation.run(async |director| {
        let task = director.accepted(&simple("kept")).await;
        director.wait_done(&task).await;
        let lost = simulation.evidence("lost");
        std::fs::create_dir_all(lost.join("aaaaaa/logs")).unwrap();
        let foreign = simulation.evidence("no task!");
        std::fs::create_dir_all(&foreign).unwrap();
        director
            .orchestrator
            .clone()
            .handle_orphans(OrphanPolicy::Keep)
            .await;
        assert!(!lost.exists());
        assert!(simulation.evidence("kept").exists());
        assert!(foreign.exists(), "foreign directories are kept");
    });
}

// ---- Damaged tasks

/// Two running tasks: `bad` with a history that does not fold, and `good`.
fn with_a_damaged_task() -> Simulation {
    let simulation = Simulation::new();
    simulation
        .fake
        .image("boss:1")
        .exits(0)
        .after(Duration::from_secs(600));
    simulation.run(async |director| {
        for task in ["bad", "good"] {
            let task = director.accepted(&simple(task)).await;
            director.wait_for_step(&task, Step::Running).await;
        }
        director.orchestrator.shared().store.damage(&name("bad"));
    });
    simulation
}

fn is_damaged<T>(answer: Result<T, StoreError>) -> bool {
    matches!(answer, Err(StoreError::Damaged { .. }))
}

#[test]
fn a_damaged_task_does_not_block_others_and_can_be_deleted() {
    let simulation = with_a_damaged_task();
    simulation.run(async |director| {
        let bad = name("bad");
        assert!(is_damaged(director.orchestrator.get(&bad).await));
        assert_eq!(director.listed().await, [name("good")]);
        let again = director.submit(&simple("bad")).await.unwrap_err();
        assert!(matches!(
            again,
            SubmitError::Store(StoreError::Damaged { .. })
        ));
        let running = director.fake.leftovers();
        director
            .orchestrator
            .clone()
            .handle_orphans(OrphanPolicy::Remove)
            .await;
        assert_eq!(
            director.fake.leftovers(),
            running,
            "a damaged task is known by its name"
        );

        director.orchestrator.delete(&bad).await.unwrap();
        assert_eq!(director.fake.leftovers().networks, 1);
        assert!(director.orchestrator.get(&bad).await.unwrap().is_none());
        let gone = director.orchestrator.delete(&bad).await.unwrap_err();
        assert!(matches!(gone, ControlError::NotFound { .. }), "{gone}");
        let good = director.wait_done(&name("good")).await;
        assert_eq!(good.outcome, Some(Outcome::Finished));
        let again = director.accepted(&simple("bad")).await;
        assert_eq!(
            director.wait_done(&again).await.outcome,
            Some(Outcome::Finished)
        );
    });
}

#[test]
fn a_damaged_task_stays_until_its_objects_are_removed() {
    let simulation = with_a_damaged_task();
    simulation.run(async |director| {
        let bad = name("bad");
        director.fake.down(true);
        let error = director.orchestrator.delete(&bad).await.unwrap_err();
        assert!(matches!(error, ControlError::Remains { .. }), "{error}");
        assert!(is_damaged(director.orchestrator.get(&bad).await));
        director.fake.down(false);
        director.orchestrator.delete(&bad).await.unwrap();
        assert!(director.orchestrator.get(&bad).await.unwrap().is_none());
    });
}

#[test]
fn a_task_that_is_damaged_while_it_runs_is_ended_by_a_delete() {
    let simulation = Simulation::new();
    simulation
        .fake
        .image("boss:1")
        .exits(0)
        .after(Duration::from_secs(600));
    simulation.run(async |director| {
        let task = director.accepted(&simple("load")).await;
        director.wait_for_step(&task, Step::Running).await;
        let store = &director.orchestrator.shared().store;
        store.damage(&task);
        assert_eq!(store.repair().unwrap().len(), 1);
        director.orchestrator.delete(&task).await.unwrap();
        assert_eq!(director.fake.leftovers(), Leftovers::default());
        assert!(director.orchestrator.get(&task).await.unwrap().is_none());
    });
}

#[test]
fn a_new_task_with_the_name_of_a_damaged_one_survives_its_delete() {
    let simulation = Simulation::new();
    simulation
        .fake
        .image("boss:1")
        .exits(0)
        .after(Duration::from_secs(60));
    simulation.run(async |director| {
        let task = director.accepted(&simple("load")).await;
        director.wait_for_step(&task, Step::Running).await;
        let store = &director.orchestrator.shared().store;
        store.damage(&task);
        assert_eq!(store.repair().unwrap().len(), 1);
        let deleting = {
            let (orchestrator, task) = (director.orchestrator.clone(), task.clone());
            tokio::spawn(async move { orchestrator.delete(&task).await })
        };
        while director.submit(&simple("load")).await.is_err() {
            sleep(Duration::from_millis(10)).await;
        }
        deleting.await.unwrap().unwrap();
        let state = director.wait_done(&task).await;
        assert_eq!(state.outcome, Some(Outcome::Finished), "{state:#?}");
    });
}
