//! A driver that panics is a bug; it must not leave a task without an end.

use super::stage::{Stage, simple};
use atq_task::event::{Event, FailureCode};
use atq_task::state::Outcome;
use std::sync::atomic::{AtomicBool, Ordering};

#[test]
fn a_driver_that_panics_brings_its_task_to_an_end_and_leaves_nothing() {
    let stage = Stage::new();
    let panicked = AtomicBool::new(false);
    stage.fake.on_call(move |_, call| {
        let first = call.method == "create_service" && !panicked.swap(true, Ordering::Relaxed);
        assert!(!first, "the story wants a bug here");
    });
    stage.life(|director| async move {
        let name = director.accepted(&simple("panics")).await;
        let state = director.ended(&name).await;
        assert_eq!(state.outcome, Some(Outcome::Errored));
        let code = state.failure.map(|failure| failure.code);
        assert_eq!(code, Some(FailureCode::Internal));
        let failures = director
            .events(&name)
            .into_iter()
            .filter(|event| matches!(event, Event::Failed { .. }))
            .count();
        assert_eq!(failures, 1);
    });
}
