#![allow(clippy::unwrap_used)]

use atq_api_spec::report::*;
use base64::Engine as _;
use proptest::prelude::*;
use scraper::{Html, Selector};
use sha2::{Digest, Sha256};

use super::html;
use crate::compare::compare;

fn figures(samples: u64, errors: u64) -> Figures {
    Figures {
        samples,
        errors,
        error_percent: 12.5,
        throughput: 1234.6,
        min: 1.0,
        mean: 45.34,
        p50: 45.0,
        p90: 90.0,
        p95: 95.0,
        p99: 990.0,
        max: 1234.0,
        received_bytes: 4_718_592,
        sent_bytes: 100,
        missing: Vec::new(),
    }
}

fn named(name: &str, samples: u64, errors: u64) -> NamedFigures {
    NamedFigures {
        name: name.to_owned(),
        figures: figures(samples, errors),
    }
}

fn point(second: u64, samples: u64) -> SeriesPoint {
    SeriesPoint {
        at: 1_795_255_200_000 + second * 1000,
        samples,
        errors: samples / 4,
        mean: 45.0,
        p50: 40.0,
        p90: 80.0,
        p95: 90.0,
        p99: 99.0,
        max: 100.0,
        received_bytes: 1024,
        active: Some(3.0),
    }
}

fn container(name: &str, scale: u64) -> ContainerFigures {
    let point = |second: u64| ContainerPoint {
        at: 1_795_255_200_000 + second * 1000,
        cpu: Some(0.25 * (second + scale) as f64),
        memory: (second != 2).then_some(((100 + second) * scale) << 20),
    };
    ContainerFigures {
        name: name.to_owned(),
        id: "4f1d2c3b4a59".to_owned(),
        node: "x2ykn1gd4qsa".to_owned(),
        cpu_mean: Some(0.5),
        cpu_max: Some(1.25),
        cpu_limit: Some(2.0),
        memory_max: Some((103 * scale) << 20),
        memory_limit: Some(212 << 20),
        received_bytes: Some(4096),
        sent_bytes: Some(100),
        read_bytes: None,
        written_bytes: Some(0),
        series: ContainerSeries {
            interval: 2.0,
            points: vec![point(0), point(2), point(4)],
        },
    }
}

/// A report with content in every part.
fn small() -> Report {
    Report {
        task: "shop".to_owned(),
        run: "k3v9".to_owned(),
        sources: vec![ReportSource {
            path: "master.1/results.jtl".to_owned(),
            format: "jtl-csv".to_owned(),
            samples: 16,
            problem: None,
            ignored: None,
        }],
        started_at: Some("2026-11-21T10:00:00Z".to_owned()),
        ended_at: Some("2026-11-21T10:00:04Z".to_owned()),
        duration: 4.0,
        total: figures(16, 2),
        labels: vec![named("GET /", 8, 0), named("GET /cart", 8, 2)],
        workers: vec![named("worker.1", 8, 1), named("worker.2", 8, 1)],
        errors: vec![ErrorKind {
            code: "503".to_owned(),
            message: "Service Unavailable".to_owned(),
            count: 2,
        }],
        distribution: [(0.0, 1.0), (50.0, 45.0), (90.0, 90.0), (100.0, 1234.0)]
            .map(|(percentile, millis)| PercentilePoint { percentile, millis })
            .into(),
        series: Series {
            interval: 1.0,
            points: vec![point(0, 4), point(1, 0), point(2, 8), point(3, 4)],
            missing: Vec::new(),
        },
        containers: vec![container("worker.1", 1), container("master.1", 2)],
        notes: vec!["a note".to_owned()],
        judgement: Some(Judgement {
            verdict: Verdict::Fail,
            reasons: vec!["a reason".to_owned()],
            criteria: vec![CriterionResult {
                criterion: "p95 < 50ms".to_owned(),
                holds: false,
                seen: "95 ms".to_owned(),
                not_evaluated: None,
                wanted: "< 50 ms".to_owned(),
            }],
        }),
        comparison: None,
    }
}

fn compared() -> Report {
    let mut before = small();
    before.task = "shop-before".to_owned();
    before.total.p95 = 76.0;
    before.total.throughput = 2469.0;
    before.total.errors = 0;
    before.total.error_percent = 0.0;
    before.labels[0].name = "GET /old".to_owned();
    before.labels[1].figures.mean = 90.68;
    let mut report = small();
    report.comparison = Some(compare(&report, &before));
    report
}

