//! The data of the charts, in collapsible tables. The script reads it from these tables.

use atq_api_spec::report::{PercentilePoint, Report, Series, SeriesPoint};
use maud::{Markup, html};

use super::charts::axis::percentile_at;
use super::charts::series::{Span, column};
use super::number::{self, NONE, bytes, count, duration, fixed, short};
use super::tables::scroll;

/// Maximum number of rows; longer lists are thinned out.
pub(super) const MAX_ROWS: usize = 1500;

const COLUMNS: [(usize, &str); 12] = [
    (1, "Samples"),
    (column::THROUGHPUT, "Rate /s"),
    (3, "Errors"),
    (column::ERRORS, "Errors /s"),
    (column::MEAN, "Mean"),
    (column::P50, "p50"),
    (column::P90, "p90"),
    (column::P95, "p95"),
    (column::P99, "p99"),
    (10, "Max"),
    (11, "Received"),
    (column::ACTIVE, "Active"),
];

/// The points over time.
pub(super) fn table(series: &Series, span: Span) -> Markup {
    let every = series.points.len().div_ceil(MAX_ROWS).max(1);
    let rows = series.points.len() / every;
    html! {
        details {
            summary { "Figures over time, " (number::some(series.points.len(), "interval", "intervals")) " of " (duration(series.interval)) }
            p.lead {
                "Intervals by their start in UTC. Response times in milliseconds. The first and the last interval may be cut short by the start and the end of the run."
                @if every > 1 { " One row in " (every) " is shown." }
            }
            (scroll("Figures over time", rows, &html! {
                table id="series-table" {
                    thead { tr {
                        th scope="col" { "Start" }
                        @for (_, name) in COLUMNS { th.n scope="col" { (name) } }
                    } }
                    tbody.rows { @for point in series.points.iter().step_by(every) { (row(point, span)) } }
                }
            }))
        }
    }
}

fn row(point: &SeriesPoint, span: Span) -> Markup {
    html! {
        tr data-x=(format!("{:.4}", span.middle(point))) {
            th scope="row" { (moment(point.at)) }
            td { (count(point.samples)) }
            td { (short(span.per_second(point.samples))) }
            td { (count(point.errors)) }
            td { (short(span.per_second(point.errors))) }
            @for value in [point.mean, point.p50, point.p90, point.p95, point.p99, point.max] {
                td { (time(value, point.samples)) }
            }
            td { (bytes(point.received_bytes)) }
            td { (point.active.map_or_else(|| NONE.to_owned(), short)) }
        }
    }
}

pub(super) fn moment(at: u64) -> String {
    match number::moment(at) {
        Some(moment) if at.is_multiple_of(1000) => number::date_time(moment),
        Some(moment) => format!("{}.{:03}", number::date_time(moment), at % 1000),
        None => NONE.to_owned(),
    }
}

/// A response time, or a dash without samples.
fn time(value: f64, samples: u64) -> String {
    match samples {
        0 => NONE.to_owned(),
        _ => fixed(value, usize::from(value < 99.95)),
    }
}

/// The points of the percentile curve.
pub(super) fn distribution(report: &Report) -> Markup {
    let points = &report.distribution;
    let every = points.len().div_ceil(MAX_ROWS).max(1);
    html! {
        details {
            summary { "Figures of the curve, " (number::some(points.len(), "percentile", "percentiles")) }
            @if every > 1 { p.lead { "One row in " (every) " is shown." } }
            (scroll("Response time by percentile", points.len() / every, &html! {
                table id="distribution-table" {
                    thead { tr { th scope="col" { "Percentile" } th.n scope="col" { "Milliseconds" } } }
                    tbody.rows {
                        @for point in points.iter().step_by(every) { (percentile_row(point, report.total.samples)) }
                    }
                }
            }))
        }
    }
}

fn percentile_row(point: &PercentilePoint, samples: u64) -> Markup {
    // Six decimals, so that zeros are trimmed only after the decimal point.
    let text = fixed(point.percentile, 6);
    let text = text.trim_end_matches('0').trim_end_matches('.');
    html! {
        tr data-x=(format!("{:.4}", percentile_at(point.percentile, samples))) {
            th scope="row" { (text) " %" }
            td { (fixed(point.millis, 2)) }
        }
    }
}
