//! The timeout and the lease that a client sets, and the key of its invocation.

use super::stage::{Director, Stage, name, simple, task};
use crate::submit::{SubmitError, Submitted};
use crate::stop_and_delete::{StopOptions, ControlError};
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

/// A test of an hour.
fn long() -> Stage {
    let stage = Stage::new();
    let hour = Duration::from_secs(3600);
    stage.fake.image("boss:1").exits(0).after(hour);
    stage
}

async fn accepted(director: &Director, terms: Terms) -> TaskName {
    match director.submit_with(&task(), terms).await.unwrap() {
        Submitted::Accepted(view) => view.spec.name,
        Submitted::Existing(_) => panic!("it is there already"),
    }
}

fn code(state: &State) -> FailureCode {
    state.failure.as_ref().unwrap().code
}

#[test]
fn the_timeout_ends_a_run_whose_client_has_died() {
    long().life(|director| async move {
        let name = accepted(&director, timeout(60)).await;
        let state = director.ended(&name).await;
        assert_eq!(state.outcome, Some(Outcome::Errored));
        assert_eq!(code(&state), FailureCode::Timeout);
        let ran = state.finished_at.unwrap().since(state.created_at);
        assert!((60..=61).contains(&ran.as_secs()), "{ran:?}");
        // Its logs are kept, as at any end.
        let logs = &director.it.shared().evidence;
        assert!(!logs.logs(&name, &state.run).await.unwrap().is_empty());
    });
}

#[test]
fn the_timeout_does_nothing_to_a_run_that_is_over_in_time() {
    Stage::new().life(|director| async move {
        let name = accepted(&director, timeout(600)).await;
        assert_eq!(director.ended(&name).await.outcome, Some(Outcome::Finished));
    });
}

#[test]
fn the_time_in_the_queue_counts() {
    let mut stage = long();
    stage.settings.max_concurrent_tasks = 1;
    stage.life(|director| async move {
        director.accepted(&simple("first")).await;
        let name = accepted(&director, timeout(30)).await;
        let state = director.ended_by_itself(&name).await;
        assert_eq!(code(&state), FailureCode::Timeout);
        assert_eq!(state.failure.unwrap().step, Step::Queued);
    });
}

#[test]
fn the_timeout_ends_a_run_after_a_restart_in_every_step() {
    for step in STEPS {
        let stage = long();
        stage.life(|director| async move {
            let name = accepted(&director, timeout(60)).await;
            director.until_step(&name, step).await;
        });
        stage.away(Duration::from_secs(120));
        stage.life(|director| async move {
            let state = director.ended(&name("load")).await;
            assert_eq!(code(&state), FailureCode::Timeout, "{step:?}");
        });
    }
}

#[test]
fn a_lease_that_is_renewed_holds_and_one_that_is_not_ends_the_run() {
    long().life(|director| async move {
        let name = accepted(&director, lease(30)).await;
        for _ in 0..20 {
            sleep(Duration::from_secs(20)).await;
            let view = director.it.renew_lease(&name, None).await.unwrap();
            assert_eq!(
                view.lease_expires.unwrap().since(view.now),
                Duration::from_secs(30)
            );
        }
        let state = director.ended(&name).await;
        assert_eq!(code(&state), FailureCode::LeaseExpired);
        let ran = state.finished_at.unwrap().since(state.created_at);
        assert!((430..=431).contains(&ran.as_secs()), "{ran:?}");
        assert_eq!(director.view(&name).lease_expires, None);
    });
}

#[test]
fn a_lease_begins_anew_after_a_restart() {
    let stage = long();
    stage.life(|director| async move {
        let name = accepted(&director, lease(30)).await;
        director.until_step(&name, Step::Running).await;
    });
    stage.away(Duration::from_secs(600));
    stage.life(|director| async move {
        let name = name("load");
        sleep(Duration::from_secs(25)).await;
        director.it.renew_lease(&name, None).await.unwrap();
        sleep(Duration::from_secs(25)).await;
        assert_eq!(director.state(&name).step, Step::Running);
        assert_eq!(
            code(&director.ended(&name).await),
            FailureCode::LeaseExpired
        );
    });
}

#[test]
fn a_run_without_a_lease_has_none_to_renew() {
    Stage::new().life(|director| async move {
        let name = director.accepted(&task()).await;
        assert!(matches!(
            director.it.renew_lease(&name, None).await,
            Err(ControlError::NoLease { .. })
        ));
        director.ended(&name).await;
    });
}

#[test]
fn a_client_ends_only_what_it_has_started() {
    long().life(|director| async move {
        let name = accepted(&director, keyed("first")).await;
        let second = director.submit_with(&task(), keyed("second")).await;
        let Ok(Submitted::Existing(view)) = second else {
            panic!("{second:?}");
        };
        assert_eq!(view.state.terms.key, Some(key("first")));
        let with = |name| StopOptions {
            key: Some(key(name)),
            force: false,
        };
        let other = with("second");
        assert!(matches!(
            director.it.stop_by(&name, &other).await,
            Err(ControlError::StartedByOther { .. })
        ));
        assert!(matches!(
            director.it.delete_by(&name, &other).await,
            Err(ControlError::StartedByOther { .. })
        ));
        director.until_step(&name, Step::Running).await;
        director.it.stop_by(&name, &with("first")).await.unwrap();
        let state = director.ended(&name).await;
        assert_eq!(state.outcome, Some(Outcome::Stopped));
        // What is over may be removed by everybody.
        director.it.delete_by(&name, &other).await.unwrap();
    });
}

#[test]
fn a_repeated_request_is_answered_also_when_the_test_is_over() {
    Stage::new().life(|director| async move {
        let name = accepted(&director, keyed("one")).await;
        director.ended(&name).await;
        let again = director.submit_with(&task(), keyed("one")).await;
        assert!(matches!(again, Ok(Submitted::Existing(_))), "{again:?}");
        for other in [keyed("two"), Terms::default()] {
            let other = director.submit_with(&task(), other).await;
            assert!(matches!(other, Err(SubmitError::Ended { .. })), "{other:?}");
        }
    });
}

#[test]
fn terms_are_no_part_of_the_definition() {
    long().life(|director| async move {
        accepted(&director, timeout(3000)).await;
        let again = director.submit_with(&task(), lease(5)).await;
        assert!(matches!(again, Ok(Submitted::Existing(_))), "{again:?}");
        let view = director.view(&name("load"));
        // Those of the first request stand.
        assert_eq!(view.state.terms, timeout(3000));
    });
}
