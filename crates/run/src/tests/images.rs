//! Images that a registry does not give, and what it says about them.

use super::stage::{Stage, simple};
use serde_json::json;
use std::time::Duration;

const IMAGE: &str = "r.example:5000/tool:1";

#[test]
fn the_registrys_own_reason_is_told_with_the_way_out() {
    for role in ["worker", "master"] {
        let stage = Stage::new();
        stage.life(|director| async move {
            let refusal = "errors:\nunauthorized: authentication required\n";
            director.fake.registry_refuses(IMAGE, refusal, Duration::ZERO);
            let mut task = simple("load");
            task[role]["image"] = json!(IMAGE);
            let name = director.accepted(&task).await;
            let failure = director.failed(&name).await;
            let expected = "No such image: r.example:5000/tool:1; the registry `r.example:5000` reports: \
                            unauthorized: authentication required; no credentials were sent: \
                            set them with `docker login r.example:5000` or `registryAuth`";
            assert!(failure.ends_with(expected), "{role}: {failure}");
        });
    }
}

/// The failure is certain, and waits for nobody.
#[test]
fn a_registry_that_does_not_answer_holds_nothing_up() {
    let stage = Stage::new();
    stage.life(|director| async move {
        let late = Duration::from_secs(5);
        director.fake.registry_refuses(IMAGE, "denied: no", late);
        let mut task = simple("load");
        task["worker"]["image"] = json!(IMAGE);
        let name = director.accepted(&task).await;
        let failure = director.failed(&name).await;
        assert!(failure.ends_with("no answer within 800 ms"), "{failure}");
    });
}
