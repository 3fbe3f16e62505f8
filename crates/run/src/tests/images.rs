//! Images that a registry refuses, with its reason.

use super::simulation::{Simulation, simple};
use serde_json::json;
use std::time::Duration;

const IMAGE: &str = "r.example:5000/tool:1";

#[test]
fn the_reason_of_the_registry_is_reported_with_a_hint() {
    for role in ["worker", "master"] {
        let simulation = Simulation::new();
        simulation.run(|director| async move {
            let refusal = "errors:\nunauthorized: authentication required\n";
            director.fake.registry_refuses(IMAGE, refusal, Duration::ZERO);
            let mut task = simple("load");
            task[role]["image"] = json!(IMAGE);
            let name = director.accepted(&task).await;
            let failure = director.wait_failed(&name).await;
            let expected = "No such image: r.example:5000/tool:1; the registry `r.example:5000` reports: \
                            unauthorized: authentication required; no credentials were sent: \
                            set them with `docker login r.example:5000` or `registryAuth`";
            assert!(failure.ends_with(expected), "{role}: {failure}");
        });
    }
}

/// The failure is definite and does not wait for the registry.
#[test]
fn an_unresponsive_registry_does_not_block() {
    let simulation = Simulation::new();
    simulation.run(|director| async move {
        let late = Duration::from_secs(5);
        director.fake.registry_refuses(IMAGE, "denied: no", late);
        let mut task = simple("load");
        task["worker"]["image"] = json!(IMAGE);
        let name = director.accepted(&task).await;
        let failure = director.wait_failed(&name).await;
        assert!(failure.ends_with("no answer within 800 ms"), "{failure}");
    });
}
