#![allow(clippy::unwrap_used)]

use super::*;
use atq_task::machine;
use atq_task::spec::{Surroundings, TaskSpec};

struct Anything;

impl Surroundings for Anything {
    fn max_replicas(&self) -> u64 {
        10
    }

    fn has_bundle(&self, _: &str) -> bool {
        true
    }

    fn required_variables(&self, _: &str) -> Result<Vec<String>, String> {
        Ok(Vec::new())
    }
}

/// The view of a task after these events, one each second from second 0 on.
fn view(events: Vec<Event>, now: u64) -> View {
    let service = |alias: &str| json!({"alias": alias, "image": "x"});
    let payload = json!({"name": "abc", "master": service("m"), "worker": service("w")});
    let spec = TaskSpec::parse(&payload, &Anything).unwrap();
    let queued = Event::Queued {
        run: "r".into(),
        token: "secret".into(),
        terms: Default::default(),
    };
    let history: Vec<Record> = std::iter::once(queued)
        .chain(events)
        .zip(0..)
        .map(|(event, second)| Record {
            seq: second + 1,
            at: Timestamp(second * 1000),
            by: None,
            event,
        })
        .collect();
    let state = machine::fold(&history).unwrap();
    View {
        spec,
        state,
        workers: Vec::new(),
        queue_position: None,
        lease_expires: None,
        now: Timestamp(now * 1000),
    }
}

fn started(step: state::Step) -> Event {
    Event::StepStarted { step }
}

fn failed() -> Event {
    let failure = event::Failure {
        step: state::Step::Network,
        code: event::FailureCode::SubnetsExhausted,
        message: "none is left".into(),
        hint: String::new(),
    };
    Event::Failed { failure }
}

#[test]
fn an_outcome_is_shown_once_the_evidence_is_in() {
    let fixed = || {
        vec![
            started(state::Step::Network),
            failed(),
            started(state::Step::Collect),
        ]
    };
    assert_eq!(status(&view(fixed(), 4)), TaskStatus::Initializing);
    let kept = Event::EvidenceKept {
        logs: 0,
        missing: Vec::new(),
        workers: Vec::new(),
        exit_code: None,
        lost: Vec::new(),
        results: Vec::new(),
        last_lines: Vec::new(),
    };
    let cleaning = [fixed(), vec![kept, started(state::Step::Cleanup)]].concat();
    assert_eq!(status(&view(cleaning, 5)), TaskStatus::Errored);
}

#[test]
fn an_outcome_does_not_wait_for_ever() {
    // The outcome is fixed in second 2.
    let fixed = || {
        vec![
            started(state::Step::Network),
            failed(),
            started(state::Step::Collect),
        ]
    };
    assert_eq!(status(&view(fixed(), 31)), TaskStatus::Initializing);
    assert_eq!(status(&view(fixed(), 32)), TaskStatus::Errored);
}

#[test]
fn times_go_on_until_the_end() {
    let running = view(vec![started(state::Step::Network)], 5);
    let expected = [("network".to_owned(), 4000), ("queued".to_owned(), 1000)];
    assert_eq!(task(&running).timings, expected.into());
}

#[test]
fn times_tell_how_far_apart_the_workers_started() {
    let mut view = view(vec![started(state::Step::Network)], 5);
    assert!(!task(&view).timings.contains_key("startSkew"));
    view.state.start_skew = Some(214);
    assert_eq!(task(&view).timings["startSkew"], 214);
}

#[test]
fn a_failure_has_its_stable_code() {
    let task = task(&view(vec![started(state::Step::Network), failed()], 5));
    assert_eq!(task.failure.unwrap().code, "subnets_exhausted");
    assert_eq!(task.error.as_deref(), Some("none is left"));
}

#[test]
fn steps_have_one_name() {
    for known in state::Step::ALL {
        assert_eq!(serde_json::to_value(step(known)).unwrap(), known.as_str());
    }
}

#[test]
fn the_token_is_no_part_of_the_history() {
    let record = Record {
        seq: 1,
        at: Timestamp(0),
        by: None,
        event: Event::Queued {
            run: "r".into(),
            token: "secret".into(),
            terms: Default::default(),
        },
    };
    let shown = serde_json::to_value(events(&[record])).unwrap();
    assert_eq!(
        shown,
        json!([{"id": 1, "at": "1970-01-01T00:00:00Z", "event": "queued", "step": "queued", "data": {"run": "r"}}])
    );
}

#[test]
fn a_line_without_a_time_keeps_its_columns() {
    let source = Source {
        role: atq_engine::Role::Worker,
        replica: 2,
    };
    let line = LogLine {
        at: String::new(),
        stream: LogStream::Stdout,
        text: "a  b".into(),
    };
    assert_eq!(log_text(source, &line), "- worker.2 a  b\n");
}
