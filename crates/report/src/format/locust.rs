//! Locust's CSV files: figures aggregated by Locust.

use super::numbers::{number, whole};
use super::rows::Rows;
use super::table::{self, Header, Table};
use super::{BadRow, Figures, FileTally, KnownFigures, PercentilePoint, Summary, to_f64, to_u64};
use crate::histogram::curve;
use crate::summary::LOCUST_CSV;
use atq_api_spec::report::SeriesPoint;

/// The name of the row with the totals.
const ALL: &[u8] = b"Aggregated";

/// True for the row with the totals: it has no type, which Locust 1.0 and older write as `None`.
fn is_total(kind: &[u8], name: &[u8]) -> bool {
    (name == ALL || name == b"Total") && matches!(kind, b"" | b"None")
}

/// `_stats.csv`: counts and percentiles at the end of the run.
#[derive(Debug, Default)]
pub struct Stats {
    header: Header<11>,
    percentiles: Vec<(usize, f64)>,
    summary: Summary,
}

impl Table for Stats {
    fn row(&mut self, rows: &Rows, into: &mut FileTally) -> Result<(), BadRow> {
        let Some(columns) = self.header.columns(rows, STATS)? else {
            self.header.0 = Some((rows.len(), stats_columns(rows)));
            self.percentiles = percentile_columns(rows);
            return Ok(());
        };
        let figures = figures(rows, &columns)?;
        if is_total(rows.get(0), rows.get(1)) {
            if self.summary.total.samples > 0 {
                into.found.wrong = Some("it has the totals of two runs".to_owned());
            }
            let rate = Some(figures.throughput).filter(|rate| *rate > 0.0);
            self.summary.duration = rate.map(|rate| to_f64(figures.samples) / rate);
            self.summary.total = figures;
            self.summary.distribution = distribution(rows, &self.percentiles);
        } else {
            let label = label(rows.get(0), rows.get(1));
            self.summary.add_label(&label, figures);
        }
        Ok(())
    }

    fn finish(&mut self, into: &mut FileTally) {
        into.note(
            "percentiles are Locust's own: it rounds times to two digits, and merges them for a run on several workers",
        );
        into.note(
            "Locust writes its CSV files periodically and not at its end: the last requests may be missing",
        );
        let mut summary = std::mem::take(&mut self.summary);
        into.found.is_summary = true;
        // Without the last row there are no totals.
        if summary.total.samples == 0 && !summary.labels.is_empty() {
            into.found.wrong = Some("its row `Aggregated` is missing".to_owned());
            let labels = summary.labels.iter().map(|label| &label.figures);
            summary.total = crate::summary::merge(labels);
        }
        summary.form = LOCUST_CSV;
        // Locust writes only headers if there was no request.
        into.summarise(summary);
    }
}

