//! Charts of the resource usage of containers over time: a line for each.

use maud::Markup;

use super::Chart;
use super::axis::{self, Values};
use super::lines::Line;
use super::series::Span;
use crate::page::number::{fixed, some};

/// The CSS classes of the lines.
pub(in super::super) const CLASSES: [&str; 6] = ["c1", "c2", "c3", "c4", "c5", "c6"];

/// The values of some containers over time.
pub(in super::super) struct Charted {
    /// Names of the containers, in the order of the columns.
    pub(in super::super) names: Vec<String>,
    /// Start of each interval in milliseconds since 1970, with a value for each container.
    pub(in super::super) rows: Vec<(u64, Vec<Option<f64>>)>,
}

/// Number of CPUs in use.
pub(in super::super) fn cpu(charted: &Charted, span: Span) -> Markup {
    let y = axis::values(charted.largest(), fixed);
    let chart = Chart {
        id: "cpu-chart",
        title: "CPU usage of containers over time",
        table: "cpu-table",
        ..chart(charted, span, y, " CPUs", "CPU usage")
    };
    chart.draw()
}

/// Used memory.
pub(in super::super) fn memory(charted: &Charted, span: Span) -> Markup {
    let y = axis::bytes(charted.largest());
    let chart = Chart {
        id: "memory-chart",
        title: "Memory of containers over time",
        table: "memory-table",
        ..chart(charted, span, y, "", "memory")
    };
    chart.draw()
}

fn chart(
    charted: &Charted,
    span: Span,
    y: Values,
    unit: &'static str,
    what: &str,
) -> Chart<'static> {
    let line = |(column, (name, class)): (usize, (&String, &'static str))| Line {
        name: name.clone().into(),
        class,
        column: column + 1,
        unit,
        filled: false,
        points: charted.points(column, span, y.top),
    };
    let named = charted.names.iter().zip(CLASSES);
    Chart {
        desc: format!(
            "The {what} of {}. The figures are in the table below.",
            some(charted.names.len(), "container", "containers")
        ),
        height: 200,
        x_caption: span.caption(),
        x_ticks: span.ticks(),
        lines: named.enumerate().map(line).collect(),
        y_ticks: y.ticks,
        ..Chart::default()
    }
}

impl Charted {
    fn largest(&self) -> f64 {
        let values = self.rows.iter().flat_map(|(_, values)| values);
        values.flatten().copied().fold(0.0, f64::max)
    }

    /// The points of a line, with gaps where the container has no value.
    fn points(&self, column: usize, span: Span, top: f64) -> Vec<(f64, Option<f64>)> {
        let points = self.rows.iter().map(|(at, values)| {
            let value = values.get(column).copied().flatten();
            (span.middle_of(*at), value.map(|value| value / top))
        });
        points.collect()
    }
}
