//! Locust's CSV files: figures that Locust has summed up, not samples.

use super::Decoder;
use super::known_figures::{KnownFigures, curve};
use super::numbers::{number, whole};
use super::rows::Rows;
use super::table::{self, Header, Table};
use crate::file_tally::FileTally;
use crate::found::BadRow;
use crate::histogram::{to_f64, to_u64};
use crate::summary::{LOCUST_CSV, Summary};
use atq_api_spec::report::{Figures, PercentilePoint, SeriesPoint};

/// The name of the row that sums up all others.
const ALL: &[u8] = b"Aggregated";

/// Whether the row sums up all others: it has no type, which Locust 1.0 and older write as `None`.
fn is_total(kind: &[u8], name: &[u8]) -> bool {
    (name == ALL || name == b"Total") && matches!(kind, b"" | b"None")
}

/// `_stats.csv`: counts and percentiles at the end.
pub fn stats(_: &[u8]) -> Box<dyn Decoder> {
    table::decoder(b',', Stats::default())
}

#[derive(Debug, Default)]
struct Stats {
    header: Header<11>,
    percentiles: Vec<(usize, f64)>,
    summary: Summary,
}

impl Table for Stats {
    fn row(&mut self, rows: &Rows, into: &mut FileTally) -> Result<(), BadRow> {
        let find = |rows: &Rows| stats_columns(rows);
        let Some(columns) = self.header.columns(rows, find)? else {
            self.percentiles = percentile_columns(rows);
            return Ok(());
        };
        let figures = figures(rows, &columns)?;
        if is_total(rows.get(0), rows.get(1)) {
            if self.summary.total.samples > 0 {
                into.found.wrong = Some("it has the totals of two runs".to_owned());
            }
            self.summary.duration = duration(&figures);
            self.summary.total = figures;
            self.summary.distribution = distribution(rows, &self.percentiles);
        } else {
            let label = label(rows.get(0), rows.get(1));
            self.summary.add_label(&label, figures);
        }
        Ok(())
    }

    fn finish(&mut self, into: &mut FileTally) {
        note(into);
        let mut summary = std::mem::take(&mut self.summary);
        into.found.is_summary = true;
        // Without the last row the figures are none of the whole.
        if summary.total.samples == 0 && !summary.labels.is_empty() {
            into.found.wrong = Some("it has no row `Aggregated`".to_owned());
            let labels = summary.labels.iter().map(|label| &label.figures);
            summary.total = crate::summary::merge(labels);
        }
        summary.form = LOCUST_CSV;
        // Headers alone are what Locust leaves when it did not get to the first request.
        into.summarise(summary);
    }
}

/// Where the columns are: of Locust 1.0 and later, or else of 0.13 and 0.14.
fn stats_columns(rows: &Rows) -> [usize; 11] {
    let (new, old) = (table::columns(rows, STATS), table::columns(rows, OLD_STATS));
    std::array::from_fn(|at| new[at].min(old[at]))
}

fn note(into: &mut FileTally) {
    into.note(
        "percentiles are Locust's own: it rounds times to two digits, and of a run on several workers it has merged them",
    );
    into.note(
        "Locust writes its CSV files every second or so and not at its end: the last requests may be missing",
    );
}

const STATS: [&str; 11] = [
    "Request Count",
    "Failure Count",
    "Average Response Time",
    "Min Response Time",
    "Max Response Time",
    "Average Content Size",
    "Requests/s",
    "50%",
    "90%",
    "95%",
    "99%",
];

const OLD_STATS: [&str; 11] = [
    "# requests",
    "# failures",
    "Average response time",
    "Min response time",
    "Max response time",
    "Average Content Size",
    "Requests/s",
    "50%",
    "90%",
    "95%",
    "99%",
];

fn figures(rows: &Rows, columns: &[usize; 11]) -> Result<Figures, BadRow> {
    let [
        samples,
        errors,
        mean,
        min,
        max,
        size,
        rate,
        p50,
        p90,
        p95,
        p99,
    ] = columns.map(|column| rows.get(column));
    let count = |name, text| whole(text).ok_or_else(|| BadRow::value(name, text));
    let (samples, errors) = (
        count("Request Count", samples)?,
        count("Failure Count", errors)?,
    );
    // What is not told must not be taken for zero, which holds every limit.
    let told = |text| number(text).or((samples == 0).then_some(0.0));
    let figures = KnownFigures {
        samples,
        errors: Some(errors),
        throughput: told(rate),
        min: told(min),
        mean: told(mean),
        p50: told(p50),
        p90: told(p90),
        p95: told(p95),
        p99: told(p99),
        max: told(max),
        received: Some(number(size).unwrap_or_default() * to_f64(samples)),
        sent: None,
    };
    Ok(figures.figures())
}

fn duration(figures: &Figures) -> Option<f64> {
    (figures.throughput > 0.0).then(|| to_f64(figures.samples) / figures.throughput)
}

