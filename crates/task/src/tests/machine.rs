//! Tables of the state machine.

use super::spec;
use crate::event::{Event, Failure, FailureCode, Record};
use crate::machine::{Action, BadHistory, MAX_CLEANUPS, begin, decide, fold, following, next};
use crate::state::{Desired, Outcome, State, Step};
use crate::timestamp::Timestamp;
use serde_json::{Value, json};

fn record(seq: u64, event: Event) -> Record {
    Record {
        seq,
        at: Timestamp(1000 * seq),
        by: None,
        event,
    }
}

fn queued() -> Event {
    Event::Queued {
        run: "a1b2c3".into(),
        token: "t".into(),
        terms: Default::default(),
    }
}

fn history(events: &[Event]) -> Vec<Record> {
    (1..)
        .zip(events)
        .map(|(seq, event)| record(seq, event.clone()))
        .collect()
}

fn enter(step: Step) -> Event {
    Event::StepStarted { step }
}

fn state(events: &[Event]) -> State {
    fold(&history(&[&[queued()], events].concat())).unwrap()
}

fn running() -> Vec<Event> {
    vec![
        enter(Step::Network),
        Event::SubnetChosen {
            subnet: "10.224.0.0/24".parse().unwrap(),
        },
        Event::NetworkCreated { id: "n".into() },
        enter(Step::Discovery),
        Event::DiscoveryPlaced {
            service: "d".into(),
        },
        enter(Step::Workers),
        Event::WorkersCreated {
            service: "w".into(),
        },
        enter(Step::Resolve),
        Event::WorkersReady {
            addresses: vec!["10.224.0.3".parse().unwrap()],
            start_skew: Some(7),
        },
        enter(Step::Master),
        Event::MasterCreated {
            service: "m".into(),
        },
        Event::MasterStarted,
        enter(Step::Running),
    ]
}

fn failed(step: Step) -> Event {
    let failure = Failure {
        step,
        code: FailureCode::Internal,
        message: "x".into(),
        hint: String::new(),
    };
    Event::Failed { failure }
}

