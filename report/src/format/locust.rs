//! Locust's CSV files: figures that Locust has summed up, not samples.

use super::numbers::{number, whole};
use super::rows::{Row, Rows};
use super::{File, Found};
use crate::histogram::{to_f64, to_u64};
use crate::summary::Summary;
use crate::tally::Tally;
use atq_api_spec::report::{Figures, NamedFigures, PercentilePoint, SeriesPoint};
use std::io::{self, Read};

/// The name of the row that sums up all others.
const ALL: &[u8] = b"Aggregated";

/// Where a column is, by its name in the header.
fn columns<R: Read, const N: usize>(rows: &Rows<R>, names: [&str; N]) -> [usize; N] {
    names.map(|name| {
        let found = rows.fields().position(|field| field == name.as_bytes());
        found.unwrap_or(usize::MAX)
    })
}

/// `_stats.csv`: counts and percentiles at the end.
pub fn stats(
    file: &File<'_>,
    reader: impl Read,
    tally: &mut Tally,
    found: &mut Found,
) -> io::Result<()> {
    let mut rows = Rows::new(reader);
    rows.next()?;
    let count = rows.len();
    let percentiles = percentile_columns(&rows);
    let columns = columns(&rows, STATS);
    let mut summary = Summary {
        worker: file.worker.to_owned(),
        ..Summary::default()
    };
    loop {
        let row = rows.next()?;
        let figures = match row {
            Row::End => break,
            Row::Fields if rows.len() == count => figures(&rows, &columns),
            _ => None,
        };
        let Some(figures) = figures else {
            found.bad_row(rows.number(), !rows.terminated());
            continue;
        };
        if rows.get(1) == ALL && rows.get(0).is_empty() {
            found.samples = figures.samples;
            summary.duration = duration(&figures);
            summary.total = figures;
            summary.distribution = distribution(&rows, &percentiles);
        } else {
            summary.labels.push(NamedFigures {
                name: label(rows.get(0), rows.get(1)),
                figures,
            });
        }
    }
    note(tally);
    // Without the last row the figures are none of the whole.
    if summary.total.samples == 0 && !summary.labels.is_empty() {
        let labels = summary.labels.iter().map(|label| &label.figures);
        summary.total = crate::summary::merge(labels);
        found.samples = summary.total.samples;
    }
    // Headers alone are what Locust leaves when it did not get to the first request.
    if summary.total.samples > 0 {
        tally.summaries.push(summary);
    }
    Ok(())
}

fn note(tally: &mut Tally) {
    tally.note(
        "percentiles are Locust's own: it rounds times to two digits, and of a run on several workers it has merged them",
    );
    tally.note(
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

fn figures<R: Read>(rows: &Rows<R>, columns: &[usize; 11]) -> Option<Figures> {
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
    let (samples, errors) = (whole(samples)?, whole(errors)?);
    // What is not told must not be taken for zero, which holds every limit.
    let named = [
        ("min", min),
        ("mean", mean),
        ("p50", p50),
        ("p90", p90),
        ("p95", p95),
        ("p99", p99),
        ("max", max),
        ("throughput", rate),
    ];
    let missing = named
        .iter()
        .filter(|(_, text)| samples > 0 && number(text).is_none());
    let or_zero = |text| number(text).unwrap_or_default();
    let mut missing: Vec<String> = missing.map(|(name, _)| (*name).to_owned()).collect();
    missing.push("sentBytes".to_owned());
    Some(Figures {
        samples,
        errors,
        error_percent: to_f64(errors) / to_f64(samples.max(1)) * 100.0,
        throughput: or_zero(rate),
        min: or_zero(min),
        mean: or_zero(mean),
        p50: or_zero(p50),
        p90: or_zero(p90),
        p95: or_zero(p95),
        p99: or_zero(p99),
        max: or_zero(max),
        received_bytes: to_u64((or_zero(size) * to_f64(samples)).round()),
        sent_bytes: 0,
        missing,
    })
}

fn duration(figures: &Figures) -> Option<f64> {
    (figures.throughput > 0.0).then(|| to_f64(figures.samples) / figures.throughput)
}

/// `GET /path`, as in Locust's own tables.
fn label(method: &[u8], name: &[u8]) -> String {
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
fn percentile_columns<R: Read>(rows: &Rows<R>) -> Vec<(usize, f64)> {
    let named = rows.fields().enumerate().filter_map(|(column, name)| {
        let percentile = number(name.strip_suffix(b"%")?)?;
        (0.0..=100.0)
            .contains(&percentile)
            .then_some((column, percentile))
    });
    named.collect()
}

fn distribution<R: Read>(rows: &Rows<R>, percentiles: &[(usize, f64)]) -> Vec<PercentilePoint> {
    let points = percentiles.iter().filter_map(|(column, percentile)| {
        Some(PercentilePoint {
            percentile: *percentile,
            millis: number(rows.get(*column))?,
        })
    });
    points.collect()
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
pub fn history(reader: impl Read, tally: &mut Tally, found: &mut Found) -> io::Result<()> {
    let mut rows = Rows::new(reader);
    rows.next()?;
    let count = rows.len();
    let columns = columns(&rows, HISTORY);
    let mut before = Totals::default();
    loop {
        match rows.next()? {
            Row::End => break,
            Row::Fields if rows.len() == count => {
                if rows.get(columns[2]) != ALL || !rows.get(columns[3]).is_empty() {
                    continue;
                }
                if let Some((second, point, totals)) = point(&rows, &columns, &before) {
                    before = totals;
                    tally.history.add(second, point);
                    continue;
                }
            }
            _ => {}
        }
        found.bad_row(rows.number(), !rows.terminated());
    }
    tally.note("percentiles over time are Locust's own of about the last ten seconds each; it does not tell the longest time of a second");
    Ok(())
}

fn point<R: Read>(
    rows: &Rows<R>,
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
pub fn failures(reader: impl Read, tally: &mut Tally, found: &mut Found) -> io::Result<()> {
    let mut rows = Rows::new(reader);
    rows.next()?;
    let count = rows.len();
    loop {
        match rows.next()? {
            Row::End => return Ok(()),
            Row::Fields if rows.len() == count => {
                if let Some(occurrences) = whole(rows.get(3)) {
                    let label = label(rows.get(0), rows.get(1));
                    let (code, error) = (label.as_bytes(), rows.get(2));
                    tally.summary_errors.add(code, error, occurrences);
                    continue;
                }
            }
            _ => {}
        }
        found.bad_row(rows.number(), !rows.terminated());
    }
}