/// A report with this text in every text field.
fn with_text(text: &str) -> Report {
    let mut report = compared();
    for place in [
        &mut report.task,
        &mut report.run,
        &mut report.sources[0].path,
        &mut report.labels[0].name,
        &mut report.workers[0].name,
        &mut report.errors[0].code,
        &mut report.notes[0],
        &mut report.containers[0].name,
    ] {
        text.clone_into(place);
    }
    text.clone_into(&mut report.containers[0].node);
    text.clone_into(&mut report.sources[0].format);
    text.clone_into(&mut report.errors[0].message);
    report.started_at = Some(text.to_owned());
    report.ended_at = Some(text.to_owned());
    report.sources[0].problem = Some(text.to_owned());
    if let Some(judgement) = &mut report.judgement {
        text.clone_into(&mut judgement.reasons[0]);
        let criterion = &mut judgement.criteria[0];
        text.clone_into(&mut criterion.criterion);
        text.clone_into(&mut criterion.seen);
        text.clone_into(&mut criterion.wanted);
    }
    if let Some(comparison) = &mut report.comparison {
        text.clone_into(&mut comparison.baseline);
        text.clone_into(&mut comparison.labels[0].name);
    }
    report
}

fn selector(text: &str) -> Selector {
    Selector::parse(text).unwrap()
}

/// The texts of the matching elements, with whitespace collapsed.
fn texts(page: &Html, text: &str) -> Vec<String> {
    page.select(&selector(text))
        .map(|element| {
            let text: String = element.text().collect();
            text.split_whitespace().collect::<Vec<_>>().join(" ")
        })
        .collect()
}

/// Names of elements and attributes in document order, without text.
fn structure(page: &Html) -> Vec<String> {
    page.select(&selector("*"))
        .map(|element| {
            let element = element.value();
            let mut names: Vec<_> = element.attrs().map(|(name, _)| name).collect();
            names.sort_unstable();
            // Only a shortened name has a title.
            names.retain(|name| !(element.name() == "bdi" && *name == "title"));
            format!("{} {}", element.name(), names.join(" "))
        })
        .collect()
}

#[test]
fn the_page_is_html_without_an_error() {
    for report in [small(), compared(), Report::default()] {
        let page = Html::parse_document(&html(&report));
        assert!(page.errors.is_empty(), "{:?}", page.errors);
    }
}

/// The policy forbids all loading, and the page has no external references either.
#[test]
fn the_page_has_no_external_references() {
    let text = html(&with_text("https://elsewhere.example/x.png"));
    let page = Html::parse_document(&text);
    assert!(policy_of(&page).starts_with("default-src 'none'; "));
    for element in page.select(&selector("[src], [href], [srcset], [action], [data]")) {
        let target = element.attr("href").unwrap_or("outside");
        assert!(target.starts_with('#'), "{}", element.html());
        let target = selector(target);
        assert_eq!(page.select(&target).count(), 1, "{}", element.html());
    }
    assert!(!super::STYLE.contains("url(") && !super::STYLE.contains("@import"));
    assert!(!super::SCRIPT.to_lowercase().contains("</script"));
    assert!(!super::STYLE.to_lowercase().contains("</style"));
}

fn policy_of(page: &Html) -> String {
    let meta = selector("head > meta[http-equiv=Content-Security-Policy]");
    let policy = page.select(&meta).next().unwrap().attr("content").unwrap();
    assert_eq!(policy, super::policy());
    policy.to_owned()
}

/// The value of a directive.
fn directive<'a>(policy: &'a str, name: &str) -> &'a str {
    let mut directives = policy.split("; ");
    let found = directives.find_map(|text| text.strip_prefix(name)?.strip_prefix(' '));
    found.unwrap_or_else(|| panic!("no `{name}` in `{policy}`"))
}

#[test]
fn the_policy_allows_exactly_the_script_and_the_style_of_the_page() {
    for report in [small(), compared(), Report::default()] {
        let page = Html::parse_document(&html(&report));
        let policy = policy_of(&page);
        assert!(!policy.contains("unsafe"), "{policy}");
        for (element, name) in [("script", "script-src"), ("style", "style-src")] {
            let contents: Vec<String> = page
                .select(&selector(element))
                .map(|found| found.text().collect())
                .collect();
            let [content] = contents.as_slice() else {
                panic!("{} elements `{element}`", contents.len());
            };
            let digest = base64::engine::general_purpose::STANDARD.encode(Sha256::digest(content));
            assert_eq!(directive(&policy, name), format!("'sha256-{digest}'"));
        }
    }
}

