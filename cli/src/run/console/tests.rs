#![allow(clippy::unwrap_used)]

use super::*;
use atq_api_spec::report::{NamedFigures, NotEvaluated};
use proptest::prelude::*;
use serde_json::json;

fn figures(samples: u64, rate: f64, errors: f64, base: f64) -> Figures {
    Figures {
        samples,
        errors: (samples as f64 * errors / 100.0) as u64,
        error_percent: errors,
        throughput: rate,
        min: base / 10.0,
        mean: base,
        p50: base * 0.9,
        p90: base * 2.0,
        p95: base * 3.0,
        p99: base * 6.5,
        max: base * 11.0,
        received_bytes: samples * 512,
        sent_bytes: samples * 64,
        missing: Vec::new(),
    }
}

fn label(name: &str, rate: f64) -> LiveGroup {
    LiveGroup {
        name: name.to_owned(),
        total: figures((rate * 600.0) as u64, rate, 0.1, 80.0),
        last: figures((rate * 10.0) as u64, rate, 0.25, 90.0),
    }
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

fn container(name: &str, cpu: f64, limit: Option<f64>) -> LiveContainer {
    LiveContainer {
        name: name.to_owned(),
        cpu: Some(cpu),
        cpu_limit: limit,
        ..LiveContainer::default()
    }
}

/// A test after ten minutes.
fn running() -> LiveTask {
    let live = json!({
        "task": "checkout-nightly", "status": "started", "step": "running", "elapsedMs": 600_000,
        "maxDurationMs": 1_800_000, "lagMs": 900, "workers": {"wanted": 3, "running": 3}, "isFinal": false,
    });
    LiveTask {
        containers: vec![
            container("master.1", 1.9, Some(2.0)),
            container("worker.1", 0.4, Some(1.0)),
            container("worker.2", 0.62, Some(1.0)),
        ],
        criteria: vec![
            criterion("p95 < 500ms", true, "273 ms", "< 500 ms"),
            criterion("errors < 1%", true, "0.12 %", "< 1 %"),
            criterion("samples >= 1000000", false, "739260", ">= 1000000"),
        ],
        figures: Some(LiveFigures {
            total: figures(739_260, 1232.1, 0.12, 91.0),
            last: figures(12_468, 1246.8, 0.41, 102.5),
            last_seconds: 10,
            active: Some(150.0),
            labels: vec![label("GET /cart", 700.2), label("POST /order", 546.6)],
            ..LiveFigures::default()
        }),
        ..serde_json::from_value(live).unwrap()
    }
}

/// The same with everything that may go wrong.
fn in_trouble() -> LiveTask {
    let mut live = running();
    live.containers[2].cpu = Some(0.97);
    live.workers.running = 2;
    live.workers.lost = vec![LiveLoss {
        replica: 3,
        reason: "its node is down".to_owned(),
    }];
    live.criteria[0] = criterion("p95 < 500ms", false, "612 ms", "< 500 ms");
    live.criteria.push(CriterionResult {
        not_evaluated: Some(NotEvaluated::NoSuchLabel),
        ..criterion(
            "p99 of Login < 2s",
            false,
            "no sample with this label",
            "< 2 s",
        )
    });
    let condition =
        |condition: &str, seen: Option<&str>, unknown: Option<&str>, has_ended_run| LiveCondition {
            condition: condition.to_owned(),
            seen: seen.map(str::to_owned),
            unknown: unknown.map(str::to_owned),
            has_ended_run,
        };
    live.stop_when = vec![
        condition("errors > 20% for 30s", Some("0.4 %"), None, false),
        condition(
            "p95 of Login > 2s for 1m",
            None,
            Some("no sample with this label"),
            false,
        ),
    ];
    let figures = live.figures.as_mut().unwrap();
    figures.doubts = vec!["the samples of worker.3 end at its loss".to_owned()];
    figures.notes = vec!["`locust.log` is not a result file".to_owned()];
    live
}

fn view(live: &LiveTask) -> View<'_> {
    View {
        live,
        step: live.step,
        age: Duration::from_millis(200),
        is_reconnecting: false,
        throughput: None,
    }
}

fn shown(view: &View<'_>, columns: usize, rows: usize, with_labels: bool) -> String {
    let lines = lines(view, Size { columns, rows }, with_labels);
    assert!(lines.len() < rows, "{} lines", lines.len());
    for line in &lines {
        assert!(line.width() < columns, "{}: {}", line.width(), line.text());
    }
    let texts: Vec<String> = lines.iter().map(Line::text).collect();
    texts.join("\n")
}

