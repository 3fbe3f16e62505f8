//! The distribution of response times.

use atq_api_spec::report::{PercentilePoint, Report};
use maud::Markup;

use super::Chart;
use super::axis::{self, percentile_at};
use super::lines::Line;
use crate::page::number;

/// Response time by percentile, on a logarithmic axis: each additional nine has the same width.
pub(in super::super) fn curve(report: &Report) -> Markup {
    let points = &report.distribution;
    let samples = report.total.samples;
    let y = axis::millis(points.iter().map(|p| p.millis).fold(0.0, f64::max));
    let place = |point: &PercentilePoint| {
        let x = percentile_at(point.percentile, samples);
        (x, Some(point.millis / y.top))
    };
    let line = Line {
        name: "response time".into(),
        class: "p50",
        column: 1,
        unit: " ms",
        filled: true,
        points: points.iter().map(place).collect(),
    };
    Chart {
        id: "percentile-chart",
        title: "Response time by percentile",
        desc: desc(report),
        height: 220,
        table: "distribution-table",
        x_caption:
            "Percentile of the samples (logarithmic: each additional nine has the same width)"
                .to_owned(),
        x_ticks: axis::percentiles(samples),
        y_ticks: y.ticks,
        lines: vec![line],
    }
    .draw()
}

fn desc(report: &Report) -> String {
    let total = &report.total;
    format!(
        "Half of the samples took no longer than {}, 90 % than {}, 99 % than {}, all than {}. \
         The figures are in the table below.",
        number::millis(total.p50),
        number::millis(total.p90),
        number::millis(total.p99),
        number::millis(total.max),
    )
}
