//! Splits delimited text (CSV and its relatives) into rows and fields, as the bytes come. Fields are
//! slices of one buffer: nothing is allocated per row.

use memchr::memchr;
use wide::u8x16;

/// The longest row, in bytes. An assertion may print a whole response into one field.
const LONGEST_ROW: usize = 8 * 1024 * 1024;
/// The most fields of a row.
const MOST_FIELDS: usize = 4096;
/// Bytes that are looked at together.
const BLOCK: usize = 16;
const UTF8_MARK: &[u8] = b"\xef\xbb\xbf";

/// What comes next in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Row {
    /// A row; its fields can be asked for.
    Fields,
    /// Text up to the end of a line that cannot be split into fields.
    Malformed,
}

#[derive(Debug, Clone, Copy)]
struct Field {
    start: usize,
    end: usize,
    /// Whether it has doubled quotes.
    escaped: bool,
}

/// Splits rows from bytes that are pushed in any portions.
#[derive(Debug)]
pub struct Rows {
    delimiter: u8,
    marks: Marks,
    buffer: Vec<u8>,
    /// Where the next row begins.
    start: usize,
    /// The bytes of the current row.
    row: (usize, usize),
    /// Whether no more bytes will come.
    ended: bool,
    /// Whether the bytes end within a row, and no end of a line has come since.
    unfinished: bool,
    /// Whether the rest of a line is thrown away.
    skipping: bool,
    fields: Vec<Field>,
    terminated: bool,
    number: u64,
}

enum Scan {
    /// A row, and where the next one begins.
    Row(usize),
    Malformed,
    /// The bytes end within it.
    Incomplete,
}

impl Rows {
    /// Rows whose fields are separated by this byte.
    pub fn new(delimiter: u8) -> Self {
        Self {
            delimiter,
            marks: Marks::new(delimiter),
            buffer: Vec::new(),
            start: 0,
            row: (0, 0),
            ended: false,
            unfinished: false,
            skipping: false,
            fields: Vec::new(),
            terminated: true,
            number: 0,
        }
    }