#[test]
fn a_running_test_on_terminals_of_all_widths() {
    let live = running();
    for columns in [60, 80, 120, 200] {
        insta::assert_snapshot!(
            format!("running_{columns}"),
            shown(&view(&live), columns, 30, true)
        );
    }
}

#[test]
fn a_test_in_trouble_on_terminals_of_all_widths() {
    let live = in_trouble();
    for columns in [60, 80, 120, 200] {
        insta::assert_snapshot!(
            format!("in_trouble_{columns}"),
            shown(&view(&live), columns, 30, true)
        );
    }
}

#[test]
fn the_marks_are_words_in_colour() {
    let live = in_trouble();
    let lines = lines(
        &view(&live),
        Size {
            columns: 100,
            rows: 30,
        },
        false,
    );
    let text: Vec<String> = lines.iter().map(Line::to_string).collect();
    let text = text.join("\n");
    for part in [
        format!("{FAILURE}fails  {FAILURE:#}"),
        format!("{SUCCESS}holds  {SUCCESS:#}"),
        format!("{WARNING}not yet{WARNING:#}"),
        format!("{FAILURE}1 lost{FAILURE:#}"),
        format!("{WARNING}CPU 97% (worker.2): near its limit{WARNING:#}"),
    ] {
        assert!(text.contains(&part), "{part:?} in {text:?}");
    }
}

#[test]
fn a_test_without_figures_yet() {
    let mut live = running();
    (live.figures, live.criteria) = (None, Vec::new());
    insta::assert_snapshot!("no_figures", shown(&view(&live), 80, 24, true));
    live.problem = Some("no result file has a known format".to_owned());
    let throughput = Throughput {
        rate: 41.8,
        samples: 300,
        errors: Some(3),
    };
    let view = View {
        throughput: Some(&throughput),
        ..view(&live)
    };
    insta::assert_snapshot!("figures_of_the_log", shown(&view, 80, 24, true));
    insta::assert_snapshot!("figures_of_the_log_in_one_line", plain(&view));
}

#[test]
fn a_summarised_source_is_marked_and_lacks_figures() {
    let mut live = running();
    let figures = live.figures.as_mut().unwrap();
    figures.is_summarised = true;
    for figures in [&mut figures.total, &mut figures.last] {
        figures.missing = vec!["p99".to_owned(), "max".to_owned()];
    }
    insta::assert_snapshot!("summarised", shown(&view(&live), 100, 24, false));
}

#[test]
fn fifty_labels_fill_the_height() {
    let mut live = in_trouble();
    let figures = live.figures.as_mut().unwrap();
    figures.labels = (0..50)
        .map(|at| label(&format!("GET /shop/{at}"), 50.0 - f64::from(at)))
        .collect();
    figures.labels_left_out = 1950;
    insta::assert_snapshot!("labels_30", shown(&view(&live), 100, 30, true));
    insta::assert_snapshot!("labels_18", shown(&view(&live), 100, 18, true));
    let all = shown(&view(&live), 100, 100, true);
    assert!(
        all.contains("GET /shop/49") && all.contains("and 1950 more"),
        "{all}"
    );
    assert!(!shown(&view(&live), 100, 100, false).contains("GET /shop"));
}

#[test]
fn a_lost_connection_is_shown_and_the_time_goes_on() {
    let live = running();
    let lost = View {
        age: Duration::from_secs(65),
        is_reconnecting: true,
        ..view(&live)
    };
    let text = shown(&lost, 100, 30, false);
    assert!(
        text.contains("11:05 of at most 30:00   reconnecting"),
        "{text}"
    );
    let late = View {
        age: Duration::from_secs(9),
        ..view(&live)
    };
    let text = shown(&late, 100, 30, false);
    assert!(text.contains("figures 9 s behind"), "{text}");
}

