//! A panic in a driver is a bug; the task must still complete.

use super::simulation::{Simulation, simple};
use atq_task::event::{Event, FailureCode};
use atq_task::state::Outcome;
use std::sync::atomic::{AtomicBool, Ordering};

#[test]
fn a_task_completes_and_leaves_nothing_after_a_panic_of_its_driver() {
    let simulation = Simulation::new();
    let panicked = AtomicBool::new(false);
    simulation.fake.on_call(move |_, call| {
        let first = call.method == "create_service" && !panicked.swap(true, Ordering::Relaxed);
        assert!(!first, "simulated bug");
    });
    simulation.run(|director| async move {
        let name = director.accepted(&simple("panics")).await;
        let state = director.wait_done(&name).await;
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
