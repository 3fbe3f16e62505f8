//! The simple CSV for unsupported tools, as described in the crate's documentation.

use super::jtl_csv::start;
use super::numbers::{bytes, millis_between, whole};
use super::rows::Rows;
use super::table::{self, Table};
use super::{BadRow, Decoder, FileTally, Sample};

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

/// A decoder for a file with this beginning.
pub fn decoder(head: &[u8]) -> Box<dyn Decoder> {
    let delimiter = table::delimiter(head, |names| table::has(names, "elapsed"));
    table::decoder(delimiter.unwrap_or(b','), Plain { columns: None })
}

#[derive(Debug)]
struct Plain {
    /// The number of columns, and the position of each of [`NAMES`].
    columns: Option<(usize, [usize; 10])>,
}

impl Table for Plain {
    fn row(&mut self, rows: &Rows, into: &mut FileTally) -> Result<(), BadRow> {
        let Some((count, columns)) = &self.columns else {
            self.header(rows);
            return Ok(());
        };
        let read = match rows.len() == *count {
            true => sample(rows, columns),
            false => Err(BadRow::Fields(rows.len(), *count)),
        };
        match read {
            Ok(sample) => into.add(&sample),
            // The header of an appended file.
            Err(_) if is_header(rows) => self.header(rows),
            Err(bad) => return Err(bad),
        }
        Ok(())
    }
}

impl Plain {
    fn header(&mut self, rows: &Rows) {
        self.columns = Some((rows.len(), table::columns(rows, NAMES)));
    }
}

fn is_header(rows: &Rows) -> bool {
    let [_, elapsed, label, success, ..] = table::columns(rows, NAMES);
    elapsed < rows.len() && label < rows.len() && success < rows.len()
}

fn sample<'a>(rows: &'a Rows, columns: &[usize; 10]) -> Result<Sample<'a>, BadRow> {
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
    ] = columns.map(|column| rows.get(column).trim_ascii());
    Ok(Sample {
        start: match columns[0] {
            usize::MAX => None,
            _ => Some(start(time)?),
        },
        elapsed: millis_between(elapsed, rows.delimiter)
            .ok_or_else(|| BadRow::value("elapsed", elapsed))?,
        label,
        errors: Some(u64::from(!is_true(success)?)),
        code,
        message,
        received: bytes(received),
        sent: bytes(sent),
        active: whole(active).and_then(|active| active.try_into().ok()),
        worker,
        ..Sample::default()
    })
}

fn is_true(text: &[u8]) -> Result<bool, BadRow> {
    match text.to_ascii_lowercase().as_slice() {
        b"true" | b"1" => Ok(true),
        b"false" | b"0" => Ok(false),
        _ => Err(BadRow::value("success", text)),
    }
}
