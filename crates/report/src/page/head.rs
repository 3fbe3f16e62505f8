//! The top of the page: the run, its verdict, and the main figures.

use atq_api_spec::report::{Comparison, CriterionResult, Judgement, Report, Verdict};
use maud::{Markup, html};

use super::number::{NONE, count, duration, millis, percent, utc};
use super::tables::errors_of;
use super::{comparison, tables, text};

/// The run and its verdict.
pub(super) fn header(report: &Report) -> Markup {
    html! {
        header {
            div.top {
                h1 { span.kind { "Load test report" } " " (text::name(&report.task, 1)) }
                (badge(report.judgement.as_ref()))
            }
            dl.run {
                (term("Run", &html! { (text::name(&report.run, 1)) }))
                (term("Start", &moment(report.started_at.as_deref())))
                (term("End", &moment(report.ended_at.as_deref())))
                (term("Duration", &html! { (span(report)) }))
                @if let Some(comparison) = &report.comparison {
                    (term("Compared with", &text::name(&comparison.baseline, 1)))
                }
            }
            @if let Some(judgement) = &report.judgement { (reasons(judgement)) }
        }
    }
}

fn term(name: &str, value: &Markup) -> Markup {
    html! { div { dt { (name) } dd { (value) } } }
}

fn moment(at: Option<&str>) -> Markup {
    html! {
        @match at {
            Some(at) => time datetime=(text::visible(at)) { (text::visible(&utc(at))) },
            None => (NONE),
        }
    }
}

fn span(report: &Report) -> String {
    match report.started_at.is_none() && report.duration == 0.0 {
        true => NONE.to_owned(),
        false => duration(report.duration),
    }
}

/// The verdict as a word with a symbol, so that it does not depend on colour.
fn badge(judgement: Option<&Judgement>) -> Markup {
    let (class, sign, word) = match judgement.map(|judgement| judgement.verdict) {
        Some(Verdict::Pass) => ("pass", "✓", "Pass"),
        Some(Verdict::Fail) => ("fail", "✕", "Fail"),
        Some(Verdict::Invalid) => ("invalid", "!", "Invalid"),
        None => ("unjudged", "", "No verdict"),
    };
    html! {
        p class={ "badge " (class) } {
            @if !sign.is_empty() { span aria-hidden="true" { (sign) } " " }
            (word)
        }
    }
}

fn reasons(judgement: &Judgement) -> Markup {
    let broken = judgement.criteria.iter().filter(|c| !c.holds).count();
    let of = judgement.criteria.len();
    html! {
        div.judgement {
            p { (summary(judgement.verdict, broken, of)) }
            @if !judgement.reasons.is_empty() {
                ul.reasons {
                    @for reason in &judgement.reasons { li { (text::sentence(reason)) } }
                }
            }
            @if !judgement.criteria.is_empty() { (criteria(&judgement.criteria)) }
        }
    }
}

fn summary(verdict: Verdict, broken: usize, of: usize) -> String {
    let result = |held: usize| match (held, of) {
        (_, 0) => "The task has no criteria.".to_owned(),
        (1, 1) => "Its only criterion holds.".to_owned(),
        (0, 1) => "Its only criterion does not hold.".to_owned(),
        (held, of) if held == of => format!("All {of} criteria hold."),
        (held, of) => format!("{held} of {of} criteria hold."),
    };
    let criteria = result(of - broken);
    match verdict {
        Verdict::Pass => format!("The run is valid. {criteria}"),
        Verdict::Fail => format!("The test failed. {criteria}"),
        Verdict::Invalid => "The run is inconclusive; its figures are not reliable.".to_owned(),
    }
}

fn criteria(criteria: &[CriterionResult]) -> Markup {
    html! {
        div.scroll role="region" aria-label="Criteria" tabindex="0" {
            table.criteria {
                thead { tr {
                    th scope="col" { "Criterion" }
                    th scope="col" { "Measured" }
                    th scope="col" { "Required" }
                    th scope="col" { "Holds" }
                } }
                tbody { @for criterion in criteria { (row(criterion, criteria.len())) } }
            }
        }
    }
}

fn row(criterion: &CriterionResult, of: usize) -> Markup {
    html! {
        tr {
            th scope="row" { (text::name(&criterion.criterion, of)) }
            @for value in [&criterion.seen, &criterion.wanted] {
                // A number and its unit stay on one line; a sentence may wrap.
                @let whole = value.chars().count() <= 16;
                td.whole[whole] { (text::name(value, of)) }
            }
            @if criterion.holds {
                td.holds { span aria-hidden="true" { "✓" } " yes" }
            } @else {
                td.broken { span aria-hidden="true" { "✕" } " no" }
            }
        }
    }
}

/// The figures of all samples.
pub(super) fn headline(report: &Report) -> Markup {
    let total = &report.total;
    let compared = report.comparison.as_ref();
    let failed = format!("{} of {}", errors_of(total), count(total.samples));
    html! {
        section id="headline" {
            h2 { "All samples" }
            dl.headline {
                (card("Samples", &count(total.samples), "", compared, "samples"))
                (card("Errors", &percent(total.error_percent), &failed, compared, "errorPercent"))
                (card("Throughput", &tables::rate(total), "", compared, "throughput"))
                (card("Mean", &millis(total.mean), "", compared, "mean"))
                (card("p50", &millis(total.p50), "", compared, "p50"))
                (card("p90", &millis(total.p90), "", compared, "p90"))
                (card("p95", &millis(total.p95), "", compared, "p95"))
                (card("p99", &millis(total.p99), "", compared, "p99"))
                (card("Max", &millis(total.max), &format!("min {}", millis(total.min)), compared, "max"))
                (card("Received", &tables::received(total), &format!("sent {}", tables::sent(total)),
                    compared, "receivedBytes"))
            }
        }
    }
}

fn card(
    name: &str,
    value: &str,
    more: &str,
    compared: Option<&Comparison>,
    figure: &str,
) -> Markup {
    html! {
        div {
            dt { (name) }
            dd {
                (value)
                @if !more.is_empty() { small { (more) } }
                @if let Some(comparison) = compared { (comparison::baseline_value(&comparison.total, figure)) }
            }
        }
    }
}