/// The policy blocks all of these, so the page must not need them.
#[test]
fn the_page_has_no_style_attribute_no_event_handler_and_no_script_in_a_link() {
    for report in [
        small(),
        compared(),
        with_text("javascript:x"),
        Report::default(),
    ] {
        let page = Html::parse_document(&html(&report));
        for element in page.select(&selector("*")) {
            for (name, value) in element.value().attrs() {
                let is_allowed = name != "style" && !name.starts_with("on") && name != "srcdoc";
                assert!(is_allowed, "{name}: {}", element.html());
                let is_link = ["href", "src", "action", "xlink:href"].contains(&name);
                assert!(!is_link || value.starts_with('#'), "{}", element.html());
            }
        }
    }
    for word in [
        "setAttribute('style",
        "cssText",
        "innerHTML",
        "outerHTML",
        "eval(",
        "Function(",
    ] {
        assert!(!super::SCRIPT.contains(word), "{word}");
    }
}

#[test]
fn the_verdict_is_shown_as_text() {
    let mut report = small();
    for (verdict, badge) in [
        (Some(Verdict::Pass), "✓ Pass"),
        (Some(Verdict::Fail), "✕ Fail"),
        (Some(Verdict::Invalid), "! Invalid"),
        (None, "No verdict"),
    ] {
        report.judgement = verdict.map(|verdict| Judgement {
            verdict,
            reasons: Vec::new(),
            criteria: Vec::new(),
        });
        let page = Html::parse_document(&html(&report));
        assert_eq!(texts(&page, ".badge"), [badge]);
    }
}

#[test]
fn criteria_and_reasons_are_shown() {
    let page = Html::parse_document(&html(&small()));
    assert_eq!(
        texts(&page, ".criteria tbody tr > *"),
        ["p95 < 50ms", "95 ms", "< 50 ms", "✕ no"]
    );
    assert_eq!(texts(&page, ".reasons li"), ["a reason"]);
    assert_eq!(
        texts(&page, ".judgement p"),
        ["The test failed. Its only criterion does not hold."]
    );
}

#[test]
fn the_figures_are_those_of_the_report() {
    let page = Html::parse_document(&html(&small()));
    assert_eq!(
        texts(&page, "#headline dd"),
        [
            "16",
            "12.5 %2 of 16",
            "1,235/s",
            "45.3 ms",
            "45 ms",
            "90 ms",
            "95 ms",
            "990 ms",
            "1.23 smin 1 ms",
            "4.5 MiBsent 100 B",
        ]
    );
    assert_eq!(
        texts(&page, "#labels tbody.rows tr:nth-child(2) > *"),
        [
            "GET /cart",
            "8",
            "2",
            "12.5",
            "1,235",
            "1.0",
            "45.3",
            "45.0",
            "90.0",
            "95.0",
            "990.0",
            "1,234.0",
            "4.5 MiB",
            "100 B",
        ]
    );
    assert_eq!(
        texts(&page, "#errors tbody tr > *"),
        ["503", "Service Unavailable", "2", "100 %"]
    );
}

#[test]
fn no_figure_is_marked_as_better_if_the_error_rate_rose() {
    let mut before = small();
    before.task = "before".to_owned();
    before.duration = 400.0;
    before.total = figures(10_000, 200);
    before.total.error_percent = 2.0;
    before.labels.clear();
    let mut report = small();
    report.labels.clear();
    report.total = figures(100, 100);
    report.total.error_percent = 100.0;
    report.total.p95 = 1.0;
    report.comparison = Some(compare(&report, &before));
    let page = html(&report);
    let page = Html::parse_document(&page);
    let better = page.select(&Selector::parse(".better").unwrap()).count();
    assert_eq!(better, 0);
    let worse = page.select(&Selector::parse(".worse").unwrap()).count();
    assert!(worse > 0);
    let text: String = page.root_element().text().collect();
    assert!(
        text.contains("The runs differ: this run took 4.0 s, the baseline 400.0 s."),
        "{text}"
    );
}

