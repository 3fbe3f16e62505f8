//! Tables of figures. All times in a table have one unit, so that a column can be compared.

use atq_api_spec::report::{ErrorKind, Figures, NamedFigures, Report, ReportSource};
use maud::{Markup, html};

use super::charts::bars::bar;
use super::number::{NONE, bytes, count, fixed, percent, percent_digits, short, some};
use super::text;
use crate::sample::is_known;

/// Maximum number of listed kinds of errors.
const MAX_KINDS: usize = 200;

/// A container that scrolls if the table is wider than the page, or very long.
pub(super) fn scroll(label: &str, rows: usize, table: &Markup) -> Markup {
    let class = if rows > 40 { "scroll tall" } else { "scroll" };
    html! {
        div class=(class) role="region" aria-label=(label) tabindex="0" { (table) }
    }
}

/// Decimals of milliseconds: none if the median is at least 100 ms.
pub(super) fn decimals(total: &Figures) -> usize {
    match total.p50 {
        p50 if p50 >= 100.0 => 0,
        p50 if p50 >= 10.0 => 1,
        _ => 2,
    }
}

/// All figures of all labels.
pub(super) fn labels(report: &Report) -> Markup {
    let (rows, decimals) = (report.labels.len(), decimals(&report.total));
    html! {
        section id="labels" {
            h2 { "Labels" }
            p.lead { (some(rows, "label", "labels")) ". Response times in milliseconds, throughput in samples per second." }
            (scroll("Figures by label", rows, &html! {
                table.wide data-filter=[(rows > 12).then_some("labels")] {
                    thead { tr {
                        th scope="col" { "Label" }
                        @for name in COLUMNS { th.n scope="col" { (name) } }
                    } }
                    tbody.total { tr { th scope="row" { "All samples" } (cells(&report.total, decimals)) } }
                    tbody.rows {
                        @for label in &report.labels {
                            tr { th scope="row" { (text::name(&label.name, rows)) } (cells(&label.figures, decimals)) }
                        }
                    }
                }
            }))
        }
    }
}

const COLUMNS: [&str; 13] = [
    "Samples", "Errors", "Errors %", "Rate /s", "Min", "Mean", "p50", "p90", "p95", "p99", "Max",
    "Received", "Sent",
];

fn cells(figures: &Figures, decimals: usize) -> Markup {
    let times = [
        figures.min,
        figures.mean,
        figures.p50,
        figures.p90,
        figures.p95,
        figures.p99,
        figures.max,
    ];
    html! {
        td { (count(figures.samples)) }
        (failed(figures.errors, &errors_of(figures)))
        (failed(figures.errors, &percent_digits(figures.error_percent)))
        td { (short(figures.throughput)) }
        @for time in times { td { (fixed(time, decimals)) } }
        td { (received(figures)) }
        td { (sent(figures)) }
    }
}

pub(super) fn rate(figures: &Figures) -> String {
    format!("{}/s", short(figures.throughput))
}

pub(super) fn received(figures: &Figures) -> String {
    if_known(figures, "receivedBytes", bytes(figures.received_bytes))
}

/// The number of failed samples.
pub(super) fn errors_of(figures: &Figures) -> String {
    if_known(figures, "errors", count(figures.errors))
}

pub(super) fn sent(figures: &Figures) -> String {
    if_known(figures, "sentBytes", bytes(figures.sent_bytes))
}

fn if_known(figures: &Figures, wire: &str, text: String) -> String {
    match is_known(figures, wire) {
        true => text,
        false => NONE.to_owned(),
    }
}

fn failed(errors: u64, text: &str) -> Markup {
    html! {
        @if errors > 0 { td.e { (text) } } @else { td { (text) } }
    }
}

/// Figures of every worker, with bars for comparison.
pub(super) fn workers(report: &Report) -> Markup {
    let (workers, decimals) = (&report.workers, decimals(&report.total));
    let largest = |pick: fn(&Figures) -> f64| {
        let all = workers.iter().map(|worker| pick(&worker.figures));
        all.fold(0.0, f64::max)
    };
    let picks: [fn(&Figures) -> f64; 3] = [|f| f.throughput, |f| f.mean, |f| f.p95];
    let tops = picks.map(largest);
    html! {
        section id="workers" {
            h2 { "Workers" }
            p.lead { "Response times in milliseconds, throughput in samples per second. Bars are relative to the largest value of the column." }
            (scroll("Figures by worker", workers.len(), &html! {
                table {
                    thead { tr {
                        th scope="col" { "Worker" }
                        th.n scope="col" { "Samples" }
                        th.n scope="col" { "Errors" }
                        th.n scope="col" { "Errors %" }
                        th.n.barred scope="col" { "Rate /s" }
                        th.n.barred scope="col" { "Mean" }
                        th.n.barred scope="col" { "p95" }
                        th.n scope="col" { "p99" }
                        th.n scope="col" { "Max" }
                        th.n scope="col" { "Received" }
                    } }
                    tbody.rows { @for worker in workers { (worker_row(worker, workers.len(), decimals, tops)) } }
                }
            }))
        }
    }
}