#[test]
fn hostile_names_and_numbers_do_not_break_the_display() {
    let mut live = in_trouble();
    live.task = "a\u{1b}[2J".to_owned();
    live.max_duration_ms = u64::MAX;
    live.elapsed_ms = Some(u64::MAX);
    live.lag_ms = Some(u64::MAX);
    live.containers = vec![
        container("worker.1", f64::NAN, Some(1.0)),
        container("worker.2\u{7}", 1e300, Some(1e-300)),
    ];
    live.criteria[0].seen = "two\nlines".to_owned();
    let figures = live.figures.as_mut().unwrap();
    figures.last_seconds = u64::MAX;
    figures.active = Some(1e300);
    figures.total = Figures {
        samples: u64::MAX,
        error_percent: f64::INFINITY,
        throughput: f64::MAX,
        mean: f64::NAN,
        p99: f64::MAX,
        ..Figures::default()
    };
    figures.labels = vec![
        label(
            "日本語のラベルは幅が広いので、正しく測らなければならない。もっと長い名前",
            1.0,
        ),
        label("\u{202e}evil\ttab\u{1b}]0;title\u{7}", 2.0),
        label(&"x".repeat(10_000), 3.0),
        label("", 4.0),
    ];
    insta::assert_snapshot!("hostile", shown(&view(&live), 80, 40, true));
    assert!(!plain(&view(&live)).chars().any(char::is_control));
}

#[test]
fn one_line_has_the_same_facts() {
    insta::assert_snapshot!("plain_running", plain(&view(&running())));
    insta::assert_snapshot!("plain_in_trouble", plain(&view(&in_trouble())));
}

#[test]
fn the_busiest_generator_is_a_worker_if_their_usage_is_known() {
    let text = |containers: &[LiveContainer]| busiest(containers).map(|generator| generator.text());
    let master = container("master.1", 3.0, Some(4.0));
    let worker = container("worker.1", 0.5, None);
    assert_eq!(text(&[]), None);
    assert_eq!(
        text(std::slice::from_ref(&master)).unwrap(),
        "CPU 75% (master.1)"
    );
    assert_eq!(
        text(&[master, worker]).unwrap(),
        "CPU 0.5 in use (worker.1)"
    );
}

#[test]
fn a_lost_worker_is_a_line_of_its_own() {
    let lost = LiveLoss {
        replica: 3,
        reason: "its node\nis down".to_owned(),
    };
    assert_eq!(
        loss(&lost),
        format!("{FAILURE}worker 3 lost:{FAILURE:#} its node\\u000ais down")
    );
}

fn report(labels: usize) -> Report {
    let named = |at: usize| NamedFigures {
        name: format!("GET /shop/{at}"),
        figures: figures(100 + at as u64, 10.0, 0.5, 40.0),
    };
    Report {
        task: "checkout-nightly".to_owned(),
        labels: (0..labels).map(named).collect(),
        total: figures(739_260, 1232.1, 0.12, 91.0),
        ..Report::default()
    }
}

fn final_text(report: &Report, columns: Option<usize>) -> String {
    let lines: Vec<String> = final_table(report, columns)
        .iter()
        .map(Line::text)
        .collect();
    lines.join("\n")
}

#[test]
fn the_final_table_has_all_figures_of_each_label_and_in_total() {
    let mut report = report(3);
    report.labels[1].name = "GET /a/path/that/does/not/fit/into/eighty/columns".to_owned();
    insta::assert_snapshot!("final_table", final_text(&report, None));
    insta::assert_snapshot!("final_table_80", final_text(&report, Some(80)));
    assert_eq!(final_table(&Report::default(), None), Vec::new());
}

#[test]
fn the_final_table_names_the_command_for_further_labels() {
    let text = final_text(&report(60), None);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 1 + 50 + 1 + 1);
    assert!(lines[1].starts_with("GET /shop/59"), "{text}");
    assert_eq!(
        lines[51],
        "and 10 more labels: `atq report checkout-nightly`"
    );
}

proptest! {
    #[test]
    fn the_block_never_exceeds_the_terminal(
        columns in 1_usize..220, rows in 1_usize..60, with_labels: bool, count in 0_usize..60,
        name in "\\PC{0,60}", numbers: [f64; 4], samples: u64,
    ) {
        let mut live = in_trouble();
        let figures = live.figures.as_mut().unwrap();
        figures.total.samples = samples;
        (figures.total.p95, figures.last.throughput) = (numbers[0], numbers[1]);
        (figures.last.p99, figures.active) = (numbers[2], Some(numbers[3]));
        figures.labels = (0..count).map(|_| label(&name, 3.0)).collect();
        live.criteria[0].criterion.clone_from(&name);
        live.stop_when[0].condition = name;
        let lines = lines(&view(&live), Size { columns, rows }, with_labels);
        prop_assert!(lines.len() < rows.max(1));
        prop_assert!(lines.iter().all(|line| line.width() < columns.max(1)));
    }
}
