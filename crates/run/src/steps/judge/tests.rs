#![allow(clippy::unwrap_used)]
//! Every branch, and the words that users read.

use super::*;
use atq_engine::{Role, Source};
use atq_engine_swarm::members::member;
use atq_engine_swarm::{SwarmTask, TaskState};
use insta::{assert_debug_snapshot, assert_snapshot};

const SOON: Duration = Duration::from_millis(100);
const LATER: Duration = Duration::from_secs(10);

fn address(slot: u32) -> Ipv4Addr {
    [10, 224, 0, u8::try_from(slot).unwrap() + 2].into()
}

fn task(slot: u32, state: TaskState) -> SwarmTask {
    let ended = state.is_terminal();
    SwarmTask {
        id: format!("t{slot}"),
        service_id: "s".into(),
        labels: Default::default(),
        slot,
        node_id: Some("node-1".into()),
        state,
        desired: if ended {
            TaskState::Shutdown
        } else {
            TaskState::Running
        },
        since: None,
        error: None,
        exit_code: None,
        container_id: Some(format!("c{slot}")),
        addresses: vec![
            ("other".into(), [10, 0, 0, 1].into()),
            ("net".into(), address(slot)),
        ],
        ports: Vec::new(),
    }
}

fn with(slot: u32, state: TaskState, error: &str) -> SwarmTask {
    SwarmTask {
        error: Some(error.into()),
        ..task(slot, state)
    }
}

fn exited(slot: u32, code: i64) -> SwarmTask {
    let error = (code != 0).then(|| format!("task: non-zero exit ({code})"));
    let state = if code == 0 {
        TaskState::Complete
    } else {
        TaskState::Failed
    };
    SwarmTask {
        exit_code: Some(code),
        error,
        ..task(slot, state)
    }
}

/// Runs for ever in Swarm's eyes, but is not meant to.
fn on_a_lost_node(slot: u32) -> SwarmTask {
    SwarmTask {
        desired: TaskState::Shutdown,
        ..task(slot, TaskState::Running)
    }
}

fn run(slots: std::ops::RangeInclusive<u32>) -> Vec<SwarmTask> {
    slots.map(|slot| task(slot, TaskState::Running)).collect()
}

fn dns(slots: std::ops::RangeInclusive<u32>) -> Vec<Ipv4Addr> {
    slots.map(address).collect()
}

/// The same as the driver sees them.
fn seen(tasks: &[SwarmTask]) -> Vec<Member> {
    tasks.iter().map(seen_one).collect()
}

fn seen_one(task: &SwarmTask) -> Member {
    let source = Source {
        role: Role::Worker,
        replica: task.slot,
    };
    member(task, source, Some("net"))
}

fn judged(tasks: &[SwarmTask], dns: &[Ipv4Addr], age: Duration) -> String {
    format!("{:?}", workers(&seen(tasks), 3, dns, age))
}

#[test]
fn ready_are_all_workers_when_swarm_and_dns_agree() {
    assert_eq!(
        workers(&seen(&run(1..=3)), 3, &dns(1..=3), SOON),
        Workers::Ready(dns(1..=3))
    );
    // In whatever order Swarm lists them.
    let mut shuffled = run(1..=3);
    shuffled.reverse();
    assert_eq!(
        workers(&seen(&shuffled), 3, &dns(1..=3), SOON),
        Workers::Ready(dns(1..=3))
    );
}

