//! The final lines: the result of the test, and its reasons.

use crate::exit::Exit;
use crate::out::{DIM, FAILURE, SUCCESS, WARNING};
use crate::path::segment;
use crate::{socket, terminal};
use anstyle::Style;
use atq_api_spec::report::CriterionResult;
use atq_api_spec::task::Task;
use std::path::Path;

/// The result in one or two words.
fn headline(exit: Exit) -> (Style, &'static str) {
    match exit {
        Exit::Pass => (SUCCESS, "PASS"),
        Exit::CriteriaFailed => (FAILURE, "FAIL"),
        Exit::ToolFailed => (FAILURE, "TOOL FAILED"),
        Exit::TimedOut => (FAILURE, "TIMED OUT"),
        Exit::Stopped => (WARNING, "STOPPED"),
        Exit::Invalid => (WARNING, "INVALID"),
        _ => (FAILURE, "NOT RUN"),
    }
}

/// The reason why a passed test does not exit with 0.
const INCOMPLETE: &str = "the test is over, but not all outputs could be written";

/// All lines. `ended` is the exit code of the test alone, `exit` the exit code of this program, `saved` the directory of the
/// results.
pub fn lines(task: &Task, ended: Exit, exit: Exit, saved: Option<&Path>) -> Vec<String> {
    let (style, word) = headline(ended);
    let meaning = match (ended == exit, exit) {
        // The word is enough.
        (true, Exit::Pass) => String::new(),
        (true, exit) => format!(": {}", exit.meaning()),
        (false, _) => format!(": {INCOMPLETE}"),
    };
    let mut lines = vec![format!(
        "{style}{word}{style:#} {} {DIM}(exit code {}{meaning}){DIM:#}",
        task.id,
        exit.code(),
    )];
    let judgement = task.judgement.as_ref();
    lines.extend(
        judgement
            .into_iter()
            .flat_map(|given| criteria(&given.criteria)),
    );
    lines.extend(reasons(task).map(|reason| format!("  {reason}")));
    lines.extend(failure(task));
    lines.extend(saved.map(|dir| format!("results: {}", dir.display())));
    lines
}

/// The line that names the report: its page at the Director at `url`, and the saved file.
pub fn report(url: &str, name: &str, saved: Option<&Path>) -> String {
    let page = match socket::is_url(url) {
        true => format!("`atq report {name} --html FILE`"),
        false => format!(
            "{}/api/task/{}/report",
            url.trim_end_matches('/'),
            segment(name)
        ),
    };
    match saved {
        Some(file) => format!("report: {page}, saved as {}", file.display()),
        None => format!("report: {page}"),
    }
}

fn criteria(results: &[CriterionResult]) -> Vec<String> {
    let width = |one: &CriterionResult| one.criterion.chars().count();
    let width = results.iter().map(width).max().unwrap_or(0);
    let line = |one: &CriterionResult| {
        let (style, mark) = match one.holds {
            true => (SUCCESS, "ok    "),
            false => (FAILURE, "FAILED"),
        };
        format!(
            "  {style}{mark}{style:#} {:width$}  seen {}, wanted {}",
            one.criterion, one.seen, one.wanted
        )
    };
    results.iter().map(line).collect()
}

/// The reasons of the verdict, without those that repeat the failure, which is shown separately.
pub fn reasons(task: &Task) -> impl Iterator<Item = &str> {
    let message = task
        .failure
        .as_ref()
        .map(|failure| failure.message.as_str());
    let repeats = move |reason: &str| {
        message.is_some_and(|message| {
            !message.is_empty() && (reason.ends_with(message) || message.starts_with(reason))
        })
    };
    let judgement = task.judgement.iter();
    let reasons = judgement.flat_map(|given| &given.reasons);
    reasons
        .map(String::as_str)
        .filter(move |reason| !repeats(reason))
}

/// A log line of the tool, without control sequences.
pub fn log_line(text: &str) -> String {
    format!("  | {}", terminal::sanitize(text))
}