fn worker_row(worker: &NamedFigures, of: usize, decimals: usize, tops: [f64; 3]) -> Markup {
    let figures = &worker.figures;
    html! {
        tr {
            th scope="row" { (text::name(&worker.name, of)) }
            td { (count(figures.samples)) }
            (failed(figures.errors, &errors_of(figures)))
            (failed(figures.errors, &percent_digits(figures.error_percent)))
            td { (short(figures.throughput)) (bar(figures.throughput, tops[0], "rate")) }
            td { (fixed(figures.mean, decimals)) (bar(figures.mean, tops[1], "mean")) }
            td { (fixed(figures.p95, decimals)) (bar(figures.p95, tops[2], "p95")) }
            td { (fixed(figures.p99, decimals)) }
            td { (fixed(figures.max, decimals)) }
            td { (received(figures)) }
        }
    }
}

/// Kinds of errors with bars.
pub(super) fn errors(report: &Report) -> Markup {
    let kinds = report.errors.get(..MAX_KINDS).unwrap_or(&report.errors);
    let rest = report.errors.get(MAX_KINDS..).unwrap_or_default();
    let largest = report.errors.iter().map(|kind| kind.count).max();
    html! {
        section id="errors" {
            h2 { "Errors by kind" }
            @if !is_known(&report.total, "errors") {
                p { "The result files do not identify failed samples." }
            } @else if report.total.errors == 0 {
                p { "No sample failed." }
            } @else if kinds.is_empty() {
                p { (count(report.total.errors)) " samples failed; the result files do not contain the kinds of errors." }
            } @else {
                (scroll("Errors by kind", kinds.len(), &html! {
                    table.kinds {
                        thead { tr {
                            th scope="col" { "Code" }
                            th scope="col" { "Message" }
                            th.n.barred scope="col" { "Samples" }
                            th.n scope="col" { "Of errors" }
                        } }
                        tbody.rows {
                            @for kind in kinds {
                                (kind_row(kind, kinds.len(), report.total.errors, largest.unwrap_or(0)))
                            }
                        }
                    }
                }))
                @if !rest.is_empty() {
                    p { (count(rest.len() as u64)) " less frequent kinds with "
                        (count(rest.iter().fold(0, |sum, kind| sum.saturating_add(kind.count)))) " samples are not shown." }
                }
            }
        }
    }
}

#[allow(clippy::cast_precision_loss)]
fn kind_row(kind: &ErrorKind, of: usize, errors: u64, largest: u64) -> Markup {
    let share = kind.count as f64 * 100.0 / errors as f64;
    html! {
        tr {
            th scope="row" { (text::name(&kind.code, of)) }
            td.message { (text::name(&kind.message, of)) }
            td { (count(kind.count)) (bar(kind.count as f64, largest as f64, "error")) }
            td { (percent(share)) }
        }
    }
}

/// Sources of the figures, and notes.
pub(super) fn sources(report: &Report) -> Markup {
    html! {
        section id="sources" {
            h2 { "Sources and notes" }
            @if report.sources.is_empty() {
                p { "No result files were found." }
            } @else {
                (scroll("Result files", report.sources.len(), &html! {
                    table {
                        thead { tr {
                            th scope="col" { "File" }
                            th scope="col" { "Format" }
                            th.n scope="col" { "Samples" }
                            th scope="col" { "Problem" }
                        } }
                        tbody.rows { @for source in &report.sources { (source_row(source, report.sources.len())) } }
                    }
                }))
            }
            @if !report.notes.is_empty() {
                h3 { "Notes" }
                ul.notes { @for note in &report.notes { li { (text::sentence(note)) } } }
            }
        }
    }
}

fn source_row(source: &ReportSource, of: usize) -> Markup {
    html! {
        tr {
            th scope="row" { (text::name(&source.path, of)) }
            td.l { @if source.format.is_empty() { "unknown" } @else { (text::name(&source.format, of)) } }
            td { (count(source.samples)) }
            td.l.message {
                @match (&source.problem, &source.ignored) {
                    (Some(problem), _) => (text::sentence(problem)),
                    (None, Some(ignored)) => { "not counted: " (text::sentence(ignored)) }
                    (None, None) => "none",
                }
            }
        }
    }
}