#[test]
fn neither_alone_is_proof() {
    let mut starting = run(1..=2);
    starting.push(task(3, TaskState::Starting));
    let mut elsewhere = run(1..=3);
    elsewhere[0].addresses.clear();
    let all = [
        judged(&[], &[], SOON),
        judged(&run(1..=3), &[], SOON),
        judged(&run(1..=3), &dns(1..=2), SOON),
        judged(&run(1..=3), &dns(2..=4), SOON),
        judged(&run(1..=3), &dns(1..=4), SOON),
        judged(&starting, &dns(1..=3), SOON),
        judged(&elsewhere, &dns(1..=3), SOON),
        judged(&run(1..=4), &dns(1..=4), SOON),
    ];
    assert!(
        all.iter().all(|judged| judged.starts_with("Waiting")),
        "{all:#?}"
    );
    assert_snapshot!(all.join("\n"), @r#"
    Waiting("0 of 3 workers run, 0 of 3 addresses resolve")
    Waiting("3 of 3 workers run, 0 of 3 addresses resolve; not in DNS: 10.224.0.3, 10.224.0.4, 10.224.0.5")
    Waiting("3 of 3 workers run, 2 of 3 addresses resolve; not in DNS: 10.224.0.5")
    Waiting("3 of 3 workers run, 3 of 3 addresses resolve; not in DNS: 10.224.0.3; in DNS only: 10.224.0.6")
    Waiting("3 of 3 workers run, 4 of 3 addresses resolve; in DNS only: 10.224.0.6")
    Waiting("2 of 3 workers run, 3 of 3 addresses resolve; replica 3: starting; in DNS only: 10.224.0.5")
    Waiting("3 of 3 workers run, 3 of 3 addresses resolve; in DNS only: 10.224.0.3")
    Waiting("4 of 3 workers run, 4 of 3 addresses resolve")
    "#);
}

#[test]
fn a_worker_that_ended_ends_the_wait_also_with_code_0() {
    let bad = [
        exited(2, 0),
        exited(2, 137),
        with(2, TaskState::Rejected, "No such image: x:1"),
        task(2, TaskState::Shutdown),
        task(2, TaskState::Orphaned),
        on_a_lost_node(2),
    ];
    let all: Vec<String> = bad
        .into_iter()
        .map(|bad| {
            judged(
                &[
                    task(1, TaskState::Running),
                    bad,
                    task(3, TaskState::Running),
                ],
                &dns(1..=3),
                SOON,
            )
        })
        .collect();
    assert_snapshot!(all.join("\n"), @r#"
    Failed(WorkerFailed, "2 of 3 workers run; replica 2: complete: exit code 0")
    Failed(WorkerFailed, "2 of 3 workers run; replica 2: failed: task: non-zero exit (137)")
    Failed(WorkerFailed, "2 of 3 workers run; replica 2: rejected: No such image: x:1")
    Failed(WorkerFailed, "2 of 3 workers run; replica 2: shutdown")
    Failed(WorkerFailed, "2 of 3 workers run; replica 2: orphaned")
    Failed(WorkerFailed, "2 of 3 workers run; replica 2: its node was lost or drained")
    "#);
}

#[test]
fn a_message_names_three_and_counts_the_rest() {
    let tasks: Vec<_> = (1..=30)
        .map(|slot| with(slot, TaskState::Rejected, "no"))
        .collect();
    assert_snapshot!(format!("{:?}", workers(&seen(&tasks), 30, &[], SOON)), @r#"Failed(WorkerFailed, "0 of 30 workers run; replica 1: rejected: no; replica 2: rejected: no; replica 3: rejected: no; and 27 more")"#);
    let tasks: Vec<_> = (1..=5)
        .map(|slot| task(slot, TaskState::Preparing))
        .collect();
    assert_snapshot!(format!("{:?}", workers(&seen(&tasks), 5, &[], SOON)), @r#"Waiting("0 of 5 workers run, 0 of 5 addresses resolve; replica 1: preparing; replica 2: preparing; replica 3: preparing; and 2 more")"#);
}

#[test]
fn a_worker_without_a_node_counts_when_swarm_has_looked_twice() {
    let mut tasks = run(1..=2);
    tasks.push(with(3, TaskState::Pending, "no suitable node"));
    assert!(judged(&tasks, &[], SOON).starts_with("Waiting"));
    assert_snapshot!(judged(&tasks, &[], LATER), @r#"Failed(WorkerUnplaceable, "2 of 3 workers run; replica 3: pending: no suitable node")"#);
    // Pending without a reason is only late.
    tasks[2] = task(3, TaskState::Pending);
    assert!(judged(&tasks, &[], LATER).starts_with("Waiting"));
}

#[test]
fn the_start_of_the_master() {
    let judged = |tasks: &[SwarmTask], age| format!("{:?}", start(&seen(tasks), 1, age));
    let failed_start = SwarmTask {
        exit_code: Some(127),
        ..with(
            1,
            TaskState::Failed,
            "starting container failed: exec: \"x\"",
        )
    };
    let all = [
        judged(&[], SOON),
        judged(&[task(1, TaskState::Preparing)], LATER),
        judged(&run(1..=1), SOON),
        judged(&[exited(1, 0)], SOON),
        judged(&[exited(1, 3)], SOON),
        judged(&[task(1, TaskState::Shutdown)], SOON),
        judged(&[failed_start], SOON),
        judged(&[with(1, TaskState::Rejected, "No such image: x:1")], SOON),
        judged(&[on_a_lost_node(1)], SOON),
        judged(&[with(1, TaskState::Pending, "no suitable node")], SOON),
        judged(&[with(1, TaskState::Pending, "no suitable node")], LATER),
    ];
    assert_snapshot!(all.join("\n"), @r#"
    Waiting("0 of 1 run")
    Waiting("0 of 1 run; preparing")
    Started
    Started
    Started
    Started
    Failed(MasterFailed, "the master did not start: failed: starting container failed: exec: \"x\"")
    Failed(MasterFailed, "the master did not start: rejected: No such image: x:1")
    Failed(MasterFailed, "the master did not start: its node was lost or drained")
    Waiting("0 of 1 run; pending: no suitable node")
    Failed(MasterUnplaceable, "the master finds no node: pending: no suitable node")
    "#);
    assert_eq!(
        start(&seen(&[task(1, TaskState::Running), exited(2, 0)]), 2, SOON),
        Start::Started
    );
    assert!(matches!(
        start(&seen(&run(1..=1)), 2, SOON),
        Start::Waiting(_)
    ));
}

#[test]
fn the_end_is_the_worst_code_once_all_have_ended() {
    for (tasks, replicas, expected) in [
        (vec![], 1, None),
        (run(1..=1), 1, None),
        (vec![exited(1, 0)], 1, Some(Some(0))),
        (vec![exited(1, 3)], 1, Some(Some(3))),
        (vec![exited(1, 0), task(2, TaskState::Running)], 2, None),
        (vec![exited(1, 0)], 2, None),
        (
            vec![exited(1, 0), exited(2, 137), exited(3, 3)],
            3,
            Some(Some(137)),
        ),
        (
            vec![exited(1, 0), task(2, TaskState::Rejected)],
            2,
            Some(None),
        ),
        (
            vec![exited(1, 3), task(2, TaskState::Rejected)],
            2,
            Some(Some(3)),
        ),
        (vec![task(1, TaskState::Rejected)], 1, Some(None)),
        (vec![exited(1, -1), exited(2, 0)], 2, Some(Some(-1))),
    ] {
        assert_eq!(end(&seen(&tasks), replicas), expected, "{tasks:?}");
    }
}

#[test]
fn losses_while_the_test_runs() {
    let all = [
        loss(&seen_one(&task(1, TaskState::Running))),
        loss(&seen_one(&exited(1, 0))),
        loss(&seen_one(&task(1, TaskState::Shutdown))),
        loss(&seen_one(&exited(1, 1))),
        loss(&seen_one(&with(1, TaskState::Rejected, "no"))),
        loss(&seen_one(&task(1, TaskState::Orphaned))),
        loss(&seen_one(&on_a_lost_node(1))),
    ];
    assert_debug_snapshot!(all, @r#"
    [
        None,
        None,
        None,
        Some(
            "failed: task: non-zero exit (1)",
        ),
        Some(
            "rejected: no",
        ),
        Some(
            "orphaned",
        ),
        Some(
            "its node was lost or drained",
        ),
    ]
    "#);
}

#[test]
fn nodes_that_a_restarted_manager_does_not_know_yet_are_waited_for() {
    let error = "no suitable node (3 nodes not available for new tasks)";
    let pending = SwarmTask {
        error: Some(error.into()),
        ..task(1, TaskState::Pending)
    };
    assert!(!seen_one(&pending).is_unplaceable(Duration::from_secs(10)));
    assert!(seen_one(&pending).is_unplaceable(Duration::from_secs(20)));
    let constraint = "no suitable node (scheduling constraints not satisfied on 3 nodes)";
    let pending = SwarmTask {
        error: Some(constraint.into()),
        ..pending
    };
    assert!(seen_one(&pending).is_unplaceable(Duration::from_secs(1)));
    assert!(!seen_one(&task(1, TaskState::Pending)).is_unplaceable(Duration::MAX));
}
