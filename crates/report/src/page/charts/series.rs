//! Charts over time.

use atq_api_spec::report::{Series, SeriesPoint};
use maud::Markup;

use super::Chart;
use super::axis::{self, Tick, Values};
use super::lines::Line;
use crate::page::number::{self, fixed, millis};

/// Columns of the table of figures over time, from zero.
pub(in super::super) mod column {
    pub(in crate::page) const THROUGHPUT: usize = 2;
    pub(in crate::page) const ERRORS: usize = 4;
    pub(in crate::page) const MEAN: usize = 5;
    pub(in crate::page) const P50: usize = 6;
    pub(in crate::page) const P90: usize = 7;
    pub(in crate::page) const P95: usize = 8;
    pub(in crate::page) const P99: usize = 9;
    pub(in crate::page) const ACTIVE: usize = 12;
}

/// The span of a series, in milliseconds since 1970.
#[derive(Clone, Copy)]
pub(in super::super) struct Span {
    from: u64,
    to: u64,
    interval: f64,
}

impl Span {
    /// The span of a series; `None` if it has no points.
    pub(in super::super) fn of(series: &Series) -> Option<Self> {
        Self::between(series.points.iter().map(|point| point.at), series.interval)
    }

    /// The span of intervals with these starts and this length in seconds; `None` without intervals.
    pub(in super::super) fn between(
        starts: impl Iterator<Item = u64>,
        interval: f64,
    ) -> Option<Self> {
        let bounds = starts.fold(None, |bounds: Option<(u64, u64)>, at| {
            let (from, last) = bounds.unwrap_or((at, at));
            Some((from.min(at), last.max(at)))
        });
        let (from, last) = bounds?;
        let interval = match interval.is_finite() && interval > 0.0 {
            true => interval,
            false => 1.0,
        };
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let to = last.saturating_add((interval * 1000.0).ceil() as u64);
        Some(Self { from, to, interval })
    }

    /// Position of the middle of a point's interval, from 0 to 1.
    pub(in super::super) fn middle(self, point: &SeriesPoint) -> f64 {
        self.middle_of(point.at)
    }

    /// Position of the middle of the interval with this start, from 0 to 1.
    #[allow(clippy::cast_precision_loss)]
    pub(in super::super) fn middle_of(self, at: u64) -> f64 {
        let after = at.saturating_sub(self.from) as f64 + self.interval * 500.0;
        (after / self.to.saturating_sub(self.from).max(1) as f64).clamp(0.0, 1.0)
    }

    /// Converts a count per interval to a rate per second.
    #[allow(clippy::cast_precision_loss)]
    pub(in super::super) fn per_second(self, count: u64) -> f64 {
        count as f64 / self.interval
    }

    /// The caption of the time axis, with the date, which the ticks omit.
    pub(super) fn caption(self) -> String {
        let day = |at| number::moment(at).map(|moment| moment.date().to_string());
        match (day(self.from), day(self.to)) {
            (Some(from), Some(to)) if from == to => format!("Time in UTC, {from}"),
            (Some(from), Some(to)) => format!("Time in UTC, {from} to {to}"),
            _ => "Time in UTC".to_owned(),
        }
    }

    /// The ticks of the time axis.
    pub(super) fn ticks(self) -> Vec<Tick> {
        axis::moments(self.from, self.to)
    }
}

/// Mean and percentiles of response times.
pub(in super::super) fn response_times(series: &Series, span: Span) -> Markup {
    type Pick = fn(&SeriesPoint) -> f64;
    let kinds: [(&'static str, &'static str, usize, Pick); 5] = [
        ("mean", "mean", column::MEAN, |p| p.mean),
        ("p50", "p50", column::P50, |p| p.p50),
        ("p90", "p90", column::P90, |p| p.p90),
        ("p95", "p95", column::P95, |p| p.p95),
        ("p99", "p99", column::P99, |p| p.p99),
    ];
    let largest = kinds
        .iter()
        .flat_map(|(_, _, _, pick)| series.points.iter().map(pick))
        .fold(0.0, f64::max);
    let y = axis::millis(largest);
    let lines = kinds.map(|(name, class, column, pick)| {
        let known = |p: &SeriesPoint| p.samples > 0 && pick(p).is_finite();
        let value = |p: &SeriesPoint| known(p).then(|| pick(p) / y.top);
        Line {
            name: name.into(),
            class,
            column,
            unit: " ms",
            filled: false,
            points: points(series, span, value),
        }
    });
    Chart {
        id: "times-chart",
        title: "Response times over time",
        desc: spread("The 95th percentile", series, |p| p.p95, millis),
        height: 260,
        ..over_time(span, y, lines.into())
    }
    .draw()
}