#[test]
fn the_order_of_steps() {
    let bare = spec(&[]);
    let wait = spec(&[("/waitCommand", json!({"command": "x"}))]);
    let delay = spec(&[("/delay", json!(1))]);
    let both = spec(&[
        ("/delay", json!(1)),
        ("/waitCommand", json!({"command": "x"})),
    ]);
    let path = |spec| {
        let mut steps = vec![Step::Queued];
        while *steps.last().unwrap() != Step::Done {
            steps.push(following(*steps.last().unwrap(), spec));
        }
        steps
            .iter()
            .map(|step| step.as_str())
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(
        path(&bare),
        "queued network discovery workers resolve master running collect report cleanup done"
    );
    assert_eq!(
        path(&wait),
        "queued network discovery workers resolve waitCommand master running collect report cleanup done"
    );
    assert_eq!(
        path(&delay),
        "queued network discovery workers resolve delay master running collect report cleanup done"
    );
    assert_eq!(
        path(&both),
        "queued network discovery workers resolve waitCommand delay master running collect report cleanup done"
    );
    for spec in [&bare, &wait, &delay, &both] {
        for step in Step::ALL {
            assert!(following(step, spec) > step || step == Step::Done);
        }
    }
}

#[test]
fn decisions() {
    let spec = spec(&[]);
    let queued = state(&[]);
    assert_eq!(
        decide(&queued, &spec, Desired::Run),
        Action::Perform(Step::Queued)
    );
    for desired in [Desired::Stopped, Desired::Deleted] {
        assert_eq!(
            decide(&queued, &spec, desired),
            Action::Record(Event::Stopped)
        );
    }
    let network = state(&running()[..1]);
    assert_eq!(
        decide(&network, &spec, Desired::Run),
        Action::Perform(Step::Network)
    );
    let made = state(&running()[..3]);
    assert_eq!(
        decide(&made, &spec, Desired::Run),
        Action::Record(enter(Step::Discovery))
    );
    let over = state(&[running(), vec![ended(Some(0))]].concat());
    for desired in [Desired::Run, Desired::Stopped, Desired::Deleted] {
        assert_eq!(
            decide(&over, &spec, desired),
            Action::Record(enter(Step::Collect))
        );
    }
    let done = state(&[
        Event::Stopped,
        enter(Step::Collect),
        kept(),
        enter(Step::Cleanup),
        cleaned(&[]),
        enter(Step::Done),
    ]);
    for desired in [Desired::Run, Desired::Stopped, Desired::Deleted] {
        assert_eq!(decide(&done, &spec, desired), Action::Rest);
    }
}

#[test]
fn force_is_recorded_once_in_any_step_and_changes_no_outcome() {
    let spec = spec(&[]);
    let over = [running(), vec![ended(Some(0)), enter(Step::Collect)]].concat();
    for history in [vec![], running(), over] {
        let before = state(&history);
        let forced = Action::Record(Event::Forced);
        for desired in [Desired::StoppedByForce, Desired::DeletedByForce] {
            assert_eq!(decide(&before, &spec, desired), forced);
            let after = state(&[history.clone(), vec![Event::Forced]].concat());
            assert_eq!(after.outcome, before.outcome);
            assert_ne!(decide(&after, &spec, desired), forced);
        }
    }
}

#[test]
fn merging_two_requests_keeps_the_stronger_one() {
    use Desired::{Deleted, DeletedByForce, Run, Stopped, StoppedByForce};
    for (one, two, both) in [
        (Run, Stopped, Stopped),
        (Stopped, StoppedByForce, StoppedByForce),
        (StoppedByForce, Deleted, DeletedByForce),
        (Deleted, Stopped, Deleted),
        (DeletedByForce, Run, DeletedByForce),
    ] {
        assert_eq!((one.and(two), two.and(one)), (both, both));
    }
    assert_eq!(Run.by_force(true), Run);
    // The stored form of an earlier version.
    let old: Desired = serde_json::from_str("\"deleted\"").unwrap();
    assert_eq!(old, Deleted);
}

fn ended(exit_code: Option<i64>) -> Event {
    Event::MasterEnded {
        exit_code,
        memory_limit: None,
    }
}

fn met() -> Event {
    Event::StopConditionMet {
        condition: "errors > 20% for 30s".into(),
        seen: "35 %".into(),
    }
}

fn kept() -> Event {
    Event::EvidenceKept {
        logs: 0,
        missing: Vec::new(),
        workers: Vec::new(),
        exit_code: None,
        lost: Vec::new(),
        results: Vec::new(),
        last_lines: Vec::new(),
    }
}

fn cleaned(leftovers: &[&str]) -> Event {
    Event::CleanUpTried {
        leftovers: leftovers.iter().map(|text| (*text).to_owned()).collect(),
    }
}

#[test]
fn outcomes() {
    for (event, outcome, code) in [
        (ended(Some(0)), Outcome::Finished, Some(0)),
        (ended(Some(3)), Outcome::Errored, Some(3)),
        (ended(None), Outcome::Errored, None),
        (failed(Step::Running), Outcome::Errored, None),
        (Event::Stopped, Outcome::Stopped, None),
        (met(), Outcome::Stopped, None),
    ] {
        let after = state(&[running(), vec![event]].concat());
        assert_eq!((after.outcome, after.exit_code), (Some(outcome), code));
        assert_eq!(after.failure.is_some(), outcome == Outcome::Errored);
        assert_eq!(after.finished_at, Some(Timestamp(15_000)));
        assert_eq!(after.started_at, Some(Timestamp(13_000)));
    }
    let killed = state(&[running(), vec![ended(Some(137))]].concat());
    assert_eq!(
        killed.failure.unwrap().message,
        "the master ended with exit code 137 (killed: out of memory, or it did not end after SIGTERM)"
    );
}

#[test]
fn a_stop_condition_is_recorded_once_and_only_while_the_test_runs() {
    let stopped = state(&[running(), vec![met()]].concat());
    let condition = stopped.stopped_when.clone().unwrap();
    assert_eq!(condition.condition, "errors > 20% for 30s");
    assert_eq!(condition.seen, "35 %");
    assert_eq!(
        serde_json::to_value(met()).unwrap(),
        json!({"event": "stopConditionMet", "data": {"condition": "errors > 20% for 30s", "seen": "35 %"}})
    );
    for event in [met(), Event::Stopped, ended(Some(0)), failed(Step::Running)] {
        assert!(next(stopped.clone(), &record(16, event)).is_err());
    }
    for before in [Event::Stopped, ended(Some(0)), failed(Step::Running)] {
        let ended = state(&[running(), vec![before]].concat());
        assert!(next(ended, &record(16, met())).is_err());
    }
    assert!(next(state(&[]), &record(2, met())).is_err());
    // A stop that was requested at the same time changes nothing.
    let next = decide(&stopped, &spec(&[]), Desired::Stopped);
    assert_eq!(next, Action::Record(enter(Step::Collect)));
}

#[test]
fn the_failure_of_a_killed_master_names_its_memory_limit() {
    let killed = Event::MasterEnded {
        exit_code: Some(137),
        memory_limit: Some(16 << 20),
    };
    let failure = state(&[running(), vec![killed]].concat()).failure.unwrap();
    assert_eq!(
        failure.message,
        "the master ended with exit code 137 (killed: most likely out of memory, its memory limit is 16 MiB)"
    );
}

#[test]
fn the_failure_of_a_master_names_workers_lost_before() {
    let lost = Event::WorkerLost {
        replica: 2,
        reason: "failed: task: non-zero exit (1)".into(),
    };
    let failure = state(&[running(), vec![lost, ended(Some(69))]].concat());
    let failure = failure.failure.unwrap();
    assert_eq!(
        failure.message,
        "the master ended with exit code 69; 1 workers were lost before; replica 2: failed: task: non-zero exit (1)"
    );
    assert!(failure.hint.contains("?service=worker"), "{}", failure.hint);
}

#[test]
fn clean_up_is_retried_until_it_succeeds_or_the_attempts_are_used_up() {
    let begun = vec![
        Event::Stopped,
        enter(Step::Collect),
        kept(),
        enter(Step::Cleanup),
    ];
    let spec = spec(&[]);
    let mut events = begun.clone();
    for _ in 1..MAX_CLEANUPS {
        events.push(cleaned(&["network `x`"]));
        assert_eq!(
            decide(&state(&events), &spec, Desired::Run),
            Action::Perform(Step::Cleanup)
        );
    }
    events.push(cleaned(&["network `x`"]));
    assert_eq!(
        decide(&state(&events), &spec, Desired::Run),
        Action::Record(enter(Step::Done))
    );
    events.push(enter(Step::Done));
    assert_eq!(state(&events).leftovers, ["network `x`"]);
    // Later attempts do not leave `done`.
    events.push(cleaned(&[]));
    let late = state(&events);
    assert_eq!((late.step, late.leftovers.len()), (Step::Done, 0));
    let once = state(&[begun, vec![cleaned(&[])]].concat());
    assert_eq!(
        decide(&once, &spec, Desired::Run),
        Action::Record(enter(Step::Done))
    );
}

#[test]
fn events_that_are_not_allowed_are_refused() {
    let all = [
        queued(),
        Event::NetworkCreated { id: "n".into() },
        Event::WorkersProbed,
        Event::DelayEnded,
        Event::MasterStarted,
        ended(Some(0)),
        kept(),
        cleaned(&[]),
        enter(Step::Queued),
        enter(Step::Discovery),
        enter(Step::Collect),
        enter(Step::Done),
    ];
    let queued = state(&[]);
    for event in all {
        let refused = next(queued.clone(), &record(2, event.clone())).unwrap_err();
        assert!(
            refused
                .to_string()
                .contains("cannot follow in step `queued`"),
            "{refused}"
        );
    }
    // A gap, and a repeated number.
    for seq in [1, 3] {
        assert!(next(queued.clone(), &record(seq, enter(Step::Network))).is_err());
    }
    // The outcome is fixed once.
    let stopped = state(&[Event::Stopped]);
    for event in [
        Event::Stopped,
        failed(Step::Queued),
        enter(Step::Network),
        enter(Step::Cleanup),
    ] {
        assert!(next(stopped.clone(), &record(3, event)).is_err());
    }
}

#[test]
fn invalid_histories() {
    assert_eq!(fold(&[]), Err(BadHistory::Empty));
    assert_eq!(
        begin(&record(1, Event::Stopped)),
        Err(BadHistory::NoBeginning)
    );
    assert!(matches!(
        fold(&history(&[queued(), queued()])),
        Err(BadHistory::Illegal(_))
    ));
}

#[test]
fn a_second_subnet_clears_the_first_network() {
    let mut events = running()[..4].to_vec();
    events.push(Event::SubnetChosen {
        subnet: "10.224.1.0/24".parse().unwrap(),
    });
    let between = state(&events);
    assert_eq!((between.network, between.subnets_tried), (None, 2));
    events.push(Event::NetworkCreated { id: "n2".into() });
    let after = state(&events);
    assert_eq!(
        (after.network.as_deref(), after.step_done),
        (Some("n2"), false)
    );
}

#[test]
fn timings_are_milliseconds_by_step() {
    let state = state(&running());
    assert_eq!(state.timings[&Step::Queued], 1000);
    assert_eq!(state.timings[&Step::Network], 3000);
    assert_eq!(state.timings[&Step::Master], 3000);
    assert_eq!(state.timings.get(&Step::Running), None);
}

/// Histories are kept forever: this one was written by version 0.1.0 and must always fold.
#[test]
fn old_histories_still_fold() {
    let old: Vec<Record> = serde_json::from_value(old_history()).unwrap();
    let state = fold(&old).unwrap();
    assert_eq!(
        (state.step, state.outcome),
        (Step::Done, Some(Outcome::Errored))
    );
    assert_eq!(state.failure.unwrap().code, FailureCode::MasterExit);
    assert_eq!(state.workers[0].exit_code, Some(143));
    assert_eq!(state.lost[0].reason, "failed: task: non-zero exit (137)");
    assert_eq!(state.delay_until, Some(Timestamp(1_769_860_814_000)));
    // The current version writes the same.
    assert_eq!(serde_json::to_value(&old).unwrap(), old_history());
}

/// Each event once, with all its fields.
fn old_history() -> Value {
    json!([
        {"seq": 1, "at": 1_769_860_800_000_u64, "event": "queued", "data": {"run": "a1b2c3", "token": "t"}},
        {"seq": 2, "at": 1_769_860_801_000_u64, "event": "stepStarted", "data": {"step": "network"}},
        {"seq": 3, "at": 1_769_860_802_000_u64, "event": "subnetChosen", "data": {"subnet": "10.224.0.0/24"}},
        {"seq": 4, "at": 1_769_860_803_000_u64, "event": "networkCreated", "data": {"id": "n"}},
        {"seq": 5, "at": 1_769_860_804_000_u64, "event": "stepStarted", "data": {"step": "discovery"}},
        {"seq": 6, "at": 1_769_860_805_000_u64, "event": "discoveryPlaced", "data": {"service": "d"}},
        {"seq": 7, "at": 1_769_860_806_000_u64, "event": "stepStarted", "data": {"step": "workers"}},
        {"seq": 8, "at": 1_769_860_807_000_u64, "event": "workersCreated", "data": {"service": "w"}},
        {"seq": 9, "at": 1_769_860_808_000_u64, "event": "stepStarted", "data": {"step": "resolve"}},
        {"seq": 10, "at": 1_769_860_809_000_u64, "event": "workersReady", "data": {"addresses": ["10.224.0.4"]}},
        {"seq": 11, "at": 1_769_860_809_100_u64, "event": "stepStarted", "data": {"step": "readiness"}},
        {"seq": 12, "at": 1_769_860_809_200_u64, "event": "workersProbed"},
        {"seq": 13, "at": 1_769_860_810_000_u64, "event": "stepStarted", "data": {"step": "waitCommand"}},
        {"seq": 14, "at": 1_769_860_811_000_u64, "event": "waitTried", "data": {"attempt": 1, "exitCode": 0, "succeeded": true, "seen": "it exited 0"}},
        {"seq": 15, "at": 1_769_860_812_000_u64, "event": "stepStarted", "data": {"step": "delay"}},
        {"seq": 16, "at": 1_769_860_812_100_u64, "event": "delayStarted", "data": {"until": 1_769_860_814_000_u64}},
        {"seq": 17, "at": 1_769_860_814_000_u64, "event": "delayEnded"},
        {"seq": 18, "at": 1_769_860_814_100_u64, "event": "stepStarted", "data": {"step": "master"}},
        {"seq": 19, "at": 1_769_860_814_200_u64, "event": "masterCreated", "data": {"service": "m"}},
        {"seq": 20, "at": 1_769_860_815_000_u64, "event": "masterStarted"},
        {"seq": 21, "at": 1_769_860_815_100_u64, "event": "stepStarted", "data": {"step": "running"}},
        {"seq": 22, "at": 1_769_860_816_000_u64, "event": "workerLost", "data": {"replica": 1, "reason": "failed: task: non-zero exit (137)"}},
        {"seq": 23, "at": 1_769_860_820_000_u64, "event": "masterEnded", "data": {"exitCode": 3}},
        {"seq": 24, "at": 1_769_860_820_100_u64, "event": "stepStarted", "data": {"step": "collect"}},
        {"seq": 25, "at": 1_769_860_820_200_u64, "event": "evidenceKept", "data": {"logs": 2, "missing": ["x"], "workers": [
            {"replica": 1, "node": "node-1", "address": "10.224.0.4", "state": "shutdown", "exitCode": 143, "error": null}
        ]}},
        {"seq": 26, "at": 1_769_860_821_000_u64, "event": "stepStarted", "data": {"step": "cleanup"}},
        {"seq": 27, "at": 1_769_860_826_000_u64, "event": "cleanUpTried", "data": {"leftovers": []}},
        {"seq": 28, "at": 1_769_860_826_100_u64, "event": "stepStarted", "data": {"step": "done"}}
    ])
}

#[test]
fn old_failures_and_stops_still_fold() {
    let stopped = json!([
        {"seq": 1, "at": 1, "event": "queued", "data": {"run": "a1b2c3", "token": "t"}},
        {"seq": 2, "at": 2, "event": "stopped"}
    ]);
    let old: Vec<Record> = serde_json::from_value(stopped).unwrap();
    assert_eq!(fold(&old).unwrap().outcome, Some(Outcome::Stopped));
    let failed = json!([
        {"seq": 1, "at": 1, "event": "queued", "data": {"run": "a1b2c3", "token": "t"}},
        {"seq": 2, "at": 2, "event": "failed", "data": {"failure": {"step": "network", "code": "docker_refused", "message": "no"}}}
    ]);
    let old: Vec<Record> = serde_json::from_value(failed).unwrap();
    assert_eq!(fold(&old).unwrap().failure.unwrap().hint, "");
}

#[test]
fn evidence_is_collected_again_if_docker_did_not_respond() {
    let unread = Event::EvidenceKept {
        logs: 0,
        missing: vec!["no log could be read".to_owned()],
        workers: Vec::new(),
        exit_code: None,
        lost: Vec::new(),
        results: Vec::new(),
        last_lines: Vec::new(),
    };
    let first = [Event::Stopped, enter(Step::Collect)];
    assert!(state(&[&first[..], &[unread]].concat()).evidence_unavailable);
    assert!(!state(&[&first[..], &[kept()]].concat()).evidence_unavailable);
}
