//! RabbitMQ PerfTest's CSV (`--output-file`): a row per interval, with rates of messages and
//! percentiles of latencies.
//!
//! The report has three labels, each with its own messages: `publish`, `confirm` and
//! `consume`. The total is the last of them that was measured.

use super::numbers::number;
use super::rows::Rows;
use super::table::Table;
use super::{BadRow, FileTally, KnownFigures, PercentilePoint, Summary, to_u64};
use crate::histogram::curve;

/// The columns before the latencies. They are preceded by an id that may contain commas.
const RATES: [&str; 6] = [
    "time (s)",
    "published (msg/s)",
    "returned (msg/s)",
    "confirmed (msg/s)",
    "nacked (msg/s)",
    "received (msg/s)",
];
/// The latencies of consumers and of confirms, without their unit.
const LATENCIES: [&str; 5] = ["min", "median", "75th p.", "95th p.", "99th p."];
/// Maximum plausible duration of a test in seconds.
const MAX_SECONDS: f64 = 1e9;
/// Maximum plausible rate of messages per second.
const MAX_RATE: f64 = 1e12;

/// True if these are the names of its columns.
pub fn is_header(names: &[&[u8]]) -> bool {
    names.first() == Some(&b"id".as_slice()) && Columns::of(names).is_some()
}

/// Positions of the columns, counted from the last one, which is zero.
#[derive(Debug)]
struct Columns {
    count: usize,
    rates: [usize; 6],
    consumer: Option<Place>,
    confirm: Option<Place>,
}

/// Columns of latencies, and the number of their units in a millisecond.
#[derive(Debug)]
struct Place {
    columns: [usize; 5],
    millis: f64,
}

impl Columns {
    fn of(names: &[&[u8]]) -> Option<Self> {
        let from_last = |at: usize| names.len().checked_sub(at + 1);
        let mut rates = [0; 6];
        for (place, wanted) in rates.iter_mut().zip(RATES) {
            let found = names.iter().position(|name| *name == wanted.as_bytes());
            *place = from_last(found?)?;
        }
        Some(Self {
            count: names.len(),
            rates,
            consumer: Place::of(names, "consumer"),
            confirm: Place::of(names, "confirm"),
        })
    }
}

impl Place {
    fn of(names: &[&[u8]], whose: &str) -> Option<Self> {
        let mut columns = [0; 5];
        let mut millis = None;
        for (place, which) in columns.iter_mut().zip(LATENCIES) {
            let begins = format!("{which} {whose} latency (");
            let found = names
                .iter()
                .position(|name| name.starts_with(begins.as_bytes()))?;
            *place = names.len().checked_sub(found + 1)?;
            millis = unit(names.get(found)?.get(begins.len()..)?);
        }
        Some(Self {
            columns,
            millis: millis?,
        })
    }
}

/// `ms)`, or `µs)` in any encoding.
fn unit(text: &[u8]) -> Option<f64> {
    let text = String::from_utf8_lossy(text.strip_suffix(b")")?);
    let text: Vec<char> = text.chars().collect();
    match text.as_slice() {
        ['m', 's'] => Some(1.0),
        ['n', 's'] => Some(1e-6),
        [_, 's'] => Some(1e-3),
        _ => None,
    }
}

/// The intervals of a file.
#[derive(Debug, Default)]
pub struct PerfTest {
    columns: Option<Columns>,
    /// The end of the previous interval in seconds.
    before: f64,
    seconds: f64,
    /// Published, returned, confirmed, nacked and received messages.
    messages: [Messages; 5],
    consumer: Latency,
    confirm: Latency,
    rows: u64,
    bad: u64,
}

/// Number of messages; `None`: not measured.
type Messages = Option<f64>;

/// The lowest minimum of the latencies, and the highest of each percentile, in milliseconds.
#[derive(Debug, Default)]
struct Latency([Option<f64>; 5]);

impl Table for PerfTest {
    fn row(&mut self, rows: &Rows, _: &mut FileTally) -> Result<(), BadRow> {
        // An appended run has a header as well.
        if self.columns.is_none() || rows.get(0) == b"id" {
            self.columns = Columns::of(&rows.fields().collect::<Vec<_>>()).or(self.columns.take());
            self.before = 0.0;
            return Ok(());
        }
        let read = match rows.terminated {
            true => self.interval(rows),
            // PerfTest terminates each row: the last value of an unterminated one may be truncated.
            false => Err(BadRow::Malformed),
        };
        self.bad += u64::from(read.is_err());
        read
    }

