//! Handmade reports for tests of report pages.

use atq_api_spec::report::{
    CriterionResult, ErrorKind, Figures, Judgement, NamedFigures, PercentilePoint, Report,
    ReportSource, Series, SeriesPoint, Verdict,
};

/// 2026-11-21 10:00:00 UTC in milliseconds.
const START: u64 = 1_795_255_200_000;
/// Duration of the run in seconds.
const SECONDS: u64 = 300;

const LABELS: [(&str, f64); 10] = [
    ("GET /", 38.0),
    ("GET /assets", 12.0),
    ("GET /login", 61.0),
    ("GET /orders", 140.0),
    ("GET /orders/{id}", 95.0),
    ("GET /search", 310.0),
    ("POST /basket", 120.0),
    ("POST /checkout", 540.0),
    ("POST /login", 180.0),
    ("PUT /profile", 88.0),
];

/// A run of five minutes with ten labels, three workers, some errors, and a gap in the series.
pub fn realistic() -> Report {
    let labels: Vec<_> = LABELS
        .iter()
        .zip(1u64..)
        .map(|((name, base), n)| named(name, figures(9_000 + 1_371 * n, n * n % 37, *base)))
        .collect();
    let total = sum(&labels, 112.0);
    Report {
        task: "checkout-black-friday".to_owned(),
        run: "k3v9".to_owned(),
        sources: vec![
            source("master.1/results.jtl", total.samples, None),
            source(
                "worker.2/results.jtl",
                0,
                Some("ends in the middle of line 48,211"),
            ),
        ],
        started_at: Some("2026-11-21T10:00:00.417Z".to_owned()),
        ended_at: Some("2026-11-21T10:05:00.1Z".to_owned()),
        duration: 299.683,
        workers: ["worker.1", "worker.2", "worker.3"]
            .iter()
            .zip([1.0, 1.31, 0.94])
            .map(|(name, slow)| named(name, figures(55_000, 61, 112.0 * slow)))
            .collect(),
        errors: kinds(),
        distribution: distribution(),
        series: series(),
        notes: vec![
            "Percentiles are exact to three significant digits.".to_owned(),
            "worker.2 reported no active threads for 10 s.".to_owned(),
        ],
        total,
        labels,
        ..Report::default()
    }
}

/// An earlier run of the same test: faster except for one label, and with a label that no longer exists.
pub fn baseline() -> Report {
    let mut report = realistic();
    report.task = "checkout-october".to_owned();
    for (label, factor) in report
        .labels
        .iter_mut()
        .zip([0.8, 0.99, 1.0, 1.4, 0.95, 0.7].iter().cycle())
    {
        scale(&mut label.figures, *factor);
    }
    scale(&mut report.total, 0.87);
    report.total.errors = 40;
    report.total.error_percent = 0.024;
    report.total.throughput *= 1.02;
    report.labels[1].name = "GET /old-assets".to_owned();
    report
}

/// Adds a judgement with this verdict and matching criteria and reasons.
pub fn judged(mut report: Report, verdict: Verdict) -> Report {
    let criterion = |criterion: &str, holds, seen: &str, wanted: &str| CriterionResult {
        criterion: criterion.to_owned(),
        holds,
        seen: seen.to_owned(),
        wanted: wanted.to_owned(),
        not_evaluated: None,
    };
    let fails = verdict == Verdict::Fail;
    report.judgement = Some(Judgement {
        verdict,
        reasons: match verdict {
            Verdict::Invalid => vec!["worker 2 was lost after 41 s (node `n3` is down)".to_owned()],
            _ => Vec::new(),
        },
        criteria: vec![
            criterion("p95 < 500ms", true, "312 ms", "< 500 ms"),
            criterion("errors < 1%", true, "0.12 %", "< 1 %"),
            criterion(
                "p99 of POST /checkout < 2s",
                !fails,
                if fails { "2.31 s" } else { "1.71 s" },
                "< 2 s",
            ),
            criterion("throughput > 100/s", true, "549/s", "> 100/s"),
        ],
    });
    report
}

