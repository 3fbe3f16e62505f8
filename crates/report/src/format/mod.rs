//! The formats of result files, with a decoder for each.
//!
//! A decoder accepts the bytes of a file in chunks of any size and adds its results to the
//! [`FileTally`] of the file, so that a file can be read while it grows.

mod artillery;
mod bodies;
mod detect;
mod gatling;
mod gatling_binary;
mod gatling_text;
mod ghz;
mod hdr_histogram;
mod hdr_log;
mod hdr_table;
mod hey;
mod jmeter_dashboard;
mod jmeter_table;
mod jtl_columns;
mod jtl_csv;
mod jtl_xml;
mod k6;
mod k6_points;
mod known_figures;
mod lines;
mod locust;
mod locust_json;
mod members;
mod numbers;
mod oha;
mod perftest;
mod plain;
mod rows;
mod sub_results;
mod table;
mod vegeta;
mod vegeta_gob;
mod whole;
mod wrk;
mod xml_tags;

use crate::file_tally::FileTally;
pub use detect::{Detected, detect};

/// Maximum number of bytes examined to detect the format.
pub const HEAD: usize = 64 * 1024;

/// Decodes one file.
pub trait Decoder: std::fmt::Debug + Send {
    /// Decodes the next bytes.
    fn push(&mut self, bytes: &[u8], into: &mut FileTally);

    /// Ends the file.
    fn finish(&mut self, into: &mut FileTally);
}

/// The format of a result file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// JMeter's CSV, with a header or without one.
    JtlCsv,
    /// JMeter's XML.
    JtlXml,
    /// `statistics.json` of JMeter's dashboard.
    JmeterDashboard,
    /// JMeter's Aggregate Report or Summary Report in CSV.
    JmeterTable,
    /// Locust's `_stats.csv`.
    LocustStats,
    /// Locust's `_stats_history.csv`.
    LocustHistory,
    /// Locust's `_failures.csv`.
    LocustFailures,
    /// Locust's `_exceptions.csv`.
    LocustExceptions,
    /// Locust's JSON.
    LocustJson,
    /// k6's summary as JSON.
    K6Summary,
    /// k6's points as CSV.
    K6Csv,
    /// k6's points as JSON lines.
    K6Json,
    /// Artillery's report as JSON.
    Artillery,
    /// RabbitMQ PerfTest's CSV.
    PerfTest,
    /// Vegeta's results as written by `vegeta attack`.
    VegetaGob,
    /// Vegeta's results as JSON lines.
    VegetaJson,
    /// Vegeta's results as CSV.
    VegetaCsv,
    /// Vegeta's summary as JSON.
    VegetaReport,
    /// hey's CSV.
    HeyCsv,
    /// hey's printed summary.
    HeySummary,
    /// ghz's JSON document, with or without details.
    GhzJson,
    /// ghz's CSV.
    GhzCsv,
    /// oha's summary as JSON.
    OhaJson,
    /// oha's CSV.
    OhaCsv,
    /// Gatling's `simulation.log` as text.
    GatlingText,
    /// Gatling's binary `simulation.log`.
    GatlingBinary,
    /// HdrHistogram's interval log.
    HdrLog,
    /// HdrHistogram's table of percentiles.
    HdrTable,
    /// The output of wrk and wrk2.
    Wrk,
    /// The simple CSV described in the crate's documentation.
    Csv,
}

impl Format {
    /// The name in a report.
    pub fn name(self) -> &'static str {
        self.names().0
    }

    /// The tool that writes it. Files of several tools in one container belong to several tests.
    pub fn tool(self) -> &'static str {
        self.names().1
    }

    fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::JtlCsv => ("jtl-csv", "JMeter"),
            Self::JtlXml => ("jtl-xml", "JMeter"),
            Self::JmeterDashboard | Self::JmeterTable => ("jmeter-summary", "JMeter"),
            Self::LocustStats
            | Self::LocustHistory
            | Self::LocustFailures
            | Self::LocustExceptions
            | Self::LocustJson => ("locust", "Locust"),
            Self::K6Summary | Self::K6Csv | Self::K6Json => ("k6", "k6"),
            Self::Artillery => ("artillery", "Artillery"),
            Self::PerfTest => ("perftest", "RabbitMQ PerfTest"),
            Self::VegetaGob | Self::VegetaJson | Self::VegetaCsv | Self::VegetaReport => {
                ("vegeta", "Vegeta")
            }
            Self::HeyCsv | Self::HeySummary => ("hey", "hey"),
            Self::GhzJson | Self::GhzCsv => ("ghz", "ghz"),
            Self::OhaJson | Self::OhaCsv => ("oha", "oha"),
            Self::GatlingText | Self::GatlingBinary => ("gatling", "Gatling"),
            Self::HdrLog | Self::HdrTable => ("hdr", "HdrHistogram"),
            Self::Wrk => ("wrk", "wrk"),
            Self::Csv => ("csv", "simple CSV"),
        }
    }

    /// True if it has figures of its own, rather than additions to another file.
    pub fn has_figures(self) -> bool {
        !matches!(
            self,
            Self::LocustHistory | Self::LocustFailures | Self::LocustExceptions
        )
    }

    /// A decoder for a file of this format that starts with `head`.
    pub fn decoder(self, head: &[u8]) -> Box<dyn Decoder> {
        match self {
            Self::JtlCsv => jtl_csv::decoder(head),
            Self::JtlXml => jtl_xml::decoder(),
            Self::JmeterDashboard => jmeter_dashboard::decoder(),
            Self::JmeterTable => jmeter_table::decoder(head),
            Self::LocustStats => locust::stats(head),
            Self::LocustHistory => locust::history(head),
            Self::LocustFailures => locust::failures(head),
            Self::LocustExceptions => locust::exceptions(head),
            Self::LocustJson => locust_json::decoder(),
            Self::K6Summary => k6::decoder(),
            Self::K6Csv => k6_points::csv(head),
            Self::K6Json => k6_points::json(),
            Self::Artillery => artillery::decoder(),
            Self::PerfTest => perftest::decoder(),
            Self::VegetaGob => vegeta_gob::decoder(),
            Self::VegetaJson => vegeta::json(),
            Self::VegetaCsv => vegeta::csv(),
            Self::VegetaReport => vegeta::report(),
            Self::HeyCsv => hey::csv(),
            Self::HeySummary => hey::summary(),
            Self::GhzJson => ghz::json(),
            Self::GhzCsv => ghz::csv(),
            Self::OhaJson => oha::json(),
            Self::OhaCsv => oha::csv(),
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
