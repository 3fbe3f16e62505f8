//! Common parts of all tables: the delimiter, lines before the header, unreadable rows.

use super::rows::{Row, Rows};
use super::{BadRow, Decoder, FileTally, numbers};
use memchr::memchr;

/// Field separators, the most common first.
pub const DELIMITERS: [u8; 8] = *b",;\t|^~:#";

/// Maximum length of a column name that is kept for messages, in bytes.
const MAX_NAME: usize = 40;

/// Decodes the rows of a table.
pub trait Table: std::fmt::Debug + Send {
    /// Decodes the next row; the first one is the header if there is one.
    ///
    /// # Errors
    /// If it is neither a header nor a row with valid values.
    fn row(&mut self, rows: &Rows, into: &mut FileTally) -> Result<(), BadRow>;

    /// Ends the file.
    fn finish(&mut self, _into: &mut FileTally) {}

    /// See [`Decoder::provisional`].
    fn provisional(&self) -> Option<&FileTally> {
        None
    }
}

/// A decoder for a table with this field separator.
pub fn decoder<T: Table + 'static>(delimiter: u8, table: T) -> Box<dyn Decoder> {
    Box::new(Rest {
        rows: Rows::new(delimiter),
        begun: false,
        names: Vec::new(),
        table,
    })
}

#[derive(Debug)]
struct Rest<T> {
    rows: Rows,
    /// True after the first row of the table itself.
    begun: bool,
    /// The fields of the first row, which are the column names if it is a header.
    names: Vec<String>,
    table: T,
}

impl<T: Table> Rest<T> {
    fn read(&mut self, into: &mut FileTally) {
        while let Some(row) = self.rows.next() {
            let read = match row {
                Row::Fields if !self.begun && is_preamble(self.rows.get(0)) => continue,
                Row::Fields if is_blank(&self.rows) => continue,
                Row::Fields => {
                    if !self.begun {
                        self.names = short_fields(&self.rows);
                    }
                    self.table.row(&self.rows, into)
                }
                Row::Malformed => Err(BadRow::Malformed),
            };
            self.begun = true;
            if let Err(bad) = read {
                let cut = !self.rows.terminated;
                let damaged = self.rows.has_zeros();
                let bad = bad.renamed(|name| spelling(&self.names, name));
                into.found.bad_row(self.rows.number, bad, cut, damaged);
                into.found.bad_lines(self.rows.lines_within());
            }
        }
    }
}

impl<T: Table> Decoder for Rest<T> {
    fn push(&mut self, bytes: &[u8], into: &mut FileTally) {
        self.rows.push(bytes);
        self.read(into);
    }

    fn finish(&mut self, into: &mut FileTally) {
        self.rows.end();
        self.read(into);
        self.table.finish(into);
    }

    fn memory(&self) -> usize {
        self.rows.memory()
    }

    fn provisional(&self) -> Option<&FileTally> {
        self.table.provisional()
    }
}

/// The fields of a row that are short enough for names.
fn short_fields(rows: &Rows) -> Vec<String> {
    let fields = rows.fields().map(<[u8]>::trim_ascii);
    let short = fields.filter(|field| field.len() <= MAX_NAME);
    short
        .map(|field| String::from_utf8_lossy(field).into_owned())
        .collect()
}

/// The spelling of a column name in the header; names are case-insensitive.
fn spelling(names: &[String], name: &str) -> Option<String> {
    let mut names = names.iter();
    names.find(|own| own.eq_ignore_ascii_case(name)).cloned()
}

/// True for a line that consists of blanks.
fn is_blank(rows: &Rows) -> bool {
    rows.len() == 1 && rows.get(0).trim_ascii().is_empty()
}

/// True for lines that spreadsheets and PowerShell write before a table: `#TYPE ...`, `sep=;`.
fn is_preamble(field: &[u8]) -> bool {
    field.starts_with(b"#") || field.starts_with(b"sep=")
}

/// The first line of a table, without preceding lines; `None` if it is incomplete.
pub fn first_line(head: &[u8], whole: bool) -> Option<&[u8]> {
    let mut rest = numbers::without_mark(head);
    loop {
        let (line, next) = match memchr(b'\n', rest) {
            Some(end) => (&rest[..end], Some(&rest[end + 1..])),
            None if whole => (rest, None),
            None => return None,
        };
        let text = line.strip_suffix(b"\r").unwrap_or(line);
        match next {
            Some(next) if text.is_empty() || is_preamble(text) => rest = next,
            _ => return Some(text),
        }
    }
}

/// The fields of a line.
pub fn split(line: &[u8], delimiter: u8) -> Vec<Vec<u8>> {
    let mut rows = Rows::new(delimiter);
    rows.push(line);
    rows.end();
    match rows.next() {
        Some(Row::Fields) => rows.fields().map(<[u8]>::to_vec).collect(),
        _ => Vec::new(),
    }
}

/// The delimiter with which the first line satisfies `fits`.
pub fn delimiter(head: &[u8], fits: impl Fn(&[&[u8]]) -> bool) -> Option<u8> {
    let line = first_line(head, true)?;
    DELIMITERS.into_iter().find(|delimiter| {
        let fields = split(line, *delimiter);
        let fields: Vec<&[u8]> = fields.iter().map(Vec::as_slice).collect();
        fits(&fields)
    })
}

/// Positions of columns by header name, ignoring case; `usize::MAX` for missing ones.
pub fn columns<const N: usize>(rows: &Rows, names: [&str; N]) -> [usize; N] {
    names.map(|name| {
        let same = |field: &[u8]| field.trim_ascii().eq_ignore_ascii_case(name.as_bytes());
        rows.fields().position(same).unwrap_or(usize::MAX)
    })
}

/// The header of a table; its rows must have the same number of fields.
#[derive(Debug, Default)]
pub struct Header<const N: usize>(pub Option<(usize, [usize; N])>);

impl<const N: usize> Header<N> {
    /// Positions of the columns with these names in a row; `None` for the header itself.
    ///
    /// # Errors
    /// If the row and the header have different numbers of fields.
    pub fn columns(&mut self, rows: &Rows, names: [&str; N]) -> Result<Option<[usize; N]>, BadRow> {
        match self.0 {
            None => {
                self.0 = Some((rows.len(), columns(rows, names)));
                Ok(None)
            }
            Some((count, _)) if rows.len() != count => Err(BadRow::Fields(rows.len(), count)),
            Some((_, columns)) => Ok(Some(columns)),
        }
    }
}

/// True if a header has a column of this name, ignoring case.
pub fn has(names: &[&[u8]], name: &str) -> bool {
    let mut names = names.iter().map(|name| name.trim_ascii());
    names.any(|other| other.eq_ignore_ascii_case(name.as_bytes()))
}