/// Positions of the columns in Locust 1.0 and later, or else in 0.13 and 0.14.
fn stats_columns(rows: &Rows) -> [usize; 11] {
    let mut columns = table::columns(rows, STATS);
    for (column, old) in columns.iter_mut().zip(table::columns(rows, OLD_STATS)) {
        *column = old.min(*column);
    }
    columns
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

/// The names of the first columns of [`STATS`] in old versions; the others differ in their case only.
const OLD_STATS: [&str; 2] = ["# requests", "# failures"];

fn figures(rows: &Rows, columns: &[usize; 11]) -> Result<Figures, BadRow> {
    let fields = columns.map(|column| rows.get(column));
    let [samples, errors, mean, min, max, size, rate, times @ ..] = fields;
    let count = |name, text| whole(text).ok_or_else(|| BadRow::value(name, text));
    let (samples, errors) = (
        count("Request Count", samples)?,
        count("Failure Count", errors)?,
    );
    // An unknown figure must not become zero, which would meet every limit.
    let known = |text| number(text).or((samples == 0).then_some(0.0));
    let [p50, p90, p95, p99] = times.map(known);
    let figures = KnownFigures {
        samples,
        errors: Some(errors),
        throughput: known(rate),
        min: known(min),
        mean: known(mean),
        p50,
        p90,
        p95,
        p99,
        max: known(max),
        received: Some(number(size).unwrap_or_default() * to_f64(samples)),
        sent: None,
    };
    Ok(figures.figures())
}

/// `GET /path`, as in Locust's tables.
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

/// The columns named like `99.9%`.
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

const HISTORY: [&str; 15] = [
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
    "Total Median Response Time",
    "Total Min Response Time",
    "Total Max Response Time",
];
/// Seconds between the reports of a worker to the master.
const REPORT_INTERVAL: u64 = 3;

/// Totals at a row of the history; the next row with other totals is an increment.
#[derive(Debug, Default, Clone, Copy)]
struct Totals {
    samples: f64,
    errors: f64,
    elapsed: f64,
    bytes: f64,
}

/// `_stats_history.csv`: figures per second.
#[derive(Debug, Default)]
pub struct History {
    header: Header<15>,
    before: Totals,
    /// The seconds of the first row, of the latest one, and of the latest one with new requests.
    first: Option<u64>,
    last: u64,
    last_new: u64,
    /// The second of the first row with users, or with requests.
    begun: Option<u64>,
    /// True if a row had no new requests and a later one had: workers report at intervals.
    has_workers: bool,
}

/// A row with the totals.
struct TotalRow {
    second: u64,
    users: Option<f64>,
    totals: Totals,
    /// Locust's percentiles of about the last ten seconds: 50, 90, 95, 99.
    percentiles: [f64; 4],
    /// Median, minimum and maximum since the start.
    since_start: [Option<f64>; 3],
}

impl Table for History {
    fn row(&mut self, rows: &Rows, into: &mut FileTally) -> Result<(), BadRow> {
        let Some(columns) = self.header.columns(rows, HISTORY)? else {
            return Ok(());
        };
        if !is_total(rows.get(columns[3]), rows.get(columns[2])) {
            return Ok(());
        }
        let row = TotalRow::read(rows, &columns)
            .ok_or_else(|| BadRow::value("Timestamp", rows.get(0)))?;
        self.add(&row, into);
        Ok(())
    }

    fn finish(&mut self, into: &mut FileTally) {
        into.note("percentiles over time are Locust's own of about the last ten seconds each; the longest time of a second is unknown");
    }
}

impl History {
    fn add(&mut self, row: &TotalRow, into: &mut FileTally) {
        // Statistics may be reset when all users are running; then the counters restart.
        let before = match row.totals.samples < self.before.samples {
            true => Totals::default(),
            false => self.before,
        };
        let new = Totals {
            samples: row.totals.samples - before.samples,
            errors: row.totals.errors - before.errors,
            elapsed: (row.totals.elapsed - before.elapsed).max(0.0),
            bytes: row.totals.bytes - before.bytes,
        };
        let first = *self.first.get_or_insert_with(|| {
            self.last_new = row.second;
            row.second
        });
        // Without this column, all rows may have users.
        if row.users != Some(0.0) || new.samples > 0.0 {
            self.begun.get_or_insert(row.second);
        }
        into.history.add(row.second, row.without_requests());
        if new.samples > 0.0 {
            let seconds = self.seconds(row.second);
            spread(&new, row, seconds, into);
            into.history.begin(row.second);
            self.last_new = row.second;
        }
        // Requests of workers that have not reported yet are missing in the latest seconds.
        let is_settled = row.second - self.last_new.min(row.second) > 2 * REPORT_INTERVAL;
        into.history.complete_until = match is_settled || !self.has_workers {
            true => row.second + 1,
            false => self.last_new + 1 - REPORT_INTERVAL.min(self.last_new),
        };
        into.history.total = Some(row.total(first));
        self.before = row.totals;
        self.last = row.second;
    }

    /// The number of seconds up to this one in which new requests were made.
    fn seconds(&mut self, second: u64) -> u64 {
        let is_first = self.before.samples == 0.0;
        self.has_workers |= !is_first && self.last > self.last_new;
        let since_last = match second.saturating_sub(self.last_new) {
            // Users without requests so far may have waited.
            since_start if is_first => since_start.min(REPORT_INTERVAL),
            since_last => since_last,
        };
        let at_least = if self.has_workers { REPORT_INTERVAL } else { 1 };
        let since_begun = second.saturating_sub(self.begun.unwrap_or(second));
        since_last
            .max(at_least)
            .min(since_begun)
            .clamp(1, MAX_SPREAD)
    }
}

/// Maximum number of seconds without new requests that are filled afterwards.
const MAX_SPREAD: u64 = 60;

/// Spreads requests evenly over the seconds in which they were made.
fn spread(new: &Totals, row: &TotalRow, seconds: u64, into: &mut FileTally) {
    let mean = new.elapsed / new.samples.max(1.0);
    let mut given = [0; 3];
    for nth in 1..=seconds {
        // Rounded sums, so that no request is lost or counted twice.
        let up_to = |all: f64| to_u64((all * to_f64(nth) / to_f64(seconds)).round());
        let sums = [new.samples, new.errors, new.bytes].map(up_to);
        let [samples, errors, received_bytes] =
            std::array::from_fn(|at| sums[at].saturating_sub(given[at]));
        given = sums;
        let second = row.second + nth - seconds;
        let known = match into.history.latest.contains_key(&second) {
            true => SeriesPoint::default(),
            false => row.percentiles(),
        };
        let point = SeriesPoint {
            samples,
            errors,
            mean,
            received_bytes,
            ..known
        };
        into.history.requests(second, point);
    }
}

impl TotalRow {
    fn read(rows: &Rows, columns: &[usize; 15]) -> Option<Self> {
        let fields = columns.map(|column| rows.get(column));
        let [second, users, _, _, samples, errors, mean, size, times @ ..] = fields;
        let (samples, errors) = (number(samples)?, number(errors)?);
        // The first rows have `N/A`.
        let or_zero = |text| number(text).unwrap_or_default();
        let [p50, p90, p95, p99, median, shortest, longest] = times;
        Some(Self {
            second: whole(second).filter(|second| *second < 253_402_300_800)?,
            users: number(users),
            totals: Totals {
                samples,
                errors,
                elapsed: or_zero(mean) * samples,
                bytes: or_zero(size) * samples,
            },
            percentiles: [p50, p90, p95, p99].map(or_zero),
            since_start: [median, shortest, longest].map(number),
        })
    }

    fn percentiles(&self) -> SeriesPoint {
        let [p50, p90, p95, p99] = self.percentiles;
        SeriesPoint {
            p50,
            p90,
            p95,
            p99,
            ..SeriesPoint::default()
        }
    }

    /// The users and percentiles of the second.
    fn without_requests(&self) -> SeriesPoint {
        SeriesPoint {
            active: self.users,
            ..self.percentiles()
        }
    }

    /// The figures since the start.
    fn total(&self, first: u64) -> Figures {
        let Totals {
            samples,
            errors,
            elapsed,
            bytes,
        } = self.totals;
        let [median, shortest, longest] = self.since_start;
        let seconds = self.second.saturating_sub(first);
        let known = KnownFigures {
            samples: to_u64(samples),
            errors: Some(to_u64(errors)),
            throughput: (seconds > 0).then(|| samples / to_f64(seconds)),
            min: shortest,
            mean: (samples > 0.0).then(|| elapsed / samples),
            p50: median,
            p90: None,
            p95: None,
            p99: None,
            max: longest,
            received: Some(bytes),
            sent: None,
        };
        known.figures()
    }
}

/// `_failures.csv`: errors by kind.
#[derive(Debug, Default)]
pub struct Failures {
    header: Header<0>,
}

impl Table for Failures {
    fn row(&mut self, rows: &Rows, into: &mut FileTally) -> Result<(), BadRow> {
        if self.header.columns(rows, [])?.is_none() {
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

/// `_exceptions.csv`: exceptions of the test's own code, which are not figures.
#[derive(Debug)]
pub struct Exceptions;

impl Table for Exceptions {
    fn row(&mut self, _: &Rows, _: &mut FileTally) -> Result<(), BadRow> {
        Ok(())
    }
}
