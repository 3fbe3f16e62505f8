//! Comparison of a run with a baseline.

use atq_api_spec::report::{Comparison, Figures, FiguresPair, NamedPair};
use maud::{Markup, html};

use super::number::{self, NONE, count, millis, percent};
use super::{tables, text};
use crate::compare::named;
use crate::sample::is_known;

/// Smaller changes in percent count as the same.
const SAME_BELOW_PERCENT: f64 = 1.0;

/// A figure to compare.
struct Figure {
    /// Its name in JSON.
    wire: &'static str,
    name: &'static str,
    text: fn(&Figures) -> String,
    /// `None` for figures without a preferred direction.
    more_is_better: Option<bool>,
}

/// All figures; those with an index in `BY_LABEL` are in the table of labels.
const FIGURES: [Figure; 13] = [
    figure("samples", "Samples", |f| count(f.samples), None),
    figure("errors", "Errors", |f| count(f.errors), Some(false)),
    figure(
        "errorPercent",
        "Errors in percent",
        error_percent,
        Some(false),
    ),
    figure("throughput", "Throughput", tables::rate, Some(true)),
    figure("min", "Min", |f| millis(f.min), Some(false)),
    figure("mean", "Mean", |f| millis(f.mean), Some(false)),
    figure("p50", "p50", |f| millis(f.p50), Some(false)),
    figure("p90", "p90", |f| millis(f.p90), Some(false)),
    figure("p95", "p95", |f| millis(f.p95), Some(false)),
    figure("p99", "p99", |f| millis(f.p99), Some(false)),
    figure("max", "Max", |f| millis(f.max), Some(false)),
    figure("receivedBytes", "Received", tables::received, None),
    figure("sentBytes", "Sent", tables::sent, None),
];
const BY_LABEL: [usize; 6] = [2, 3, 5, 6, 8, 9];

const fn figure(
    wire: &'static str,
    name: &'static str,
    text: fn(&Figures) -> String,
    more_is_better: Option<bool>,
) -> Figure {
    Figure {
        wire,
        name,
        text,
        more_is_better,
    }
}

fn error_percent(figures: &Figures) -> String {
    percent(figures.error_percent)
}

/// The change of a figure.
struct Change {
    /// In percent, if defined.
    percent: Option<f64>,
    class: &'static str,
    word: &'static str,
}

impl Figure {
    fn change_of(&self, pair: &FiguresPair) -> Option<Change> {
        let (before, now) = (pair.baseline.as_ref()?, pair.current.as_ref()?);
        let percent = pair.change_percent.get(self.wire).copied();
        let value = |figures| {
            named(figures)
                .into_iter()
                .find(|(name, _)| *name == self.wire)
        };
        let difference = value(now)?.1 - value(before)?.1;
        if !difference.is_finite() {
            return None;
        }
        // A change from zero has no percentage, but a direction.
        let same = percent.map_or(difference == 0.0, |percent| {
            percent.abs() < SAME_BELOW_PERCENT
        });
        let (class, word) = match (same, self.more_is_better) {
            (true, _) => ("same", "same"),
            (false, None) => ("same", ""),
            // Failed samples are often fast.
            (false, Some(more)) if (difference > 0.0) == more && has_more_errors(before, now) => {
                ("same", "")
            }
            (false, Some(more)) if (difference > 0.0) == more => ("better", "better"),
            (false, Some(_)) => ("worse", "worse"),
        };
        Some(Change {
            percent,
            class,
            word,
        })
    }
}

fn has_more_errors(before: &Figures, now: &Figures) -> bool {
    let known =
        |figures: &Figures| is_known(figures, "errorPercent") && figures.error_percent.is_finite();
    known(before) && known(now) && now.error_percent > before.error_percent
}

impl Change {
    /// The change as text.
    fn text(&self) -> String {
        let arrow = match self.percent {
            _ if self.word == "same" => "",
            Some(percent) if percent < 0.0 => "▼\u{a0}",
            _ => "▲\u{a0}",
        };
        let percent = match self.percent {
            Some(percent) => number::change(percent),
            None if self.word == "same" => String::new(),
            None => "from 0".to_owned(),
        };
        // The number stays on one line; the word may wrap.
        let text = format!("{arrow}{} {}", percent.replace(' ', "\u{a0}"), self.word);
        text.trim().to_owned()
    }
}

