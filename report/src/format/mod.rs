//! What a file is, and the readers of all that it can be.

mod jtl_csv;
mod jtl_xml;
mod k6;
mod k6_points;
mod locust;
mod numbers;
mod plain;
mod rows;

use crate::tally::Tally;
use std::io::{self, Read};

/// What a result file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// JMeter's CSV.
    JtlCsv,
    /// JMeter's XML.
    JtlXml,
    /// Locust's `_stats.csv`.
    LocustStats,
    /// Locust's `_stats_history.csv`.
    LocustHistory,
    /// Locust's `_failures.csv`.
    LocustFailures,
    /// Locust's `_exceptions.csv`.
    LocustExceptions,
    /// k6's summary in JSON.
    K6Summary,
    /// k6's points in CSV.
    K6Csv,
    /// k6's points, each in a line of JSON.
    K6Json,
    /// The simple CSV of the crate's documentation.
    Csv,
}

impl Format {
    /// The name in a report.
    pub fn name(self) -> &'static str {
        match self {
            Self::JtlCsv => "jtl-csv",
            Self::JtlXml => "jtl-xml",
            Self::LocustStats
            | Self::LocustHistory
            | Self::LocustFailures
            | Self::LocustExceptions => "locust",
            Self::K6Summary | Self::K6Csv | Self::K6Json => "k6",
            Self::Csv => "csv",
        }
    }
}

/// What a file is, by its beginning, and by its name only when there is none; `None`: not a result.
pub fn detect(name: &str, head: &[u8]) -> Option<Format> {
    let head = numbers::without_mark(head);
    let text = head.trim_ascii_start();
    match text.first() {
        None => by_name(name),
        Some(b'<') => has(text, b"<testResults").then_some(Format::JtlXml),
        Some(b'{') => json(text),
        Some(_) => table(head),
    }
}

fn by_name(name: &str) -> Option<Format> {
    let endings = [
        (".jtl", Format::JtlCsv),
        ("_stats.csv", Format::LocustStats),
        ("_stats_history.csv", Format::LocustHistory),
        ("_failures.csv", Format::LocustFailures),
        ("_exceptions.csv", Format::LocustExceptions),
    ];
    let found = endings.iter().find(|(ending, _)| name.ends_with(ending));
    found.map(|(_, format)| *format)
}

fn has(text: &[u8], word: &[u8]) -> bool {
    memchr::memmem::find(text, word).is_some()
}

fn json(text: &[u8]) -> Option<Format> {
    let line = text.split(|byte| *byte == b'\n').next().unwrap_or(text);
    let is_point = has(line, b"\"type\":\"Metric\"") || has(line, b"\"type\":\"Point\"");
    if is_point && has(line, b"\"metric\":") {
        return Some(Format::K6Json);
    }
    // Whatever comes first in it may be long: checks and groups.
    let is_summary = has(text, b"\"metrics\"") || has(text, b"\"root_group\"");
    is_summary.then_some(Format::K6Summary)
}

fn table(head: &[u8]) -> Option<Format> {
    let mut rows = rows::Rows::new(head);
    // A head that is cut in its first row, or is no table at all, has no such row.
    let Ok(rows::Row::Fields) = rows.next() else {
        return None;
    };
    let names: Vec<&[u8]> = rows.fields().collect();
    let has = |name: &str| names.contains(&name.as_bytes());
    let begins = |with: &[&str]| {
        names.len() >= with.len() && names.iter().zip(with).all(|(a, b)| *a == b.as_bytes())
    };
    if has("timeStamp") && has("elapsed") {
        Some(Format::JtlCsv)
    } else if ["timestamp", "elapsed", "label", "success"]
        .into_iter()
        .all(has)
    {
        Some(Format::Csv)
    } else if begins(&["metric_name", "timestamp", "metric_value"]) {
        Some(Format::K6Csv)
    } else if begins(&["Type", "Name", "Request Count"]) {
        Some(Format::LocustStats)
    } else if begins(&["Timestamp", "User Count"]) {
        Some(Format::LocustHistory)
    } else if begins(&["Method", "Name", "Error", "Occurrences"]) {
        Some(Format::LocustFailures)
    } else if begins(&["Count", "Message", "Traceback"]) {
        Some(Format::LocustExceptions)
    } else {
        jtl_csv::is_row(&names).then_some(Format::JtlCsv)
    }
}

/// The file that is read.
#[derive(Debug, Clone, Copy)]
pub struct File<'a> {
    /// Whose file it is; may be empty.
    pub worker: &'a str,
}

/// What came of reading it.
#[derive(Debug, Default)]
pub struct Found {
    /// Samples.
    pub samples: u64,
    /// Rows that could not be read.
    pub bad: u64,
    /// The first of them, counted from one with the header.
    pub first_bad: u64,
    /// Whether the last of them is the file's last line, without an end.
    pub cut: bool,
    /// What else is wrong.
    pub wrong: Option<String>,
}

impl Found {
    /// Counts a row that cannot be read; `cut`: it is the last one and has no end.
    fn bad_row(&mut self, number: u64, cut: bool) {
        self.bad += 1;
        self.cut |= cut;
        if self.first_bad == 0 {
            self.first_bad = number;
        }
    }

    /// In words; none when all is well.
    pub fn problem(&self) -> Option<String> {
        let rows = match (self.bad, self.cut) {
            (0, _) => None,
            (1, true) => Some("the last row is cut off and was left out".to_owned()),
            (1, false) => Some(format!("row {} cannot be read", self.first_bad)),
            (bad, cut) => {
                let cut = if cut { "; the last row is cut off" } else { "" };
                Some(format!(
                    "{bad} rows cannot be read, the first is row {}{cut}",
                    self.first_bad
                ))
            }
        };
        match (rows, &self.wrong) {
            (Some(rows), Some(wrong)) => Some(format!("{wrong}; {rows}")),
            (rows, wrong) => rows.or_else(|| wrong.clone()),
        }
    }
}

/// Reads a file of a format.
pub fn read(
    format: Format,
    file: &File<'_>,
    reader: impl Read,
    tally: &mut Tally,
    found: &mut Found,
) -> io::Result<()> {
    match format {
        Format::JtlCsv => jtl_csv::read(file, reader, tally, found),
        Format::JtlXml => jtl_xml::read(file, reader, tally, found),
        Format::LocustStats => locust::stats(file, reader, tally, found),
        Format::LocustHistory => locust::history(reader, tally, found),
        Format::LocustFailures => locust::failures(reader, tally, found),
        Format::LocustExceptions => Ok(()),
        Format::K6Summary => k6::read(file, reader, tally, found),
        Format::K6Csv => k6_points::csv(file, reader, tally, found),
        Format::K6Json => k6_points::json(file, reader, tally, found),
        Format::Csv => plain::read(file, reader, tally, found),
    }
}

#[cfg(test)]
mod tests;
