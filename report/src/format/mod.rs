//! The formats of result files, and a decoder for each.
//!
//! A decoder takes the bytes of a file as they come, in any portions, and puts what it finds into the
//! [`FileTally`] of the file, so that a file can be read while it grows.

mod detect;
mod gatling;
mod gatling_binary;
mod gatling_text;
mod hdr_histogram;
mod hdr_log;
mod hdr_table;
mod jtl_columns;
mod jtl_csv;
mod jtl_xml;
mod k6;
mod k6_points;
mod lines;
mod locust;
mod numbers;
mod plain;
mod rows;
mod sub_results;
mod table;
mod told;
mod whole;
mod wrk;
mod xml_tags;

use crate::file::FileTally;
pub use detect::{Detected, detect};

/// What of a file is looked at to know its format, in bytes.
pub const HEAD: usize = 64 * 1024;

/// Reads one file.
pub trait Decoder: std::fmt::Debug + Send {
    /// Takes the next bytes.
    fn push(&mut self, bytes: &[u8], into: &mut FileTally);

    /// The file is over.
    fn finish(&mut self, into: &mut FileTally);
}

/// What a result file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// JMeter's CSV, with a header or without one.
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
    /// Gatling's `simulation.log` as text.
    GatlingText,
    /// Gatling's binary `simulation.log`.
    GatlingBinary,
    /// HdrHistogram's log of intervals.
    HdrLog,
    /// HdrHistogram's table of percentiles.
    HdrTable,
    /// What wrk and wrk2 print.
    Wrk,
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
            Self::GatlingText | Self::GatlingBinary => "gatling",
            Self::HdrLog | Self::HdrTable => "hdr",
            Self::Wrk => "wrk",
            Self::Csv => "csv",
        }
    }

    /// The tool that writes it; files of several tools in one container are of several tests.
    pub fn tool(self) -> &'static str {
        match self {
            Self::JtlCsv | Self::JtlXml => "JMeter",
            Self::LocustStats
            | Self::LocustHistory
            | Self::LocustFailures
            | Self::LocustExceptions => "Locust",
            Self::K6Summary | Self::K6Csv | Self::K6Json => "k6",
            Self::GatlingText | Self::GatlingBinary => "Gatling",
            Self::HdrLog | Self::HdrTable => "HdrHistogram",
            Self::Wrk => "wrk",
            Self::Csv => "simple CSV",
        }
    }

    /// A decoder for a file of this format that begins like this.
    pub fn decoder(self, head: &[u8]) -> Box<dyn Decoder> {
        match self {
            Self::JtlCsv => jtl_csv::decoder(head),
            Self::JtlXml => jtl_xml::decoder(),
            Self::LocustStats => locust::stats(head),
            Self::LocustHistory => locust::history(head),
            Self::LocustFailures => locust::failures(head),
            Self::LocustExceptions => locust::exceptions(head),
            Self::K6Summary => k6::decoder(),
            Self::K6Csv => k6_points::csv(head),
            Self::K6Json => k6_points::json(),
            Self::GatlingText => gatling_text::decoder(),
            Self::GatlingBinary => gatling_binary::decoder(),
            Self::HdrLog => hdr_log::decoder(),
            Self::HdrTable => hdr_table::decoder(),
            Self::Wrk => wrk::decoder(),
            Self::Csv => plain::decoder(head),
        }
    }
}

#[cfg(test)]
mod tests;