/// The value of the baseline and the change, to be shown below a figure.
pub(super) fn baseline_value(total: &FiguresPair, wire: &str) -> Markup {
    let figure = FIGURES.iter().find(|figure| figure.wire == wire);
    let Some((figure, before)) = figure.zip(total.baseline.as_ref()) else {
        return html! {};
    };
    html! {
        small { "was " ((figure.text)(before)) }
        @if let Some(change) = figure.change_of(total) { small class=(change.class) { (change.text()) } }
    }
}

/// All figures of all samples.
pub(super) fn total(comparison: &Comparison) -> Markup {
    let pair = &comparison.total;
    html! {
        section id="comparison" {
            h2 { "Compared with " (text::name(&comparison.baseline, 1)) }
            @for difference in &comparison.differences {
                p { strong { "The runs differ:" } " " (text::sentence(difference)) "." }
            }
            p.lead { "Lower is better for response times and errors, higher for throughput. Changes below 1 % count as the same. If the error rate rose, no figure is marked as better." }
            (tables::scroll("Comparison of all samples", 13, &html! {
                table {
                    thead { tr {
                        th scope="col" { "Figure" }
                        th.n scope="col" { "Baseline" }
                        th.n scope="col" { "This run" }
                        th.n scope="col" { "Change" }
                    } }
                    tbody { @for figure in &FIGURES { (total_row(figure, pair)) } }
                }
            }))
        }
    }
}

fn total_row(figure: &Figure, pair: &FiguresPair) -> Markup {
    html! {
        tr {
            th scope="row" { (figure.name) }
            td { (text_of(figure, pair.baseline.as_ref())) }
            td { (text_of(figure, pair.current.as_ref())) }
            @match figure.change_of(pair) {
                Some(change) => td class=(change.class) { (change.text()) },
                None => td { (NONE) },
            }
        }
    }
}

fn text_of(figure: &Figure, figures: Option<&Figures>) -> String {
    figures.map_or_else(|| NONE.to_owned(), figure.text)
}

/// The comparison by label; a click on a heading sorts by the change.
pub(super) fn labels(comparison: &Comparison) -> Markup {
    let rows = comparison.labels.len();
    html! {
        section id="compared" {
            h2 { "Labels compared" }
            p.lead { "Figures of this run, with the change and the value of the baseline." }
            (tables::scroll("Comparison by label", rows, &html! {
                table.compared data-sort="change" {
                    thead { tr {
                        th scope="col" { "Label" }
                        @for at in BY_LABEL { th.n scope="col" { (FIGURES[at].name) } }
                    } }
                    tbody.rows { @for label in &comparison.labels { (label_row(label, rows)) } }
                }
            }))
        }
    }
}

fn label_row(label: &NamedPair, of: usize) -> Markup {
    let pair = &label.pair;
    html! {
        tr {
            th scope="row" { (text::name(&label.name, of)) }
            @if let Some(baseline) = &pair.baseline.as_ref().filter(|_| pair.current.is_none()) {
                td.gone colspan=(BY_LABEL.len()) {
                    "only in the baseline: " (count(baseline.samples)) " samples, p95 " (millis(baseline.p95))
                }
            } @else {
                @for at in BY_LABEL { (cell(&FIGURES[at], pair)) }
            }
        }
    }
}

fn cell(figure: &Figure, pair: &FiguresPair) -> Markup {
    let change = figure.change_of(pair);
    let sort = change.as_ref().and_then(|change| change.percent);
    html! {
        td data-v=[sort.map(|sort| format!("{sort:.1}"))] {
            (text_of(figure, pair.current.as_ref()))
            @match (change, &pair.baseline) {
                (Some(change), Some(before)) => {
                    small class=(change.class) { (change.text()) }
                    small { "was " ((figure.text)(before)) }
                },
                _ => small { "new" },
            }
        }
    }
}
