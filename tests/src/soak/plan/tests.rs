//! Tests of plans, without a Swarm.

use super::*;
use std::collections::BTreeSet;

#[test]
fn a_seed_determines_the_plan() {
    assert_eq!(Plan::generate(7, 100, 20), Plan::generate(7, 100, 20));
    assert_ne!(Plan::generate(7, 100, 20), Plan::generate(8, 100, 20));
}

#[test]
fn a_small_soak_has_every_expected_end() {
    for seed in 0..50 {
        let plan = Plan::generate(seed, 15, 4);
        let ends: BTreeSet<String> = plan
            .tasks
            .iter()
            .map(|task| format!("{:?}", task.expected_end()).replace("worker_", "master_"))
            .collect();
        assert_eq!(ends.len(), 6, "seed {seed}: {ends:?}");
        assert!(plan.tasks.iter().any(|task| task.bundle.is_some()));
    }
}

#[test]
fn a_large_soak_has_many_kill_triggers_while_tasks_are_in_progress() {
    for seed in 0..50 {
        let plan = Plan::generate(seed, 100, 20);
        assert_eq!((plan.tasks.len(), plan.kills.len()), (100, 20));
        assert!(plan.kills.iter().all(|kill| kill.ended < 90));
        assert!(plan.kills.is_sorted_by_key(|kill| kill.ended));
        assert!(!matches!(plan.kills[0].trigger, KillTrigger::Starting(_)));
        let names: BTreeSet<String> = plan.kills.iter().map(|kill| kill.trigger.name()).collect();
        assert!(names.len() >= 6, "seed {seed}: {names:?}");
    }
}

#[test]
fn names_are_unique_and_definitions_follow_the_plan() {
    let plan = Plan::generate(1, 100, 0);
    let names: BTreeSet<&str> = plan.tasks.iter().map(|task| task.name.as_str()).collect();
    assert_eq!(names.len(), 100);
    for task in &plan.tasks {
        let payload = task.payload(task.bundle.map(|_| "some-id"));
        let bundles = ["/master/fileid", "/worker/fileid"].map(|at| payload.pointer(at).is_some());
        let expected = [Role::Master, Role::Worker].map(|role| task.bundle == Some(role));
        assert_eq!(bundles, expected, "{payload}");
        let waits = payload.get("waitCommand").is_some();
        assert_eq!(waits, task.variant == Variant::WaitCommand, "{payload}");
        let missing = payload.to_string().contains(MISSING_IMAGE);
        assert_eq!(missing, matches!(task.variant, Variant::MissingImage(_)));
    }
}
