//! The live console: the figures of a running test, as a block of lines for a terminal or as one line.
//!
//! - [`lines`] and [`plain`]: the content, without any effect;
//! - [`text`]: lines measured in columns; [`numbers`]; [`table`](mod@table): tables of figures; [`layout`]: what fits on a terminal;
//! - [`block`]: drawing in place.

use super::step::description;
use super::throughput::Throughput;
use crate::out::{DIM, FAILURE, SUCCESS, WARNING};
use crate::terminal::Size;
use anstyle::Style;
use atq_api_spec::live::{
    LiveCondition, LiveContainer, LiveFigures, LiveGroup, LiveLoss, LiveTask,
};
use atq_api_spec::report::{CriterionResult, Figures, Report};
use atq_api_spec::task::Step;
use layout::{Section, fit, flow};
use numbers::{time, users};
use std::time::Duration;
use table::{Column, Figure, Limits, Row, table};
use text::{Line, left, one_line, width};

pub mod block;
pub mod layout;
pub mod numbers;
pub mod table;
pub mod text;

#[cfg(test)]
mod tests;

/// On a narrower terminal there is no block.
pub const MIN_COLUMNS: usize = 60;
/// A worker that uses this part of its processors is near its limit: then the verdict is at risk.
const BUSY_PERCENT: f64 = 90.0;
/// Figures that are behind by more than this are marked.
const MAX_LAG: Duration = Duration::from_secs(5);
/// Longest label of the final table in columns.
const MAX_LABEL: usize = 48;
/// Maximum number of labels of the final table.
const MAX_LABELS: usize = 50;
/// Maximum number of failing criteria of a plain line.
const MAX_LISTED: usize = 3;
/// The columns of the figures, in the order of their importance.
const FIGURES: [Column; 9] = [
    (Figure::Rate, 0),
    (Figure::Errors, 1),
    (Figure::Samples, 2),
    (Figure::Mean, 6),
    (Figure::P50, 3),
    (Figure::P90, 8),
    (Figure::P95, 4),
    (Figure::P99, 5),
    (Figure::Max, 7),
];
/// The columns of the labels.
const LABELS: [Column; 9] = [
    (Figure::Rate, 0),
    (Figure::Errors, 1),
    (Figure::Mean, 6),
    (Figure::P50, 3),
    (Figure::P90, 8),
    (Figure::P95, 4),
    (Figure::P99, 5),
    (Figure::Max, 7),
    (Figure::Total, 2),
];
/// The columns of the final table: all of them.
const FINAL: [Column; 9] = [
    (Figure::Samples, 0),
    (Figure::Errors, 0),
    (Figure::Rate, 0),
    (Figure::Mean, 0),
    (Figure::P50, 0),
    (Figure::P90, 0),
    (Figure::P95, 0),
    (Figure::P99, 0),
    (Figure::Max, 0),
];
/// The title of the labels of a table.
const TITLE: &str = "times in ms";

/// What is known of a running test.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// The latest figures.
    pub live: &'a LiveTask,
    /// The current step.
    pub step: Step,
    /// Time since the figures were received.
    pub age: Duration,
    /// Whether the connection to the Director is lost.
    pub is_reconnecting: bool,
    /// Throughput from the log of the master, for a test without figures.
    pub throughput: Option<&'a Throughput>,
}

