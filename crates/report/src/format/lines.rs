//! Splits text into lines as a stream.

use super::{BadRow, Decoder, FileTally};
use memchr::memchr;

/// Maximum length of a line in bytes.
const MAX_BYTES: usize = 4 * 1024 * 1024;
/// Memory that is kept after a long line, in bytes.
const KEPT_BYTES: usize = 64 * 1024;

/// Splits bytes, pushed in chunks of any size, into lines.
#[derive(Debug, Default)]
struct Lines {
    /// The beginning of an incomplete line.
    rest: Vec<u8>,
    skipping: bool,
}

impl Lines {
    /// Adds the next bytes, and calls `each` with each complete line, without its line end; `None` for a line above the
    /// maximum length.
    fn push(&mut self, mut bytes: &[u8], mut each: impl FnMut(Option<&[u8]>)) {
        while let Some(end) = memchr(b'\n', bytes) {
            let (line, next) = (&bytes[..end], &bytes[end + 1..]);
            bytes = next;
            if std::mem::take(&mut self.skipping) {
                each(None);
            } else if self.rest.is_empty() {
                each(Some(line));
            } else {
                self.rest.extend_from_slice(line);
                each(Some(&self.rest));
                self.rest.clear();
                self.rest.shrink_to(KEPT_BYTES);
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

    /// See [`Decoder::provisional`].
    fn provisional(&self) -> Option<&FileTally> {
        None
    }
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
    fn line(&mut self, line: Option<&[u8]>, has_end: bool, into: &mut FileTally) {
        self.number += 1;
        let read = match line {
            Some(line) if has_end || !T::ENDS_EVERY_LINE => self.reader.line(line, into),
            _ => Err(BadRow::Malformed),
        };
        if let Err(bad) = read {
            let damaged = line.is_some_and(|line| line.contains(&0));
            into.found.bad_row(self.number, bad, !has_end, damaged);
        }
    }
}

impl<T: LineReader> Decoder for ByLine<T> {
    fn push(&mut self, bytes: &[u8], into: &mut FileTally) {
        let Self { lines, numbered } = self;
        lines.push(bytes, |line| numbered.line(line, true, into));
    }

    fn finish(&mut self, into: &mut FileTally) {
        let Self { lines, numbered } = self;
        if lines.skipping {
            numbered.line(None, true, into);
        } else if !lines.rest.is_empty() {
            numbered.line(Some(&lines.rest), false, into);
        }
        numbered.reader.finish(into);
    }

    fn memory(&self) -> usize {
        self.lines.rest.capacity()
    }

    fn provisional(&self) -> Option<&FileTally> {
        self.numbered.reader.provisional()
    }
}
