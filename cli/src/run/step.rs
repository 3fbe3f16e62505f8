//! The steps of a run in words.

use atq_api_spec::task::Step;

/// What happens during a step.
pub fn description(step: Step) -> &'static str {
    match step {
        Step::Queued => "waits to start",
        Step::Delivery => "delivers the bundles to the nodes",
        Step::Network => "creates the network",
        Step::Discovery => "starts the discovery",
        Step::Workers => "creates the workers",
        Step::Resolve => "waits for the workers",
        Step::Readiness => "waits until the workers accept connections",
        Step::WaitCommand => "runs the wait command",
        Step::Delay => "waits for the delay",
        Step::Master => "starts the master",
        Step::Running => "the test runs",
        Step::Collect => "collects logs and results",
        Step::Report => "computes figures and verdict",
        Step::Cleanup => "cleans up",
        Step::Done => "done",
    }
}