/// Names that attempt HTML injection, change the text direction, or fill the page. `canary` is a URL that no page may
/// request.
pub fn hostile(canary: &str) -> Report {
    let mut report = realistic();
    let names = [
        "<script>document.title='injected'</script>".to_owned(),
        "\"><script>document.title='injected'</script>".to_owned(),
        format!("<img src=\"{canary}/a.png\" onerror=\"document.title='injected'\">"),
        format!("'><svg onload=\"document.title='injected'\"><image href='{canary}/b.svg'/></svg>"),
        "]]></style></script><!-- --!> <plaintext>".to_owned(),
        "\u{202e}gnp.exe \u{200f}\u{2066}right to left".to_owned(),
        "nul \u{0} escape \u{1b}[31m bell \u{7} end \u{ffff}".to_owned(),
        "&lt;b&gt; &amp; &quot; &#x3c;".to_owned(),
        "x".repeat(10_240),
        String::new(),
    ];
    for (label, name) in report.labels.iter_mut().zip(&names) {
        label.name.clone_from(name);
    }
    report.task.clone_from(&names[0]);
    report.run.clone_from(&names[1]);
    report.notes = names.to_vec();
    for ((kind, code), message) in report.errors.iter_mut().zip(&names).zip(names.iter().rev()) {
        kind.code.clone_from(code);
        kind.message.clone_from(message);
    }
    report.workers[0].name.clone_from(&names[2]);
    report.sources[0].path.clone_from(&names[3]);
    report.sources[0].problem = Some(names[8].clone());
    report.started_at = Some(names[1].clone());
    report
}

/// A report with this many labels, which have long names.
pub fn with_labels(count: u64) -> Report {
    let mut report = realistic();
    #[allow(clippy::cast_precision_loss)]
    let label = |n: u64| {
        let name = format!(
            "GET /catalogue/department-{:03}/product-{n:05}?colour=green&size=XL",
            n % 40
        );
        named(
            &name,
            figures(
                100 + n % 977,
                u64::from(n.is_multiple_of(19)),
                40.0 + (n * 7 % 400) as f64,
            ),
        )
    };
    report.labels = (0..count).map(label).collect();
    report
}

/// A run with a single sample.
pub fn one_sample() -> Report {
    let mut report = Report {
        task: "smoke".to_owned(),
        run: "a1".to_owned(),
        started_at: Some("2026-11-21T10:00:00Z".to_owned()),
        ended_at: Some("2026-11-21T10:00:00.045Z".to_owned()),
        duration: 0.045,
        total: figures(1, 0, 45.0),
        ..Report::default()
    };
    flat(&mut report.total, 45.0);
    report.total.throughput = 1000.0 / 45.0;
    report.labels = vec![named("GET /", report.total.clone())];
    report.distribution = [0.0, 50.0, 100.0]
        .map(|percentile| PercentilePoint {
            percentile,
            millis: 45.0,
        })
        .into();
    let mut point = point(0, 1, 0, 45.0, None);
    (point.p50, point.p90, point.p95, point.p99, point.max) = (45.0, 45.0, 45.0, 45.0, 45.0);
    report.series = Series {
        interval: 1.0,
        points: vec![point],
        missing: Vec::new(),
    };
    report
}

/// A run whose result file has no samples.
pub fn no_samples() -> Report {
    Report {
        task: "nothing".to_owned(),
        run: "z0".to_owned(),
        sources: vec![source(
            "master.1/results.jtl",
            0,
            Some("holds a heading and nothing else"),
        )],
        ..Report::default()
    }
}

fn named(name: &str, figures: Figures) -> NamedFigures {
    NamedFigures {
        name: name.to_owned(),
        figures,
    }
}

fn source(path: &str, samples: u64, problem: Option<&str>) -> ReportSource {
    ReportSource {
        path: path.to_owned(),
        format: "jtl-csv".to_owned(),
        samples,
        ignored: None,
        problem: problem.map(str::to_owned),
    }
}

#[allow(clippy::cast_precision_loss)]
fn figures(samples: u64, errors: u64, base: f64) -> Figures {
    Figures {
        samples,
        errors,
        error_percent: errors as f64 * 100.0 / samples as f64,
        throughput: samples as f64 / SECONDS as f64,
        min: (base * 0.2).floor(),
        mean: base * 1.137,
        p50: base.floor(),
        p90: (base * 1.9).floor(),
        p95: (base * 2.6).floor(),
        p99: (base * 4.1).floor(),
        max: (base * 11.0).floor(),
        received_bytes: samples * 7_321,
        sent_bytes: samples * 412,
        missing: Vec::new(),
    }
}