impl View<'_> {
    /// The time since the start of the test. It goes on while the connection is lost.
    fn elapsed(&self) -> Option<u64> {
        let age = u64::try_from(self.age.as_millis()).unwrap_or(u64::MAX);
        let elapsed = self.live.elapsed_ms?;
        Some(match self.step {
            Step::Running => elapsed.saturating_add(age),
            _ => elapsed,
        })
    }

    /// `1:05 of at most 30:00`.
    fn clock(&self) -> Option<String> {
        let elapsed = time(self.elapsed()?);
        Some(format!(
            "{elapsed} of at most {}",
            time(self.live.max_duration_ms)
        ))
    }

    /// The seconds by which the figures are behind, if these are many.
    fn lag(&self) -> Option<u64> {
        let lag = Duration::from_millis(self.live.lag_ms?).saturating_add(self.age);
        (lag > MAX_LAG).then_some(lag.as_secs())
    }

    /// `3/3 workers`.
    fn workers(&self) -> String {
        let (running, wanted) = (self.live.workers.running, self.live.workers.wanted);
        let ending = if wanted == 1 { "" } else { "s" };
        format!("{running}/{wanted} worker{ending}")
    }

    fn active(&self) -> Option<String> {
        let active = self.live.figures.as_ref()?.active?;
        let ending = if active == 1.0 { "" } else { "s" };
        Some(format!("{} user{ending}", users(active)))
    }
}

/// The lines of the block, at most one less than the terminal has rows, and each narrower than it: a line of the full
/// width would wrap.
pub fn lines(view: &View<'_>, size: Size, with_labels: bool) -> Vec<Line> {
    let (columns, rows) = (size.columns.saturating_sub(1), size.rows.saturating_sub(1));
    let mut head = flow(headline(view), columns);
    let figures = view.live.figures.as_ref();
    match figures {
        Some(figures) => head.extend(totals(figures, columns)),
        None => head.extend(without_figures(view)),
    }
    let mut sections = vec![
        warnings(view.live),
        criteria(&view.live.criteria),
        conditions(&view.live.stop_when, view.step),
    ];
    sections.extend(
        figures
            // Final figures have no latest seconds; a table of them follows.
            .filter(|figures| with_labels && figures.last_seconds > 0)
            .map(|figures| labels(figures, columns)),
    );
    sections.extend(figures.map(notes));
    fit(head, sections, columns, rows)
}

fn headline(view: &View<'_>) -> Vec<Line> {
    let mut parts = vec![
        Line::plain(&view.live.task)
            .and(Style::new(), "  ")
            .and(Style::new(), description(view.step)),
    ];
    parts.extend(view.clock().map(Line::plain));
    if view.is_reconnecting {
        parts.push(Line::styled(WARNING, "reconnecting"));
    } else if let Some(lag) = view.lag() {
        parts.push(Line::styled(WARNING, format!("figures {lag} s behind")));
    }
    parts.push(worker_part(view));
    parts.extend(view.active().map(Line::plain));
    parts.extend(busiest(&view.live.containers).map(|generator| generator.line()));
    parts
}

fn worker_part(view: &View<'_>) -> Line {
    let line = Line::plain(view.workers());
    match view.live.workers.lost.len() {
        0 => line,
        lost => line
            .and(Style::new(), ", ")
            .and(FAILURE, format!("{lost} lost")),
    }
}

/// A load generator, and how busy it is.
struct Generator<'a> {
    name: &'a str,
    /// Number of CPUs in use.
    cpu: f64,
    /// The used part of the CPUs that it may use.
    percent: Option<f64>,
}

impl Generator<'_> {
    fn is_busy(&self) -> bool {
        self.percent.is_some_and(|percent| percent >= BUSY_PERCENT)
    }

    /// `CPU 97% (worker.2)`.
    fn text(&self) -> String {
        let used = match self.percent {
            Some(percent) => format!("{percent:.0}%"),
            None => format!("{:.1} in use", self.cpu),
        };
        format!("CPU {used} ({})", one_line(self.name))
    }

    fn line(&self) -> Line {
        match self.is_busy() {
            true => Line::styled(WARNING, format!("{}: near its limit", self.text())),
            false => Line::plain(self.text()),
        }
    }
}

/// The busiest worker; if the usage of no worker is known, the busiest container.
fn busiest(containers: &[LiveContainer]) -> Option<Generator<'_>> {
    let busiest_of = |role: &str| {
        let role = containers
            .iter()
            .filter(|container| container.name.starts_with(role));
        let load = |one: &Generator<'_>| (one.percent.unwrap_or(0.0), one.cpu);
        role.filter_map(generator).max_by(|one, other| {
            let (one, other) = (load(one), load(other));
            one.0.total_cmp(&other.0).then(one.1.total_cmp(&other.1))
        })
    };
    busiest_of("worker.").or_else(|| busiest_of(""))
}

