//! Splits text into lines, as the bytes come.

use memchr::memchr;

/// The longest line that is read, in bytes.
const LONGEST: usize = 4 * 1024 * 1024;

/// A line without its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line<'a> {
    /// A line, and whether it had an end.
    Text(&'a [u8], bool),
    /// A line that is too long to be read.
    TooLong,
}

/// Lines from bytes that are pushed in any portions.
#[derive(Debug, Default)]
pub struct Lines {
    /// A line of which only the beginning has come.
    rest: Vec<u8>,
    skipping: bool,
}

impl Lines {
    /// Takes the next bytes and hands on the lines that end in them.
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
        if !self.skipping && self.rest.len() + bytes.len() > LONGEST {
            self.skipping = true;
            self.rest = Vec::new();
        }
        if !self.skipping {
            self.rest.extend_from_slice(bytes);
        }
    }

    /// Hands on the last line, which has no end.
    pub fn finish(&mut self, mut each: impl FnMut(Line<'_>)) {
        if std::mem::take(&mut self.skipping) {
            each(Line::TooLong);
        } else if !self.rest.is_empty() {
            each(Line::Text(&self.rest, false));
            self.rest.clear();
        }
    }
}
