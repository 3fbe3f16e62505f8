//! Removes the bodies of responses before decoding: they can be of any length, and
//! contain no figures.

use super::{Decoder, FileTally};

/// Decides for each byte if it is kept. The decision must not depend on the decisions for earlier bytes.
pub trait Filter: std::fmt::Debug + Default + Send {
    /// True if the next byte is kept.
    fn keeps(&mut self, byte: u8) -> bool;
}

/// A decoder for the remaining bytes.
pub fn without<F: Filter + 'static>(decoder: Box<dyn Decoder>) -> Box<dyn Decoder> {
    Box::new(Without {
        filter: F::default(),
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

    fn memory(&self) -> usize {
        self.kept.capacity() + self.decoder.memory()
    }
}

/// The text before a body in a line of JSON. Within a string its quotes would be escaped.
const BEFORE: &[u8] = br#""body":""#;

/// Bodies as base64 in JSON lines: the value of `"body":"..."`.
#[derive(Debug, Default)]
pub struct Json {
    /// Number of matched bytes of [`BEFORE`].
    matched: usize,
    in_body: bool,
}

impl Filter for Json {
    fn keeps(&mut self, byte: u8) -> bool {
        if self.in_body {
            // In a truncated line the body ends with the line.
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

/// The columns of bodies and headers in Vegeta's CSV.
const LONG_COLUMNS: [usize; 2] = [6, 11];

/// The content of [`LONG_COLUMNS`].
#[derive(Debug, Default)]
pub struct Csv {
    column: usize,
    quoted: bool,
}

impl Filter for Csv {
    fn keeps(&mut self, byte: u8) -> bool {
        match byte {
            b',' if !self.quoted => self.column += 1,
            b'\n' if !self.quoted => self.column = 0,
            _ => {
                self.quoted ^= byte == b'"';
                return !LONG_COLUMNS.contains(&self.column);
            }
        }
        true
    }
}
