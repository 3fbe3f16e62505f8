//! Removal of old tasks and bundles.

use super::simulation::{Simulation, simple};
use crate::retention::Policy;
use atq_task::state::Step;
use serde_json::json;
use std::time::Duration;

const UNLIMITED: Policy = Policy {
    tasks: None,
    task_age: None,
    evidence_bytes: None,
    bundle_age: None,
};

#[test]
fn old_tasks_are_removed_with_their_evidence_and_active_ones_stay() {
    let simulation = Simulation::new();
    simulation.fake.image("long:1");
    let (used, unused) = ("a".repeat(32), "b".repeat(32));
    for id in [&used, &unused] {
        let path = simulation.add_bundle(id);
        std::fs::write(path.join("plan"), "x").unwrap();
    }
    let evidence = |task: &str| simulation.evidence(task).exists();
    simulation.run(|director| async move {
        for number in 1..=3 {
            let name = director.accepted(&simple(&format!("old-{number}"))).await;
            director.wait_done(&name).await;
        }
        let mut task = simple("live");
        task["master"]["image"] = json!("long:1");
        task["worker"]["fileid"] = json!(used);
        let live = director.accepted(&task).await;
        director.wait_for_step(&live, Step::Running).await;
        let left = async || {
            let names = director.listed().await.into_iter();
            names.map(|name| name.to_string()).collect::<Vec<_>>()
        };

        director.orchestrator.retain_once(&UNLIMITED).await;
        assert_eq!(left().await, ["live", "old-3", "old-2", "old-1"]);
        let two = Policy {
            tasks: Some(2),
            ..UNLIMITED
        };
        director.orchestrator.retain_once(&two).await;
        assert_eq!(left().await, ["live", "old-3", "old-2"]);
        assert!(!evidence("old-1"));
        assert!(evidence("old-2"));

        let tiny = Policy {
            evidence_bytes: Some(1),
            ..UNLIMITED
        };
        director.orchestrator.retain_once(&tiny).await;
        // The newest task is always kept.
        assert_eq!(left().await, ["live", "old-3"]);
        assert!(evidence("old-3") && !evidence("old-2"));

        // The simulated clock is behind that of the disk, where the bundles are new.
        let bundles = Policy {
            bundle_age: Some(Duration::ZERO),
            ..UNLIMITED
        };
        tokio::time::advance(Duration::from_secs(100 * 365 * 86_400)).await;
        director.orchestrator.retain_once(&bundles).await;
        let bundles = &director.orchestrator.shared().bundles;
        assert!(bundles.exists(&used.parse().unwrap()));
        assert!(!bundles.exists(&unused.parse().unwrap()));
    });
}
