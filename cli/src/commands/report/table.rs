//! A report as readable lines.

use crate::commands::show::mark;
use crate::out::{DIM, FAILURE, SUCCESS, WARNING};
use crate::table;
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
    let judgement = report.judgement.as_ref();
    let mut lines = vec![title(report)];
    let reasons = judgement.into_iter().flat_map(|given| &given.reasons);
    lines.extend(reasons.map(|reason| format!("  {}", clean(reason))));
    let mut section = |part: Vec<String>| {
        lines.extend((!part.is_empty()).then(String::new));
        lines.extend(part);
    };
    if report.total.samples > 0 {
        section(figures(report));
    }
    section(report.comparison.as_ref().map_or(Vec::new(), compared));
    section(errors(&report.errors));
    section(judgement.map_or(Vec::new(), criteria));
    let notes = report.notes.iter().map(|note| clean(note));
    section(
        notes
            .map(|note| format!("{DIM}note: {note}{DIM:#}"))
            .collect(),
    );
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
    let mut rows = vec![row("times in ms", |(title, _)| title.to_owned())];
    let labels = report.labels.iter();
    rows.extend(labels.map(|label| row(&name(&label.name), cells(&label.figures))));
    rows.push(row("all", cells(&report.total)));
    aligned(&rows)
}

/// A label, and a cell for each column.
fn row(label: &str, cell: impl Fn((&str, &str)) -> String) -> Vec<String> {
    let cells = COLUMNS.iter().map(|column| cell(*column));
    std::iter::once(label.to_owned()).chain(cells).collect()
}

fn cells(figures: &Figures) -> impl Fn((&str, &str)) -> String {
    move |(_, name)| match name {
        _ if figures.missing.iter().any(|missing| missing == name) => "-".to_owned(),
        "samples" => figures.samples.to_string(),
        "errorPercent" => format!("{:.2}%", figures.error_percent),
        "throughput" => format!("{:.1}", figures.throughput),
        "mean" => millis(figures.mean),
        "p50" => millis(figures.p50),
        "p90" => millis(figures.p90),
        "p95" => millis(figures.p95),
        "p99" => millis(figures.p99),
        _ => millis(figures.max),
    }
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
    let mut rows = vec![row("change", |(title, _)| title.to_owned())];
    let labels = comparison.labels.iter();
    rows.extend(labels.map(|label| changes(&name(&label.name), &label.pair)));
    rows.push(changes("all", &comparison.total));
    let title = format!("compared with {}", comparison.baseline);
    let differences = comparison.differences.iter().map(|difference| {
        let difference = clean(difference);
        format!("{WARNING}the runs differ:{WARNING:#} {difference}")
    });
    let lines = std::iter::once(title).chain(differences);
    lines.chain(aligned(&rows)).collect()
}

/// The change of each figure; `new` or `gone` for a label that only one run has.
fn changes(label: &str, pair: &FiguresPair) -> Vec<String> {
    match (&pair.baseline, &pair.current) {
        (None, Some(_)) => vec![label.to_owned(), "new".to_owned()],
        (Some(_), None) => vec![label.to_owned(), "gone".to_owned()],
        _ => row(label, |(_, name)| match pair.change_percent.get(name) {
            Some(percent) if percent.abs() < 0.05 => "=".to_owned(),
            Some(percent) => format!("{percent:+.1}%"),
            None => "-".to_owned(),
        }),
    }
}

fn errors(errors: &[ErrorKind]) -> Vec<String> {
    let title = errors.first().map(|_| "errors".to_owned());
    let shown = errors.iter().take(MAX_ERRORS).map(|error| {
        let what = format!("{} {}", error.code, error.message);
        format!("  {:>8}  {}", error.count, clean(what.trim()))
    });
    let more = errors.len().saturating_sub(MAX_ERRORS);
    let more = (more > 0).then(|| format!("  and {more} more kinds"));
    title.into_iter().chain(shown).chain(more).collect()
}

fn criteria(judgement: &Judgement) -> Vec<String> {
    let title = judgement.criteria.first().map(|_| "criteria".to_owned());
    let criteria = judgement.criteria.iter().map(criterion);
    title.into_iter().chain(criteria).collect()
}

fn criterion(one: &CriterionResult) -> String {
    let (style, mark) = mark(one);
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
    table::aligned(rows, |column, cell, width| match column {
        0 => format!("{cell:<width$}"),
        _ => format!("{cell:>width$}"),
    })
}
