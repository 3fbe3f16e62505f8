//! Stops and deletes, at every point of a run.

use super::simulation::{Simulation, name, simple, task};
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
fn a_stop_ends_the_run_in_every_step_and_keeps_the_evidence() {
    for step in STEPS {
        let simulation = Simulation::new();
        simulation.run(|director| async move {
            let name = director.accepted(&task()).await;
            director.wait_for_step(&name, step).await;
            director.orchestrator.stop(&name).await.unwrap();
            let state = director.wait_done(&name).await;
            let expected = match step {
                Step::Cleanup => Outcome::Finished,
                _ => Outcome::Stopped,
            };
            assert_eq!(state.outcome, Some(expected), "{step:?}");
            if step == Step::Running {
                assert!(!state.workers.is_empty());
                let logs = &director.orchestrator.shared().evidence;
                assert!(logs.logs(&name, &state.run).await.unwrap().len() >= 4);
            }
        });
    }
}

#[test]
fn a_delete_removes_everything_in_every_step() {
    for step in STEPS.into_iter().chain([Step::Collect, Step::Done]) {
        let simulation = Simulation::new();
        simulation.run(|director| async move {
            let name = director.accepted(&task()).await;
            director.wait_for_step(&name, step).await;
            director.orchestrator.delete(&name).await.unwrap();
            assert!(
                director.orchestrator.get(&name).await.unwrap().is_none(),
                "{step:?}"
            );
            assert!(
                director
                    .orchestrator
                    .history(&name)
                    .await
                    .unwrap()
                    .is_empty()
            );
            assert_eq!(director.fake.leftovers(), Default::default(), "{step:?}");
            // The name is free, and the old request has no effect.
            let name = director.accepted(&task()).await;
            assert_eq!(
                director.wait_done(&name).await.outcome,
                Some(Outcome::Finished)
            );
        });
        assert!(simulation.evidence("load").is_dir());
    }
}

#[test]
fn a_delete_removes_the_evidence() {
    let simulation = Simulation::new();
    simulation.run(|director| async move {
        let name = director.accepted(&task()).await;
        director.wait_done(&name).await;
        director.orchestrator.delete(&name).await.unwrap();
    });
    assert!(!simulation.evidence("load").exists());
}

#[test]
fn two_concurrent_deletes_succeed() {
    let simulation = Simulation::new();
    simulation.run(|director| async move {
        let name = director.accepted(&task()).await;
        director.wait_for_step(&name, Step::Running).await;
        let (one, two) = tokio::join!(
            director.orchestrator.delete(&name),
            director.orchestrator.delete(&name)
        );
        one.unwrap();
        two.unwrap();
    });
}

#[test]
fn a_delete_that_arrives_as_the_driver_ends_succeeds() {
    // The request arrives at every moment around the end of the driver.
    for late in 0..40 {
        let simulation = Simulation::new();
        simulation.run(|director| async move {
            let name = director.accepted(&simple("load")).await;
            director
                .wait_until(&name, |state| state.step >= Step::Cleanup)
                .await;
            let wanted = director.state(&name).seq + 2;
            director
                .wait_until(&name, |state| state.seq >= wanted)
                .await;
            for _ in 0..late {
                tokio::task::yield_now().await;
            }
            director.orchestrator.delete(&name).await.unwrap();
        });
    }
}

#[test]
fn a_delete_without_docker_lists_leftovers_and_continues_by_itself() {
    let simulation = Simulation::new();
    simulation.run(|director| async move {
        let name = director.accepted(&task()).await;
        director.wait_for_step(&name, Step::Running).await;
        director.fake.down(true);
        let error = director.orchestrator.delete(&name).await.unwrap_err();
        assert!(matches!(error, ControlError::Remains { .. }), "{error}");
        director.fake.down(false);
        for _ in 0..600 {
            tokio::time::sleep(Duration::from_secs(1)).await;
            if director.orchestrator.get(&name).await.unwrap().is_none() {
                assert_eq!(director.fake.leftovers(), Default::default());
                return;
            }
        }
        panic!("still {:?}", director.state(&name));
    });
}

#[test]
fn a_second_delete_retries_the_clean_up_at_once() {
    let simulation = Simulation::new();
    simulation.run(|director| async move {
        let name = director.accepted(&task()).await;
        director.wait_for_step(&name, Step::Running).await;
        director.fake.down(true);
        let remains = director.orchestrator.delete(&name).await.unwrap_err();
        assert!(matches!(remains, ControlError::Remains { .. }), "{remains}");
        director
            .wait_until(&name, |state| state.cleanups >= 6)
            .await;
        director.fake.down(false);
        let begun = tokio::time::Instant::now();
        director.orchestrator.delete(&name).await.unwrap();
        // The pause alone would take a minute.
        assert!(
            begun.elapsed() < Duration::from_secs(40),
            "{:?}",
            begun.elapsed()
        );
    });
}

#[test]
fn a_request_for_a_deleted_task_does_not_affect_a_new_task_of_that_name() {
    let simulation = Simulation::new();
    simulation.run(|director| async move {
        let name = director.accepted(&simple("load")).await;
        director.wait_done(&name).await;
        director.orchestrator.delete(&name).await.unwrap();
        let store = &director.orchestrator.shared().store;
        assert_eq!(
            store.set_desired(&name, Desired::Deleted).await.unwrap(),
            None
        );
        director.accepted(&simple("load")).await;
        assert_eq!(
            director.wait_done(&name).await.outcome,
            Some(Outcome::Finished)
        );
    });
}

#[test]
fn an_unknown_task_cannot_be_stopped_or_deleted() {
    let simulation = Simulation::new();
    simulation.run(|director| async move {
        let name = name("nobody");
        assert!(matches!(
            director.orchestrator.stop(&name).await,
            Err(ControlError::NotFound { .. })
        ));
        assert!(matches!(
            director.orchestrator.delete(&name).await,
            Err(ControlError::NotFound { .. })
        ));
    });
}
