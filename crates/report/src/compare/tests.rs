#![allow(clippy::unwrap_used)]

use super::*;

fn figures(samples: u64, p95: f64) -> Figures {
    Figures {
        samples,
        p95,
        ..Figures::default()
    }
}

fn report(task: &str, labels: &[(&str, f64)]) -> Report {
    Report {
        task: task.to_owned(),
        total: figures(10, 200.0),
        labels: labels
            .iter()
            .map(|(name, p95)| NamedFigures {
                name: (*name).to_owned(),
                figures: figures(5, *p95),
            })
            .collect(),
        ..Report::default()
    }
}

fn label<'a>(comparison: &'a Comparison, name: &str) -> &'a FiguresPair {
    let found = comparison.labels.iter().find(|label| label.name == name);
    &found.unwrap().pair
}

#[test]
fn labels_of_both_runs_are_sorted_by_name() {
    let comparison = compare(
        &report("now", &[("b", 1.0), ("c", 2.0)]),
        &report("before", &[("a", 1.0), ("c", 4.0)]),
    );
    assert_eq!(comparison.baseline, "before");
    let names: Vec<_> = comparison.labels.iter().map(|l| l.name.as_str()).collect();
    assert_eq!(names, ["a", "b", "c"]);
    let gone = label(&comparison, "a");
    assert!(gone.current.is_none() && gone.baseline.is_some() && gone.change_percent.is_empty());
    let new = label(&comparison, "b");
    assert!(new.current.is_some() && new.baseline.is_none() && new.change_percent.is_empty());
    assert_eq!(label(&comparison, "c").change_percent["p95"], -50.0);
}

#[test]
fn a_change_from_zero_is_missing_and_one_to_zero_is_not() {
    let mut before = report("before", &[]);
    let mut now = report("now", &[]);
    before.total.errors = 4;
    now.total.mean = 3.0;
    let changes = compare(&now, &before).total.change_percent;
    assert_eq!(changes["errors"], -100.0);
    assert!(!changes.contains_key("mean"), "{changes:?}");
    assert_eq!(changes["samples"], 0.0);
}

/// Figures are looked up by their names in JSON.
#[test]
fn the_names_are_those_in_json() {
    let one = Figures {
        samples: 1,
        errors: 2,
        error_percent: 3.0,
        throughput: 4.0,
        min: 5.0,
        mean: 6.0,
        p50: 7.0,
        p90: 8.0,
        p95: 9.0,
        p99: 10.0,
        max: 11.0,
        received_bytes: 12,
        sent_bytes: 13,
        missing: Vec::new(),
    };
    let wire = serde_json::to_value(&one).unwrap();
    let wire: BTreeMap<&str, f64> = wire
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_f64().unwrap()))
        .collect();
    assert_eq!(wire, BTreeMap::from(named(&one)));
}

#[test]
fn a_figure_that_is_no_number_has_no_change() {
    assert_eq!(change(f64::NAN, 1.0), None);
    assert_eq!(change(1.0, f64::INFINITY), None);
    assert_eq!(change(f64::MIN_POSITIVE, f64::MAX), None);
}

#[test]
fn differing_runs_are_reported() {
    let same = report("now", &[]);
    assert!(compare(&same, &same).differences.is_empty());
    let mut before = report("before", &[]);
    before.duration = 300.0;
    before.judgement = Some(atq_api_spec::report::Judgement {
        verdict: Verdict::Invalid,
        reasons: Vec::new(),
        criteria: Vec::new(),
    });
    let now = Report {
        duration: 60.0,
        ..same
    };
    let expected = [
        "the run of `before` is invalid",
        "this run took 60.0 s, the baseline 300.0 s",
    ];
    assert_eq!(compare(&now, &before).differences, expected);
}
