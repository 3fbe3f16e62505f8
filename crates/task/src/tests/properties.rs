//! The pure invariants of ARCHITECTURE.md (Invariants), on histories that the state machine produces from
//! random results of its steps:
//!
//! 1. the rank of the step never decreases; `done` absorbs every event but a late clean-up, which does not leave it;
//! 2. `desired = stopped` and `deleted` reach `done` from everywhere in bounded steps;
//! 3. the fold of the history is the state, at every prefix;
//! 5. at the end, clean-up was attempted and its result recorded;
//! 6. a failure always has a message and the step that failed.
//!
//! 4 and 7 need a Swarm: `crates/run/src/tests/fault_injection.rs`.

use super::spec;
use crate::event::{Event, Failure, FailureCode, Record};
use crate::machine::{Action, MAX_CLEANUPS, begin, decide, fold, next};
use crate::spec::{ReadinessProbe, ReadinessSpec, TaskName, TaskSpec};
use crate::state::{Desired, Outcome, State, Step};
use crate::timestamp::Timestamp;
use crate::verdict::{Judgement, Verdict};
use proptest::prelude::*;
use serde_json::json;

/// A random number that [`result`] maps to an event.
type Dice = u8;

/// An event that may end the step, or an intermediate one.
fn result(state: &State, dice: Dice) -> Event {
    if dice > 235 && state.step < Step::Collect {
        let failure = Failure {
            step: state.step,
            code: FailureCode::Internal,
            message: "it broke".into(),
            hint: String::new(),
        };
        return Event::Failed { failure };
    }
    let often = dice.is_multiple_of(3);
    match state.step {
        Step::Queued => Event::StepStarted {
            step: Step::Network,
        },
        Step::Delivery => Event::BundlesDelivered { nodes: Vec::new() },
        Step::Network if state.subnet.is_none() => subnet(dice),
        Step::Network => Event::NetworkCreated { id: "n".into() },
        Step::Discovery if state.network.is_none() => Event::NetworkCreated { id: "n2".into() },
        Step::Discovery if often && state.subnets_tried < 2 => subnet(dice),
        Step::Discovery => Event::DiscoveryPlaced {
            service: "d".into(),
        },
        Step::Workers => Event::WorkersCreated {
            service: "w".into(),
        },
        Step::Resolve | Step::Readiness if dice.is_multiple_of(5) => Event::DiscoveryPlaced {
            service: "d2".into(),
        },
        Step::Resolve => Event::WorkersReady {
            addresses: vec![[10, 0, 0, dice].into()],
            start_skew: None,
        },
        Step::Readiness => Event::WorkersProbed,
        Step::WaitCommand => Event::WaitTried {
            attempt: state.wait_attempts + 1,
            exit_code: Some(dice.into()),
            succeeded: often,
            seen: "x".into(),
        },
        Step::Delay if state.delay_until.is_none() => Event::DelayStarted {
            until: Timestamp(u64::from(dice)),
        },
        Step::Delay => Event::DelayEnded,
        Step::Master if state.master.is_none() => Event::MasterCreated {
            service: "m".into(),
        },
        Step::Master => Event::MasterStarted,
        Step::Running if often => Event::WorkerLost {
            replica: dice.into(),
            reason: "x".into(),
        },
        Step::Running if dice.is_multiple_of(5) => Event::StopConditionMet {
            condition: "errors > 20% for 30s".into(),
            seen: "35 %".into(),
        },
        Step::Running => Event::MasterEnded {
            exit_code: Some((dice % 2).into()),
            memory_limit: None,
        },
        // The final logs of running containers are kept before the removal.
        Step::Report if often && !state.final_logs_kept => Event::EvidenceKept {
            logs: 1,
            missing: Vec::new(),
            workers: Vec::new(),
            exit_code: None,
            lost: Vec::new(),
            results: Vec::new(),
            last_lines: Vec::new(),
        },
        Step::Collect => Event::EvidenceKept {
            logs: 0,
            missing: Vec::new(),
            workers: Vec::new(),
            exit_code: None,
            lost: Vec::new(),
            results: Vec::new(),
            last_lines: Vec::new(),
        },
        Step::Report => Event::Reported {
            judgement: Judgement {
                verdict: Verdict::Invalid,
                reasons: Vec::new(),
                criteria: Vec::new(),
            },
            samples: dice.into(),
            milli_requests_per_second: Some(dice.into()),
            problem: None,
        },
        Step::Cleanup | Step::Done => Event::CleanUpTried {
            leftovers: if often { vec!["x".into()] } else { Vec::new() },
        },
    }
}

