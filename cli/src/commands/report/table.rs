//! A report as readable lines.

use crate::out::{DIM, FAILURE, SUCCESS, WARNING};
use atq_api_spec::report::{
    Comparison, CriterionResult, ErrorKind, Figures, FiguresPair, Judgement, Report, Verdict,
};

#[cfg(test)]
mod tests;

/// Maximum length of labels in characters.
const MAX_LABEL: usize = 48;
/// Maximum number of error kinds shown.
const MAX_ERRORS: usize = 5;
/// The columns after the label: title and name of the figure.
const COLUMNS: [(&str, &str); 9] = [
    ("samples", "samples"),
    ("errors", "errorPercent"),
    ("per s", "throughput"),
    ("mean", "mean"),
    ("p50", "p50"),
    ("p90", "p90"),
    ("p95", "p95"),
    ("p99", "p99"),
    ("max", "max"),
];

/// The lines of a report.
pub fn lines(report: &Report) -> Vec<String> {
    let mut lines = vec![title(report)];
    if let Some(judgement) = &report.judgement {
        lines.extend(
            judgement
                .reasons
                .iter()
                .map(|reason| format!("  {}", clean(reason))),
        );
    }
    if report.total.samples > 0 {
        lines.push(String::new());
        lines.extend(figures(report));
    }
    if let Some(comparison) = &report.comparison {
        lines.push(String::new());
        lines.extend(compared(comparison));
    }
    if !report.errors.is_empty() {
        lines.push(String::new());
        lines.extend(errors(&report.errors));
    }
    if let Some(judgement) = report
        .judgement
        .as_ref()
        .filter(|given| !given.criteria.is_empty())
    {
        lines.push(String::new());
        lines.extend(criteria(judgement));
    }
    if !report.notes.is_empty() {
        lines.push(String::new());
        let notes = report.notes.iter().map(|note| clean(note));
        lines.extend(notes.map(|note| format!("{DIM}note: {note}{DIM:#}")));
    }
    lines
}

fn title(report: &Report) -> String {
    let verdict = match report.judgement.as_ref().map(|given| given.verdict) {
        Some(Verdict::Pass) => format!("{SUCCESS}pass{SUCCESS:#}"),
        Some(Verdict::Fail) => format!("{FAILURE}fail{FAILURE:#}"),
        Some(Verdict::Invalid) => format!("{WARNING}invalid{WARNING:#}"),
        None => "no verdict".to_owned(),
    };
    let summary = match report.total.samples {
        0 => "no samples".to_owned(),
        samples => format!("{samples} samples in {:.1} s", report.duration),
    };
    format!("{}: {verdict}, {summary}", report.task)
}

fn figures(report: &Report) -> Vec<String> {
    let head = COLUMNS.iter().map(|(title, _)| (*title).to_owned());
    let mut rows = vec![row("times in ms", head)];
    for label in &report.labels {
        rows.push(row(&name(&label.name), cells(&label.figures)));
    }
    rows.push(row("all", cells(&report.total)));
    aligned(&rows)
}

fn row(label: &str, cells: impl IntoIterator<Item = String>) -> Vec<String> {
    std::iter::once(label.to_owned()).chain(cells).collect()
}

fn cells(figures: &Figures) -> Vec<String> {
    let shown = |name: &str| match name {
        "samples" => figures.samples.to_string(),
        "errorPercent" => format!("{:.2}%", figures.error_percent),
        "throughput" => format!("{:.1}", figures.throughput),
        "mean" => millis(figures.mean),
        "p50" => millis(figures.p50),
        "p90" => millis(figures.p90),
        "p95" => millis(figures.p95),
        "p99" => millis(figures.p99),
        _ => millis(figures.max),
    };
    let is_missing = |name: &str| figures.missing.iter().any(|missing| missing == name);
    COLUMNS
        .iter()
        .map(|(_, name)| match is_missing(name) {
            true => "-".to_owned(),
            false => shown(name),
        })
        .collect()
}

/// Milliseconds with a suitable number of digits.
fn millis(millis: f64) -> String {
    match millis {
        small if small < 10.0 => format!("{small:.2}"),
        middle if middle < 100.0 => format!("{middle:.1}"),
        large => format!("{large:.0}"),
    }
}

fn compared(comparison: &Comparison) -> Vec<String> {
    let head = COLUMNS.iter().map(|(title, _)| (*title).to_owned());
    let mut rows = vec![row("change", head)];
    for label in &comparison.labels {
        rows.push(row(&name(&label.name), changes(&label.pair)));
    }
    rows.push(row("all", changes(&comparison.total)));
    let title = format!("compared with {}", comparison.baseline);
    let differences = comparison.differences.iter().map(|difference| {
        let difference = clean(difference);
        format!("{WARNING}the runs differ:{WARNING:#} {difference}")
    });
    let lines = std::iter::once(title).chain(differences);
    lines.chain(aligned(&rows)).collect()
}

/// The change of each figure; `new` or `gone` for a label that only one run has.
fn changes(pair: &FiguresPair) -> Vec<String> {
    match (&pair.baseline, &pair.current) {
        (None, Some(_)) => return vec!["new".to_owned()],
        (Some(_), None) => return vec!["gone".to_owned()],
        _ => {}
    }
    let change = |name: &str| pair.change_percent.get(name);
    COLUMNS
        .iter()
        .map(|(_, name)| match change(name) {
            Some(percent) if percent.abs() < 0.05 => "=".to_owned(),
            Some(percent) => format!("{percent:+.1}%"),
            None => "-".to_owned(),
        })
        .collect()
}

fn errors(errors: &[ErrorKind]) -> Vec<String> {
    let mut lines = vec!["errors".to_owned()];
    for error in errors.iter().take(MAX_ERRORS) {
        let what = format!("{} {}", error.code, error.message);
        lines.push(format!("  {:>8}  {}", error.count, clean(what.trim())));
    }
    if let Some(more) = errors
        .len()
        .checked_sub(MAX_ERRORS)
        .filter(|more| *more > 0)
    {
        lines.push(format!("  and {more} more kinds"));
    }
    lines
}

fn criteria(judgement: &Judgement) -> Vec<String> {
    let mut lines = vec!["criteria".to_owned()];
    lines.extend(judgement.criteria.iter().map(criterion));
    lines
}

fn criterion(one: &CriterionResult) -> String {
    let (style, mark) = match one.holds {
        true => (SUCCESS, "holds"),
        false => (FAILURE, "fails"),
    };
    let (criterion, seen, wanted) = (clean(&one.criterion), clean(&one.seen), clean(&one.wanted));
    format!("  {style}{mark}{style:#}  {criterion}: seen {seen}, wanted {wanted}")
}

/// A label, shortened for its column.
fn name(label: &str) -> String {
    let label = clean(label);
    match label.char_indices().nth(MAX_LABEL) {
        Some((end, _)) => format!("{}...", &label[..end]),
        None => label,
    }
}

/// Escapes control characters, since labels and messages come from result files.
fn clean(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for c in text.chars() {
        match c.is_control() {
            true => clean.extend(c.escape_default()),
            false => clean.push(c),
        }
    }
    clean
}

/// Aligns the first column to the left, the others to the right.
fn aligned(rows: &[Vec<String>]) -> Vec<String> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    rows.iter().map(|row| align(row, &widths)).collect()
}

fn align(row: &[String], widths: &[usize]) -> String {
    let mut line = String::new();
    for (column, (cell, width)) in row.iter().zip(widths).enumerate() {
        line += &match column {
            0 => format!("{cell:<width$}"),
            _ => format!("  {cell:>width$}"),
        };
    }
    line.trim_end().to_owned()
}
