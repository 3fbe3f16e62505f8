//! Plans, without a Swarm.

use super::*;
use std::collections::BTreeSet;

#[test]
fn the_same_seed_gives_the_same_plan_and_another_one_another() {
    assert_eq!(Plan::draw(7, 100, 20), Plan::draw(7, 100, 20));
    assert_ne!(Plan::draw(7, 100, 20), Plan::draw(8, 100, 20));
}

#[test]
fn a_small_soak_has_every_kind_of_end() {
    for seed in 0..50 {
        let plan = Plan::draw(seed, 15, 4);
        let wants: BTreeSet<String> = plan
            .tasks
            .iter()
            .map(|task| format!("{:?}", task.want()).replace("worker_", "master_"))
            .collect();
        assert_eq!(wants.len(), 6, "seed {seed}: {wants:?}");
        assert!(plan.tasks.iter().any(|task| task.bundle.is_some()));
    }
}

#[test]
fn a_large_soak_kills_in_many_ways_and_while_tasks_are_there() {
    for seed in 0..50 {
        let plan = Plan::draw(seed, 100, 20);
        assert_eq!((plan.tasks.len(), plan.kills.len()), (100, 20));
        assert!(plan.kills.iter().all(|kill| kill.ended < 90));
        assert!(plan.kills.is_sorted_by_key(|kill| kill.ended));
        assert!(!matches!(plan.kills[0].moment, Moment::Starting(_)));
        let names: BTreeSet<String> = plan.kills.iter().map(|kill| kill.moment.name()).collect();
        assert!(names.len() >= 6, "seed {seed}: {names:?}");
    }
}

#[test]
fn names_differ_and_definitions_say_what_is_planned() {
    let plan = Plan::draw(1, 100, 0);
    let names: BTreeSet<&str> = plan.tasks.iter().map(|task| task.name.as_str()).collect();
    assert_eq!(names.len(), 100);
    for task in &plan.tasks {
        let payload = task.payload(task.bundle.map(|_| "some-id"));
        let bundles = ["/master/fileid", "/worker/fileid"].map(|at| payload.pointer(at).is_some());
        let wanted = [Role::Master, Role::Worker].map(|role| task.bundle == Some(role));
        assert_eq!(bundles, wanted, "{payload}");
        let waits = payload.get("waitCommand").is_some();
        assert_eq!(waits, task.twist == Twist::WaitCommand, "{payload}");
        let missing = payload.to_string().contains(MISSING);
        assert_eq!(missing, matches!(task.twist, Twist::MissingImage(_)));
    }
}