fn generator(container: &LiveContainer) -> Option<Generator<'_>> {
    let cpu = container.cpu.filter(|cpu| cpu.is_finite() && *cpu >= 0.0)?;
    let limit = container
        .cpu_limit
        .filter(|limit| limit.is_finite() && *limit > 0.0);
    let percent = limit.map(|limit| (cpu * 100.0 / limit).min(9999.0));
    Some(Generator {
        name: &container.name,
        cpu,
        percent,
    })
}

/// The figures of the last seconds and in total.
fn totals(figures: &LiveFigures, columns: usize) -> Vec<Line> {
    let last = last_seconds(figures);
    let total = Row::of("total", &figures.total);
    let rows = match figures.last_seconds {
        // The final figures.
        0 => vec![total],
        _ => vec![Row::of(&last, &figures.last), total],
    };
    let limits = Limits {
        columns,
        label: last.len().max(TITLE.len()),
        keeps_columns: false,
    };
    let (head, rows) = table(TITLE, &rows, &FIGURES, limits);
    std::iter::once(head).chain(rows).collect()
}

/// `last 10 s`.
fn last_seconds(figures: &LiveFigures) -> String {
    format!("last {} s", figures.last_seconds)
}

fn nothing(view: &View<'_>) -> &'static str {
    match view.step {
        Step::Running => "no figures yet",
        _ => "no figures",
    }
}

fn without_figures(view: &View<'_>) -> Vec<Line> {
    let reported = view.throughput.map(|throughput| {
        let text = throughput.text();
        Line::plain(format!("according to the log of the master: {text}"))
    });
    let none = Line::styled(DIM, nothing(view));
    std::iter::once(none).chain(reported).collect()
}

/// Reasons why the figures are missing, not up to date, or cannot be trusted.
fn warnings(live: &LiveTask) -> Section {
    let doubts = live.figures.iter().flat_map(|figures| &figures.doubts);
    let texts = live.problem.iter().chain(doubts);
    let line = |text: &String| {
        (
            0,
            Line::styled(WARNING, "warning:")
                .and(Style::new(), " ")
                .and(Style::new(), text),
        )
    };
    Section {
        lines: texts.map(line).collect(),
        least: 2,
        ..Section::default()
    }
}

/// How a criterion stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Standing {
    Fails,
    NotYet,
    Holds,
}

impl Standing {
    /// A minimum of samples that is not reached, and a criterion without a figure, may still hold.
    fn of(result: &CriterionResult) -> Self {
        let is_minimum = result
            .criterion
            .trim_start()
            .to_ascii_lowercase()
            .starts_with("samples")
            && result.wanted.trim_start().starts_with('>');
        match (result.holds, result.not_evaluated.is_some() || is_minimum) {
            (true, _) => Self::Holds,
            (false, true) => Self::NotYet,
            (false, false) => Self::Fails,
        }
    }

    fn mark(self) -> (Style, &'static str) {
        match self {
            Self::Fails => (FAILURE, "fails"),
            Self::NotYet => (WARNING, "not yet"),
            Self::Holds => (SUCCESS, "holds"),
        }
    }
}

/// Width of the longest mark.
const MARK: usize = 7;

fn criteria(results: &[CriterionResult]) -> Section {
    let names: Vec<String> = results
        .iter()
        .map(|result| one_line(&result.criterion))
        .collect();
    let widest = names
        .iter()
        .map(|name| width(name))
        .max()
        .unwrap_or(0)
        .min(MAX_LABEL);
    let line = |(result, name): (&CriterionResult, &String)| {
        let standing = Standing::of(result);
        let (style, mark) = standing.mark();
        let line = Line::plain("  ")
            .and(style, left(mark, MARK))
            .and(Style::new(), "  ")
            .and(
                Style::new(),
                left(&text::cut_middle(name, MAX_LABEL), widest),
            )
            .and(
                Style::new(),
                format!("  seen {}, wanted {}", result.seen, result.wanted),
            );
        (standing as u8, line)
    };
    Section {
        title: Some(Line::styled(DIM, "criteria so far")),
        lines: results.iter().zip(&names).map(line).collect(),
        least: 3,
        left_out: 0,
    }
}

