//! Resource usage of the containers: a table of all, and charts of some.

use std::collections::BTreeMap;

use atq_api_spec::report::{ContainerFigures, ContainerPoint};
use maud::{Markup, html};

use super::charts::containers::{self, Charted};
use super::charts::series::Span;
use super::number::{NONE, bytes, percent_digits, short, some};
use super::over_time::{MAX_ROWS, moment};
use super::tables::scroll;
use super::text;

/// Number of containers in a chart.
const MAX_CHARTED: usize = containers::CLASSES.len();

const COLUMNS: [&str; 11] = [
    "CPUs, mean",
    "CPUs, max",
    "CPU limit",
    "Max of limit %",
    "Memory, max",
    "Memory limit",
    "Max of limit %",
    "Received",
    "Sent",
    "Read",
    "Written",
];

/// The section; only for a report with containers.
pub(super) fn section(all: &[ContainerFigures]) -> Markup {
    html! {
        section id="containers" {
            h2 { "Containers" }
            p.lead {
                (some(all.len(), "container", "containers"))
                ". CPU usage and memory of workers and masters are those during the test, network and block I/O those since the start of the container. Memory is without page cache that can be dropped."
            }
            (scroll("Resource usage of the containers", all.len(), &html! {
                table.wide data-filter=[(all.len() > 12).then_some("containers")] {
                    thead { tr {
                        th scope="col" { "Container" }
                        th scope="col" { "Node" }
                        @for name in COLUMNS { th.n scope="col" { (name) } }
                    } }
                    tbody.rows { @for one in all { (row(one, all.len())) } }
                }
            }))
            (charts(all))
        }
    }
}

fn row(one: &ContainerFigures, of: usize) -> Markup {
    let size = |bytes_: Option<u64>| bytes_.map_or_else(|| NONE.to_owned(), bytes);
    let memory = one.memory_max.map(as_f64);
    html! {
        tr {
            th scope="row" { (text::name(&one.name, of)) }
            td.l { (text::name(&one.node, of)) }
            @for cpus in [one.cpu_mean, one.cpu_max, one.cpu_limit] { td { (cpus.map_or_else(|| NONE.to_owned(), short)) } }
            (share(one.cpu_max, one.cpu_limit))
            td { (size(one.memory_max)) }
            td { (size(one.memory_limit)) }
            (share(memory, one.memory_limit.map(as_f64)))
            @for bytes in [one.received_bytes, one.sent_bytes, one.read_bytes, one.written_bytes] { td { (size(bytes)) } }
        }
    }
}

/// A share of a limit; from 95 % on it is emphasised.
fn share(used: Option<f64>, limit: Option<f64>) -> Markup {
    let share = used.zip(limit).map(|(used, limit)| used / limit * 100.0);
    let text = share.map_or_else(|| NONE.to_owned(), percent_digits);
    html! {
        @if share.is_some_and(|share| share >= 95.0) { td.e { (text) } } @else { td { (text) } }
    }
}

#[allow(clippy::cast_precision_loss)]
fn as_f64(bytes: u64) -> f64 {
    bytes as f64
}

fn charts(all: &[ContainerFigures]) -> Markup {
    let points = || all.iter().flat_map(|one| &one.series.points);
    let interval = all.first().map_or(1.0, |one| one.series.interval);
    let Some(span) = Span::between(points().map(|point| point.at), interval) else {
        return html! { p { "There are no figures over time." } };
    };
    let cpu = select(
        all,
        |one| one.cpu_max.zip(one.cpu_limit).map(share_of),
        |p| p.cpu,
    );
    let memory = select(
        all,
        |one| one.memory_max.map(as_f64),
        |point| point.memory.map(as_f64),
    );
    let only = |what: &str| {
        let more = all.len() > MAX_CHARTED;
        html! { @if more { p.lead { "The " (MAX_CHARTED) " containers with the highest " (what) "." } } }
    };
    html! {
        div.pair {
            div.block {
                h3 { "CPU usage over time" }
                (only("CPU usage relative to their limit"))
                (containers::cpu(&cpu, span))
            }
            div.block {
                h3 { "Memory over time" }
                (only("memory"))
                (containers::memory(&memory, span))
            }
        }
        (table("cpu-table", "CPU usage over time", "Mean number of CPUs in use.", &cpu, span, short))
        (table("memory-table", "Memory over time", "Most used memory.", &memory, span, size_of))
    }
}

fn share_of((used, limit): (f64, f64)) -> f64 {
    used / limit
}

/// A size from a whole number of bytes.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn size_of(value: f64) -> String {
    bytes(value as u64)
}

/// The containers with the highest `rank`, in the order of the report, with a value at each time.
fn select(
    all: &[ContainerFigures],
    rank: impl Fn(&ContainerFigures) -> Option<f64>,
    value: impl Fn(&ContainerPoint) -> Option<f64>,
) -> Charted {
    let ranked = all.iter().enumerate().filter(|(_, one)| {
        let mut points = one.series.points.iter();
        points.any(|point| value(point).is_some())
    });
    let mut ranked: Vec<(usize, f64)> = ranked
        .map(|(at, one)| (at, rank(one).filter(|rank| rank.is_finite()).unwrap_or(0.0)))
        .collect();
    ranked.sort_by(|one, two| two.1.total_cmp(&one.1).then(one.0.cmp(&two.0)));
    ranked.truncate(MAX_CHARTED);
    ranked.sort_by_key(|(at, _)| *at);
    let chosen = || ranked.iter().filter_map(|(at, _)| all.get(*at));
    let mut rows: BTreeMap<u64, Vec<Option<f64>>> = BTreeMap::new();
    for (column, one) in chosen().enumerate() {
        for point in &one.series.points {
            let row = rows
                .entry(point.at)
                .or_insert_with(|| vec![None; ranked.len()]);
            row[column] = value(point).filter(|value| value.is_finite());
        }
    }
    Charted {
        names: chosen().map(|one| text::short(&one.name)).collect(),
        rows: rows.into_iter().collect(),
    }
}

/// The data of a chart.
fn table(
    id: &str,
    title: &str,
    unit: &str,
    charted: &Charted,
    span: Span,
    format: impl Fn(f64) -> String,
) -> Markup {
    let every = charted.rows.len().div_ceil(MAX_ROWS).max(1);
    html! {
        details {
            summary { (title) ", " (some(charted.rows.len(), "interval", "intervals")) }
            p.lead { (unit) " Intervals by their start in UTC." @if every > 1 { " One row in " (every) " is shown." } }
            (scroll(title, charted.rows.len() / every, &html! {
                table id=(id) {
                    thead { tr {
                        th scope="col" { "Start" }
                        @for name in &charted.names { th.n scope="col" { (name) } }
                    } }
                    tbody.rows {
                        @for (at, values) in charted.rows.iter().step_by(every) {
                            tr data-x=(format!("{:.4}", span.middle_of(*at))) {
                                th scope="row" { (moment(*at)) }
                                @for value in values { td { (value.map_or_else(|| NONE.to_owned(), &format)) } }
                            }
                        }
                    }
                }
            }))
        }
    }
}
