//! A report as one self-contained HTML page: it loads nothing, and is complete without scripts.

mod charts;
mod comparison;
mod containers;
mod head;
mod missing;
mod number;
mod over_time;
mod tables;
#[cfg(test)]
mod tests;
mod text;

use std::sync::LazyLock;

use atq_api_spec::report::{Report, Series};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest, Sha256};

use charts::series::{self, Span};

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");

/// Forbids loading and sending, and any other script or style, in case untrusted text gets into the markup.
static POLICY: LazyLock<String> = LazyLock::new(|| {
    let (style, script) = (hash_source(STYLE), hash_source(SCRIPT));
    format!(
        "default-src 'none'; style-src {style}; script-src {script}; base-uri 'none'; form-action 'none'"
    )
});

/// The content security policy of the page, as in its `meta` element; for the header of an HTTP answer.
pub fn policy() -> &'static str {
    &POLICY
}

/// The source of a content security policy that allows an inline script or style with exactly this content.
pub fn hash_source(content: &str) -> String {
    format!("'sha256-{}'", STANDARD.encode(Sha256::digest(content)))
}

/// Renders the page of a report. The output is deterministic.
pub fn html(report: &Report) -> String {
    let report = &missing::with_missing_as_nan(report);
    let title = format!("Report of {}", text::visible(&report.task));
    html! {
        (DOCTYPE)
        html lang="en" dir="ltr" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(policy());
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="referrer" content="no-referrer";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                (head::header(report))
                main { (body(report)) }
                footer { p { "Times are in UTC. Percentiles are computed from all samples, never averaged." } }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    }
    .into_string()
}

fn body(report: &Report) -> Markup {
    html! {
        @if report.total.samples == 0 {
            (no_samples(report))
        } @else {
            (head::headline(report))
            (contents(report))
        }
        @if let Some(comparison) = &report.comparison { (comparison::total(comparison)) }
        @if report.total.samples > 0 { (figures(report)) }
        @if let Some(comparison) = &report.comparison { (comparison::labels(comparison)) }
        @if !report.containers.is_empty() { (containers::section(&report.containers)) }
        (tables::sources(report))
    }
}

fn no_samples(report: &Report) -> Markup {
    html! {
        section.empty {
            h2 { "No samples" }
            @if report.sources.is_empty() {
                p { "The run has no result files in a known format, so there are no figures and no charts." }
            } @else {
                p { "The result files of the run contain no samples, so there are no figures and no charts." }
            }
        }
    }
}

/// Links to the sections.
fn contents(report: &Report) -> Markup {
    let links = [
        ("comparison", "Comparison", report.comparison.is_some()),
        ("over-time", "Over time", true),
        ("percentiles", "Percentiles", true),
        ("errors", "Errors", true),
        ("labels", "Labels", true),
        ("compared", "Labels compared", report.comparison.is_some()),
        ("workers", "Workers", !report.workers.is_empty()),
        ("containers", "Containers", !report.containers.is_empty()),
        ("sources", "Sources and notes", true),
    ];
    html! {
        nav aria-label="Sections" {
            @for (id, name, shown) in links {
                @if shown { a href={ "#" (id) } { (name) } " " }
            }
        }
    }
}

fn figures(report: &Report) -> Markup {
    html! {
        (over_time(&report.series))
        div.pair {
            (percentiles(report))
            (tables::errors(report))
        }
        (tables::labels(report))
        @if !report.workers.is_empty() { (tables::workers(report)) }
    }
}

fn over_time(series: &Series) -> Markup {
    let Some(span) = Span::of(series) else {
        return html! {
            section id="over-time" {
                h2 { "Over time" }
                p { "The result files have no timestamps, so there are no charts over time." }
            }
        };
    };
    let failed = series.points.iter().any(|point| point.errors > 0);
    let has_errors = !series.missing.iter().any(|name| name == "errors");
    let active = series.points.iter().any(|point| point.active.is_some());
    html! {
        section id="over-time" {
            h2 { "Response times over time" }
            (series::response_times(series, span))
            div.pair {
                div.block {
                    h3 { "Throughput over time" }
                    (series::throughput(series, span))
                }
                div.block {
                    h3 { "Active threads or users over time" }
                    @if active { (series::active(series, span)) }
                    @else { p { "The result files do not contain the number of active threads or users." } }
                }
            }
            h3 { "Errors over time" }
            @if !has_errors { p { "The result files do not identify failed samples." } }
            @else if failed { (series::errors(series, span)) }
            @else { p { "No sample failed." } }
            (over_time::table(series, span))
        }
    }
}

fn percentiles(report: &Report) -> Markup {
    html! {
        section id="percentiles" {
            h2 { "Response time by percentile" }
            @if report.distribution.is_empty() {
                p { "The result files do not contain the distribution of response times." }
            } @else {
                (charts::percentiles::curve(report))
                (over_time::distribution(report))
            }
        }
    }
}