/// Samples per second.
pub(in super::super) fn throughput(series: &Series, span: Span) -> Markup {
    let line = ("throughput", "rate", column::THROUGHPUT);
    rate(series, span, "Throughput", line, 200, |p| p.samples)
}

/// Failed samples per second.
pub(in super::super) fn errors(series: &Series, span: Span) -> Markup {
    let line = ("errors", "error", column::ERRORS);
    rate(series, span, "Errors", line, 110, |p| p.errors)
}

fn rate(
    series: &Series,
    span: Span,
    what: &str,
    (name, class, column): (&'static str, &'static str, usize),
    height: u32,
    count: fn(&SeriesPoint) -> u64,
) -> Markup {
    let rate = |p: &SeriesPoint| span.per_second(count(p));
    let largest = series.points.iter().map(rate).fold(0.0, f64::max);
    let y = axis::values(largest, |value, decimals| {
        format!("{}/s", fixed(value, decimals))
    });
    let text = |value| format!("{} per second", number::short(value));
    let line = Line {
        name: name.into(),
        class,
        column,
        unit: "/s",
        filled: true,
        points: points(series, span, |p| Some(rate(p) / y.top)),
    };
    Chart {
        id: &format!("{name}-chart"),
        title: &format!("{what} over time"),
        desc: spread(what, series, rate, text),
        height,
        ..over_time(span, y, vec![line])
    }
    .draw()
}

/// Active threads or users; only for a series that contains them.
pub(in super::super) fn active(series: &Series, span: Span) -> Markup {
    let known = series.points.iter().filter_map(|point| point.active);
    let y = axis::values(known.fold(0.0, f64::max), fixed);
    let line = Line {
        name: "active".into(),
        class: "active",
        column: column::ACTIVE,
        unit: "",
        filled: false,
        points: points(series, span, |p| p.active.map(|active| active / y.top)),
    };
    Chart {
        id: "active-chart",
        title: "Active threads or users over time",
        desc: spread(
            "The number of active threads or users",
            series,
            |p| p.active.unwrap_or(f64::NAN),
            number::short,
        ),
        height: 200,
        ..over_time(span, y, vec![line])
    }
    .draw()
}

/// A chart over time, without its title and description.
fn over_time(span: Span, y: Values, lines: Vec<Line>) -> Chart<'static> {
    Chart {
        table: "series-table",
        x_caption: span.caption(),
        x_ticks: span.ticks(),
        y_ticks: y.ticks,
        lines,
        ..Chart::default()
    }
}

fn points(
    series: &Series,
    span: Span,
    value: impl Fn(&SeriesPoint) -> Option<f64>,
) -> Vec<(f64, Option<f64>)> {
    let place = |point| (span.middle(point), value(point));
    series.points.iter().map(place).collect()
}

/// Describes the range of values.
fn spread(
    what: &str,
    series: &Series,
    pick: impl Fn(&SeriesPoint) -> f64,
    text: impl Fn(f64) -> String,
) -> String {
    let sampled = series.points.iter().filter(|point| point.samples > 0);
    let values: Vec<f64> = sampled.map(pick).filter(|v| v.is_finite()).collect();
    let least = values.iter().copied().reduce(f64::min);
    let largest = values.iter().copied().reduce(f64::max);
    match (least, largest) {
        (Some(least), Some(largest)) => format!(
            "{what} is between {} and {}, in {} of {}. The figures are in the table of \
             figures over time.",
            text(least),
            text(largest),
            number::some(values.len(), "interval", "intervals"),
            number::duration(series.interval),
        ),
        _ => format!("{what} is unknown."),
    }
}
