//! The formats of result files, and a decoder for each.
//!
//! A decoder takes the bytes of a file as they come, in any portions, and puts what it finds into the
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
    /// k6's summary in JSON.
    K6Summary,
    /// k6's points in CSV.
    K6Csv,
    /// k6's points, each in a line of JSON.
    K6Json,
    /// Artillery's report in JSON.
    Artillery,
    /// RabbitMQ PerfTest's CSV.
    PerfTest,
    /// Vegeta's results as `vegeta attack` writes them.
    VegetaGob,
    /// Vegeta's results, each in a line of JSON.
    VegetaJson,
    /// Vegeta's results in CSV.
    VegetaCsv,
    /// Vegeta's summary in JSON.
    VegetaReport,
    /// hey's CSV.
    HeyCsv,
    /// The summary that hey prints.
    HeySummary,
    /// ghz's document in JSON, with details or without.
    GhzJson,
    /// ghz's CSV.
    GhzCsv,
    /// oha's summary in JSON.
    OhaJson,
    /// oha's CSV.
    OhaCsv,
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
        self.names().0
    }

    /// The tool that writes it; files of several tools in one container are of several tests.
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

    /// Whether it is more than an addition to the figures of another file.
    pub fn has_figures(self) -> bool {
        !matches!(
            self,
            Self::LocustHistory | Self::LocustFailures | Self::LocustExceptions
        )
    }

    /// A decoder for a file of this format that begins like this.
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