    /// Takes the next bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.start);
        self.start = 0;
        self.buffer.extend_from_slice(bytes);
        self.unfinished &= memchr(b'\n', bytes).is_none();
    }

    /// No more bytes will come: the last row may lack the end of its line.
    pub fn end(&mut self) {
        self.ended = true;
    }

    /// Goes on to the next row; `None`: more bytes are needed, or there are no more rows. Empty lines
    /// are no rows.
    pub fn next(&mut self) -> Option<Row> {
        if self.skipping {
            return self.skip_line();
        }
        let is_long = self.buffer.len() - self.start >= LONGEST_ROW;
        if self.unfinished && !self.ended && !is_long {
            return None;
        }
        self.skip_empty_lines();
        match self.scan() {
            Scan::Row(next) if next - self.start <= LONGEST_ROW => {
                self.row = (self.start, next);
                self.start = next;
                self.number += 1;
                self.unescape();
                Some(Row::Fields)
            }
            Scan::Incomplete if self.ended && self.start == self.buffer.len() => None,
            Scan::Incomplete if !self.ended && !is_long => {
                self.unfinished = true;
                None
            }
            // A quote that is never closed, or a row that is too long.
            Scan::Row(_) | Scan::Malformed | Scan::Incomplete => {
                self.number += 1;
                self.row = (self.start, self.start);
                self.unfinished = false;
                self.skipping = true;
                self.skip_line()
            }
        }
    }

    /// What separates the fields.
    pub fn delimiter(&self) -> u8 {
        self.delimiter
    }

    /// The number of the row, from one.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Whether the row had the end of its line.
    pub fn terminated(&self) -> bool {
        self.terminated
    }

    /// Whether there are zero bytes in the row, which no tool writes: a sign of a damaged file.
    pub fn has_zeros(&self) -> bool {
        let row = self.buffer.get(self.row.0..self.row.1);
        row.is_some_and(|row| memchr(0, row).is_some())
    }

    /// How many ends of lines are inside of the row.
    pub fn lines_within(&self) -> u64 {
        let row = self.buffer.get(self.row.0..self.row.1).unwrap_or_default();
        let ends = memchr::memchr_iter(b'\n', row).count() as u64;
        ends.saturating_sub(u64::from(self.terminated))
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

    fn skip_empty_lines(&mut self) {
        loop {
            match self.buffer.get(self.start..) {
                Some([b'\n', ..]) => self.start += 1,
                Some([b'\r', b'\n', ..]) => self.start += 2,
                // Files that were put together have marks in the middle.
                Some(rest) if rest.starts_with(UTF8_MARK) => self.start += UTF8_MARK.len(),
                _ => return,
            }
        }
    }

    /// Finds the fields of the row that begins at `start`.
    fn scan(&mut self) -> Scan {
        let data = self.buffer.as_slice();
        self.fields.clear();
        let (mut field, mut block) = (self.start, self.start);
        let mut marks = self.marks.of(data, block);
        loop {
            if data.get(field) == Some(&b'"') {
                let (quoted, end) = match quoted(data, field, self.delimiter, self.ended) {
                    Ok(found) => found,
                    Err(scan) => return scan,
                };
                self.fields.push(quoted);
                match data.get(end) {
                    Some(byte) if *byte == self.delimiter => field = end + 1,
                    Some(_) => return self.row_ends(end, true),
                    None => return self.row_ends(end, false),
                }
                // What was inside of the quotes is passed over.
                block = field;
                marks = self.marks.of(data, block);
                continue;
            }
            while marks == 0 {
                block += BLOCK;
                if block >= data.len() {
                    return self.data_ends(field);
                }
                marks = self.marks.of(data, block);
            }
            let at = block + marks.trailing_zeros() as usize;
            marks &= marks - 1;
            if self.fields.len() >= MOST_FIELDS {
                return Scan::Malformed;
            }
            self.fields.push(unquoted(data, field, at, self.delimiter));
            if data[at] != self.delimiter {
                return self.row_ends(at, true);
            }
            field = at + 1;
        }
    }

    /// The row has an end at this byte, or the file has.
    fn row_ends(&mut self, end: usize, terminated: bool) -> Scan {
        self.terminated = terminated;
        Scan::Row(end + usize::from(terminated))
    }

    /// There are no more bytes in the field that begins here.
    fn data_ends(&mut self, field: usize) -> Scan {
        let data = self.buffer.as_slice();
        if !self.ended || self.start == data.len() {
            return Scan::Incomplete;
        }
        let end = data.len();
        self.fields.push(unquoted(data, field, end, self.delimiter));
        self.row_ends(end, false)
    }

    /// Throws the rest of the line away.
    fn skip_line(&mut self) -> Option<Row> {
        self.fields.clear();
        let rest = self.buffer.get(self.start..).unwrap_or_default();
        if let Some(end) = memchr(b'\n', rest) {
            self.terminated = true;
            self.start += end + 1;
        } else {
            self.start = self.buffer.len();
            if !self.ended {
                return None;
            }
            self.terminated = false;
        }
        self.row.1 = self.start;
        self.skipping = false;
        Some(Row::Malformed)
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

/// Finds delimiters and ends of lines in a block of bytes.
#[derive(Debug, Clone, Copy)]
struct Marks {
    delimiter: u8x16,
    line: u8x16,
}

impl Marks {
    fn new(delimiter: u8) -> Self {
        Self {
            delimiter: u8x16::splat(delimiter),
            line: u8x16::splat(b'\n'),
        }
    }

    /// A bit for each of the bytes from `at` on that is one.
    fn of(self, data: &[u8], at: usize) -> u32 {
        let rest = data.get(at..).unwrap_or_default();
        let block = match rest.first_chunk::<BLOCK>() {
            Some(block) => u8x16::from(*block),
            None => {
                let mut block = [0; BLOCK];
                block[..rest.len()].copy_from_slice(rest);
                u8x16::from(block)
            }
        };
        (block.simd_eq(self.delimiter) | block.simd_eq(self.line)).to_bitmask()
    }
}

/// The field from `start` to `end`, at which it is known to end.
fn unquoted(data: &[u8], start: usize, end: usize, delimiter: u8) -> Field {
    let line_ends = data.get(end) != Some(&delimiter);
    let return_before = line_ends && end > start && data[end - 1] == b'\r';
    Field {
        start,
        end: end - usize::from(return_before),
        escaped: false,
    }
}

/// The field that begins with a quote at `at`, and where it ends.
fn quoted(data: &[u8], at: usize, delimiter: u8, ended: bool) -> Result<(Field, usize), Scan> {
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
        Some([b'\n', ..]) => Ok((field, end + 1)),
        Some([byte, ..]) if *byte == delimiter => Ok((field, end + 1)),
        Some([b'\r', b'\n', ..]) => Ok((field, end + 2)),
        Some([] | [b'\r']) if ended => Ok((field, data.len())),
        Some([] | [b'\r']) => Err(Scan::Incomplete),
        _ => Err(Scan::Malformed),
    }
}

#[cfg(test)]
mod tests;
