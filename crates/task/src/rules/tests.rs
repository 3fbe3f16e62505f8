//! The verdict for each cause; an invalid run never passes.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::event::Failure;
use crate::state::{LostWorker, MetCondition};
use atq_definition::examples::any_criterion;
use atq_definition::examples::{parse, payload};
use proptest::prelude::*;
use serde_json::{Value, json};

fn spec(changes: &[(&str, Value)]) -> TaskSpec {
    parse(&payload(changes)).unwrap()
}

fn second(second: u64) -> Timestamp {
    Timestamp(1_700_000_000_000 + second * 1000)
}

/// A run that was accepted at 0 s, created workers at 5, started its master at 10 and finished at 70.
fn finished() -> State {
    let mut state = State {
        seq: 1,
        step_started_at: second(0),
        created_at: second(0),
        run: "run".into(),
        token: "token".into(),
        ..State::default()
    };
    state.timings = [
        (Step::Queued, 1000),
        (Step::Network, 4000),
        (Step::Workers, 5000),
        (Step::Master, 1000),
        (Step::Running, 59_000),
    ]
    .into();
    state.step = Step::Report;
    state.outcome = Some(Outcome::Finished);
    state.exit_code = Some(0);
    state.started_at = Some(second(11));
    state.finished_at = Some(second(70));
    state
}

fn errored(step: Step, code: FailureCode, exit_code: Option<i64>) -> State {
    State {
        outcome: Some(Outcome::Errored),
        failure: Some(Failure {
            step,
            code,
            message: "it broke".into(),
            hint: String::new(),
        }),
        exit_code,
        ..finished()
    }
}

fn measured(readings: Vec<Reading>) -> Measured {
    Measured {
        doubts: Vec::new(),
        files: 1,
        others: OtherFiles::default(),
        of_master: true,
        samples: 1000,
        dates: Some((second(12), second(69))),
        readings,
        gaps: Vec::new(),
    }
}

fn value(value: f64) -> Reading {
    Reading::Value { value, at: None }
}

fn judgement(
    spec: &TaskSpec,
    state: &State,
    measured: &Measured,
    generators: &LoadGenerators,
) -> Judgement {
    evaluate(&Inputs {
        spec,
        state,
        measured,
        generators,
        now: second(75),
    })
}

/// Verdict and reasons of a run that is valid except for the given inputs.
fn verdict(spec: &TaskSpec, state: &State, measured: &Measured) -> (Verdict, String) {
    let judgement = judgement(spec, state, measured, &LoadGenerators::default());
    (judgement.verdict, judgement.reasons.join("; "))
}

fn p95() -> TaskSpec {
    spec(&[("/criteria", json!(["p95 < 500ms"]))])
}

#[test]
fn a_valid_run_passes_or_fails_by_its_criteria() {
    let judgement = judgement(
        &spec(&[("/criteria", json!(["P95<500ms", "errors < 1%"]))]),
        &finished(),
        &measured(vec![value(612.0), value(0.25)]),
        &LoadGenerators::default(),
    );
    assert_eq!(judgement.verdict, Verdict::Fail);
    assert!(judgement.reasons.is_empty());
    let result = |criterion: &str, holds, seen: &str, wanted: &str| CriterionResult {
        criterion: criterion.into(),
        holds,
        seen: seen.into(),
        wanted: wanted.into(),
        not_evaluated: None,
    };
    assert_eq!(
        judgement.criteria,
        [
            result("p95 < 500ms", false, "612 ms", "< 500 ms"),
            result("errors < 1%", true, "0.25 %", "< 1 %"),
        ]
    );
    let pass = verdict(&p95(), &finished(), &measured(vec![value(499.0)]));
    assert_eq!(pass, (Verdict::Pass, String::new()));
}

#[test]
fn without_criteria_and_files_only_the_exit_code_counts() {
    let nothing = Measured::default();
    let plain = spec(&[]);
    assert_eq!(verdict(&plain, &finished(), &nothing).0, Verdict::Pass);
    let failed = errored(Step::Running, FailureCode::MasterExit, Some(1));
    assert_eq!(
        verdict(&plain, &failed, &nothing),
        (Verdict::Fail, "the master ended with exit code 1".into())
    );
}