fn subnet(dice: Dice) -> Event {
    Event::SubnetChosen {
        subnet: format!("10.224.{dice}.0/24").parse().unwrap(),
    }
}

/// Drives a run as the driver does, for at most `dice.len()` events.
fn drive(
    spec: &TaskSpec,
    dice: &[Dice],
    request_at: usize,
    request: Desired,
) -> (Vec<Record>, Vec<State>) {
    let first = Record {
        seq: 1,
        at: Timestamp(0),
        by: None,
        event: Event::Queued {
            run: "a1b2c3".into(),
            token: "t".into(),
            terms: Default::default(),
        },
    };
    let mut states = vec![begin(&first).unwrap()];
    let mut history = vec![first];
    for (index, dice) in dice.iter().enumerate() {
        let state = states.last().unwrap();
        let desired = if index >= request_at {
            request
        } else {
            Desired::Run
        };
        let event = match decide(state, spec, desired) {
            Action::Rest => break,
            Action::Record(event) => event,
            Action::Perform(_) => result(state, *dice),
        };
        let record = Record {
            seq: state.seq + 1,
            at: Timestamp(state.seq * 7),
            by: None,
            event,
        };
        let after = next(state.clone(), &record).unwrap_or_else(|bug| panic!("{bug}"));
        history.push(record);
        states.push(after);
    }
    (history, states)
}

fn specs() -> impl Strategy<Value = TaskSpec> {
    (any::<bool>(), 0_u64..2, any::<bool>()).prop_map(|(wait, delay, probed)| {
        let command = if wait { "x" } else { "" };
        let mut spec = spec(&[
            ("/waitCommand", json!({"command": command})),
            ("/delay", json!(delay)),
        ]);
        spec.readiness = probed.then_some(ReadinessSpec {
            probe: ReadinessProbe::Tcp(1099),
            timeout: 5,
        });
        spec
    })
}

fn requests() -> impl Strategy<Value = Desired> {
    prop_oneof![
        Just(Desired::Run),
        Just(Desired::Stopped),
        Just(Desired::StoppedByForce),
        Just(Desired::Deleted),
        Just(Desired::DeletedByForce)
    ]
}