    fn finish(&mut self, into: &mut FileTally) {
        if self.bad > 0 {
            let rows = self.bad;
            into.found.wrong.get_or_insert_with(|| {
                format!("{rows} rows cannot be read: the messages of these intervals are missing")
            });
        }
        if self.rows == 0 {
            return;
        }
        let mut summary = Summary {
            form: "perftest",
            worker: into.worker.clone(),
            duration: (self.seconds > 0.0).then_some(self.seconds),
            ..Summary::default()
        };
        let nothing = Latency::default();
        let [published, returned, confirmed, nacked, received] = self.messages;
        let answers = match (confirmed, nacked) {
            (None, None) => None,
            (acks, nacks) => Some(acks.unwrap_or_default() + nacks.unwrap_or_default()),
        };
        let labels = [
            ("publish", published, returned, &nothing),
            ("confirm", answers, nacked, &self.confirm),
            ("consume", received, None, &self.consumer),
        ];
        let mut total = "";
        for (name, messages, errors, latency) in labels {
            let Some(messages) = messages else { continue };
            let figures = self.known(messages, errors, latency).figures();
            summary.add_label(name, figures.clone());
            summary.total = figures;
            summary.distribution = latency.distribution();
            total = name;
        }
        note(total, into);
        into.found.samples = summary.total.samples;
        if summary.labels.iter().any(|label| label.figures.samples > 0) {
            into.summary = Some(summary);
        }
    }
}

impl PerfTest {
    fn interval(&mut self, rows: &Rows) -> Result<(), BadRow> {
        let Some(columns) = &self.columns else {
            return Err(BadRow::Malformed);
        };
        let count = rows.len();
        if count < columns.count {
            return Err(BadRow::Fields(count, columns.count));
        }
        // An id with commas is not quoted.
        let field = |from_last: usize| rows.get(count - 1 - from_last.min(count - 1)).trim_ascii();
        let [time, rates @ ..] = columns.rates.map(field);
        let end = number(time)
            .filter(|time| (0.0..MAX_SECONDS).contains(time))
            .ok_or_else(|| BadRow::value("time (s)", time))?;
        let seconds = match end - self.before {
            seconds if seconds >= 0.0 => seconds,
            // The time restarts.
            _ => end,
        };
        let mut known = [None; 5];
        for (known, text) in known.iter_mut().zip(rates) {
            *known = rate(text)?;
        }
        let read = |place: &Option<Place>| match place {
            Some(place) => latency(place, field),
            None => Ok([None; 5]),
        };
        let (consumer, confirm) = (read(&columns.consumer)?, read(&columns.confirm)?);
        for (sum, rate) in self.messages.iter_mut().zip(known) {
            if let Some(rate) = rate {
                *sum = Some(sum.unwrap_or_default() + rate * seconds);
            }
        }
        self.consumer.add(consumer);
        self.confirm.add(confirm);
        self.before = end;
        self.seconds += seconds;
        self.rows += 1;
        Ok(())
    }

    fn known(&self, messages: f64, errors: Messages, latency: &Latency) -> KnownFigures {
        let [min, p50, _, p95, p99] = latency.0;
        KnownFigures {
            samples: to_u64(messages.round()),
            errors: errors.map(|errors| to_u64(errors.round())),
            throughput: (self.seconds > 0.0).then(|| messages / self.seconds),
            min,
            p50,
            p95,
            p99,
            ..KnownFigures::default()
        }
    }
}

fn rate(text: &[u8]) -> Result<Option<f64>, BadRow> {
    match text {
        b"" => Ok(None),
        _ => number(text)
            .filter(|rate| (0.0..MAX_RATE).contains(rate))
            .map(Some)
            .ok_or_else(|| BadRow::value("msg/s", text)),
    }
}

fn latency<'a>(
    place: &Place,
    field: impl Fn(usize) -> &'a [u8],
) -> Result<[Option<f64>; 5], BadRow> {
    let mut latencies = [None; 5];
    for (latency, column) in latencies.iter_mut().zip(place.columns) {
        let text = field(column);
        if text.is_empty() {
            continue;
        }
        let value = number(text).filter(|value| *value >= 0.0);
        let value = value.ok_or_else(|| BadRow::value("latency", text))?;
        *latency = Some(value * place.millis);
    }
    Ok(latencies)
}

impl Latency {
    fn add(&mut self, [min, percentiles @ ..]: [Option<f64>; 5]) {
        let [lowest, highest @ ..] = &mut self.0;
        *lowest = lowest.iter().copied().chain(min).reduce(f64::min);
        for (highest, percentile) in highest.iter_mut().zip(percentiles) {
            *highest = highest.iter().copied().chain(percentile).reduce(f64::max);
        }
    }

    fn distribution(&self) -> Vec<PercentilePoint> {
        curve([0.0, 50.0, 75.0, 95.0, 99.0].into_iter().zip(self.0))
    }
}

fn note(total: &str, into: &mut FileTally) {
    into.note(format!(
        "the total is PerfTest's `{total}`; numbers of messages are approximate: PerfTest's rates, rounded down to whole numbers, times its intervals",
    ));
    into.note("percentiles are the highest of PerfTest's intervals, as upper bounds");
    into.note(
        "PerfTest's file has no dates and therefore no figures over time; errors are messages that the broker returned (`publish`) or refused (`confirm`), if measured",
    );
}