#[test]
fn every_cause_of_an_invalid_run_has_its_own_reason() {
    let good = measured(vec![value(1.0)]);
    let lost = State {
        lost: vec![LostWorker {
            replica: 3,
            reason: "task: non-zero exit (137)".into(),
        }],
        ..finished()
    };
    let stopped = State {
        outcome: Some(Outcome::Stopped),
        exit_code: None,
        ..finished()
    };
    let too_few = spec(&[("/minSamples", json!(1001))]);
    let cases = [
        verdict(&p95(), &lost, &good),
        verdict(&p95(), &stopped, &good),
        verdict(
            &p95(),
            &errored(Step::Running, FailureCode::MaxDuration, None),
            &good,
        ),
        verdict(
            &p95(),
            &errored(Step::Resolve, FailureCode::WorkersTimedOut, None),
            &good,
        ),
        verdict(
            &p95(),
            &errored(Step::Running, FailureCode::MasterExit, Some(137)),
            &good,
        ),
        verdict(&too_few, &finished(), &measured(Vec::new())),
        verdict(&p95(), &finished(), &Measured::default()),
        verdict(
            &spec(&[("/resultFiles", json!(["*.jtl"]))]),
            &finished(),
            &Measured::default(),
        ),
        verdict(
            &spec(&[]),
            &finished(),
            &Measured {
                files: 2,
                ..Measured::default()
            },
        ),
        verdict(
            &p95(),
            &finished(),
            &Measured {
                gaps: vec!["`master.1/a.jtl` ends in the middle of a line".into()],
                ..good.clone()
            },
        ),
        verdict(
            &p95(),
            &finished(),
            &Measured {
                dates: Some((second(7), second(73))),
                ..good.clone()
            },
        ),
        verdict(&p95(), &finished(), &measured(vec![Reading::NotReported])),
        verdict(
            &spec(&[("/criteria", json!(["p95 of Logn < 1s"]))]),
            &finished(),
            &measured(vec![Reading::NoLabel(vec!["Cart".into(), "Login".into()])]),
        ),
    ];
    let texts: Vec<&str> = cases.iter().map(|(_, text)| text.as_str()).collect();
    assert!(
        cases
            .iter()
            .all(|(verdict, _)| *verdict == Verdict::Invalid),
        "{cases:?}"
    );
    insta::assert_snapshot!(texts.join("\n"), @r#"
    worker 3 was lost while the test ran: task: non-zero exit (137)
    the run was stopped after 59.0 s
    the run was ended after 59.0 s by `maxDuration`
    the run failed in step `resolve`: it broke
    the master ended with exit code 137 (killed: out of memory, or it did not end after SIGTERM)
    there are 1000 samples; `minSamples` requires 1001
    there is no sample: no result file was found in `/atq/results` of the master or a worker
    there is no sample: no result file in `/atq/results` matches `resultFiles`
    there is no sample in the 2 result files
    `master.1/a.jtl` ends in the middle of a line
    the first sample is dated 3.0 s before the start of the run by the Director's clock; the last sample is dated 3.0 s after the end of the run by the Director's clock
    the result files lack the figure for the criterion `p95 < 500ms`
    no sample has the label `Logn` of the criterion `p95 of Logn < 1s`; did you mean `Login`?
    "#);
}

/// A run that a condition of `stopWhen` ended.
fn ended_early() -> State {
    State {
        outcome: Some(Outcome::Stopped),
        exit_code: None,
        stopped_when: Some(MetCondition {
            condition: "errors > 20% for 30s".into(),
            seen: "35 %".into(),
        }),
        ..finished()
    }
}

#[test]
fn a_run_that_a_condition_ended_fails_even_if_samples_are_missing() {
    let task = spec(&[
        ("/criteria", json!(["p95 of Search < 1s"])),
        ("/stopWhen", json!(["errors > 20% for 30s"])),
        ("/minSamples", json!(1_000_000)),
    ]);
    let met = "the run was stopped, as `errors > 20% for 30s` was met: 35 %";
    let cut = Measured {
        gaps: vec!["`master.1/a.jtl` ends in the middle of a line".into()],
        ..measured(vec![Reading::NoLabel(Vec::new())])
    };
    let early = ended_early();
    assert_eq!(verdict(&task, &early, &cut), (Verdict::Fail, met.into()));
    let passed = measured(vec![value(1.0)]);
    assert_eq!(verdict(&task, &early, &passed), (Verdict::Fail, met.into()));
    let lost = State {
        lost: vec![LostWorker {
            replica: 3,
            reason: "its node is down".into(),
        }],
        ..early.clone()
    };
    assert_eq!(
        verdict(&task, &lost, &passed),
        (
            Verdict::Invalid,
            format!("worker 3 was lost while the test ran: its node is down; {met}")
        )
    );
    let doubtful = Measured {
        doubts: vec!["it is unclear".into()],
        ..passed
    };
    assert_eq!(verdict(&task, &early, &doubtful).0, Verdict::Invalid);
    let nothing = Measured::default();
    assert_eq!(verdict(&task, &early, &nothing).0, Verdict::Invalid);
}

#[test]
fn with_stop_conditions_only_a_run_with_complete_samples_passes() {
    let task = spec(&[("/stopWhen", json!(["errors > 20% for 30s"]))]);
    let good = measured(Vec::new());
    assert_eq!(verdict(&task, &finished(), &good).0, Verdict::Pass);
    let gap = Measured {
        gaps: vec!["no samples from `worker.2`".into()],
        ..good
    };
    assert_eq!(verdict(&task, &finished(), &gap).0, Verdict::Invalid);
    let nothing = Measured::default();
    assert_eq!(verdict(&task, &finished(), &nothing).0, Verdict::Invalid);
}

#[test]
fn without_a_result_file_the_other_files_are_counted_and_the_first_ones_named() {
    let names = |count: usize| {
        let mut names = FileNames::default();
        (1..=count).for_each(|number| names.push(&format!("worker.{number}/x.txt")));
        names
    };
    let text = |unrecognised, excluded, patterns: &[&str]| {
        let others = OtherFiles {
            unrecognised: names(unrecognised),
            excluded: names(excluded),
        };
        let spec = spec(&[
            ("/criteria", json!(["p95 < 500ms"])),
            ("/resultFiles", json!(patterns)),
        ]);
        let measured = Measured {
            others,
            ..Measured::default()
        };
        verdict(&spec, &finished(), &measured).1
    };
    let texts = [
        text(2, 0, &[]),
        text(1, 0, &[]),
        text(8, 0, &[]),
        text(0, 1, &["*.jtl"]),
        text(0, 2, &["*.jtl"]),
        text(1, 2, &["*.txt"]),
        text(2, 0, &["*.txt"]),
    ];
    insta::assert_snapshot!(texts.join("\n"), @"
    there is no sample: 2 files in `/atq/results`, none in a known format: `worker.1/x.txt`, `worker.2/x.txt`
    there is no sample: 1 file in `/atq/results`, not in a known format: `worker.1/x.txt`
    there is no sample: 8 files in `/atq/results`, none in a known format: `worker.1/x.txt`, `worker.2/x.txt`, `worker.3/x.txt`, `worker.4/x.txt`, `worker.5/x.txt` and 3 more
    there is no sample: 1 file in `/atq/results`, which does not match `resultFiles`: `worker.1/x.txt`
    there is no sample: 2 files in `/atq/results`, none matches `resultFiles`: `worker.1/x.txt`, `worker.2/x.txt`
    there is no sample: 1 file in `/atq/results` matches `resultFiles`, but is not in a known format: `worker.1/x.txt`
    there is no sample: 2 files in `/atq/results` match `resultFiles`, none in a known format: `worker.1/x.txt`, `worker.2/x.txt`
    ");
}

#[test]
fn files_of_the_workers_follow_those_of_the_master_and_the_named_ones_stay_few() {
    let mut names = FileNames::default();
    (1..=4).for_each(|number| names.push(&format!("master.1/{number}")));
    names.extend(names.clone());
    let first = ["1", "2", "3", "4", "1"].map(|name| format!("`master.1/{name}`"));
    assert_eq!(
        names.to_string(),
        format!("{} and 3 more", first.join(", "))
    );
}

#[test]
fn a_criterion_without_a_figure_has_a_reason() {
    let reason = |reading| {
        let judgement = judgement(
            &p95(),
            &finished(),
            &measured(vec![reading]),
            &LoadGenerators::default(),
        );
        let result = judgement.criteria.into_iter().next().unwrap();
        assert!(result.not_evaluated.is_none() || !result.holds);
        result.not_evaluated
    };
    assert_eq!(reason(value(612.0)), None);
    assert_eq!(reason(Reading::Nothing), Some(NotEvaluated::NoSamples));
    assert_eq!(
        reason(Reading::NotReported),
        Some(NotEvaluated::NotReported)
    );
    let no_label = Reading::NoLabel(Vec::new());
    assert_eq!(reason(no_label), Some(NotEvaluated::NoSuchLabel));
}

#[test]
fn an_exit_code_of_the_shell_or_docker_has_one_reason_that_names_the_cause() {
    let reason = |code| {
        let state = errored(Step::Running, FailureCode::MasterExit, Some(code));
        verdict(&spec(&[]), &state, &Measured::default())
    };
    for (code, cause) in [
        (125, "set by the container engine, not by the test tool"),
        (126, "its command cannot be executed"),
        (127, "its command was not found"),
        (130, "ended by signal 2"),
        (143, "ended by SIGTERM"),
    ] {
        let text = format!("the master ended with exit code {code} ({cause})");
        assert_eq!(reason(code), (Verdict::Invalid, text));
    }
    for code in [1, 124, 128, 160] {
        let text = format!("the master ended with exit code {code}");
        assert_eq!(reason(code), (Verdict::Fail, text));
    }
}

#[test]
fn clock_offsets_and_saturated_generators_make_a_run_invalid() {
    let generators = LoadGenerators {
        clock_offsets: vec![("a".into(), 900), ("b".into(), -3200), ("c".into(), 1001)],
        saturated: vec!["worker.2 was at its limit".into()],
    };
    let judgement = judgement(
        &p95(),
        &finished(),
        &measured(vec![value(1.0)]),
        &generators,
    );
    assert_eq!(judgement.verdict, Verdict::Invalid);
    assert_eq!(
        judgement.reasons,
        [
            "worker.2 was at its limit",
            "the clock of `b` is 3.2 s behind the Director's; at most 1.0 s is allowed",
            "the clock of `c` is 1.0 s ahead of the Director's; at most 1.0 s is allowed",
        ]
    );
}

#[test]
fn workers_may_generate_load_before_and_after_the_master() {
    let of_workers = Measured {
        of_master: false,
        dates: Some((second(5), second(75))),
        ..measured(vec![value(1.0)])
    };
    assert_eq!(verdict(&p95(), &finished(), &of_workers).0, Verdict::Pass);
    let too_early = Measured {
        dates: Some((second(2), second(75))),
        ..of_workers
    };
    assert_eq!(verdict(&p95(), &finished(), &too_early).0, Verdict::Invalid);
}

#[test]
fn the_last_samples_of_a_stopped_master_are_no_clock_offset() {
    let spec = spec(&[
        ("/criteria", json!(["p95 < 500ms"])),
        ("/master/stopGracePeriod", json!(30)),
    ]);
    let stopped = State {
        outcome: Some(Outcome::Stopped),
        ..finished()
    };
    let until = |last| Measured {
        dates: Some((second(12), second(last))),
        ..measured(vec![value(1.0)])
    };
    let dated = |state: &State, last| verdict(&spec, state, &until(last)).1.contains("is dated");
    assert!(!dated(&stopped, 100));
    assert!(dated(&stopped, 104));
    assert!(dated(&finished(), 100));
}

#[test]
fn a_master_that_ended_by_itself_has_no_grace_period() {
    let spec = spec(&[("/master/stopGracePeriod", json!(30))]);
    let measured = Measured {
        dates: Some((second(12), second(73))),
        ..measured(Vec::new())
    };
    let dated = |code| {
        let state = errored(Step::Running, code, Some(1));
        verdict(&spec, &state, &measured).1.contains("is dated")
    };
    assert!(dated(FailureCode::MasterExit));
    assert!(!dated(FailureCode::MaxDuration));
}

#[test]
fn unreadable_files_invalidate_a_run_without_criteria() {
    let unreadable = Measured {
        doubts: vec!["`a.jtl` cannot be read".into()],
        gaps: vec!["a row is missing".into()],
        ..measured(Vec::new())
    };
    let (verdict, text) = verdict(&spec(&[]), &finished(), &unreadable);
    assert_eq!(
        (verdict, text.as_str()),
        (Verdict::Invalid, "`a.jtl` cannot be read")
    );
}

#[test]
fn an_invalid_run_still_lists_its_criteria_and_its_exit_code() {
    let state = State {
        lost: vec![LostWorker {
            replica: 1,
            reason: "gone".into(),
        }],
        ..errored(Step::Running, FailureCode::MasterExit, Some(2))
    };
    let judgement = judgement(
        &p95(),
        &state,
        &measured(vec![value(1.0)]),
        &LoadGenerators::default(),
    );
    assert_eq!(judgement.verdict, Verdict::Invalid);
    assert_eq!(judgement.reasons.len(), 2);
    assert!(judgement.criteria[0].holds);
}

#[test]
fn a_long_list_of_lost_workers_is_truncated() {
    let lost = (1..=100).map(|replica| LostWorker {
        replica,
        reason: "gone".into(),
    });
    let state = State {
        lost: lost.collect(),
        ..finished()
    };
    let judgement = judgement(
        &spec(&[]),
        &state,
        &Measured::default(),
        &LoadGenerators::default(),
    );
    assert_eq!(judgement.reasons.len(), 11);
    assert_eq!(judgement.reasons[10], "90 more workers were lost");
}

fn any_reading() -> impl Strategy<Value = Reading> {
    prop_oneof![
        4 => (0.0..10_000.0f64).prop_map(value),
        1 => Just(Reading::NoLabel(vec!["Login".into()])),
        1 => Just(Reading::NotReported),
        1 => Just(Reading::Nothing),
    ]
}

fn any_state() -> impl Strategy<Value = State> {
    let codes = prop_oneof![
        Just(FailureCode::MasterExit),
        Just(FailureCode::MaxDuration),
        Just(FailureCode::WorkerLost),
        Just(FailureCode::EngineUnavailable),
    ];
    (0u8..4, codes, proptest::option::of(0i64..200), 0u32..3).prop_map(
        |(ending, code, exit_code, lost)| {
            let mut state = match ending {
                0 | 1 => finished(),
                2 => errored(Step::Running, code, exit_code),
                _ => State {
                    outcome: Some(Outcome::Stopped),
                    ..finished()
                },
            };
            state.lost = (1..=lost)
                .map(|replica| LostWorker {
                    replica,
                    reason: String::new(),
                })
                .collect();
            state
        },
    )
}

proptest! {
    #[test]
    fn only_a_valid_run_whose_criteria_all_hold_passes(
        criteria in proptest::collection::vec(any_criterion(), 0..4),
        readings in proptest::collection::vec(any_reading(), 0..5),
        state in any_state(),
        samples in 0u64..20,
        least in proptest::option::of(1u64..20),
        gap in any::<bool>(),
        ahead in -2000i64..2000,
        saturated in any::<bool>(),
        (early, late) in (0u64..20, 60u64..80),
    ) {
        let spec = TaskSpec { criteria, min_samples: least, ..spec(&[]) };
        let measured = Measured {
            samples,
            dates: Some((second(early), second(late))),
            gaps: gap.then(|| "cut".to_owned()).into_iter().collect(),
            ..measured(readings)
        };
        let generators = LoadGenerators {
            clock_offsets: vec![("n".into(), ahead)],
            saturated: saturated.then(|| "at its limit".to_owned()).into_iter().collect(),
        };
        let judgement = judgement(&spec, &state, &measured, &generators);
        let is_required = !spec.criteria.is_empty() || least.is_some();
        let grace = match state.failure.as_ref().map(|failure| failure.code) {
            None | Some(FailureCode::MasterExit) => 0,
            Some(_) => spec.master.stop_grace().as_secs(),
        };
        let is_valid = state.lost.is_empty()
            && state.outcome != Some(Outcome::Stopped)
            && state.failure.as_ref().is_none_or(|failure| failure.code == FailureCode::MasterExit)
            && samples >= least.unwrap_or(0).max(1)
            && !(gap && is_required)
            && ahead.abs() <= 1000
            && !saturated
            && early >= 8
            && late <= 72 + grace;
        match judgement.verdict {
            Verdict::Pass => {
                prop_assert!(is_valid && state.outcome == Some(Outcome::Finished));
                prop_assert!(judgement.reasons.is_empty());
                prop_assert!(judgement.criteria.iter().all(|result| result.holds));
            }
            Verdict::Fail => {
                prop_assert!(is_valid);
                prop_assert!(
                    !judgement.reasons.is_empty() || judgement.criteria.iter().any(|result| !result.holds)
                );
            }
            Verdict::Invalid => prop_assert!(!judgement.reasons.is_empty()),
        }
        prop_assert_eq!(judgement.criteria.len(), spec.criteria.len());
    }
}
