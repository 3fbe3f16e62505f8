//! What is old goes.

use super::stage::{Stage, simple};
use crate::retention::Policy;
use atq_task::state::Step;
use serde_json::json;
use std::time::Duration;

const NOTHING: Policy = Policy {
    tasks: None,
    task_age: None,
    evidence_bytes: None,
    bundle_age: None,
};

#[test]
fn old_tasks_go_with_their_evidence_and_live_ones_stay() {
    let stage = Stage::new();
    stage.fake.image("long:1");
    let (used, unused) = ("a".repeat(32), "b".repeat(32));
    for id in [&used, &unused] {
        let path = stage.add_bundle(id);
        std::fs::write(path.join("plan"), "x").unwrap();
    }
    let evidence = |task: &str| stage.evidence(task).exists();
    stage.life(|director| async move {
        for number in 1..=3 {
            let name = director.accepted(&simple(&format!("old-{number}"))).await;
            director.ended(&name).await;
        }
        let mut task = simple("live");
        task["master"]["image"] = json!("long:1");
        task["worker"]["fileid"] = json!(used);
        let live = director.accepted(&task).await;
        director.until_step(&live, Step::Running).await;
        let left = async || {
            let names = director.listed().await.into_iter();
            names.map(|name| name.to_string()).collect::<Vec<_>>()
        };

        director.it.retain_once(&NOTHING).await;
        assert_eq!(left().await, ["live", "old-3", "old-2", "old-1"]);
        let two = Policy {
            tasks: Some(2),
            ..NOTHING
        };
        director.it.retain_once(&two).await;
        assert_eq!(left().await, ["live", "old-3", "old-2"]);
        assert!(!evidence("old-1"));
        assert!(evidence("old-2"));

        let tiny = Policy {
            evidence_bytes: Some(1),
            ..NOTHING
        };
        director.it.retain_once(&tiny).await;
        // The newest stays whatever its size.
        assert_eq!(left().await, ["live", "old-3"]);
        assert!(evidence("old-3") && !evidence("old-2"));

        // The clock of a story is behind that of the disk, on which bundles are new.
        let bundles = Policy {
            bundle_age: Some(Duration::ZERO),
            ..NOTHING
        };
        tokio::time::advance(Duration::from_secs(100 * 365 * 86_400)).await;
        director.it.retain_once(&bundles).await;
        let bundles = &director.it.shared().bundles;
        assert!(bundles.exists(&used.parse().unwrap()));
        assert!(!bundles.exists(&unused.parse().unwrap()));
    });
}
