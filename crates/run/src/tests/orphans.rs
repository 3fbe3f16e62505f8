//! A Director whose data directory was lost, and what it does about what is in Docker.

use super::stage::{Director, Stage, name, simple};
use crate::orphans::{Found, OrphanRun, OrphanPolicy, sort};
use crate::submit::SubmitError;
use crate::stop_and_delete::ControlError;
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
    let found = sort(objects, &known, "me");
    let run = |task: &str, run: &str| OrphanRun {
        task: task.into(),
        run: run.into(),
    };
    let item = |name: &str| ("service", name.to_owned());
    assert_eq!(
        found,
        Found {
            runs: [
                (run("one", "bbbbbb"), vec![item("one-bbbbbb")]),
                (run("two", "aaaaaa"), vec![item("two-aaaaaa")]),
            ]
            .into(),
            elsewhere: [(run("three", "ffffff"), vec![item("three-ffffff")])].into(),
            nameless: vec![item("-dddddd"), item("two-")],
            others: [("other".to_owned(), 2)].into(),
        }
    );
}

/// A stage on which the test of a task runs that nobody remembers.
fn with_a_lost_task() -> Stage {
    let stage = Stage::new();
    stage
        .fake
        .image("boss:1")
        .exits(0)
        .after(Duration::from_secs(10_000));
    stage.life(async |director| {
        let task = director.accepted(&simple("lost")).await;
        director.until_step(&task, Step::Running).await;
        // The sidecar goes when the test has begun.
        sleep(Duration::from_secs(60)).await;
    });
    std::fs::remove_dir_all(stage.data()).unwrap();
    stage
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
    let stage = with_a_lost_task();
    assert!(stage.fake.leftovers().services > 1);
    stage.life(async |director| {
        director
            .it
            .clone()
            .handle_orphans(OrphanPolicy::Remove)
            .await;
        assert_eq!(director.fake.leftovers(), Leftovers::default());
    });
}

#[test]
fn a_director_that_has_the_id_of_another_one_by_mistake_leaves_its_tests_alone() {
    let mut stage = with_a_lost_task();
    stage.swarm.place = "place-2".into();
    stage.life(async |director| {
        let before = director.fake.leftovers();
        director
            .it
            .clone()
            .handle_orphans(OrphanPolicy::Remove)
            .await;
        assert_eq!(director.fake.leftovers(), before);
        // Unless it is told that the other one is gone.
        director
            .it
            .clone()
            .handle_orphans(OrphanPolicy::RemoveAll)
            .await;
        assert_eq!(director.fake.leftovers(), Leftovers::default());
    });
}

#[test]
fn orphans_stay_when_they_are_to_be_kept() {
    let stage = with_a_lost_task();
    stage.life(async |director| {
        let (before, calls) = (director.fake.leftovers(), director.fake.calls().len());
        director.it.clone().handle_orphans(OrphanPolicy::Keep).await;
        sleep(Duration::from_secs(60)).await;
        assert_eq!(director.fake.leftovers(), before);
        let mut calls = director.fake.calls().into_iter().skip(calls);
        assert!(!calls.any(|call| call.method.starts_with("remove")));
    });
    stage.life(async |director| {
        director
            .it
            .clone()
            .handle_orphans(OrphanPolicy::Remove)
            .await;
        assert_eq!(director.fake.leftovers(), Leftovers::default());
    });
}

#[test]
fn orphans_of_the_name_of_a_new_task_are_told_apart_from_it() {
    let stage = with_a_lost_task();
    stage.life(async |director| {
        // As when a client that had no answer repeats itself.
        let task = director.accepted(&simple("lost")).await;
        director.until_step(&task, Step::Running).await;
        let with_both = director.fake.leftovers();
        director
            .it
            .clone()
            .handle_orphans(OrphanPolicy::Remove)
            .await;
        let with_one = director.fake.leftovers();
        assert_eq!(with_both.networks, with_one.networks + 1);
        assert_eq!(director.state(&task).step, Step::Running);
        director.it.stop(&task).await.unwrap();
        assert_eq!(director.ended(&task).await.outcome, Some(Outcome::Stopped));
    });
}

#[test]
fn objects_of_others_and_of_no_run_stay() {
    let stage = with_a_lost_task();
    let label = |id: &str| Labels::from([(LABEL_DIRECTOR.to_owned(), id.to_owned())]);
    stage.fake.add_volume("mine", label("director-1"));
    let mut theirs = label("director-2");
    theirs.insert(LABEL_TASK.into(), "lost".into());
    theirs.insert(LABEL_RUN.into(), "aaaaaa".into());
    stage.fake.add_volume("theirs", theirs);
    stage.life(async |director| {
        director
            .it
            .clone()
            .handle_orphans(OrphanPolicy::Remove)
            .await;
        let left = director.fake.leftovers();
        assert_eq!((left.volumes, left.services, left.networks), (2, 0, 0));
    });
}

#[test]
fn docker_may_be_away_at_first_and_nobody_waits_for_it() {
    let stage = with_a_lost_task();
    stage.fake.down(true);
    stage.life(async |director| {
        let looking = tokio::spawn(director.it.clone().handle_orphans(OrphanPolicy::Remove));
        sleep(Duration::from_secs(1800)).await;
        assert!(!looking.is_finished());
        director.fake.down(false);
        until_nothing(&director).await;
        looking.await.unwrap();
    });
}