/// The conditions while the test runs; afterwards the one that ended it.
fn conditions(all: &[LiveCondition], step: Step) -> Section {
    let applies = |one: &&LiveCondition| step == Step::Running || one.has_ended_run;
    let conditions: Vec<&LiveCondition> = all.iter().filter(applies).collect();
    let names: Vec<String> = conditions
        .iter()
        .map(|one| one_line(&one.condition))
        .collect();
    let widest = names
        .iter()
        .map(|name| width(name))
        .max()
        .unwrap_or(0)
        .min(MAX_LABEL);
    let line = |(condition, name): (&&LiveCondition, &String)| {
        let name = left(&text::cut_middle(name, MAX_LABEL), widest);
        let line = Line::plain(format!("  {name}  "));
        let value = match (&condition.seen, &condition.unknown) {
            (Some(seen), _) => Line::plain(format!("seen {seen}")),
            (None, Some(reason)) => Line::styled(DIM, format!("unknown: {reason}")),
            (None, None) => Line::styled(DIM, "unknown"),
        };
        let line = line.join(value);
        match condition.has_ended_run {
            true => (
                0,
                line.and(Style::new(), "  ")
                    .and(FAILURE, "has ended the run"),
            ),
            false => (1, line),
        }
    };
    Section {
        title: (!conditions.is_empty()).then(|| Line::styled(DIM, "the run ends early when")),
        lines: conditions.iter().zip(&names).map(line).collect(),
        least: 2,
        left_out: 0,
    }
}

/// The labels with the highest rates.
fn labels<'a>(figures: &'a LiveFigures, columns: usize) -> Section {
    let row = |label: &'a LiveGroup| {
        let name = format!("  {}", label.name);
        Row::of_last(&name, &label.last, label.total.samples)
    };
    let rows: Vec<Row<'_>> = figures.labels.iter().map(row).collect();
    let limits = Limits {
        columns,
        label: columns,
        keeps_columns: false,
    };
    let title = format!("labels, {}", last_seconds(figures));
    let (head, rows) = table(&title, &rows, &LABELS, limits);
    Section {
        title: Some(head),
        lines: rows.into_iter().map(|line| (0, line)).collect(),
        least: 5,
        left_out: figures.labels_left_out,
    }
}

fn notes(figures: &LiveFigures) -> Section {
    Section {
        lines: figures
            .notes
            .iter()
            .map(|note| (0, Line::styled(DIM, format!("note: {note}"))))
            .collect(),
        ..Section::default()
    }
}

/// The same in one line, without the name of the task.
pub fn plain(view: &View<'_>) -> String {
    let live = view.live;
    let mut now: Vec<String> = view.clock().into_iter().collect();
    now.push(view.workers());
    let lost = live.workers.lost.len();
    now.extend((lost > 0).then(|| format!("{lost} lost")));
    now.extend(view.active());
    let mut parts = vec![format!("{}: {}", description(view.step), now.join(", "))];
    match &live.figures {
        Some(figures) => {
            parts.push(format!(
                "{}: {}",
                last_seconds(figures),
                plain_figures(&figures.last)
            ));
            parts.push(format!("total: {}", plain_figures(&figures.total)));
        }
        None => parts.push(match view.throughput {
            Some(throughput) => throughput.text(),
            None => nothing(view).to_owned(),
        }),
    }
    parts.extend(plain_criteria(&live.criteria));
    parts.extend(plain_conditions(&live.stop_when));
    parts.extend(busiest(&live.containers).map(|generator| generator.line().text()));
    if view.is_reconnecting {
        parts.push("reconnecting".to_owned());
    } else if let Some(lag) = view.lag() {
        parts.push(format!("figures {lag} s behind"));
    }
    let warnings = warnings(live).lines;
    parts.extend(warnings.into_iter().map(|(_, line)| line.text()));
    parts.join("; ")
}

