//! Splits text into lines as a stream.

use super::Decoder;
use crate::file_tally::FileTally;
use crate::found::BadRow;
use memchr::memchr;

/// Maximum length of a line in bytes.
const MAX_BYTES: usize = 4 * 1024 * 1024;

/// A line without its line end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line<'a> {
    /// A line, and true if it had a line end.
    Text(&'a [u8], bool),
    /// A line above the maximum length.
    TooLong,
}

/// Splits bytes, pushed in chunks of any size, into lines.
#[derive(Debug, Default)]
pub struct Lines {
    /// The beginning of an incomplete line.
    rest: Vec<u8>,
    skipping: bool,
}

impl Lines {
    /// Adds the next bytes, and calls `each` with each complete line.
    pub fn push(&mut self, mut bytes: &[u8], mut each: impl FnMut(Line<'_>)) {
        while let Some(end) = memchr(b'\n', bytes) {
            let (line, next) = (&bytes[..end], &bytes[end + 1..]);
            bytes = next;
            if std::mem::take(&mut self.skipping) {
                each(Line::TooLong);
            } else if self.rest.is_empty() {
                each(Line::Text(line, true));
            } else {
                self.rest.extend_from_slice(line);
                each(Line::Text(&self.rest, true));
                self.rest.clear();
            }
        }
        if !self.skipping && self.rest.len() + bytes.len() > MAX_BYTES {
            self.skipping = true;
            self.rest = Vec::new();
        }
        if !self.skipping {
            self.rest.extend_from_slice(bytes);
        }
    }

    /// Calls `each` with the last line if it has no line end.
    pub fn finish(&mut self, mut each: impl FnMut(Line<'_>)) {
        if std::mem::take(&mut self.skipping) {
            each(Line::TooLong);
        } else if !self.rest.is_empty() {
            each(Line::Text(&self.rest, false));
            self.rest.clear();
        }
    }
}

/// Decodes a text line by line.
pub trait LineReader: std::fmt::Debug + Send {
    /// True if the tool terminates every line. An unterminated line may then be truncated, and is ignored.
    const ENDS_EVERY_LINE: bool;

    /// Decodes the next line, without its line end.
    ///
    /// # Errors
    /// If its values are invalid.
    fn line(&mut self, line: &[u8], into: &mut FileTally) -> Result<(), BadRow>;

    /// Ends the file.
    fn finish(&mut self, _into: &mut FileTally) {}
}

/// A decoder for a line-based text.
pub fn decoder<T: LineReader + 'static>(reader: T) -> Box<dyn Decoder> {
    Box::new(ByLine {
        lines: Lines::default(),
        numbered: Numbered { number: 0, reader },
    })
}

#[derive(Debug)]
struct ByLine<T> {
    lines: Lines,
    numbered: Numbered<T>,
}

#[derive(Debug)]
struct Numbered<T> {
    /// Number of the latest line, from 1.
    number: u64,
    reader: T,
}

impl<T: LineReader> Numbered<T> {
    fn line(&mut self, line: Line<'_>, into: &mut FileTally) {
        self.number += 1;
        let (read, cut) = match line {
            Line::TooLong => (Err(BadRow::Malformed), false),
            Line::Text(_, false) if T::ENDS_EVERY_LINE => (Err(BadRow::Malformed), true),
            Line::Text(text, ended) => (self.reader.line(text, into), !ended),
        };
        if let Err(bad) = read {
            let damaged = matches!(line, Line::Text(text, _) if text.contains(&0));
            into.found.bad_row(self.number, bad, cut, damaged);
        }
    }
}

impl<T: LineReader> Decoder for ByLine<T> {
    fn push(&mut self, bytes: &[u8], into: &mut FileTally) {
        let Self { lines, numbered } = self;
        lines.push(bytes, |line| numbered.line(line, into));
    }

    fn finish(&mut self, into: &mut FileTally) {
        let Self { lines, numbered } = self;
        lines.finish(|line| numbered.line(line, into));
        numbered.reader.finish(into);
    }
}