#[test]
fn a_removal_that_fails_at_any_call_is_tried_again() {
    let mut cases = 0;
    let mut more = true;
    while more {
        let stage = with_a_lost_task();
        let calls = stage.fake.calls().len();
        let fails_at = calls + cases + 1;
        let error = SwarmError::Internal {
            what: "a call".into(),
            reason: "unlucky".into(),
        };
        stage.fake.fail_at(fails_at, error);
        more = stage.life(async |director| {
            director
                .it
                .clone()
                .handle_orphans(OrphanPolicy::Remove)
                .await;
            assert_eq!(director.fake.leftovers(), Leftovers::default());
            director.fake.calls().len() >= fails_at
        });
        cases += 1;
    }
    println!("{cases} calls failed, one at a time");
    assert!(cases > 10, "{cases}");
}

#[test]
fn logs_of_tasks_that_are_not_stored_are_removed() {
    let stage = Stage::new();
    stage.life(async |director| {
        let task = director.accepted(&simple("kept")).await;
        director.ended(&task).await;
        let lost = stage.evidence("lost");
        std::fs::create_dir_all(lost.join("aaaaaa/logs")).unwrap();
        let foreign = stage.evidence("no task!");
        std::fs::create_dir_all(&foreign).unwrap();
        director.it.clone().handle_orphans(OrphanPolicy::Keep).await;
        assert!(!lost.exists());
        assert!(stage.evidence("kept").exists());
        assert!(foreign.exists(), "what is no task's is nobody's business");
    });
}

// ---- Tasks that cannot be read

/// Two tasks, `bad` with a history that does not fold, running, and `good`.
fn with_a_damaged_task() -> Stage {
    let stage = Stage::new();
    stage
        .fake
        .image("boss:1")
        .exits(0)
        .after(Duration::from_secs(600));
    stage.life(async |director| {
        for task in ["bad", "good"] {
            let task = director.accepted(&simple(task)).await;
            director.until_step(&task, Step::Running).await;
        }
        director.it.shared().store.damage(&name("bad"));
    });
    stage
}

fn is_damaged<T>(answer: Result<T, StoreError>) -> bool {
    matches!(answer, Err(StoreError::Damaged { .. }))
}

#[test]
fn a_damaged_task_holds_up_no_other_and_can_be_deleted() {
    let stage = with_a_damaged_task();
    stage.life(async |director| {
        let bad = name("bad");
        assert!(is_damaged(director.it.get(&bad).await));
        assert_eq!(director.listed().await, [name("good")]);
        let again = director.submit(&simple("bad")).await.unwrap_err();
        assert!(matches!(
            again,
            SubmitError::Store(StoreError::Damaged { .. })
        ));
        let running = director.fake.leftovers();
        director
            .it
            .clone()
            .handle_orphans(OrphanPolicy::Remove)
            .await;
        assert_eq!(
            director.fake.leftovers(),
            running,
            "a damaged task is known by its name"
        );

        director.it.delete(&bad).await.unwrap();
        assert_eq!(director.fake.leftovers().networks, 1);
        assert!(director.it.get(&bad).await.unwrap().is_none());
        let gone = director.it.delete(&bad).await.unwrap_err();
        assert!(matches!(gone, ControlError::NotFound { .. }), "{gone}");
        let good = director.ended(&name("good")).await;
        assert_eq!(good.outcome, Some(Outcome::Finished));
        let again = director.accepted(&simple("bad")).await;
        assert_eq!(
            director.ended(&again).await.outcome,
            Some(Outcome::Finished)
        );
    });
}

#[test]
fn a_damaged_task_is_not_forgotten_before_all_of_it_is_gone() {
    let stage = with_a_damaged_task();
    stage.life(async |director| {
        let bad = name("bad");
        director.fake.down(true);
        let error = director.it.delete(&bad).await.unwrap_err();
        assert!(matches!(error, ControlError::Remains { .. }), "{error}");
        assert!(is_damaged(director.it.get(&bad).await));
        director.fake.down(false);
        director.it.delete(&bad).await.unwrap();
        assert!(director.it.get(&bad).await.unwrap().is_none());
    });
}

#[test]
fn a_task_that_is_damaged_while_it_runs_is_ended_by_a_delete() {
    let stage = Stage::new();
    stage
        .fake
        .image("boss:1")
        .exits(0)
        .after(Duration::from_secs(600));
    stage.life(async |director| {
        let task = director.accepted(&simple("load")).await;
        director.until_step(&task, Step::Running).await;
        let store = &director.it.shared().store;
        store.damage(&task);
        assert_eq!(store.repair().unwrap().len(), 1);
        director.it.delete(&task).await.unwrap();
        assert_eq!(director.fake.leftovers(), Leftovers::default());
        assert!(director.it.get(&task).await.unwrap().is_none());
    });
}

#[test]
fn a_new_task_with_the_name_of_a_damaged_one_survives_its_delete() {
    let stage = Stage::new();
    stage
        .fake
        .image("boss:1")
        .exits(0)
        .after(Duration::from_secs(60));
    stage.life(async |director| {
        let task = director.accepted(&simple("load")).await;
        director.until_step(&task, Step::Running).await;
        let store = &director.it.shared().store;
        store.damage(&task);
        assert_eq!(store.repair().unwrap().len(), 1);
        let deleting = {
            let (it, task) = (director.it.clone(), task.clone());
            tokio::spawn(async move { it.delete(&task).await })
        };
        while director.submit(&simple("load")).await.is_err() {
            sleep(Duration::from_millis(10)).await;
        }
        deleting.await.unwrap().unwrap();
        let state = director.ended(&task).await;
        assert_eq!(state.outcome, Some(Outcome::Finished), "{state:#?}");
    });
}
