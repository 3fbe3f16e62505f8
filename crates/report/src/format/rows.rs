//! Splits delimited text (CSV and similar) into rows and fields as a stream. Fields are
//! slices of one buffer: nothing is allocated per row.

use memchr::memchr;
use wide::u8x16;

/// Maximum length of a row in bytes. An assertion may print a whole response into one field.
const MAX_ROW: usize = 8 * 1024 * 1024;
/// Maximum number of fields of a row.
const MAX_FIELDS: usize = 4096;
/// Bytes scanned together.
const BLOCK: usize = 16;
const UTF8_MARK: &[u8] = b"\xef\xbb\xbf";

/// The next item of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Row {
    /// A row; its fields are available.
    Fields,
    /// Text up to the end of a line that cannot be split into fields.
    Malformed,
}

#[derive(Debug, Clone, Copy)]
struct Field {
    start: usize,
    end: usize,
    /// True if it contains doubled quotes.
    escaped: bool,
}

/// Splits bytes, pushed in chunks of any size, into rows.
#[derive(Debug, Default)]
pub struct Rows {
    /// The field separator.
    pub delimiter: u8,
    marks: Marks,
    buffer: Vec<u8>,
    /// Start of the next row.
    start: usize,
    /// Bytes of the current row.
    row: (usize, usize),
    /// True if no more bytes follow.
    ended: bool,
    /// True if the bytes end within a row, and no line end has arrived since.
    unfinished: bool,
    /// True if the rest of a line is skipped.
    skipping: bool,
    fields: Vec<Field>,
    /// True if the row had a line end.
    pub terminated: bool,
    /// The number of the row, from one.
    pub number: u64,
}

enum Scan {
    /// A row, and the start of the next one.
    Row(usize),
    Malformed,
    /// The bytes end within the row.
    Incomplete,
}

impl Rows {
    /// Rows with fields separated by `delimiter`.
    pub fn new(delimiter: u8) -> Self {
        Self {
            delimiter,
            marks: Marks::new(delimiter),
            terminated: true,
            ..Self::default()
        }
    }

    /// Adds the next bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.start);
        self.start = 0;
        if self.buffer.capacity() > MAX_ROW / 8 && self.buffer.len() < MAX_ROW / 32 {
            self.buffer.shrink_to(bytes.len());
        }
        self.buffer.extend_from_slice(bytes);
        self.unfinished &= memchr(b'\n', bytes).is_none();
    }

    /// Ends the input: the last row may lack its line end.
    pub fn end(&mut self) {
        self.ended = true;
    }

    /// Advances to the next row; `None` if more bytes are needed, or there are no more rows. Empty lines
    /// are skipped.
    pub fn next(&mut self) -> Option<Row> {
        if self.skipping {
            return self.skip_line();
        }
        let is_long = self.buffer.len() - self.start >= MAX_ROW;
        if self.unfinished && !self.ended && !is_long {
            return None;
        }
        self.skip_empty_lines();
        match self.scan() {
            Scan::Row(next) if next - self.start <= MAX_ROW => {
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
            // The row is too long, or has an unclosed quote.
            Scan::Row(_) | Scan::Malformed | Scan::Incomplete => {
                self.number += 1;
                self.row = (self.start, self.start);
                self.unfinished = false;
                self.skipping = true;
                self.skip_line()
            }
        }
    }

    /// True if the row contains zero bytes, which no tool writes: a sign of a damaged file.
    pub fn has_zeros(&self) -> bool {
        let row = self.buffer.get(self.row.0..self.row.1);
        row.is_some_and(|row| memchr(0, row).is_some())
    }

    /// Number of line ends within the row.
    pub fn lines_within(&self) -> u64 {
        let row = self.buffer.get(self.row.0..self.row.1).unwrap_or_default();
        let ends = memchr::memchr_iter(b'\n', row).count() as u64;
        ends.saturating_sub(u64::from(self.terminated))
    }

    /// The bytes of memory for incomplete rows.
    pub fn memory(&self) -> usize {
        self.buffer.capacity() + self.fields.capacity() * size_of::<Field>()
    }

    /// Number of fields.
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// A field of the row; empty if it does not exist.
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
                // Concatenated files have byte order marks in the middle.
                Some(rest) if rest.starts_with(UTF8_MARK) => self.start += UTF8_MARK.len(),
                _ => return,
            }
        }
    }

    /// Finds the fields of the row that starts at `start`.
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
                // Skip the bytes inside the quotes.
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
            if self.fields.len() >= MAX_FIELDS {
                return Scan::Malformed;
            }
            self.fields.push(unquoted(data, field, at, self.delimiter));
            if data[at] != self.delimiter {
                return self.row_ends(at, true);
            }
            field = at + 1;
        }
    }

    /// Ends the row at this byte, or at the end of the file.
    fn row_ends(&mut self, end: usize, terminated: bool) -> Scan {
        self.terminated = terminated;
        Scan::Row(end + usize::from(terminated))
    }

    /// Handles the end of the bytes in the field that starts here.
    fn data_ends(&mut self, field: usize) -> Scan {
        let data = self.buffer.as_slice();
        if !self.ended || self.start == data.len() {
            return Scan::Incomplete;
        }
        let end = data.len();
        self.fields.push(unquoted(data, field, end, self.delimiter));
        self.row_ends(end, false)
    }

    /// Skips the rest of the line.
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

    /// Replaces doubled quotes in place; the row is complete at this point.
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

/// Finds delimiters and line ends in a block of bytes.
#[derive(Debug, Default, Clone, Copy)]
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

    /// A bit mask of the positions from `at` on that are delimiters or line ends.
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

/// The unquoted field from `start` to `end`.
fn unquoted(data: &[u8], start: usize, end: usize, delimiter: u8) -> Field {
    let line_ends = data.get(end) != Some(&delimiter);
    let return_before = line_ends && end > start && data[end - 1] == b'\r';
    Field {
        start,
        end: end - usize::from(return_before),
        escaped: false,
    }
}

/// The quoted field that starts at `at`, and its end.
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
