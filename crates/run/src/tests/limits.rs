//! Timeout, lease and key of a client.

use super::simulation::{Director, Simulation, name, simple, task};
use crate::stop_and_delete::{ControlError, StopOptions};
use crate::submit::{SubmitError, Submitted};
use atq_task::event::FailureCode;
use atq_task::spec::TaskName;
use atq_task::state::{Outcome, State, Step};
use atq_task::terms::{Key, Terms};
use std::time::Duration;
use tokio::time::sleep;

const STEPS: [Step; 8] = [
    Step::Queued,
    Step::Network,
    Step::Discovery,
    Step::Workers,
    Step::Resolve,
    Step::WaitCommand,
    Step::Delay,
    Step::Running,
];

fn timeout(seconds: u64) -> Terms {
    Terms {
        timeout_ms: Some(seconds * 1000),
        ..Terms::default()
    }
}

fn lease(seconds: u64) -> Terms {
    Terms {
        lease_ms: Some(seconds * 1000),
        ..Terms::default()
    }
}

fn key(text: &str) -> Key {
    Key::parse(text).unwrap()
}

fn keyed(text: &str) -> Terms {
    Terms {
        key: Some(key(text)),
        ..Terms::default()
    }
}

/// A simulation whose test takes an hour.
fn long() -> Simulation {
    let simulation = Simulation::new();
    let hour = Duration::from_secs(3600);
    simulation.fake.image("boss:1").exits(0).after(hour);
    simulation
}

async fn accepted(director: &Director, terms: Terms) -> TaskName {
    match director.submit_with(&task(), terms).await.unwrap() {
        Submitted::Accepted(view) => view.spec.name,
        Submitted::Existing(_) => panic!("it already exists"),
    }
}

fn code(state: &State) -> FailureCode {
    state.failure.as_ref().unwrap().code
}

#[test]
fn the_timeout_ends_a_run_whose_client_has_died() {
    long().run(|director| async move {
        let name = accepted(&director, timeout(60)).await;
        let state = director.wait_done(&name).await;
        assert_eq!(state.outcome, Some(Outcome::Errored));
        assert_eq!(code(&state), FailureCode::Timeout);
        let ran = state.finished_at.unwrap().since(state.created_at);
        assert!((60..=61).contains(&ran.as_secs()), "{ran:?}");
        // Its logs are kept as usual.
        let logs = &director.orchestrator.shared().evidence;
        assert!(!logs.logs(&name, &state.run).await.unwrap().is_empty());
    });
}

#[test]
fn the_timeout_does_not_affect_a_run_that_completes_in_time() {
    Simulation::new().run(|director| async move {
        let name = accepted(&director, timeout(600)).await;
        assert_eq!(
            director.wait_done(&name).await.outcome,
            Some(Outcome::Finished)
        );
    });
}

#[test]
fn the_time_in_the_queue_counts() {
    let mut simulation = long();
    simulation.settings.max_concurrent_tasks = 1;
    simulation.run(|director| async move {
        director.accepted(&simple("first")).await;
        let name = accepted(&director, timeout(30)).await;
        let state = director.wait_done_with_others(&name).await;
        assert_eq!(code(&state), FailureCode::Timeout);
        assert_eq!(state.failure.unwrap().step, Step::Queued);
    });
}

#[test]
fn the_timeout_ends_a_run_after_a_restart_in_every_step() {
    for step in STEPS {
        let simulation = long();
        simulation.run(|director| async move {
            let name = accepted(&director, timeout(60)).await;
            director.wait_for_step(&name, step).await;
        });
        simulation.downtime(Duration::from_secs(120));
        simulation.run(|director| async move {
            let state = director.wait_done(&name("load")).await;
            assert_eq!(code(&state), FailureCode::Timeout, "{step:?}");
        });
    }
}