/// `1231.4/s, 0.41% errors, 12312 samples, p50/p95/p99 98/310/800 ms`.
fn plain_figures(figures: &Figures) -> String {
    let [rate, errors, samples] =
        [Figure::Rate, Figure::Errors, Figure::Samples].map(|figure| figure.of(figures));
    let times = [Figure::P50, Figure::P95, Figure::P99].map(|figure| figure.of(figures));
    format!(
        "{rate}/s, {errors} errors, {samples} samples, p50/p95/p99 {} ms",
        times.join("/")
    )
}

/// `2 criteria hold, 1 not yet, 1 failing: p95 < 500ms (seen 612 ms)`.
fn plain_criteria(results: &[CriterionResult]) -> Option<String> {
    let standing = |wanted: Standing| {
        results
            .iter()
            .filter(move |result| Standing::of(result) == wanted)
    };
    let (hold, open, fail) = (
        standing(Standing::Holds).count(),
        standing(Standing::NotYet).count(),
        standing(Standing::Fails).count(),
    );
    let failing = standing(Standing::Fails).take(MAX_LISTED).map(|result| {
        let (criterion, seen) = (one_line(&result.criterion), one_line(&result.seen));
        format!("{criterion} (seen {seen})")
    });
    let failing: Vec<String> = failing.collect();
    let counts = [
        Some(format!("{hold} of {} criteria hold", results.len())),
        (open > 0).then(|| format!("{open} not yet")),
        (fail > 0).then(|| format!("{fail} failing: {}", failing.join(", "))),
    ];
    let counts: Vec<String> = counts.into_iter().flatten().collect();
    (!results.is_empty()).then(|| counts.join(", "))
}

/// `ends early when errors > 20% for 30s (seen 0.4 %)`.
fn plain_conditions(conditions: &[LiveCondition]) -> Option<String> {
    let texts: Vec<String> = conditions
        .iter()
        .take(MAX_LISTED)
        .map(|condition| {
            let seen = match &condition.seen {
                Some(seen) => format!("seen {}", one_line(seen)),
                None => "unknown".to_owned(),
            };
            format!("{} ({seen})", one_line(&condition.condition))
        })
        .collect();
    (!texts.is_empty()).then(|| format!("ends early when {}", texts.join(", ")))
}

/// The line about a lost worker.
pub fn loss(loss: &LiveLoss) -> String {
    format!(
        "{FAILURE}worker {} lost:{FAILURE:#} {}",
        loss.replica,
        one_line(&loss.reason)
    )
}

/// The final table of a report for this number of columns, if it is known; empty without samples. Every figure is shown
/// on any terminal: a narrow one wraps the lines.
pub fn final_table(report: &Report, columns: Option<usize>) -> Vec<Line> {
    if report.total.samples == 0 {
        return Vec::new();
    }
    let mut labels: Vec<_> = report.labels.iter().collect();
    // Few labels keep their order: sorted by name.
    if labels.len() > MAX_LABELS {
        labels.sort_by_key(|label| std::cmp::Reverse(label.figures.samples));
    }
    let shown = labels.iter().take(MAX_LABELS);
    let mut rows: Vec<Row<'_>> = shown
        .map(|label| Row::of(&label.name, &label.figures))
        .collect();
    rows.push(Row::of("total", &report.total));
    let limits = Limits {
        columns: columns.unwrap_or(usize::MAX),
        label: MAX_LABEL,
        keeps_columns: true,
    };
    let (head, mut rows) = table(TITLE, &rows, &FINAL, limits);
    let more = labels.len().saturating_sub(MAX_LABELS);
    if more > 0 {
        let more = format!("and {more} more labels: `atq report {}`", report.task);
        rows.insert(MAX_LABELS, Line::styled(DIM, more));
    }
    std::iter::once(head).chain(rows).collect()
}
