use super::*;
use atq_api_spec::report::{NamedFigures, NamedPair};

fn figures(samples: u64, mean: f64) -> Figures {
    Figures {
        samples,
        errors: samples / 40,
        error_percent: 2.5,
        throughput: 66.54,
        mean,
        p50: mean,
        p90: 20.0,
        p95: 30.5,
        p99: 99.96,
        max: 12_345.6,
        ..Figures::default()
    }
}

fn report() -> Report {
    let label = |name: &str, figures| NamedFigures {
        name: name.to_owned(),
        figures,
    };
    let mut odd = figures(7, 1.0);
    odd.missing = vec!["p99".to_owned(), "throughput".to_owned()];
    let long = "a very long label of a request with a path that goes on and on";
    let criterion = |criterion: &str, holds| CriterionResult {
        criterion: criterion.to_owned(),
        holds,
        seen: "612 ms".to_owned(),
        wanted: "< 500 ms".to_owned(),
        not_evaluated: None,
    };
    Report {
        task: "checkout".to_owned(),
        duration: 15.04,
        total: figures(1000, 12.25),
        labels: vec![
            label("GET /\u{1b}[2J", figures(993, 12.3)),
            label(long, odd),
        ],
        errors: vec![ErrorKind {
            code: "500".to_owned(),
            message: "Internal\nError".to_owned(),
            count: 25,
        }],
        notes: vec!["one file was left out".to_owned()],
        judgement: Some(Judgement {
            verdict: Verdict::Fail,
            reasons: vec![],
            criteria: vec![criterion("p95 < 500ms", false), criterion("max < 1h", true)],
        }),
        ..Report::default()
    }
}

fn text(report: &Report) -> String {
    let text = lines(report).join("\n");
    anstream::adapter::strip_str(&text).to_string()
}

#[test]
fn a_report_as_text() {
    insta::assert_snapshot!(text(&report()));
}

#[test]
fn the_change_is_shown() {
    let pair = |baseline: Option<f64>, current: Option<f64>| FiguresPair {
        baseline: baseline.map(|mean| figures(1000, mean)),
        current: current.map(|mean| figures(1000, mean)),
        change_percent: [("mean", 12.34), ("p50", -0.01), ("p90", -50.0)]
            .map(|(name, change)| (name.to_owned(), change))
            .into(),
    };
    let label = |name: &str, pair| NamedPair {
        name: name.to_owned(),
        pair,
    };
    let comparison = Comparison {
        baseline: "yesterday".to_owned(),
        total: pair(Some(1.0), Some(2.0)),
        labels: vec![
            label("Login", pair(Some(1.0), Some(2.0))),
            label("Logout", pair(None, Some(2.0))),
            label("Search", pair(Some(1.0), None)),
        ],
        differences: Vec::new(),
    };
    insta::assert_snapshot!(compared(&comparison).join("\n"));
}

#[test]
fn differences_of_the_runs_come_first() {
    let comparison = Comparison {
        differences: vec!["this run had 2 workers, the baseline 4".to_owned()],
        ..Comparison::default()
    };
    let lines = compared(&comparison);
    let line = anstream::adapter::strip_str(&lines[1]).to_string();
    assert_eq!(
        line,
        "the runs differ: this run had 2 workers, the baseline 4"
    );
}

#[test]
fn without_samples_there_is_no_table() {
    let judgement = Judgement {
        verdict: Verdict::Invalid,
        reasons: vec!["no samples were found".to_owned()],
        criteria: vec![],
    };
    let report = Report {
        task: "empty".to_owned(),
        judgement: Some(judgement),
        ..Report::default()
    };
    assert_eq!(
        text(&report),
        "empty: invalid, no samples\n  no samples were found"
    );
}

#[test]
fn times_have_three_digits_or_more() {
    assert_eq!(
        [0.5, 9.99, 99.94, 12_345.6].map(millis),
        ["0.50", "9.99", "99.9", "12346"]
    );
}