/// The failure of the run, with the last lines of its master.
pub fn failure(task: &Task) -> Vec<String> {
    let Some(failure) = &task.failure else {
        return Vec::new();
    };
    let mut lines = vec![format!("  `{}`: {}", failure.code, failure.message)];
    lines.extend(failure.last_lines.iter().map(|line| log_line(line)));
    if !failure.hint.is_empty() {
        lines.push(format!("  {DIM}hint: {}{DIM:#}", failure.hint));
    }
    lines
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::run::tests::task;
    use atq_api_spec::report::{Judgement, Verdict};
    use atq_api_spec::task::{Failure, Step};

    fn plain(task: &Task, exit: Exit, saved: Option<&Path>) -> String {
        let text = lines(task, exit, exit, saved).join("\n");
        anstream::adapter::strip_str(&text).to_string()
    }

    fn criterion(criterion: &str, holds: bool, seen: &str, wanted: &str) -> CriterionResult {
        CriterionResult {
            criterion: criterion.to_owned(),
            holds,
            seen: seen.to_owned(),
            wanted: wanted.to_owned(),
            not_evaluated: None,
        }
    }

    #[test]
    fn criteria_are_aligned() {
        let judgement = Judgement {
            verdict: Verdict::Fail,
            reasons: Vec::new(),
            criteria: vec![
                criterion("p95 < 500 ms", true, "312 ms", "< 500 ms"),
                criterion("errors < 1 %", false, "2.1 %", "< 1 %"),
                criterion("p99 of Login < 2 s", true, "1.1 s", "< 2 s"),
            ],
        };
        let task = Task {
            judgement: Some(judgement),
            ..task("nightly")
        };
        insta::assert_snapshot!(plain(&task, Exit::CriteriaFailed, Some(Path::new("out/nightly"))), @r"
        FAIL nightly (exit code 1: a criterion of the test does not hold)
          ok     p95 < 500 ms        seen 312 ms, wanted < 500 ms
          FAILED errors < 1 %        seen 2.1 %, wanted < 1 %
          ok     p99 of Login < 2 s  seen 1.1 s, wanted < 2 s
        results: out/nightly
        ");
    }

    #[test]
    fn a_failure_is_shown_once_with_its_last_lines_and_its_hint() {
        let task = Task {
            failure: Some(Failure {
                step: Step::Resolve,
                code: "worker_failed".to_owned(),
                message: "worker 2: No such image: nothing:1".to_owned(),
                hint: "is it on every node?".to_owned(),
                last_lines: vec!["red \u{1b}[31m".to_owned()],
            }),
            judgement: Some(Judgement {
                verdict: Verdict::Invalid,
                reasons: vec![
                    "the run failed in the step `resolve`: worker 2: No such image: nothing:1"
                        .to_owned(),
                    "worker 1 was lost".to_owned(),
                ],
                criteria: Vec::new(),
            }),
            ..task("nightly")
        };
        insta::assert_snapshot!(plain(&task, Exit::InfrastructureFailed, None), @r"
        NOT RUN nightly (exit code 4: the test could not be run)
          worker 1 was lost
          `worker_failed`: worker 2: No such image: nothing:1
          | red \u001b[31m
          hint: is it on every node?
        ");
    }

    #[test]
    fn a_missing_output_does_not_hide_the_verdict() {
        let lines = lines(&task("t"), Exit::Pass, Exit::InfrastructureFailed, None);
        let text = anstream::adapter::strip_str(&lines.join("\n")).to_string();
        insta::assert_snapshot!(text, @"PASS t (exit code 4: the test is over, but not all outputs could be written)");
    }

    #[test]
    fn the_report_is_named_with_its_page_and_its_file() {
        let url = "https://director.example.com:8443";
        insta::assert_snapshot!(report(url, "nightly", None), @"report: https://director.example.com:8443/api/task/nightly/report");
        insta::assert_snapshot!(report(url, "nightly", Some(Path::new("out/report.html"))), @"report: https://director.example.com:8443/api/task/nightly/report, saved as out/report.html");
        insta::assert_snapshot!(report("unix:///run/atq/atq.sock", "nightly", None), @"report: `atq report nightly --html FILE`");
    }

    #[test]
    fn a_passed_test_has_a_short_outcome() {
        assert_eq!(plain(&task("t"), Exit::Pass, None), "PASS t (exit code 0)");
    }

    #[test]
    fn a_master_that_could_not_start_its_tool_has_one_reason() {
        let message = "the master ended with exit code 127 (its command was not found)";
        let task = Task {
            failure: Some(Failure {
                step: Step::Running,
                code: "master_exit".to_owned(),
                message: message.to_owned(),
                hint: String::new(),
                last_lines: Vec::new(),
            }),
            judgement: Some(Judgement {
                verdict: Verdict::Invalid,
                reasons: vec![message.to_owned()],
                criteria: Vec::new(),
            }),
            ..task("t")
        };
        insta::assert_snapshot!(plain(&task, Exit::ToolFailed, None), @"
        TOOL FAILED t (exit code 3: the test tool failed: the master's exit code is not 0)
          `master_exit`: the master ended with exit code 127 (its command was not found)
        ");
    }

    #[test]
    fn each_exit_code_has_a_headline() {
        let headlines: Vec<&str> = Exit::ALL.iter().map(|exit| headline(*exit).1).collect();
        insta::assert_snapshot!(headlines.join(", "), @"PASS, FAIL, NOT RUN, TOOL FAILED, NOT RUN, TIMED OUT, STOPPED, INVALID, NOT RUN, NOT RUN, NOT RUN");
    }
}