#[test]
fn a_change_is_marked_as_better_or_worse() {
    let page = Html::parse_document(&html(&compared()));
    let rows = texts(&page, "#comparison tbody tr");
    for row in [
        "Samples16160.0 % same",
        "Errors02▲ from 0 worse",
        "Throughput2,469/s1,235/s▼ −50.0 % worse",
        "p9576 ms95 ms▲ +25.0 % worse",
        "p99990 ms990 ms0.0 % same",
    ] {
        assert!(rows.iter().any(|text| text == row), "{row}: {rows:?}");
    }
    let labels = texts(&page, "#compared tbody tr");
    assert!(labels[0].ends_with("990 msnew"), "{labels:?}");
    assert!(
        labels[1].contains("45.3 ms▼ −50.0 % betterwas 90.7 ms"),
        "{labels:?}"
    );
    assert_eq!(
        labels[2],
        "GET /oldonly in the baseline: 8 samples, p95 95 ms"
    );
}

#[test]
fn without_samples_the_page_has_a_notice_and_no_charts() {
    let page = Html::parse_document(&html(&Report::default()));
    assert_eq!(texts(&page, "main h2"), ["No samples", "Sources and notes"]);
    assert!(page.select(&selector("svg")).next().is_none());
}

#[test]
fn missing_data_is_explained() {
    let mut report = small();
    report.series = Series::default();
    report.distribution.clear();
    report.errors.clear();
    let text = html(&report);
    for notice in [
        "have no timestamps",
        "do not contain the distribution",
        "2 samples failed; the result files do not contain the kinds of errors",
    ] {
        assert!(text.contains(notice), "{notice}");
    }
    for point in &mut report.series.points {
        point.active = None;
    }
    report.series.points = vec![SeriesPoint {
        active: None,
        ..point(0, 1)
    }];
    assert!(html(&report).contains("do not contain the number of active threads or users"));
}

#[test]
fn charts_and_tables_are_accessible() {
    let page = Html::parse_document(&html(&compared()));
    let charts = page.select(&selector("svg[role=img]")).count();
    assert_eq!(charts, 7);
    for svg in page.select(&selector("svg[role=img]")) {
        for id in svg.attr("aria-labelledby").unwrap().split(' ') {
            let named = selector(&format!("#{id}"));
            let named: String = svg.select(&named).flat_map(|e| e.text()).collect();
            assert!(named.len() > 10, "{id}: {named}");
        }
    }
    for cell in page.select(&selector("th")) {
        assert!(
            matches!(cell.attr("scope"), Some("col" | "row")),
            "{}",
            cell.html()
        );
    }
    assert_eq!(page.select(&selector("h1")).count(), 1);
    let mut ids: Vec<_> = page
        .select(&selector("[id]"))
        .filter_map(|e| e.attr("id"))
        .collect();
    let all = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), all, "{ids:?}");
}

/// The script reads figures from the columns that the legend names.
#[test]
fn legends_refer_to_the_right_columns() {
    let page = Html::parse_document(&html(&small()));
    for chart in page.select(&selector(".chart")) {
        let table = chart.attr("data-table").unwrap();
        let headings = texts(&page, &format!("#{table} thead th"));
        for item in chart.select(&selector("[data-column]")) {
            let name = item.text().collect::<String>().trim().to_owned();
            let column: usize = item.attr("data-column").unwrap().parse().unwrap();
            let expected = match name.as_str() {
                "mean" => "Mean",
                "throughput" => "Rate /s",
                "errors" => "Errors /s",
                "active" => "Active",
                "response time" => "Milliseconds",
                // The names of containers.
                percentile => percentile,
            };
            assert_eq!(headings[column], expected, "{name}");
        }
    }
}

#[test]
fn the_chart_of_response_times_matches_its_snapshot() {
    let page = Html::parse_document(&html(&small()));
    let chart = page
        .select(&selector("#times-chart svg[role=img]"))
        .next()
        .unwrap();
    insta::assert_snapshot!(chart.html().replace("><", ">\n<"));
}

#[test]
fn containers_are_in_a_table() {
    let page = Html::parse_document(&html(&small()));
    assert_eq!(
        texts(&page, "#containers table.wide tbody tr:nth-child(1) > *"),
        [
            "worker.1",
            "x2ykn1gd4qsa",
            "0.5",
            "1.25",
            "2",
            "62.5",
            "103.0 MiB",
            "212.0 MiB",
            "48.6",
            "4.0 KiB",
            "100 B",
            "–",
            "0 B",
        ]
    );
    // A container at its limit is emphasised.
    assert_eq!(texts(&page, "#containers td.e"), ["97.2"]);
    assert_eq!(
        texts(&page, "#memory-table tbody tr:nth-child(2) > *"),
        ["2026-11-21 10:00:02", "–", "–"]
    );
}

