//! The simple CSV for tools of which nothing else is known. The crate's documentation describes it.

use super::numbers::{millis, timestamp, whole};
use super::rows::{Row, Rows};
use super::{File, Found};
use crate::sample::Sample;
use crate::tally::Tally;
use std::io::{self, Read};

const NAMES: [&str; 10] = [
    "timestamp",
    "elapsed",
    "label",
    "success",
    "code",
    "message",
    "received_bytes",
    "sent_bytes",
    "active",
    "worker",
];

/// Reads a file.
pub fn read(
    file: &File<'_>,
    reader: impl Read,
    tally: &mut Tally,
    found: &mut Found,
) -> io::Result<()> {
    let mut rows = Rows::new(reader);
    // It is a file of this format because it has a header.
    rows.next()?;
    let count = rows.len();
    let columns = NAMES.map(|name| {
        let found = rows.fields().position(|field| field == name.as_bytes());
        found.unwrap_or(usize::MAX)
    });
    loop {
        let row = rows.next()?;
        match row {
            Row::End => return Ok(()),
            Row::Fields if rows.len() == count => {
                if let Some(sample) = sample(&rows, &columns, file.worker.as_bytes()) {
                    found.samples += 1;
                    tally.add(&sample);
                    continue;
                }
            }
            _ => {}
        }
        found.bad_row(rows.number(), !rows.terminated());
    }
}

fn sample<'a, R: Read>(
    rows: &'a Rows<R>,
    columns: &[usize; 10],
    hint: &'a [u8],
) -> Option<Sample<'a>> {
    let [
        time,
        elapsed,
        label,
        success,
        code,
        message,
        received,
        sent,
        active,
        worker,
    ] = columns.map(|column| rows.get(column));
    Some(Sample {
        start: timestamp(time)?,
        elapsed: millis(elapsed)?,
        label,
        ok: match success {
            b"true" | b"1" => true,
            b"false" | b"0" => false,
            _ => return None,
        },
        controller: false,
        code,
        message,
        received: whole(received).unwrap_or_default(),
        sent: whole(sent).unwrap_or_default(),
        active: whole(active).and_then(|active| active.try_into().ok()),
        worker: if worker.is_empty() { hint } else { worker },
    })
}