fn sum(labels: &[NamedFigures], base: f64) -> Figures {
    let samples = labels.iter().map(|label| label.figures.samples).sum();
    let errors = labels.iter().map(|label| label.figures.errors).sum();
    figures(samples, errors, base)
}

fn scale(figures: &mut Figures, factor: f64) {
    for time in [
        &mut figures.min,
        &mut figures.mean,
        &mut figures.p50,
        &mut figures.p90,
        &mut figures.p95,
        &mut figures.p99,
        &mut figures.max,
    ] {
        *time *= factor;
    }
}

fn flat(figures: &mut Figures, time: f64) {
    scale(figures, 0.0);
    figures.min = time;
    (figures.mean, figures.p50, figures.p90) = (time, time, time);
    (figures.p95, figures.p99, figures.max) = (time, time, time);
}

fn kinds() -> Vec<ErrorKind> {
    [
        ("503", "Service Unavailable", 97),
        ("504", "Gateway Time-out", 61),
        (
            "Non HTTP response code: java.net.SocketTimeoutException",
            "Non HTTP response message: Read timed out",
            21,
        ),
        (
            "200",
            "Test failed: text expected to contain /Thank you/",
            4,
        ),
    ]
    .map(|(code, message, count)| ErrorKind {
        code: code.to_owned(),
        message: message.to_owned(),
        count,
    })
    .into()
}

fn distribution() -> Vec<PercentilePoint> {
    let mut points: Vec<_> = (0u32..100)
        .map(|n| {
            let part = 1.0 - 0.5f64.powf(f64::from(n) / 6.0);
            PercentilePoint {
                percentile: part * 100.0,
                millis: curve(-(1.0 - part).log10()),
            }
        })
        .collect();
    points.push(PercentilePoint {
        percentile: 100.0,
        millis: 1232.0,
    });
    points
}

/// Interpolates the time in milliseconds for a number of nines between the percentiles of the total.
fn curve(nines: f64) -> f64 {
    let known = [
        (0.0, 22.0),
        (0.301, 112.0),
        (1.0, 212.0),
        (1.301, 291.0),
        (2.0, 459.0),
        (5.22, 1232.0),
    ];
    let step = known.windows(2).find(|pair| nines <= pair[1].0);
    step.map_or(1232.0, |pair| {
        let part = (nines - pair[0].0) / (pair[1].0 - pair[0].0);
        pair[0].1 + part * (pair[1].1 - pair[0].1)
    })
}

fn series() -> Series {
    let mut random = fastrand::Rng::with_seed(4);
    let points = (0..SECONDS)
        .map(|second| wave(second, &mut random))
        .collect();
    Series {
        interval: 1.0,
        points,
        missing: Vec::new(),
    }
}

/// One second of a run with a ramp of 30 s, a slow period with errors, and three seconds without samples.
#[allow(clippy::cast_precision_loss)]
fn wave(second: u64, random: &mut fastrand::Rng) -> SeriesPoint {
    let active = (second as f64 * 5.0).min(150.0);
    if (180..183).contains(&second) {
        return point(second, 0, 0, 0.0, Some(active));
    }
    let slow = (200..230).contains(&second);
    let samples = (active * 3.7) as u64 + random.u64(0..40) + 1;
    let errors = if slow {
        random.u64(0..14)
    } else {
        u64::from(second % 41 == 7)
    };
    let base = 95.0 + active * 0.1 + random.f64() * 16.0 + if slow { 80.0 } else { 0.0 };
    let reported = !(90..100).contains(&second);
    point(second, samples, errors, base, reported.then_some(active))
}

fn point(second: u64, samples: u64, errors: u64, base: f64, active: Option<f64>) -> SeriesPoint {
    SeriesPoint {
        at: START + second * 1000,
        samples,
        errors,
        mean: base * 1.137,
        p50: base.floor(),
        p90: (base * 1.9).floor(),
        p95: (base * 2.6 + (second % 7) as f64 * 4.0).floor(),
        p99: (base * 4.1 + (second % 11) as f64 * 16.0).floor(),
        max: (base * 8.0).floor(),
        received_bytes: samples * 7_321,
        active,
    }
}