/// `GET /path`, as in Locust's own tables.
pub fn label(method: &[u8], name: &[u8]) -> String {
    let (method, name) = (
        String::from_utf8_lossy(method),
        String::from_utf8_lossy(name),
    );
    if method.is_empty() {
        name.into_owned()
    } else {
        format!("{method} {name}")
    }
}

/// The columns that are called `99.9%` and the like.
fn percentile_columns(rows: &Rows) -> Vec<(usize, f64)> {
    let named = rows.fields().enumerate().filter_map(|(column, name)| {
        let percentile = number(name.strip_suffix(b"%")?)?;
        (0.0..=100.0)
            .contains(&percentile)
            .then_some((column, percentile))
    });
    named.collect()
}

fn distribution(rows: &Rows, percentiles: &[(usize, f64)]) -> Vec<PercentilePoint> {
    let columns = percentiles.iter();
    curve(columns.map(|(column, percentile)| (*percentile, number(rows.get(*column)))))
}

const HISTORY: [&str; 12] = [
    "Timestamp",
    "User Count",
    "Name",
    "Type",
    "Total Request Count",
    "Total Failure Count",
    "Total Average Response Time",
    "Total Average Content Size",
    "50%",
    "90%",
    "95%",
    "99%",
];

/// The sums up to a row of the history, of which the next one is the increase.
#[derive(Debug, Default, Clone, Copy)]
struct Totals {
    samples: f64,
    errors: f64,
    elapsed: f64,
    bytes: f64,
}

/// `_stats_history.csv`: the figures every second.
pub fn history(_: &[u8]) -> Box<dyn Decoder> {
    table::decoder(b',', History::default())
}

#[derive(Debug, Default)]
struct History {
    header: Header<12>,
    before: Totals,
}

impl Table for History {
    fn row(&mut self, rows: &Rows, into: &mut FileTally) -> Result<(), BadRow> {
        let find = |rows: &Rows| table::columns(rows, HISTORY);
        let Some(columns) = self.header.columns(rows, find)? else {
            return Ok(());
        };
        if !is_total(rows.get(columns[3]), rows.get(columns[2])) {
            return Ok(());
        }
        let (second, point, totals) = point(rows, &columns, &self.before)
            .ok_or_else(|| BadRow::value("Timestamp", rows.get(0)))?;
        self.before = totals;
        into.history.add(second, point);
        Ok(())
    }

    fn finish(&mut self, into: &mut FileTally) {
        into.note("percentiles over time are Locust's own of about the last ten seconds each; the longest time of a second is unknown");
    }
}

fn point(
    rows: &Rows,
    columns: &[usize; 12],
    before: &Totals,
) -> Option<(u64, SeriesPoint, Totals)> {
    let [
        second,
        users,
        _,
        _,
        samples,
        errors,
        mean,
        size,
        p50,
        p90,
        p95,
        p99,
    ] = columns.map(|column| rows.get(column));
    let (samples, errors) = (number(samples)?, number(errors)?);
    // The first rows have `N/A`.
    let or_zero = |text| number(text).unwrap_or_default();
    let totals = Totals {
        samples,
        errors,
        elapsed: or_zero(mean) * samples,
        bytes: or_zero(size) * samples,
    };
    // Statistics can be reset when all users are there; then they begin anew.
    let before = if samples < before.samples {
        Totals::default()
    } else {
        *before
    };
    let new = samples - before.samples;
    let point = SeriesPoint {
        samples: to_u64(new),
        errors: to_u64(errors - before.errors),
        mean: (totals.elapsed - before.elapsed).max(0.0) / new.max(1.0),
        p50: or_zero(p50),
        p90: or_zero(p90),
        p95: or_zero(p95),
        p99: or_zero(p99),
        received_bytes: to_u64((totals.bytes - before.bytes).round()),
        active: number(users),
        ..SeriesPoint::default()
    };
    let second = whole(second).filter(|second| *second < 253_402_300_800)?;
    Some((second, point, totals))
}

/// `_failures.csv`: errors by kind.
pub fn failures(_: &[u8]) -> Box<dyn Decoder> {
    table::decoder(b',', Failures::default())
}

#[derive(Debug, Default)]
struct Failures {
    header: Header<0>,
}

impl Table for Failures {
    fn row(&mut self, rows: &Rows, into: &mut FileTally) -> Result<(), BadRow> {
        if self.header.columns(rows, |_| [])?.is_none() {
            return Ok(());
        }
        let occurrences =
            whole(rows.get(3)).ok_or_else(|| BadRow::value("Occurrences", rows.get(3)))?;
        let label = label(rows.get(0), rows.get(1));
        into.summary_errors
            .add(label.as_bytes(), rows.get(2), occurrences);
        Ok(())
    }
}

/// `_exceptions.csv`: what the test's own code raised, which is no figure.
pub fn exceptions(_: &[u8]) -> Box<dyn Decoder> {
    table::decoder(b',', Exceptions)
}

#[derive(Debug)]
struct Exceptions;

impl Table for Exceptions {
    fn row(&mut self, _: &Rows, _: &mut FileTally) -> Result<(), BadRow> {
        Ok(())
    }
}
