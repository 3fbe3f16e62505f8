//! Dealing the rows of a CSV file round to several parts, like cards.
//!
//! A row is a CSV record: a quoted field may hold line breaks. Bytes are kept as they are, whatever the line ends are, and the
//! last row may have none: it is the last of its part, too. A quote counts only where a field begins; fields end with `,`, `;`,
//! `|` or a tab. A mark of the byte order belongs to the first record, so it goes to all parts with the header. Empty lines
//! are rows, but not at the end of the file.
//!
//! Memory does not grow with the file, nor with its rows: bytes pass through one buffer.

use std::fmt;
use std::io::{self, Read, Write};
use std::mem;

const BUFFER: usize = 256 * 1024;
const MARK: &[u8] = b"\xef\xbb\xbf";

/// What was dealt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dealt {
    /// Rows, without the header.
    pub rows: u64,
    /// Bytes that were written, with the header as often as it was.
    pub bytes: u64,
}

/// Why a file cannot be dealt out.
#[derive(Debug)]
pub enum SplitError {
    /// The file cannot be read.
    Read(io::Error),
    /// A part cannot be written.
    Write(io::Error),
    /// A quote is opened in this record and never closed. The first record of the file is 1.
    Unclosed(u64),
    /// Fewer rows than parts.
    TooFew(u64),
}

impl fmt::Display for SplitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(e) => write!(f, "cannot be read: {e}"),
            Self::Write(e) => write!(f, "cannot be dealt out: {e}"),
            Self::Unclosed(record) => {
                write!(
                    f,
                    "opens a quote in record {record} that is not closed before the end"
                )
            }
            Self::TooFew(rows) => write!(f, "has {rows} rows"),
        }
    }
}

/// Deals row i to part i modulo their number, beginning with the first; a `header` goes to all.
///
/// # Errors
/// [`SplitError`]; then the parts are of no use.
pub fn deal<W: Write>(
    mut from: impl Read,
    header: bool,
    parts: &mut [W],
) -> Result<Dealt, SplitError> {
    let mut dealer = Dealer::new(header, parts);
    let mut buffer = vec![0; BUFFER];
    let mut kept = 0;
    let mut first = true;
    loop {
        let count = fill(&mut from, &mut buffer[kept..]).map_err(SplitError::Read)?;
        let end = kept + count;
        let mut bytes = &buffer[..end];
        if first && bytes.starts_with(MARK) {
            dealer.piece(MARK)?;
            bytes = &bytes[MARK.len()..];
        }
        first = false;
        kept = dealer.feed(bytes)?;
        if count == 0 {
            return dealer.end();
        }
        buffer.copy_within(end - kept..end, 0);
    }
}

/// Where in a record the scanner is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    FieldStart,
    Plain,
    Quoted,
    /// Behind a quote in a quoted field: its end, or the first of two that mean one.
    Quote,
}

impl At {
    /// Goes on to the end of the record; how many bytes that is, if it is here.
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

struct Dealer<'a, W> {
    parts: &'a mut [W],
    at: At,
    in_header: bool,
    /// Nothing of the record at hand was dealt yet.
    fresh: bool,
    /// Empty lines that are rows if another row follows: of which kind, and how many in a row.
    blanks: Vec<(&'static [u8], u64)>,
    records: u64,
    rows: u64,
    bytes: u64,
}

impl<'a, W: Write> Dealer<'a, W> {
    fn new(header: bool, parts: &'a mut [W]) -> Self {
        Self {
            parts,
            at: At::FieldStart,
            in_header: header,
            fresh: true,
            blanks: Vec::new(),
            records: 0,
            rows: 0,
            bytes: 0,
        }
    }

    /// Deals these bytes, but for as many at their end as it returns: half of what may be an empty line.
    fn feed(&mut self, bytes: &[u8]) -> Result<usize, SplitError> {
        let mut rest = bytes;
        while let Some(end) = self.at.record_end(rest) {
            let (record, others) = rest.split_at(end);
            self.end_of_record(record)?;
            rest = others;
        }
        if self.fresh && rest == b"\r" {
            self.at = At::FieldStart;
            return Ok(1);
        }
        if !rest.is_empty() {
            self.piece(rest)?;
        }
        Ok(0)
    }

    fn end_of_record(&mut self, bytes: &[u8]) -> Result<(), SplitError> {
        if self.fresh && !self.in_header && matches!(bytes, b"\n" | b"\r\n") {
            let kind: &[u8] = if bytes.len() == 1 { b"\n" } else { b"\r\n" };
            match self.blanks.last_mut() {
                Some((last, count)) if *last == kind => *count += 1,
                _ => self.blanks.push((kind, 1)),
            }
            return Ok(());
        }
        self.piece(bytes)?;
        self.next();
        Ok(())
    }

    /// A part of a record, or all of it.
    fn piece(&mut self, bytes: &[u8]) -> Result<(), SplitError> {
        if self.fresh {
            self.fresh = false;
            for (kind, count) in mem::take(&mut self.blanks) {
                for _ in 0..count {
                    self.write(kind)?;
                    self.next();
                }
            }
            self.fresh = false;
        }
        self.write(bytes)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), SplitError> {
        let count = self.parts.len();
        let whom = if self.in_header {
            0..count
        } else {
            let index = (self.rows % count.max(1) as u64) as usize;
            index..index + 1
        };
        for part in self.parts.get_mut(whom).into_iter().flatten() {
            part.write_all(bytes).map_err(SplitError::Write)?;
            self.bytes += bytes.len() as u64;
        }
        Ok(())
    }

    fn next(&mut self) {
        self.fresh = true;
        self.records += 1;
        self.rows += u64::from(!self.in_header);
        self.in_header = false;
    }

    fn end(mut self) -> Result<Dealt, SplitError> {
        if self.at == At::Quoted {
            return Err(SplitError::Unclosed(self.records + 1));
        }
        if !self.fresh {
            self.next();
        }
        if self.rows < self.parts.len() as u64 {
            return Err(SplitError::TooFew(self.rows));
        }
        for part in self.parts.iter_mut() {
            part.flush().map_err(SplitError::Write)?;
        }
        Ok(Dealt {
            rows: self.rows,
            bytes: self.bytes,
        })
    }
}

/// Reads until the buffer is full, or there is no more.
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
