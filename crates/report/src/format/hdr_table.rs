//! HdrHistogram's table of percentiles (`outputPercentileDistribution`), as text and as CSV. wrk2 prints
//! the text form with `--latency`.

use super::detect::Detected;
use super::numbers::{number, short, whole, without_mark};
use super::{FileTally, Format, KnownFigures, PercentilePoint, Summary};
use crate::histogram::curve;

/// Maximum size of a table, which usually has some hundred lines.
pub const MAX_BYTES: usize = 4 * 1024 * 1024;
/// Maximum number of rows of a table.
const MAX_ROWS: usize = 20_000;
const COLUMNS: [&str; 4] = ["Value", "Percentile", "TotalCount", "1/(1-Percentile)"];

/// Detects the table by its beginning; `None`: it is not such a table.
pub fn detect(head: &[u8], is_whole: bool) -> Option<Detected> {
    let head = without_mark(head).trim_ascii_start();
    let end = memchr::memchr(b'\n', head).or(is_whole.then_some(head.len()))?;
    let line = std::str::from_utf8(head.get(..end)?).ok()?;
    let is_table = is_header(line) || is_csv_header(line);
    is_table.then_some(Detected::Results(Format::HdrTable))
}

/// The column names, separated by blanks.
fn is_header(line: &str) -> bool {
    line.split_whitespace().eq(COLUMNS)
}

fn is_csv_header(line: &str) -> bool {
    line.trim()
        .split(',')
        .map(|name| name.trim_matches('"'))
        .eq(COLUMNS)
}

/// A table of percentiles, parsed line by line. Values in milliseconds.
#[derive(Debug, Default)]
pub struct Table {
    /// Value, percentile (0 to 100), and number of samples up to it.
    rows: Vec<(f64, f64, u64)>,
    mean: Option<f64>,
    total: Option<u64>,
    is_csv: bool,
    /// True after its last line.
    pub has_ended: bool,
}

impl Table {
    /// Parses the next line.
    ///
    /// # Errors
    /// If it is not a line of such a table.
    pub fn line(&mut self, line: &str) -> Result<(), String> {
        let line = line.trim();
        if line.is_empty() || is_header(line) && self.rows.is_empty() {
            return Ok(());
        }
        if is_csv_header(line) && self.rows.is_empty() {
            self.is_csv = true;
            return Ok(());
        }
        if self.has_ended {
            return Err(format!("`{}` follows the end of the table", short(line)));
        }
        match line.strip_prefix("#[") {
            Some(footer) => {
                self.footer(footer);
                Ok(())
            }
            None => self.row(line),
        }
    }

    fn row(&mut self, line: &str) -> Result<(), String> {
        if self.rows.len() >= MAX_ROWS {
            return Err(format!("it has more than {MAX_ROWS} rows"));
        }
        let bad = || format!("`{}` is not a row of percentiles", short(line));
        let fields: Vec<&str> = match self.is_csv {
            true => line.split(',').collect(),
            false => line.split_whitespace().collect(),
        };
        // The last row of the text form has no fourth column.
        let (&[value, percentile, count] | &[value, percentile, count, _]) = fields.as_slice()
        else {
            return Err(bad());
        };
        let count = whole(count.as_bytes()).ok_or_else(bad)?;
        let value = number(value.as_bytes()).filter(|value| *value >= 0.0);
        let percentile = number(percentile.as_bytes());
        let percentile = percentile.filter(|part| (0.0..=1.0).contains(part));
        let percentile = percentile.ok_or_else(bad)? * 100.0;
        self.rows.push((value.ok_or_else(bad)?, percentile, count));
        self.has_ended = self.is_csv && fields.last() == Some(&"Infinity");
        Ok(())
    }

    /// `Mean = 2.653, StdDeviation = 3.555]`.
    fn footer(&mut self, line: &str) {
        for part in line.trim_end_matches(']').split(',') {
            let Some((name, value)) = part.split_once('=') else {
                continue;
            };
            match name.trim() {
                "Mean" => self.mean = number(value.as_bytes()),
                "Total count" => self.total = whole(value.trim().as_bytes()),
                "SubBuckets" => self.has_ended = line.ends_with(']'),
                _ => {}
            }
        }
    }

    /// The number of samples.
    pub fn samples(&self) -> u64 {
        let last = self.rows.last().map(|(.., count)| *count);
        self.total.or(last).unwrap_or_default()
    }

    /// The value of the first row at or above a percentile.
    pub fn percentile(&self, percentile: f64) -> Option<f64> {
        let mut rows = self.rows.iter();
        let row = rows.find(|(_, at, _)| *at >= percentile - 1e-9);
        row.map(|(value, ..)| *value)
    }

    /// The figures in the table.
    pub fn known(&self) -> KnownFigures {
        if self.samples() == 0 {
            return KnownFigures::default();
        }
        KnownFigures {
            samples: self.samples(),
            min: self.rows.first().map(|(value, ..)| *value),
            mean: self.mean,
            max: self.rows.last().map(|(value, ..)| *value),
            ..KnownFigures::of_percentiles(|percentile| self.percentile(percentile))
        }
    }

    /// Its rows, and the usual percentiles without a row.
    pub fn distribution(&self) -> Vec<PercentilePoint> {
        let usual = [50.0, 90.0, 95.0, 99.0, 99.9, 99.99].into_iter();
        let usual = usual.map(|usual| (usual, self.percentile(usual)));
        let rows = self.rows.iter();
        let rows = rows.map(|(value, percentile, _)| (*percentile, Some(*value)));
        let mut points = curve(rows.chain(usual));
        points.dedup_by(|a, b| (a.percentile - b.percentile).abs() < 1e-9);
        points
    }
}

/// Decodes a file.
pub fn read(text: &[u8], into: &mut FileTally) -> Result<(), String> {
    let mut table = Table::default();
    for line in String::from_utf8_lossy(text).lines() {
        table.line(line)?;
    }
    if !table.has_ended {
        return Err("the table is incomplete".to_owned());
    }
    if table.samples() == 0 {
        return Ok(());
    }
    into.note("HdrHistogram's table of percentiles does not contain the unit of its values: milliseconds are assumed");
    into.note("HdrHistogram's table of percentiles contains neither failures nor times of the test; a percentile without a row has the value of the next row");
    into.summarise(Summary {
        // One form has a mean and the other does not, which distinguishes them.
        form: if table.is_csv { "hdr-csv" } else { "hdr-text" },
        total: table.known().figures(),
        distribution: table.distribution(),
        ..Summary::default()
    });
    Ok(())
}
