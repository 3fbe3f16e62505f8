//! Figures that a tool does not tell are zero in a report and a dash on its page.

use atq_api_spec::report::{Comparison, Figures, FiguresPair, Report};

/// Whether the tool tells this figure; `wire` is its name in JSON.
pub(super) fn is_told(figures: &Figures, wire: &str) -> bool {
    !figures.missing.iter().any(|name| name == wire)
}

/// The same report with no number for times and rates that are not told: those are shown as dashes.
pub(super) fn marked(report: &Report) -> Report {
    let mut report = report.clone();
    mark(&mut report.total);
    for named in report.labels.iter_mut().chain(&mut report.workers) {
        mark(&mut named.figures);
    }
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
            // A count cannot be no number; it is looked up where it is shown.
            _ => figures.missing.push(name),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use atq_api_spec::report::{Figures, NamedFigures, Report};
    use scraper::{Html, Selector};

    fn figures() -> Figures {
        Figures {
            samples: 100,
            p99: 12.0,
            ..Figures::default()
        }
    }

    #[test]
    fn a_figure_that_the_tool_does_not_tell_is_a_dash() {
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
