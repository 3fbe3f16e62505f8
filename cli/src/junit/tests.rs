#![allow(clippy::unwrap_used)]
use super::*;
use crate::tests::task;
use serde_json::{Value, json};

fn document_of(changes: Value) -> String {
    document(&serde_json::from_value(task(changes)).unwrap())
}

fn criterion(holds: bool) -> Value {
    json!({"criterion": "p95 of A & B < 500ms", "holds": holds, "seen": "612 ms", "wanted": "< 500 ms"})
}

#[test]
fn a_run_that_passed() {
    let judgement = json!({"verdict": "pass", "criteria": [criterion(true)]});
    insta::assert_snapshot!(document_of(
        json!({"verdict": "pass", "judgement": judgement})
    ));
}

#[test]
fn a_criterion_that_does_not_hold() {
    let judgement = json!({"verdict": "fail", "criteria": [criterion(false), criterion(true)]});
    insta::assert_snapshot!(document_of(
        json!({"verdict": "fail", "judgement": judgement})
    ));
}

#[test]
fn a_tool_that_failed() {
    let failure = json!({
        "step": "running", "code": "master_exit",
        "message": "the master ended with exit code 3: \u{0}\u{1b}[31m<bad>", "hint": "see its log"
    });
    let judgement = json!({"verdict": "invalid", "reasons": ["the task errored"]});
    insta::assert_snapshot!(document_of(json!({
        "status": "errored", "failure": failure, "exitCode": 3, "criteria": ["errors < 1%"],
        "verdict": "invalid", "judgement": judgement,
    })));
}

#[test]
fn the_kind_of_the_test_case_shows_the_outcome() {
    let failure = |code: &str| json!({"step": "workers", "code": code, "message": "m"});
    let invalid = json!({"verdict": "invalid", "reasons": ["worker 2 was lost", "10 samples"]});
    let failed = json!({"verdict": "fail", "reasons": ["a worker failed"]});
    for (changes, expected) in [
        (
            json!({"status": "finished"}),
            "disabled=\"0\" errors=\"0\" failures=\"0\"",
        ),
        (
            json!({"status": "stopped"}),
            "<skipped message=\"the test was stopped\"/>",
        ),
        (
            json!({"status": "errored", "failure": failure("worker_failed")}),
            "<error message=\"m\" type=\"worker_failed\"",
        ),
        (
            json!({"status": "errored", "failure": failure("max_duration")}),
            "<error message=\"m\" type=\"max_duration\"",
        ),
        (
            json!({"status": "errored", "failure": failure("master_exit")}),
            "<failure message=\"m\" type=\"master_exit\"",
        ),
        (
            json!({"verdict": "invalid", "judgement": invalid}),
            "<error message=\"worker 2 was lost\" type=\"invalid\">worker 2 was lost\n10 samples</error>",
        ),
        (
            json!({"verdict": "fail", "judgement": failed}),
            "<failure message=\"a worker failed\" type=\"fail\"",
        ),
        (
            json!({"status": "stopped", "criteria": ["max < 1s"]}),
            "<skipped message=\"the criterion was not evaluated\"/>",
        ),
    ] {
        let document = document_of(changes.clone());
        assert!(document.contains(expected), "{changes}: {document}");
    }
}

#[test]
fn a_criterion_without_evaluation_is_skipped() {
    let nothing = json!({
        "criterion": "p99 < 2s", "holds": false, "seen": "no sample", "wanted": "< 2 s", "notEvaluated": "noSamples",
    });
    let judgement = json!({"verdict": "fail", "criteria": [criterion(false), nothing]});
    let text = document_of(json!({
        "verdict": "fail", "judgement": judgement, "criteria": ["p95 of A & B < 500ms", "max < 1s"],
    }));
    assert_eq!(text.matches("<testcase").count(), 4, "{text}");
    assert_eq!(text.matches("<failure").count(), 1, "{text}");
    assert!(
        text.contains("<skipped message=\"the criterion was not evaluated\"/>"),
        "{text}"
    );
    assert!(text.contains("the run has no samples\"/>"), "{text}");
}

#[test]
fn a_document_without_times_is_valid() {
    let text = document_of(json!({"startedAt": null, "finishedAt": null, "status": "stopped"}));
    assert!(!text.contains("timestamp="), "{text}");
    let text = document_of(json!({"startedAt": "2026-01-31T12:02:00Z"}));
    assert!(!text.contains("time=\"-"), "{text}");
}

#[test]
fn any_text_gives_valid_xml() {
    let odd: String = (0..=0x2fff)
        .chain(0xd7f0..0x10_ffff)
        .filter_map(char::from_u32)
        .collect();
    let message = format!("{odd} ]]> <![CDATA[ &#xFFFE; {odd}");
    let failure = json!({"step": "running", "code": message, "message": message, "hint": message});
    let text = document_of(json!({
        "id": message, "status": "errored", "failure": failure, "criteria": [message],
        "verdict": "invalid", "judgement": {"verdict": "invalid", "reasons": [message]},
    }));
    let bad = text.chars().find(|&c| {
        !matches!(c, '\t' | '\n' | '\r' | '\u{20}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
    });
    assert_eq!(bad, None);
    assert!(!text.contains("&#xFFFE"), "only as text");
    assert!(!text.contains("]]>"), "it may not stand in text");
}
