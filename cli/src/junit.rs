//! The verdict as JUnit XML, for Jenkins, GitLab and others.

use atq_api_spec::report::{CriterionResult, Judgement, NotEvaluated, Verdict};
use atq_api_spec::task::{Task, TaskStatus};
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};
use std::time::Duration;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

#[cfg(test)]
mod tests;

/// The failure code of the tool: the master ended with an exit code other than 0.
const MASTER_EXIT: &str = "master_exit";

/// The document for a finished task: a test case for the run itself, and one per criterion.
///
/// The run is a *failure* when the test tool failed, an *error* when the test could not be run, exceeded a time limit or is
/// inconclusive, and *skipped* when it was stopped. A criterion is a *failure* when it does not hold, and *skipped* when
/// it was not evaluated. Characters that are invalid in XML are replaced.
pub fn document(task: &Task) -> String {
    let time = duration(task);
    let mut suite = TestSuite::new(task.id.as_str());
    suite.timestamp = task.started_at.as_ref().and_then(|at| at.parse().ok());
    suite.time = time;
    let mut run = case(task, "run", run_status(task));
    run.time = time;
    run.timestamp = suite.timestamp;
    suite.add_test_case(run);
    suite.add_test_cases(criteria(task));
    let mut report = Report::new("atq");
    report.timestamp = suite.timestamp;
    report.time = time;
    report.add_test_suite(suite);
    // Writing UTF-8 to memory cannot fail.
    let document = report.to_string().unwrap_or_default();
    document.chars().map(clean).collect()
}

/// Replaces characters that are invalid in XML 1.0, even escaped.
fn clean(c: char) -> char {
    match c {
        '\u{0}'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => {
            char::REPLACEMENT_CHARACTER
        }
        c => c,
    }
}

fn case(task: &Task, name: &str, status: TestCaseStatus) -> TestCase {
    let mut case = TestCase::new(name, status);
    case.set_classname(task.id.as_str());
    case
}

/// The time from the start of the master to the end of the test.
fn duration(task: &Task) -> Option<Duration> {
    let parse = |at: &Option<String>| OffsetDateTime::parse(at.as_deref()?, &Rfc3339).ok();
    let (started, finished) = (parse(&task.started_at)?, parse(&task.finished_at)?);
    Duration::try_from(finished - started).ok()
}

fn run_status(task: &Task) -> TestCaseStatus {
    let reasons = reasons(task.judgement.as_ref());
    match (task.status, &task.failure) {
        (TaskStatus::Stopped, _) => skipped("the test was stopped"),
        (TaskStatus::Errored, Some(failure)) => {
            let kind = match failure.code.as_str() {
                MASTER_EXIT => NonSuccessKind::Failure,
                _ => NonSuccessKind::Error,
            };
            let body = lines(&[&failure.message, &hint(&failure.hint), &reasons]);
            unsuccessful(kind, &failure.code, &failure.message, &body)
        }
        (TaskStatus::Errored, None) => unsuccessful(
            NonSuccessKind::Error,
            "errored",
            "the test errored",
            &reasons,
        ),
        _ if task.verdict == Some(Verdict::Invalid) => {
            let message = first_line(&reasons, "the run is inconclusive");
            unsuccessful(NonSuccessKind::Error, "invalid", message, &reasons)
        }
        _ if task.verdict == Some(Verdict::Fail) && !reasons.is_empty() => {
            let message = first_line(&reasons, "the run failed");
            unsuccessful(NonSuccessKind::Failure, "fail", message, &reasons)
        }
        (TaskStatus::Finished, _) => TestCaseStatus::success(),
        (TaskStatus::Initializing | TaskStatus::Started, _) => skipped("the test is not over"),
    }
}

fn criteria(task: &Task) -> Vec<TestCase> {
    let evaluated = task
        .judgement
        .as_ref()
        .map_or(&[][..], |given| &given.criteria);
    let is_evaluated = |criterion: &String| evaluated.iter().any(|one| one.criterion == *criterion);
    let unevaluated = task.criteria.iter().filter(|one| !is_evaluated(one));
    let status = || skipped("the criterion was not evaluated");
    let evaluated = evaluated
        .iter()
        .map(|one| case(task, &one.criterion, criterion_status(one)));
    evaluated
        .chain(unevaluated.map(|one| case(task, one, status())))
        .collect()
}

fn criterion_status(one: &CriterionResult) -> TestCaseStatus {
    if one.holds {
        return TestCaseStatus::success();
    }
    // The test case of the run shows the verdict `invalid` of a run without samples.
    if one.not_evaluated == Some(NotEvaluated::NoSamples) {
        return skipped("the criterion was not evaluated: the run has no samples");
    }
    let message = format!("{}: seen {}", one.criterion, one.seen);
    let body = format!("seen {}, wanted {}", one.seen, one.wanted);
    unsuccessful(NonSuccessKind::Failure, "criterion", &message, &body)
}

fn unsuccessful(kind: NonSuccessKind, cause: &str, message: &str, body: &str) -> TestCaseStatus {
    let mut status = TestCaseStatus::non_success(kind);
    status.set_type(cause).set_message(message);
    if !body.is_empty() {
        status.set_description(body);
    }
    status
}

fn skipped(message: &str) -> TestCaseStatus {
    let mut status = TestCaseStatus::skipped();
    status.set_message(message);
    status
}

fn reasons(judgement: Option<&Judgement>) -> String {
    judgement.map_or_else(String::new, |given| given.reasons.join("\n"))
}

fn first_line<'a>(text: &'a str, otherwise: &'a str) -> &'a str {
    text.lines().next().unwrap_or(otherwise)
}

fn hint(hint: &str) -> String {
    match hint.is_empty() {
        true => String::new(),
        false => format!("hint: {hint}"),
    }
}

fn lines(lines: &[&str]) -> String {
    let lines = lines.iter().filter(|line| !line.is_empty());
    lines.copied().collect::<Vec<_>>().join("\n")
}
