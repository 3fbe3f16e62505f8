//! JMeter's results in CSV.

use super::jtl_columns::Columns;
use super::numbers::{EARLIEST, bytes, millis_between, timestamp, whole, without_mark};
use super::rows::Rows;
use super::sub_results::SubResults;
use super::table::{self, Table};
use super::{BadRow, Decoder, FileTally, Sample};

/// Start of the message of a transaction controller's sample.
pub const TRANSACTION: &[u8] = b"Number of samples in transaction : ";

/// A decoder for a file with this beginning.
pub fn decoder(head: &[u8]) -> Box<dyn Decoder> {
    let with_header = table::delimiter(head, is_header);
    let without = || {
        (*b",;\t|").into_iter().find_map(|delimiter| {
            Columns::guessed(head, delimiter).map(|columns| (delimiter, Some(columns)))
        })
    };
    let found = with_header.map(|delimiter| (delimiter, None));
    let (delimiter, columns) = found.or_else(without).unwrap_or((b',', None));
    let jtl = Jtl {
        columns,
        sub_results: SubResults::default(),
    };
    table::decoder(delimiter, jtl)
}

fn is_header(fields: &[&[u8]]) -> bool {
    table::has(fields, "elapsed")
        && fields.len() > 1
        && !fields.iter().any(|field| whole(field).is_some())
}

#[derive(Debug)]
struct Jtl {
    columns: Option<Columns>,
    sub_results: SubResults,
}

impl Table for Jtl {
    fn row(&mut self, rows: &Rows, into: &mut FileTally) -> Result<(), BadRow> {
        let Some(columns) = &self.columns else {
            return self.header(rows).then_some(()).ok_or(BadRow::Malformed);
        };
        if is_metric(rows, columns) {
            into.found.metrics += 1;
            return Ok(());
        }
        if is_sum_without_count(rows, columns) {
            into.found.wrong = Some(SUM_WITHOUT_COUNT.to_owned());
            return Ok(());
        }
        let read = sample(rows, columns);
        let sample = match read {
            Ok(sample) => sample,
            Err(_) if self.glued_header(rows) => {
                into.found.wrong = Some(format!(
                    "row {} contains the header of another file that was appended without a line end",
                    rows.number
                ));
                return Ok(());
            }
            // The header of an appended run, which may have other columns.
            Err(_) if self.header(rows) => return Ok(()),
            Err(bad) => return Err(bad),
        };
        if self.sub_results.takes(&sample, rows.get(columns.host)) {
            into.found.sub_results += 1;
            return Ok(());
        }
        // The dashboard does not count transactions without requests either.
        if sample.transaction && is_empty_transaction(rows.get(columns.message)) {
            into.found.samples += 1;
            into.found.rows += 1;
            return Ok(());
        }
        into.add(&sample);
        Ok(())
    }
}

impl Jtl {
    /// Handles a header in the last field of the row; following rows have its columns.
    fn glued_header(&mut self, rows: &Rows) -> bool {
        const FIRST: &[u8] = b"timeStamp";
        let is_begun = |field: &[u8]| field.len() > FIRST.len() && field.ends_with(FIRST);
        let Some(at) = rows.fields().position(is_begun) else {
            return false;
        };
        let names = std::iter::once(FIRST).chain(rows.fields().skip(at + 1));
        self.named(&names.collect::<Vec<_>>())
    }

    /// Handles a header row; following rows have its columns.
    fn header(&mut self, rows: &Rows) -> bool {
        self.named(&rows.fields().map(without_mark).collect::<Vec<_>>())
    }

    fn named(&mut self, names: &[&[u8]]) -> bool {
        let is = is_header(names);
        if is {
            self.columns = Some(Columns::named(names));
        }
        is
    }
}

/// True if the row is a figure of a machine, which listeners such as PerfMon write in this format: it
/// has no thread and no response.
fn is_metric(rows: &Rows, columns: &Columns) -> bool {
    let sums_several = !matches!(rows.get(columns.samples), b"" | b"0" | b"1");
    if !rows.get(columns.code).is_empty() || sums_several || rows.len() != columns.count {
        return false;
    }
    let is_zero = |column| matches!(rows.get(column), b"0");
    // Requests have a URL or bytes, and threads are active during them.
    if is_zero(columns.bytes)
        && rows.get(columns.url) == b"null"
        && rows.get(columns.data_type).is_empty()
    {
        return !Columns::has(columns.active) || is_zero(columns.active);
    }
    match Columns::has(columns.thread) {
        true => rows.get(columns.thread).is_empty(),
        false => is_zero(columns.active),
    }
}

/// The problem of rows in the mode Statistical without the number of aggregated samples.
pub const SUM_WITHOUT_COUNT: &str = "each of its rows aggregates several samples (JMeter's mode Statistical), and their number is missing: \
    `-Gjmeter.save.saveservice.sample_count=true` and `-Jjmeter.save.saveservice.sample_count=true` add the columns";