#[test]
fn an_expired_lease_ends_the_run_and_a_renewed_one_does_not() {
    long().run(|director| async move {
        let name = accepted(&director, lease(30)).await;
        for _ in 0..20 {
            sleep(Duration::from_secs(20)).await;
            let view = director
                .orchestrator
                .renew_lease(&name, None)
                .await
                .unwrap();
            assert_eq!(
                view.lease_expires.unwrap().since(view.now),
                Duration::from_secs(30)
            );
        }
        let state = director.wait_done(&name).await;
        assert_eq!(code(&state), FailureCode::LeaseExpired);
        let ran = state.finished_at.unwrap().since(state.created_at);
        assert!((430..=431).contains(&ran.as_secs()), "{ran:?}");
        assert_eq!(director.view(&name).lease_expires, None);
    });
}

#[test]
fn a_lease_restarts_with_the_director() {
    let simulation = long();
    simulation.run(|director| async move {
        let name = accepted(&director, lease(30)).await;
        director.wait_for_step(&name, Step::Running).await;
    });
    simulation.downtime(Duration::from_secs(600));
    simulation.run(|director| async move {
        let name = name("load");
        sleep(Duration::from_secs(25)).await;
        director
            .orchestrator
            .renew_lease(&name, None)
            .await
            .unwrap();
        sleep(Duration::from_secs(25)).await;
        assert_eq!(director.state(&name).step, Step::Running);
        assert_eq!(
            code(&director.wait_done(&name).await),
            FailureCode::LeaseExpired
        );
    });
}

#[test]
fn renewing_a_missing_lease_is_an_error() {
    Simulation::new().run(|director| async move {
        let name = director.accepted(&task()).await;
        assert!(matches!(
            director.orchestrator.renew_lease(&name, None).await,
            Err(ControlError::NoLease { .. })
        ));
        director.wait_done(&name).await;
    });
}

#[test]
fn a_client_with_a_key_ends_only_its_own_runs() {
    long().run(|director| async move {
        let name = accepted(&director, keyed("first")).await;
        let second = director.submit_with(&task(), keyed("second")).await;
        let Ok(Submitted::Existing(view)) = second else {
            panic!("{second:?}");
        };
        assert_eq!(view.state.terms.key, Some(key("first")));
        let with = |name| StopOptions {
            key: Some(key(name)),
            ..StopOptions::default()
        };
        let other = with("second");
        assert!(matches!(
            director.orchestrator.stop_with(&name, &other).await,
            Err(ControlError::StartedByOther { .. })
        ));
        assert!(matches!(
            director.orchestrator.delete_with(&name, &other).await,
            Err(ControlError::StartedByOther { .. })
        ));
        director.wait_for_step(&name, Step::Running).await;
        director
            .orchestrator
            .stop_with(&name, &with("first"))
            .await
            .unwrap();
        let state = director.wait_done(&name).await;
        assert_eq!(state.outcome, Some(Outcome::Stopped));
        // Every client may delete a completed task.
        director
            .orchestrator
            .delete_with(&name, &other)
            .await
            .unwrap();
    });
}

#[test]
fn a_retried_request_gets_the_task_even_after_the_test() {
    Simulation::new().run(|director| async move {
        let name = accepted(&director, keyed("one")).await;
        director.wait_done(&name).await;
        let again = director.submit_with(&task(), keyed("one")).await;
        assert!(matches!(again, Ok(Submitted::Existing(_))), "{again:?}");
        for other in [keyed("two"), Terms::default()] {
            let other = director.submit_with(&task(), other).await;
            assert!(matches!(other, Err(SubmitError::Ended { .. })), "{other:?}");
        }
    });
}

#[test]
fn terms_are_not_part_of_the_definition() {
    long().run(|director| async move {
        accepted(&director, timeout(3000)).await;
        let again = director.submit_with(&task(), lease(5)).await;
        assert!(matches!(again, Ok(Submitted::Existing(_))), "{again:?}");
        let view = director.view(&name("load"));
        // The terms of the first request apply.
        assert_eq!(view.state.terms, timeout(3000));
    });
}