#[test]
fn a_report_without_containers_has_no_section_for_them() {
    let mut report = small();
    report.containers.clear();
    let text = html(&report);
    assert!(!text.contains("#containers") && !text.contains("cpu-chart"));
    // Containers are shown also without samples.
    let report = Report {
        containers: vec![container("worker.1", 1)],
        ..Report::default()
    };
    let page = Html::parse_document(&html(&report));
    assert!(page.errors.is_empty(), "{:?}", page.errors);
    assert_eq!(page.select(&selector("svg[role=img]")).count(), 2);
}

#[test]
fn of_many_containers_those_with_the_highest_usage_are_in_the_charts() {
    let mut report = small();
    report.containers = (1..=1000)
        .map(|n| {
            let mut one = container(&format!("worker.{n}"), 1);
            one.cpu_max = Some(n as f64 / 1000.0);
            one
        })
        .collect();
    let text = html(&report);
    assert!(text.len() < 2_000_000, "{}", text.len());
    let page = Html::parse_document(&text);
    let lines = texts(&page, "#cpu-chart .legend [data-column]");
    let highest: Vec<String> = (995..=1000).map(|n| format!("worker.{n}")).collect();
    assert_eq!(lines, highest);
}

#[test]
fn the_chart_of_cpu_usage_matches_its_snapshot() {
    let page = Html::parse_document(&html(&small()));
    let chart = page.select(&selector("#cpu-chart")).next().unwrap();
    insta::assert_snapshot!(chart.html().replace("><", ">\n<"));
}

#[test]
fn a_page_of_two_thousand_labels_is_small() {
    let mut report = small();
    report.labels = (0..2000)
        .map(|n| named(&format!("{n} {}", "long ".repeat(2000)), n, n % 3))
        .collect();
    let length = html(&report).len();
    assert!(length < 2_000_000, "{length}");
    report.comparison = Some(compare(&report, &small()));
    let length = html(&report).len();
    assert!(length < 3_000_000, "{length}");
}

#[test]
fn the_same_report_gives_the_same_bytes() {
    assert_eq!(html(&compared()), html(&compared()));
}

#[test]
fn non_finite_numbers_are_handled() {
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, f64::MAX] {
        let mut report = small();
        report.duration = value;
        report.total.p50 = value;
        report.total.throughput = value;
        report.labels[0].figures.mean = value;
        report.distribution[1] = PercentilePoint {
            percentile: value,
            millis: value,
        };
        report.series.interval = value;
        report.series.points[0].p99 = value;
        report.series.points[1].at = u64::MAX;
        let container = &mut report.containers[0];
        (container.cpu_max, container.cpu_limit) = (Some(value), Some(value));
        container.series.interval = value;
        container.series.points[0].cpu = Some(value);
        container.series.points[1].at = u64::MAX;
        let text = html(&report);
        let page = Html::parse_document(&text);
        assert!(page.errors.is_empty(), "{:?}", page.errors);
        let main = &text[text.find("<main>").unwrap()..text.rfind("<script>").unwrap()];
        assert!(!main.contains("NaN") && !main.contains(">inf"), "{value}");
    }
}

fn hostile() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        any::<String>(),
        prop::sample::select(vec![
            "<script>",
            "</script>",
            "</style>",
            "<!--",
            "-->",
            "--!>",
            "]]>",
            "<![CDATA[",
            "\"",
            "'",
            "`",
            "&",
            "&lt",
            "&#0;",
            "</title>",
            "</svg>",
            "<plaintext>",
            "\u{0}",
            "\u{202e}",
            "\r\n",
            "\u{feff}",
            " onload=x ",
            "javascript:",
            "{{",
            "\u{1f468}\u{200d}\u{1f469}",
        ])
        .prop_map(str::to_owned),
    ];
    prop::collection::vec(part, 1..8).prop_map(|parts| format!("x{}", parts.concat()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// The page has the same elements and attributes with any text.
    #[test]
    fn no_text_changes_the_structure(text in hostile()) {
        let plain = Html::parse_document(&html(&with_text("plain")));
        let page = Html::parse_document(&html(&with_text(&text)));
        prop_assert!(page.errors.is_empty(), "{:?}", page.errors);
        prop_assert_eq!(structure(&page), structure(&plain));
        let shown = super::text::visible(&text);
        if shown.chars().count() <= 80 {
            let bdi: Vec<String> = page.select(&selector("#labels tbody.rows bdi")).map(|e| e.text().collect()).collect();
            prop_assert!(bdi.contains(&shown), "{shown:?} is not among {bdi:?}");
        }
    }
}
