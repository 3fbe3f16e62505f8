//! Tables of figures that drop columns to fit.

use super::numbers::{count, millis, percent, rate};
use super::text::{Line, cut_middle, left, one_line, right, width};
use crate::out::DIM;
use atq_api_spec::report::Figures;

/// Between columns.
const GAP: usize = 2;
/// A label is not shortened below this width while a column can be dropped instead.
const MIN_LABEL: usize = 20;

/// A figure of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Figure {
    /// Number of samples.
    Samples,
    /// Number of samples since the start, in a table of the last seconds.
    Total,
    /// Failed samples in percent.
    Errors,
    /// Samples per second.
    Rate,
    /// Arithmetic mean.
    Mean,
    /// Median.
    P50,
    /// 90th percentile.
    P90,
    /// 95th percentile.
    P95,
    /// 99th percentile.
    P99,
    /// Longest response time.
    Max,
}

impl Figure {
    /// The title of the column; times are in milliseconds.
    fn title(self) -> &'static str {
        match self {
            Self::Samples => "samples",
            Self::Total => "in total",
            Self::Errors => "errors",
            Self::Rate => "per s",
            Self::Mean => "mean",
            Self::P50 => "p50",
            Self::P90 => "p90",
            Self::P95 => "p95",
            Self::P99 => "p99",
            Self::Max => "max",
        }
    }

    /// The name in the API.
    fn name(self) -> &'static str {
        match self {
            Self::Errors => "errorPercent",
            Self::Rate => "throughput",
            other => other.title(),
        }
    }

    /// The value as text; `-` if the tool does not report it, or if there is no sample that it could describe.
    pub fn of(self, figures: &Figures) -> String {
        let is_missing = figures.missing.iter().any(|missing| missing == self.name());
        let is_of_samples = !matches!(self, Self::Samples | Self::Total | Self::Rate);
        if is_missing || (is_of_samples && figures.samples == 0) {
            return "-".to_owned();
        }
        match self {
            Self::Samples | Self::Total => count(figures.samples),
            Self::Errors => percent(figures.error_percent),
            Self::Rate => rate(figures.throughput),
            Self::Mean => millis(figures.mean),
            Self::P50 => millis(figures.p50),
            Self::P90 => millis(figures.p90),
            Self::P95 => millis(figures.p95),
            Self::P99 => millis(figures.p99),
            Self::Max => millis(figures.max),
        }
    }
}

/// A column: its figure, and its rank. The column with the highest rank is dropped first.
pub type Column = (Figure, u8);

/// A row: its label, its figures, and the number of samples since the start.
#[derive(Debug, Clone)]
pub struct Row<'a> {
    label: String,
    figures: &'a Figures,
    total: u64,
}

impl<'a> Row<'a> {
    /// A row of figures.
    pub fn of(label: &str, figures: &'a Figures) -> Self {
        Self::of_last(label, figures, figures.samples)
    }

    /// A row of the figures of the last seconds, and of the number of samples since the start.
    pub fn of_last(label: &str, figures: &'a Figures, total: u64) -> Self {
        let label = one_line(label);
        Self {
            label,
            figures,
            total,
        }
    }

    fn cell(&self, figure: Figure) -> String {
        match figure {
            Figure::Total => count(self.total),
            figure => figure.of(self.figures),
        }
    }
}

/// The widths of a table.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Of the whole table.
    pub columns: usize,
    /// Of a label.
    pub label: usize,
    /// Whether all columns are shown, even if the table is then too wide.
    pub keeps_columns: bool,
}

/// The head of a table and its rows. Columns are dropped if the table is too wide, and labels are shortened in their
/// middle.
pub fn table(
    title: &str,
    rows: &[Row<'_>],
    columns: &[Column],
    limits: Limits,
) -> (Line, Vec<Line>) {
    let widest = rows.iter().map(|row| width(&row.label));
    let label = widest
        .chain([width(title)])
        .max()
        .unwrap_or(0)
        .min(limits.label);
    let mut columns: Vec<(Figure, u8, usize)> = columns
        .iter()
        .map(|(figure, rank)| {
            let cells = rows.iter().map(|row| row.cell(*figure).len());
            let width = cells.chain([figure.title().len()]).max().unwrap_or(0);
            (*figure, *rank, width + GAP)
        })
        .collect();
    let needed =
        |columns: &[(Figure, u8, usize)]| columns.iter().map(|(_, _, width)| width).sum::<usize>();
    while !limits.keeps_columns && needed(&columns) + label.min(MIN_LABEL) > limits.columns {
        let last = columns
            .iter()
            .enumerate()
            .max_by_key(|(_, (_, rank, _))| *rank);
        let Some((at, _)) = last else { break };
        columns.remove(at);
    }
    let least = match limits.keeps_columns {
        true => label.min(MIN_LABEL),
        false => 0,
    };
    let left_over = limits.columns.saturating_sub(needed(&columns));
    let label = label.min(left_over.max(least));
    let line = |name: &str, cell: &dyn Fn(Figure) -> String| {
        let cells = columns
            .iter()
            .map(|(figure, _, width)| right(&cell(*figure), *width));
        left(&cut_middle(name, label), label) + &cells.collect::<String>()
    };
    let head = Line::styled(DIM, line(title, &|figure| figure.title().to_owned()));
    let rows = rows
        .iter()
        .map(|row| Line::plain(line(&row.label, &|figure| row.cell(figure))));
    (head, rows.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 3] = [(Figure::Rate, 0), (Figure::Mean, 2), (Figure::P95, 1)];

    fn figures() -> Figures {
        Figures {
            samples: 300,
            error_percent: 1.5,
            throughput: 41.84,
            mean: 12.34,
            p95: 120.4,
            missing: vec!["p99".to_owned()],
            ..Figures::default()
        }
    }

    fn shown(columns: usize, keeps_columns: bool) -> String {
        let figures = figures();
        let rows = [Row::of("GET /日本", &figures), Row::of("all", &figures)];
        let limits = Limits {
            columns,
            label: 40,
            keeps_columns,
        };
        let (head, rows) = table("label", &rows, &COLUMNS, limits);
        let lines = std::iter::once(head).chain(rows);
        lines.map(|line| line.text()).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn the_least_important_columns_are_dropped_first() {
        insta::assert_snapshot!(shown(40, false), @"
        label      per s  mean  p95
        GET /日本   41.8  12.3  120
        all         41.8  12.3  120
        ");
        insta::assert_snapshot!(shown(22, false), @"
        label      per s  p95
        GET /日本   41.8  120
        all         41.8  120
        ");
    }

    #[test]
    fn all_columns_are_kept_if_required() {
        assert_eq!(shown(10, true), shown(40, false));
    }

    #[test]
    fn figures_that_do_not_exist_are_left_out() {
        assert_eq!(Figure::P99.of(&figures()), "-");
        assert_eq!(Figure::P95.of(&Figures::default()), "-");
        assert_eq!(Figure::Rate.of(&Figures::default()), "0.0");
    }
}
