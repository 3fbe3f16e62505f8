//! Splitting the rows of a CSV file into several parts, round-robin.
//!
//! A row is a CSV record: a quoted field may contain line breaks. Bytes are copied unchanged, with any kind of line ending; the
//! last row may lack one. A quote is special only at the start of a field; fields end with `,`, `;`, `|` or a tab. A byte
//! order mark belongs to the first record, so with a header it goes to all parts. Empty lines are rows, except at the end
//! of the file.
//!
//! Memory use is constant: bytes pass through one buffer, whatever the size of the file and its rows.

use std::io::{self, Read, Write};
use std::mem;

use thiserror::Error;

const BUFFER: usize = 256 * 1024;
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Totals of a split.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SplitTotals {
    /// Rows, without the header.
    pub rows: u64,
    /// Bytes written, including every copy of the header.
    pub bytes: u64,
}

/// The reason why a file cannot be split.
#[derive(Debug, Error)]
pub enum SplitError {
    /// The file cannot be read.
    #[error("cannot be read: {0}")]
    Read(io::Error),
    /// A part cannot be written.
    #[error("cannot be split: {0}")]
    Write(io::Error),
    /// This record has a quote that is never closed. The first record of the file is 1.
    #[error("has a quote in record {0} that is never closed")]
    Unclosed(u64),
    /// Fewer rows than parts.
    #[error("has {0} rows")]
    TooFew(u64),
}

/// Writes row i to part i modulo the number of parts, starting with the first; a `header` goes to all parts.
///
/// # Errors
/// [`SplitError`]; the parts are then incomplete.
pub fn split_rows<W: Write>(
    mut from: impl Read,
    header: bool,
    parts: &mut [W],
) -> Result<SplitTotals, SplitError> {
    let mut splitter = Splitter::new(header, parts);
    let mut buffer = vec![0; BUFFER];
    let mut pending = 0;
    let mut first = true;
    loop {
        let count = fill(&mut from, &mut buffer[pending..]).map_err(SplitError::Read)?;
        let end = pending + count;
        let mut bytes = &buffer[..end];
        if first && bytes.starts_with(BYTE_ORDER_MARK) {
            splitter.write_piece(BYTE_ORDER_MARK)?;
            bytes = &bytes[BYTE_ORDER_MARK.len()..];
        }
        first = false;
        pending = splitter.write_chunk(bytes)?;
        if count == 0 {
            return splitter.finish();
        }
        buffer.copy_within(end - pending..end, 0);
    }
}

/// Position of the scanner within a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ScanState {
    FieldStart,
    Plain,
    Quoted,
    /// After a quote in a quoted field: the end of the field, or the first half of an escaped quote.
    Quote,
}

impl ScanState {
    /// Advances to the end of the record. Returns its length, if the end is within `bytes`.
    fn record_end(&mut self, bytes: &[u8]) -> Option<usize> {
        for (index, byte) in bytes.iter().enumerate() {
            *self = match (*self, byte) {
                (Self::Quoted, b'"') => Self::Quote,
                (Self::Quoted, _) | (Self::FieldStart | Self::Quote, b'"') => Self::Quoted,
                (_, b'\n') => {
                    *self = Self::FieldStart;
                    return Some(index + 1);
                }
                (_, b',' | b';' | b'|' | b'\t') => Self::FieldStart,
                _ => Self::Plain,
            };
        }
        None
    }
}

struct Splitter<'a, W> {
    parts: &'a mut [W],
    state: ScanState,
    in_header: bool,
    /// Nothing of the current record was written yet.
    at_record_start: bool,
    /// Empty lines that are rows only if another row follows: the line ending, and the number of consecutive lines.
    pending_blanks: Vec<(&'static [u8], u64)>,
    records: u64,
    rows: u64,
    bytes: u64,
}

impl<'a, W: Write> Splitter<'a, W> {
    fn new(header: bool, parts: &'a mut [W]) -> Self {
        Self {
            parts,
            state: ScanState::FieldStart,
            in_header: header,
            at_record_start: true,
            pending_blanks: Vec::new(),
            records: 0,
            rows: 0,
            bytes: 0,
        }
    }

    /// Writes a chunk and returns the number of bytes at its end that were not written: they may be the first half of
    /// an empty line.
    fn write_chunk(&mut self, bytes: &[u8]) -> Result<usize, SplitError> {
        let mut rest = bytes;
        while let Some(end) = self.state.record_end(rest) {
            let (record, others) = rest.split_at(end);
            self.finish_record(record)?;
            rest = others;
        }
        if self.at_record_start && rest == b"\r" {
            self.state = ScanState::FieldStart;
            return Ok(1);
        }
        if !rest.is_empty() {
            self.write_piece(rest)?;
        }
        Ok(0)
    }

    fn finish_record(&mut self, bytes: &[u8]) -> Result<(), SplitError> {
        if self.at_record_start && !self.in_header && matches!(bytes, b"\n" | b"\r\n") {
            let kind: &[u8] = if bytes.len() == 1 { b"\n" } else { b"\r\n" };
            match self.pending_blanks.last_mut() {
                Some((last, count)) if *last == kind => *count += 1,
                _ => self.pending_blanks.push((kind, 1)),
            }
            return Ok(());
        }
        self.write_piece(bytes)?;
        self.start_record();
        Ok(())
    }

    /// Writes a piece of a record, or a whole one.
    fn write_piece(&mut self, bytes: &[u8]) -> Result<(), SplitError> {
        if self.at_record_start {
            self.at_record_start = false;
            for (kind, count) in mem::take(&mut self.pending_blanks) {
                for _ in 0..count {
                    self.write(kind)?;
                    self.start_record();
                }
            }
            self.at_record_start = false;
        }
        self.write(bytes)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), SplitError> {
        let count = self.parts.len();
        let targets = if self.in_header {
            0..count
        } else {
            let index = (self.rows % count.max(1) as u64) as usize;
            index..index + 1
        };
        for part in self.parts.get_mut(targets).into_iter().flatten() {
            part.write_all(bytes).map_err(SplitError::Write)?;
            self.bytes += bytes.len() as u64;
        }
        Ok(())
    }

    fn start_record(&mut self) {
        self.at_record_start = true;
        self.records += 1;
        self.rows += u64::from(!self.in_header);
        self.in_header = false;
    }

    fn finish(mut self) -> Result<SplitTotals, SplitError> {
        if self.state == ScanState::Quoted {
            return Err(SplitError::Unclosed(self.records + 1));
        }
        if !self.at_record_start {
            self.start_record();
        }
        if self.rows < self.parts.len() as u64 {
            return Err(SplitError::TooFew(self.rows));
        }
        for part in self.parts.iter_mut() {
            part.flush().map_err(SplitError::Write)?;
        }
        Ok(SplitTotals {
            rows: self.rows,
            bytes: self.bytes,
        })
    }
}

/// Reads until the buffer is full, or the input ends.
fn fill(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut count = 0;
    while count < buffer.len() {
        match from.read(&mut buffer[count..]) {
            Ok(0) => break,
            Ok(more) => count += more,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(count)
}

#[cfg(test)]
mod tests;