fn any_event() -> impl Strategy<Value = Event> {
    (0..13_usize, any::<Dice>(), any::<bool>()).prop_map(|(step, dice, enter)| {
        let step = Step::ALL[step];
        if enter {
            return Event::StepStarted { step };
        }
        let first = Record {
            seq: 1,
            at: Timestamp(0),
            by: None,
            event: Event::Queued {
                run: "r".into(),
                token: "t".into(),
                terms: Default::default(),
            },
        };
        let state = State {
            step,
            ..begin(&first).unwrap()
        };
        result(&state, dice)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_rank_never_decreases_and_every_prefix_folds_to_its_state(
        spec in specs(), dice in prop::collection::vec(any::<Dice>(), 0..80), at in 0..60_usize, request in requests(),
    ) {
        let (history, states) = drive(&spec, &dice, at, request);
        for pair in states.windows(2) {
            prop_assert!(pair[0].step <= pair[1].step);
            prop_assert!(pair[0].outcome.is_none() || pair[0].outcome == pair[1].outcome);
        }
        for (length, state) in (1..).zip(&states) {
            prop_assert_eq!(&fold(&history[..length]).unwrap(), state);
        }
    }

    #[test]
    fn a_stop_or_delete_reaches_the_end_in_bounded_steps(
        spec in specs(), mut dice in prop::collection::vec(any::<Dice>(), 0..60), deleted: bool, forced: bool, seed: u8,
    ) {
        let request = if deleted { Desired::Deleted } else { Desired::Stopped };
        let request = request.by_force(forced);
        let at = dice.len();
        // Forced, stopped, collect, kept, cleanup, final logs, the attempts, done.
        let bound = 7 + MAX_CLEANUPS as usize;
        dice.extend((0..bound).map(|index| seed.wrapping_mul(31).wrapping_add(index as u8) % 235));
        let (_, states) = drive(&spec, &dice, at, request);
        prop_assert!(states.last().unwrap().is_done(), "{:?}", states.last());
    }

    #[test]
    fn a_complete_run_has_an_outcome_a_clean_up_and_a_message_if_it_failed(
        spec in specs(), dice in prop::collection::vec(any::<Dice>(), 100..140), at in 0..200_usize, request in requests(),
    ) {
        let (_, states) = drive(&spec, &dice, at, request);
        let last = states.last().unwrap();
        prop_assume!(last.is_done());
        prop_assert!(last.cleanups >= 1);
        prop_assert!(last.leftovers.is_empty() || last.cleanups >= MAX_CLEANUPS);
        prop_assert_eq!(last.failure.is_some(), last.outcome == Some(Outcome::Errored));
        if let Some(failure) = &last.failure {
            prop_assert!(!failure.message.is_empty());
            prop_assert!(failure.step < Step::Collect);
        }
        prop_assert!(last.finished_at.is_some());
    }

    #[test]
    fn done_absorbs_every_event_but_a_late_clean_up(
        spec in specs(), dice in prop::collection::vec(0..235_u8, 120..140), event in any_event(),
    ) {
        let (_, states) = drive(&spec, &dice, 0, Desired::Stopped);
        let last = states.last().unwrap().clone();
        prop_assert!(last.is_done());
        let late = matches!(event, Event::CleanUpTried { .. });
        let record = Record { seq: last.seq + 1, at: Timestamp(0), by: None, event };
        match next(last.clone(), &record) {
            Ok(after) => {
                prop_assert!(late);
                prop_assert_eq!((after.step, after.outcome), (last.step, last.outcome));
                prop_assert_eq!(decide(&after, &spec, Desired::Run), Action::Rest);
            }
            Err(_) => prop_assert!(!late),
        }
    }

    #[test]
    fn no_event_lowers_the_rank(
        spec in specs(), dice in prop::collection::vec(any::<Dice>(), 0..60), event in any_event(),
    ) {
        let (_, states) = drive(&spec, &dice, usize::MAX, Desired::Run);
        let before = states.last().unwrap();
        let record = Record { seq: before.seq + 1, at: Timestamp(0), by: None, event };
        if let Ok(after) = next(before.clone(), &record) {
            prop_assert!(after.step >= before.step);
        }
    }

    #[test]
    fn records_survive_serialization(
        spec in specs(), dice in prop::collection::vec(any::<Dice>(), 0..80),
    ) {
        let (history, states) = drive(&spec, &dice, usize::MAX, Desired::Run);
        let text = serde_json::to_string(&history).unwrap();
        prop_assert_eq!(serde_json::from_str::<Vec<Record>>(&text).unwrap(), history);
        let text = serde_json::to_string(&states).unwrap();
        prop_assert_eq!(serde_json::from_str::<Vec<State>>(&text).unwrap(), states);
    }

    #[test]
    fn a_name_is_valid_exactly_if_it_matches_the_contract(text in "[a-zA-Z0-9_./ -]{0,50}") {
        let bytes = text.as_bytes();
        let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
        let inside = bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(b));
        let is_valid = inside && edge(bytes.first()) && edge(bytes.last()) && (3..=45).contains(&bytes.len());
        prop_assert_eq!(TaskName::parse(&text).is_ok(), is_valid);
    }
}
