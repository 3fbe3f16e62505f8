//! Figures that a tool does not report are zero in a report and a dash on its page.

use atq_api_spec::report::{Comparison, Figures, FiguresPair, Report, Series};

/// Replaces times and rates that are not reported by NaN, which is shown as a dash.
pub(super) fn with_missing_as_nan(report: &Report) -> Report {
    let mut report = report.clone();
    mark(&mut report.total);
    for named in report.labels.iter_mut().chain(&mut report.workers) {
        mark(&mut named.figures);
    }
    mark_points(&mut report.series);
    if let Some(comparison) = &mut report.comparison {
        mark_pairs(comparison);
    }
    report
}

fn mark_pairs(comparison: &mut Comparison) {
    let labels = comparison.labels.iter_mut().map(|label| &mut label.pair);
    for FiguresPair {
        baseline, current, ..
    } in labels.chain([&mut comparison.total])
    {
        baseline.iter_mut().chain(current).for_each(mark);
    }
}

fn mark_points(series: &mut Series) {
    for name in &series.missing {
        for point in &mut series.points {
            match name.as_str() {
                "p50" => point.p50 = f64::NAN,
                "p90" => point.p90 = f64::NAN,
                "p95" => point.p95 = f64::NAN,
                "p99" => point.p99 = f64::NAN,
                "max" => point.max = f64::NAN,
                // A count cannot be NaN; `missing` is checked where it is shown.
                _ => {}
            }
        }
    }
}

fn mark(figures: &mut Figures) {
    for name in std::mem::take(&mut figures.missing) {
        match name.as_str() {
            "errorPercent" => figures.error_percent = f64::NAN,
            "throughput" => figures.throughput = f64::NAN,
            "min" => figures.min = f64::NAN,
            "mean" => figures.mean = f64::NAN,
            "p50" => figures.p50 = f64::NAN,
            "p90" => figures.p90 = f64::NAN,
            "p95" => figures.p95 = f64::NAN,
            "p99" => figures.p99 = f64::NAN,
            "max" => figures.max = f64::NAN,
            // A count cannot be NaN; `missing` is checked where it is shown.
            _ => figures.missing.push(name),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use atq_api_spec::report::{Figures, NamedFigures, Report, Series, SeriesPoint};
    use scraper::{Html, Selector};

    fn figures() -> Figures {
        Figures {
            samples: 100,
            p99: 12.0,
            ..Figures::default()
        }
    }

    #[test]
    fn unknown_errors_and_points_are_not_zero() {
        let point = SeriesPoint {
            samples: 10,
            ..SeriesPoint::default()
        };
        let mut report = Report {
            total: figures(),
            series: Series {
                interval: 1.0,
                points: vec![point],
                missing: ["p50", "p90", "p95", "p99", "max", "errors"]
                    .map(str::to_owned)
                    .to_vec(),
            },
            ..Report::default()
        };
        report.total.missing = vec!["errors".to_owned(), "errorPercent".to_owned()];
        let page = super::super::html(&report);
        assert!(!page.contains("No sample failed"));
        assert!(page.contains("do not identify failed samples"));
        let page = Html::parse_document(&page);
        let cells = Selector::parse("#series-table tbody td").unwrap();
        let cells: Vec<String> = page
            .select(&cells)
            .map(|cell| cell.text().collect())
            .collect();
        assert_eq!(&cells[5..10], ["–"; 5], "{cells:?}");
    }

    #[test]
    fn an_unknown_figure_is_a_dash() {
        let mut report = Report {
            total: figures(),
            labels: vec![NamedFigures {
                name: "Login".to_owned(),
                figures: figures(),
            }],
            ..Report::default()
        };
        report.total.missing = vec!["p99".to_owned(), "sentBytes".to_owned()];
        let page = Html::parse_document(&super::super::html(&report));
        let cards = Selector::parse("#headline dl div").unwrap();
        let text = |card: scraper::ElementRef<'_>| card.text().collect::<String>();
        let cards: Vec<String> = page.select(&cards).map(text).collect();
        assert!(cards.contains(&"p99–".to_owned()), "{cards:?}");
        assert!(
            cards.iter().any(|card| card.ends_with("sent –")),
            "{cards:?}"
        );
    }
}
