//! Splits CSV into rows and fields, in place: nothing is allocated per row.

use memchr::{memchr, memchr2};
use std::io::{self, ErrorKind, Read};

/// What is read at once, and the longest row.
const BUFFER: usize = 1024 * 1024;

/// What comes next in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Row {
    /// A row; its fields can be asked for.
    Fields,
    /// Something that is no row, up to the end of its line.
    Bad,
    /// Nothing more.
    End,
}

#[derive(Debug, Clone, Copy)]
struct Field {
    start: usize,
    end: usize,
    /// Whether it has doubled quotes.
    escaped: bool,
}

/// Rows of a reader.
#[derive(Debug)]
pub struct Rows<R> {
    reader: R,
    buffer: Vec<u8>,
    /// What of the buffer is not used yet.
    start: usize,
    end: usize,
    exhausted: bool,
    fields: Vec<Field>,
    terminated: bool,
    number: u64,
}

enum Scan {
    /// A row, and where the next one begins.
    Row(usize),
    Malformed,
    /// The buffer ends within it.
    Incomplete,
}

impl<R: Read> Rows<R> {
    /// Rows of a reader, from its beginning.
    pub fn new(reader: R) -> Self {
        Self {
            reader,
            buffer: Vec::new(),
            start: 0,
            end: 0,
            exhausted: false,
            fields: Vec::new(),
            terminated: true,
            number: 0,
        }
    }

    /// Goes on to the next row. Empty lines are none.
    ///
    /// # Errors
    /// When the reader fails.
    pub fn next(&mut self) -> io::Result<Row> {
        if self.buffer.is_empty() {
            self.fill()?;
            let all = self.buffer.get(..self.end).unwrap_or_default();
            self.start = all.len() - super::numbers::without_mark(all).len();
        }
        loop {
            self.skip_empty_lines();
            match self.scan() {
                Scan::Row(next) => {
                    self.start = next;
                    self.number += 1;
                    self.unescape();
                    return Ok(Row::Fields);
                }
                Scan::Malformed => return self.skip_line(),
                Scan::Incomplete if self.exhausted && self.start == self.end => {
                    return Ok(Row::End);
                }
                // A quote that is never closed, or a row of the size of the buffer.
                Scan::Incomplete if self.exhausted || self.end - self.start == BUFFER => {
                    return self.skip_line();
                }
                Scan::Incomplete => self.fill()?,
            }
        }
    }

    /// The number of the row, from one.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Whether the row had the end of its line.
    pub fn terminated(&self) -> bool {
        self.terminated
    }

    /// How many fields the row has.
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// A field of the row; empty when there is none.
    pub fn get(&self, index: usize) -> &[u8] {
        let field = self.fields.get(index);
        let bytes = field.and_then(|field| self.buffer.get(field.start..field.end));
        bytes.unwrap_or_default()
    }

    /// All fields of the row.
    pub fn fields(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.len()).map(|index| self.get(index))
    }

    /// Moves what is left to the front, and reads on.
    fn fill(&mut self) -> io::Result<()> {
        self.buffer.resize(BUFFER, 0);
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        while self.end < BUFFER {
            match self.reader.read(&mut self.buffer[self.end..]) {
                Ok(0) => {
                    self.exhausted = true;
                    break;
                }
                Ok(read) => self.end += read,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn skip_empty_lines(&mut self) {
        while self.start < self.end {
            match self.buffer.get(self.start..self.end) {
                Some([b'\n', ..]) => self.start += 1,
                Some([b'\r', b'\n', ..]) => self.start += 2,
                _ => return,
            }
        }
    }

    /// Finds the fields of the row that begins at `start`.
    fn scan(&mut self) -> Scan {
        let data = &self.buffer[..self.end];
        self.fields.clear();
        let mut at = self.start;
        loop {
            let (field, end) = if data.get(at) == Some(&b'"') {
                match quoted(data, at, self.exhausted) {
                    Ok(found) => found,
                    Err(scan) => return scan,
                }
            } else {
                unquoted(data, at)
            };
            self.fields.push(field);
            match data.get(end) {
                Some(b',') => at = end + 1,
                Some(_) => {
                    self.terminated = true;
                    return Scan::Row(end + 1);
                }
                None if self.exhausted && self.start < end => {
                    self.terminated = false;
                    return Scan::Row(end);
                }
                None => return Scan::Incomplete,
            }
        }
    }

    /// Passes over the line that cannot be read.
    fn skip_line(&mut self) -> io::Result<Row> {
        self.number += 1;
        loop {
            let rest = &self.buffer[self.start..self.end];
            if let Some(end) = memchr(b'\n', rest) {
                self.terminated = true;
                self.start += end + 1;
                return Ok(Row::Bad);
            }
            self.start = self.end;
            if self.exhausted {
                self.terminated = false;
                return Ok(Row::Bad);
            }
            self.fill()?;
        }
    }

    /// Makes one quote of two. The row is done with then, so it is changed where it lies.
    fn unescape(&mut self) {
        for field in self.fields.iter_mut().filter(|field| field.escaped) {
            let (mut to, mut from) = (field.start, field.start);
            while from < field.end {
                let byte = self.buffer[from];
                self.buffer[to] = byte;
                from += if byte == b'"' { 2 } else { 1 };
                to += 1;
            }
            field.end = to;
        }
    }
}

/// The field that begins at `at`, and where it ends; the end of the data may not be its end.
fn unquoted(data: &[u8], at: usize) -> (Field, usize) {
    let rest = data.get(at..).unwrap_or_default();
    let end = memchr2(b',', b'\n', rest).map_or(data.len(), |length| at + length);
    let line_ends = data.get(end) != Some(&b',');
    let text = data.get(at..end).unwrap_or_default();
    let return_before = line_ends && text.last() == Some(&b'\r');
    let field = Field {
        start: at,
        end: end - usize::from(return_before),
        escaped: false,
    };
    (field, end)
}

/// The same of a field that begins with a quote.
fn quoted(data: &[u8], at: usize, exhausted: bool) -> Result<(Field, usize), Scan> {
    let start = at + 1;
    let (mut from, mut escaped) = (start, false);
    let end = loop {
        let rest = data.get(from..).unwrap_or_default();
        let end = from + memchr(b'"', rest).ok_or(Scan::Incomplete)?;
        match data.get(end + 1) {
            Some(b'"') => {
                escaped = true;
                from = end + 2;
            }
            _ => break end,
        }
    };
    let field = Field {
        start,
        end,
        escaped,
    };
    match data.get(end + 1..) {
        Some([b',' | b'\n', ..]) => Ok((field, end + 1)),
        Some([b'\r', b'\n', ..]) => Ok((field, end + 2)),
        Some([] | [b'\r']) if exhausted => Ok((field, data.len())),
        Some([] | [b'\r']) => Err(Scan::Incomplete),
        _ => Err(Scan::Malformed),
    }
}

#[cfg(test)]
mod tests;
