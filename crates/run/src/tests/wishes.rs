//! Stops and deletes, at every point of a run.

use super::stage::{Stage, name, simple, task};
use crate::stop_and_delete::ControlError;
use atq_task::state::{Desired, Outcome, Step};
use std::time::Duration;

const STEPS: [Step; 10] = [
    Step::Queued,
    Step::Network,
    Step::Discovery,
    Step::Workers,
    Step::Resolve,
    Step::WaitCommand,
    Step::Delay,
    Step::Master,
    Step::Running,
    Step::Cleanup,
];

#[test]
fn a_stop_ends_the_run_in_every_step_and_keeps_what_was_learnt() {
    for step in STEPS {
        let stage = Stage::new();
        stage.life(|director| async move {
            let name = director.accepted(&task()).await;
            director.until_step(&name, step).await;
            director.it.stop(&name).await.unwrap();
            let state = director.ended(&name).await;
            let expected = match step {
                Step::Cleanup => Outcome::Finished,
                _ => Outcome::Stopped,
            };
            assert_eq!(state.outcome, Some(expected), "{step:?}");
            if step == Step::Running {
                assert!(!state.workers.is_empty());
                let logs = &director.it.shared().evidence;
                assert!(logs.logs(&name, &state.run).await.unwrap().len() >= 4);
            }
        });
    }
}

#[test]
fn a_delete_removes_everything_in_every_step() {
    for step in STEPS.into_iter().chain([Step::Collect, Step::Done]) {
        let stage = Stage::new();
        stage.life(|director| async move {
            let name = director.accepted(&task()).await;
            director.until_step(&name, step).await;
            director.it.delete(&name).await.unwrap();
            assert!(director.it.get(&name).await.unwrap().is_none(), "{step:?}");
            assert!(director.it.history(&name).await.unwrap().is_empty());
            assert_eq!(director.fake.leftovers(), Default::default(), "{step:?}");
            // The name is free again, and nothing of the old wish is left.
            let name = director.accepted(&task()).await;
            assert_eq!(director.ended(&name).await.outcome, Some(Outcome::Finished));
        });
        assert!(stage.evidence("load").is_dir());
    }
}

#[test]
fn a_delete_takes_the_evidence_with_it() {
    let stage = Stage::new();
    stage.life(|director| async move {
        let name = director.accepted(&task()).await;
        director.ended(&name).await;
        director.it.delete(&name).await.unwrap();
    });
    assert!(!stage.evidence("load").exists());
}

#[test]
fn two_deletes_at_once_both_succeed() {
    let stage = Stage::new();
    stage.life(|director| async move {
        let name = director.accepted(&task()).await;
        director.until_step(&name, Step::Running).await;
        let (one, two) = tokio::join!(director.it.delete(&name), director.it.delete(&name));
        one.unwrap();
        two.unwrap();
    });
}

#[test]
fn a_delete_that_comes_just_as_the_driver_ends_still_deletes() {
    // The wish is raised at every moment around the end of the driver.
    for late in 0..40 {
        let stage = Stage::new();
        stage.life(|director| async move {
            let name = director.accepted(&simple("load")).await;
            director
                .until(&name, |state| state.step >= Step::Cleanup)
                .await;
            let wanted = director.state(&name).seq + 2;
            director.until(&name, |state| state.seq >= wanted).await;
            for _ in 0..late {
                tokio::task::yield_now().await;
            }
            director.it.delete(&name).await.unwrap();
        });
    }
}

#[test]
fn a_delete_with_docker_away_says_what_is_left_and_goes_on_by_itself() {
    let stage = Stage::new();
    stage.life(|director| async move {
        let name = director.accepted(&task()).await;
        director.until_step(&name, Step::Running).await;
        director.fake.down(true);
        let error = director.it.delete(&name).await.unwrap_err();
        assert!(matches!(error, ControlError::Remains { .. }), "{error}");
        director.fake.down(false);
        for _ in 0..600 {
            tokio::time::sleep(Duration::from_secs(1)).await;
            if director.it.get(&name).await.unwrap().is_none() {
                assert_eq!(director.fake.leftovers(), Default::default());
                return;
            }
        }
        panic!("still {:?}", director.state(&name));
    });
}

#[test]
fn a_second_delete_cuts_the_pause_between_two_clean_ups_short() {
    let stage = Stage::new();
    stage.life(|director| async move {
        let name = director.accepted(&task()).await;
        director.until_step(&name, Step::Running).await;
        director.fake.down(true);
        let remains = director.it.delete(&name).await.unwrap_err();
        assert!(matches!(remains, ControlError::Remains { .. }), "{remains}");
        director.until(&name, |state| state.cleanups >= 6).await;
        director.fake.down(false);
        let begun = tokio::time::Instant::now();
        director.it.delete(&name).await.unwrap();
        // The pause alone would have been a minute.
        assert!(
            begun.elapsed() < Duration::from_secs(40),
            "{:?}",
            begun.elapsed()
        );
    });
}

#[test]
fn a_wish_that_comes_after_the_task_is_gone_does_not_reach_the_next_of_that_name() {
    let stage = Stage::new();
    stage.life(|director| async move {
        let name = director.accepted(&simple("load")).await;
        director.ended(&name).await;
        director.it.delete(&name).await.unwrap();
        let store = &director.it.shared().store;
        assert_eq!(store.wish(&name, Desired::Deleted).await.unwrap(), None);
        director.accepted(&simple("load")).await;
        assert_eq!(director.ended(&name).await.outcome, Some(Outcome::Finished));
    });
}

#[test]
fn what_is_not_there_cannot_be_stopped_or_deleted() {
    let stage = Stage::new();
    stage.life(|director| async move {
        let name = name("nobody");
        assert!(matches!(
            director.it.stop(&name).await,
            Err(ControlError::NotFound { .. })
        ));
        assert!(matches!(
            director.it.delete(&name).await,
            Err(ControlError::NotFound { .. })
        ));
    });
}
