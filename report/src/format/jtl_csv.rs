//! JMeter's results in CSV.

use super::numbers::{millis, timestamp, whole};
use super::rows::{Row, Rows};
use super::{File, Found};
use crate::sample::Sample;
use crate::tally::Tally;
use std::io::{self, Read};

/// How the message of a transaction controller's sample begins.
pub const TRANSACTION: &[u8] = b"Number of samples in transaction : ";

/// Columns of a file without a header, by their number: 5.x with and without host name, 2.13 with
/// everything that can be switched on there.
const HEADERLESS: [&str; 3] = [
    "timeStamp,elapsed,label,responseCode,responseMessage,threadName,dataType,success,failureMessage,bytes,sentBytes,grpThreads,allThreads,URL,Latency,Hostname,IdleTime,Connect",
    "timeStamp,elapsed,label,responseCode,responseMessage,threadName,dataType,success,failureMessage,bytes,sentBytes,grpThreads,allThreads,URL,Latency,IdleTime,Connect",
    "timeStamp,elapsed,label,responseCode,responseMessage,threadName,dataType,success,bytes,grpThreads,allThreads,Latency,Hostname,Connect",
];
/// What the first columns are in every version.
const ALWAYS: &str =
    "timeStamp,elapsed,label,responseCode,responseMessage,threadName,dataType,success";

/// Where the columns are; a large number for one that is missing.
#[derive(Debug, Clone, Copy)]
struct Columns {
    count: usize,
    time: usize,
    elapsed: usize,
    label: usize,
    code: usize,
    message: usize,
    thread: usize,
    success: usize,
    failure: usize,
    bytes: usize,
    sent: usize,
    active: usize,
    host: usize,
}

impl Columns {
    fn of(names: &[&[u8]], count: usize) -> Self {
        let at = |name: &str| {
            let found = names.iter().position(|other| *other == name.as_bytes());
            found.unwrap_or(usize::MAX)
        };
        Self {
            count,
            time: at("timeStamp"),
            elapsed: at("elapsed"),
            label: at("label"),
            code: at("responseCode"),
            message: at("responseMessage"),
            thread: at("threadName"),
            success: at("success"),
            failure: at("failureMessage"),
            bytes: at("bytes"),
            sent: at("sentBytes"),
            active: at("allThreads"),
            host: at("Hostname"),
        }
    }

    /// Of a file without a header, by the number of its columns.
    fn assumed(count: usize) -> Self {
        let columns = HEADERLESS.into_iter().map(split);
        let found = columns.into_iter().find(|names| names.len() == count);
        Self::of(&found.unwrap_or_else(|| split(ALWAYS)), count)
    }
}

fn split(names: &str) -> Vec<&[u8]> {
    names.split(',').map(str::as_bytes).collect()
}

/// Whether these fields are a row of JMeter's without a header before it.
pub fn is_row(fields: &[&[u8]]) -> bool {
    let [time, elapsed, _, _, _, _, _, success, ..] = fields else {
        return false;
    };
    // A number of less than nine digits is a time in 1970.
    time.len() >= 9
        && timestamp(time).is_some()
        && whole(elapsed).is_some()
        && [&b"true"[..], b"false"].contains(success)
}

/// Reads a file.
pub fn read(
    file: &File<'_>,
    reader: impl Read,
    tally: &mut Tally,
    found: &mut Found,
) -> io::Result<()> {
    let mut rows = Rows::new(reader);
    let mut columns = None;
    loop {
        match rows.next()? {
            Row::End => return Ok(()),
            Row::Bad => found.bad_row(rows.number(), !rows.terminated()),
            Row::Fields => {
                let columns = columns.get_or_insert_with(|| columns_of(&rows));
                if let Some(sample) = sample(&rows, columns, file.worker.as_bytes()) {
                    found.samples += 1;
                    // The dashboard does not count transactions without requests either.
                    if !(sample.controller && is_empty_transaction(rows.get(columns.message))) {
                        tally.add(&sample);
                    }
                } else if !is_header(&rows) {
                    found.bad_row(rows.number(), !rows.terminated());
                }
            }
        }
    }
}

fn columns_of<R: Read>(rows: &Rows<R>) -> Columns {
    if is_header(rows) {
        let names: Vec<&[u8]> = rows.fields().collect();
        Columns::of(&names, names.len())
    } else {
        Columns::assumed(rows.len())
    }
}

/// Also of a second run that was appended to the file.
fn is_header<R: Read>(rows: &Rows<R>) -> bool {
    rows.fields().any(|field| field == b"timeStamp")
        && rows.fields().any(|field| field == b"elapsed")
}

pub fn is_empty_transaction(message: &[u8]) -> bool {
    let count = message.strip_prefix(TRANSACTION);
    count.is_some_and(|count| count == b"0" || count.starts_with(b"0,"))
}

fn sample<'a, R: Read>(rows: &'a Rows<R>, columns: &Columns, hint: &'a [u8]) -> Option<Sample<'a>> {
    // Less or more: cut off, or two rows in one line.
    if rows.len() != columns.count {
        return None;
    }
    let start = timestamp(rows.get(columns.time))?;
    let elapsed = millis(rows.get(columns.elapsed))?;
    let ok = match rows.get(columns.success) {
        b"true" => true,
        b"false" => false,
        // Without the column, the code is all there is.
        b"" if columns.success == usize::MAX => is_success(rows.get(columns.code)),
        _ => return None,
    };
    let message = rows.get(columns.message);
    Some(Sample {
        start,
        elapsed,
        label: rows.get(columns.label),
        ok,
        controller: message.starts_with(TRANSACTION),
        code: rows.get(columns.code),
        message: if ok {
            b""
        } else {
            wrong(rows.get(columns.code), message, rows.get(columns.failure))
        },
        received: whole(rows.get(columns.bytes)).unwrap_or_default(),
        sent: whole(rows.get(columns.sent)).unwrap_or_default(),
        active: whole(rows.get(columns.active)).and_then(|active| active.try_into().ok()),
        worker: worker(rows.get(columns.host), rows.get(columns.thread), hint),
    })
}

/// Whether a response code is one of success.
pub fn is_success(code: &[u8]) -> bool {
    matches!(code, [b'2' | b'3', _, _])
}

/// What is wrong with a sample: its message says so, unless an assertion found the fault.
pub fn wrong<'a>(code: &[u8], message: &'a [u8], failure: &'a [u8]) -> &'a [u8] {
    if !failure.is_empty() && (code.is_empty() || is_success(code)) {
        failure
    } else {
        message
    }
}

/// The worker of a row: its host, else the address before the thread's name, else whose file it is.
pub fn worker<'a>(host: &'a [u8], thread: &'a [u8], hint: &'a [u8]) -> &'a [u8] {
    if !host.is_empty() {
        return host;
    }
    address(thread).unwrap_or(hint)
}

/// `10.0.24.3` of `10.0.24.3-Thread Group 1-1`, which is how JMeter names the threads of its servers.
fn address(thread: &[u8]) -> Option<&[u8]> {
    let before = thread.get(..memchr::memchr(b'-', thread)?)?;
    let host = before.get(..memchr::memchr(b':', before).unwrap_or(before.len()))?;
    let parts = host.split(|byte| *byte == b'.');
    let numbers = parts
        .clone()
        .all(|part| whole(part).is_some_and(|part| part < 256));
    (numbers && parts.count() == 4).then_some(before)
}