/// True if the row was written in JMeter's mode Statistical, which has no response and no active threads,
/// and the column with the number of its samples is missing.
fn is_sum_without_count(rows: &Rows, columns: &Columns) -> bool {
    let is_empty = |column| Columns::has(column) && rows.get(column).is_empty();
    !Columns::has(columns.samples)
        && is_empty(columns.code)
        && is_empty(columns.data_type)
        && rows.get(columns.active) == b"0"
        && !is_metric(rows, columns)
}

pub fn is_empty_transaction(message: &[u8]) -> bool {
    let count = message.strip_prefix(TRANSACTION);
    count.is_some_and(|count| count == b"0" || count.starts_with(b"0,"))
}

fn sample<'a>(rows: &'a Rows, columns: &Columns) -> Result<Sample<'a>, BadRow> {
    // A row with more or fewer fields is truncated, or the line contains two rows.
    if rows.len() != columns.count {
        return Err(BadRow::Fields(rows.len(), columns.count));
    }
    let start = match Columns::has(columns.time) {
        true => Some(start(rows.get(columns.time))?),
        false => None,
    };
    let elapsed = millis_between(rows.get(columns.elapsed), rows.delimiter)
        .ok_or_else(|| BadRow::value("elapsed", rows.get(columns.elapsed)))?;
    let (samples, errors) = counts(rows, columns)?;
    let message = rows.get(columns.message);
    let failed = errors.is_some_and(|errors| errors > 0);
    Ok(Sample {
        start,
        elapsed,
        samples,
        errors,
        label: rows.get(columns.label),
        transaction: message.starts_with(TRANSACTION),
        code: rows.get(columns.code),
        message: match failed {
            true => wrong(rows.get(columns.code), message, rows.get(columns.failure)),
            false => b"",
        },
        received: bytes(rows.get(columns.bytes)),
        sent: bytes(rows.get(columns.sent)),
        active: whole(rows.get(columns.active)).and_then(|active| active.try_into().ok()),
        worker: worker(rows.get(columns.host), rows.get(columns.thread)),
        thread: rows.get(columns.thread),
        ..Sample::default()
    })
}

/// Parses a time in milliseconds since 1970, or a date.
pub fn start(text: &[u8]) -> Result<u64, BadRow> {
    match timestamp(text) {
        Some(start) if start < EARLIEST => Err(BadRow::early(text)),
        Some(start) => Ok(start),
        None => Err(BadRow::value("timeStamp", text)),
    }
}

/// The number of samples in the row, and the number of failed ones if known.
fn counts(rows: &Rows, columns: &Columns) -> Result<(u64, Option<u64>), BadRow> {
    let failed = match rows.get(columns.success) {
        b"true" => Some(false),
        b"false" => Some(true),
        // Without the column, only the response code shows the outcome.
        b"" if !Columns::has(columns.success) => match rows.get(columns.code) {
            b"" => None,
            code => Some(!is_success(code)),
        },
        text if text.eq_ignore_ascii_case(b"true") => Some(false),
        text if text.eq_ignore_ascii_case(b"false") => Some(true),
        text => return Err(BadRow::value("success", text)),
    };
    let samples = match rows.get(columns.samples) {
        b"" | b"1" => 1,
        text => whole(text)
            .filter(|samples| *samples > 0)
            .ok_or_else(|| BadRow::value("SampleCount", text))?,
    };
    let errors = match (samples, rows.get(columns.errors)) {
        (1, _) if failed.is_some() => failed.map(u64::from),
        // For several unsuccessful samples the number of failed ones is unknown.
        (_, b"") => (failed == Some(false)).then_some(0),
        (_, text) => Some(
            whole(text)
                .filter(|errors| *errors <= samples)
                .ok_or_else(|| BadRow::value("ErrorCount", text))?,
        ),
    };
    Ok((samples, errors))
}

/// True if a response code means success.
pub fn is_success(code: &[u8]) -> bool {
    // Spreadsheets and data frames write `200.0`.
    let code = code.trim_ascii();
    matches!(
        code.strip_suffix(b".0").unwrap_or(code),
        [b'2' | b'3', _, _]
    )
}

/// The error of a sample: its message, unless an assertion failed.
pub fn wrong<'a>(code: &[u8], message: &'a [u8], failure: &'a [u8]) -> &'a [u8] {
    if !failure.is_empty() && (code.is_empty() || is_success(code)) {
        failure
    } else {
        message
    }
}

/// The worker of a row: its host, else the address in the thread's name.
pub fn worker<'a>(host: &'a [u8], thread: &'a [u8]) -> &'a [u8] {
    if !host.is_empty() {
        return host;
    }
    address(thread).unwrap_or_default()
}

/// `10.0.24.3` of `10.0.24.3-Thread Group 1-1`, the format of JMeter's remote threads.
fn address(thread: &[u8]) -> Option<&[u8]> {
    let before = thread.get(..memchr::memchr(b'-', thread)?)?;
    let host = before.get(..memchr::memchr(b':', before).unwrap_or(before.len()))?;
    let parts = host.split(|byte| *byte == b'.');
    let numbers = parts
        .clone()
        .all(|part| whole(part).is_some_and(|part| part < 256));
    (numbers && parts.count() == 4).then_some(before)
}
