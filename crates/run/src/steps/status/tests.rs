#![allow(clippy::unwrap_used)]
//! Every branch, and the messages for users.

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

/// Swarm reports it as running indefinitely, but its desired state is shutdown.
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

/// The tasks as members.
fn members(tasks: &[SwarmTask]) -> Vec<Member> {
    tasks.iter().map(member_of).collect()
}

fn member_of(task: &SwarmTask) -> Member {
    let source = Source {
        role: Role::Worker,
        replica: task.slot,
    };
    member(task, source, Some("net"))
}

fn status(tasks: &[SwarmTask], dns: &[Ipv4Addr], age: Duration) -> String {
    format!("{:?}", workers_status(&members(tasks), 3, dns, age))
}

#[test]
fn workers_are_ready_when_swarm_and_dns_agree() {
    assert_eq!(
        workers_status(&members(&run(1..=3)), 3, &dns(1..=3), SOON),
        WorkersStatus::Ready(dns(1..=3))
    );
    // The order of Swarm's list does not matter.
    let mut shuffled = run(1..=3);
    shuffled.reverse();
    assert_eq!(
        workers_status(&members(&shuffled), 3, &dns(1..=3), SOON),
        WorkersStatus::Ready(dns(1..=3))
    );
}

#[test]
fn swarm_or_dns_alone_is_not_sufficient() {
    let mut starting = run(1..=2);
    starting.push(task(3, TaskState::Starting));
    let mut elsewhere = run(1..=3);
    elsewhere[0].addresses.clear();
    let all = [
        status(&[], &[], SOON),
        status(&run(1..=3), &[], SOON),
        status(&run(1..=3), &dns(1..=2), SOON),
        status(&run(1..=3), &dns(2..=4), SOON),
        status(&run(1..=3), &dns(1..=4), SOON),
        status(&starting, &dns(1..=3), SOON),
        status(&elsewhere, &dns(1..=3), SOON),
        status(&run(1..=4), &dns(1..=4), SOON),
    ];
    assert!(
        all.iter().all(|status| status.starts_with("Waiting")),
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
fn a_worker_that_ended_fails_even_with_code_0() {
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
            status(
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
fn a_message_lists_three_replicas_and_counts_the_rest() {
    let tasks: Vec<_> = (1..=30)
        .map(|slot| with(slot, TaskState::Rejected, "no"))
        .collect();
    assert_snapshot!(format!("{:?}", workers_status(&members(&tasks), 30, &[], SOON)), @r#"Failed(WorkerFailed, "0 of 30 workers run; replica 1: rejected: no; replica 2: rejected: no; replica 3: rejected: no; and 27 more")"#);
    let tasks: Vec<_> = (1..=5)
        .map(|slot| task(slot, TaskState::Preparing))
        .collect();
    assert_snapshot!(format!("{:?}", workers_status(&members(&tasks), 5, &[], SOON)), @r#"Waiting("0 of 5 workers run, 0 of 5 addresses resolve; replica 1: preparing; replica 2: preparing; replica 3: preparing; and 2 more")"#);
}

#[test]
fn an_unplaceable_worker_fails_after_a_while() {
    let mut tasks = run(1..=2);
    tasks.push(with(3, TaskState::Pending, "no suitable node"));
    assert!(status(&tasks, &[], SOON).starts_with("Waiting"));
    assert_snapshot!(status(&tasks, &[], LATER), @r#"Failed(WorkerUnplaceable, "2 of 3 workers run; replica 3: pending: no suitable node")"#);
    // Pending without a reason is not yet a failure.
    tasks[2] = task(3, TaskState::Pending);
    assert!(status(&tasks, &[], LATER).starts_with("Waiting"));
}

#[test]
fn the_start_of_the_master() {
    let status = |tasks: &[SwarmTask], age| format!("{:?}", master_status(&members(tasks), 1, age));
    let failed_start = SwarmTask {
        exit_code: Some(127),
        ..with(
            1,
            TaskState::Failed,
            "starting container failed: exec: \"x\"",
        )
    };
    let all = [
        status(&[], SOON),
        status(&[task(1, TaskState::Preparing)], LATER),
        status(&run(1..=1), SOON),
        status(&[exited(1, 0)], SOON),
        status(&[exited(1, 3)], SOON),
        status(&[task(1, TaskState::Shutdown)], SOON),
        status(&[failed_start], SOON),
        status(&[with(1, TaskState::Rejected, "No such image: x:1")], SOON),
        status(&[on_a_lost_node(1)], SOON),
        status(&[with(1, TaskState::Pending, "no suitable node")], SOON),
        status(&[with(1, TaskState::Pending, "no suitable node")], LATER),
    ];
    assert_snapshot!(all.join("\n"), @r#"
    Waiting("0 of 1 run")
    Waiting("0 of 1 run; preparing")
    Ready(())
    Ready(())
    Ready(())
    Ready(())
    Failed(MasterFailed, "the master did not start: failed: starting container failed: exec: \"x\"")
    Failed(MasterFailed, "the master did not start: rejected: No such image: x:1")
    Failed(MasterFailed, "the master did not start: its node was lost or drained")
    Waiting("0 of 1 run; pending: no suitable node")
    Failed(MasterUnplaceable, "no node accepts the master: pending: no suitable node")
    "#);
    assert_eq!(
        master_status(
            &members(&[task(1, TaskState::Running), exited(2, 0)]),
            2,
            SOON
        ),
        MasterStatus::Ready(())
    );
    assert!(matches!(
        master_status(&members(&run(1..=1)), 2, SOON),
        MasterStatus::Waiting(_)
    ));
}

#[test]
fn the_exit_code_is_the_worst_once_all_replicas_have_ended() {
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
        assert_eq!(
            master_exit(&members(&tasks), replicas),
            expected,
            "{tasks:?}"
        );
    }
}

#[test]
fn losses_while_the_test_runs() {
    let all = [
        worker_loss(&member_of(&task(1, TaskState::Running))),
        worker_loss(&member_of(&exited(1, 0))),
        worker_loss(&member_of(&task(1, TaskState::Shutdown))),
        worker_loss(&member_of(&exited(1, 1))),
        worker_loss(&member_of(&with(1, TaskState::Rejected, "no"))),
        worker_loss(&member_of(&task(1, TaskState::Orphaned))),
        worker_loss(&member_of(&on_a_lost_node(1))),
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
fn nodes_unknown_to_a_restarted_manager_have_time_to_connect() {
    let error = "no suitable node (3 nodes not available for new tasks)";
    let pending = SwarmTask {
        error: Some(error.into()),
        ..task(1, TaskState::Pending)
    };
    assert!(!member_of(&pending).is_unplaceable(Duration::from_secs(10)));
    assert!(member_of(&pending).is_unplaceable(Duration::from_secs(20)));
    let constraint = "no suitable node (scheduling constraints not satisfied on 3 nodes)";
    let pending = SwarmTask {
        error: Some(constraint.into()),
        ..pending
    };
    assert!(member_of(&pending).is_unplaceable(Duration::from_secs(1)));
    assert!(!member_of(&task(1, TaskState::Pending)).is_unplaceable(Duration::MAX));
}
