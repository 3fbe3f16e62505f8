//! Leaves the bodies of responses out of a file before it is decoded: they can be of any length, and
//! nothing in them is a figure.

use super::Decoder;
use crate::file_tally::FileTally;

/// Tells byte by byte what stays. It must not depend on what it told to leave out.
pub trait Filter: std::fmt::Debug + Send {
    /// Whether the next byte stays.
    fn keeps(&mut self, byte: u8) -> bool;
}

/// A decoder of what stays.
pub fn without<F: Filter + 'static>(filter: F, decoder: Box<dyn Decoder>) -> Box<dyn Decoder> {
    Box::new(Without {
        filter,
        kept: Vec::new(),
        decoder,
    })
}

#[derive(Debug)]
struct Without<F> {
    filter: F,
    kept: Vec<u8>,
    decoder: Box<dyn Decoder>,
}

impl<F: Filter> Decoder for Without<F> {
    fn push(&mut self, bytes: &[u8], into: &mut FileTally) {
        let filter = &mut self.filter;
        self.kept.clear();
        let kept = bytes.iter().copied().filter(|byte| filter.keeps(*byte));
        self.kept.extend(kept);
        self.decoder.push(&self.kept, into);
    }

    fn finish(&mut self, into: &mut FileTally) {
        self.decoder.finish(into);
    }
}

/// What comes before a body in a line of JSON. Within a string its quotes would have backslashes.
const BEFORE: &[u8] = br#""body":""#;

/// Bodies as base64 in lines of JSON: the value of `"body":"..."`.
#[derive(Debug, Default)]
pub struct JsonBodies {
    /// How much of [`BEFORE`] was seen.
    matched: usize,
    in_body: bool,
}

impl Filter for JsonBodies {
    fn keeps(&mut self, byte: u8) -> bool {
        if self.in_body {
            // A line that is cut off ends with the line at the latest.
            let ends = matches!(byte, b'"' | b'\n');
            self.in_body = !ends;
            return ends;
        }
        self.matched = match BEFORE.get(self.matched) == Some(&byte) {
            true => self.matched + 1,
            false => usize::from(byte == b'"'),
        };
        if self.matched == BEFORE.len() {
            self.matched = 0;
            self.in_body = true;
        }
        true
    }
}

/// Columns of a CSV; they stay, but are empty.
#[derive(Debug)]
pub struct CsvColumns {
    columns: &'static [usize],
    column: usize,
    quoted: bool,
}

impl CsvColumns {
    /// These columns, from zero.
    pub fn new(columns: &'static [usize]) -> Self {
        Self {
            columns,
            column: 0,
            quoted: false,
        }
    }
}

impl Filter for CsvColumns {
    fn keeps(&mut self, byte: u8) -> bool {
        match byte {
            b',' if !self.quoted => self.column += 1,
            b'\n' if !self.quoted => self.column = 0,
            _ => {
                self.quoted ^= byte == b'"';
                return !self.columns.contains(&self.column);
            }
        }
        true
    }
}
