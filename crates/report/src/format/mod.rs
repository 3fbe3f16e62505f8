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
mod perftest_messages;
mod plain;
mod rows;
mod sub_results;
mod table;
mod vegeta;
mod vegeta_gob;
mod whole;
mod wrk;
mod xml_tags;

// Shared by the decoders.
use crate::file_tally::FileTally;
use crate::found::BadRow;
use crate::histogram::{to_f64, to_u64};
use crate::sample::Sample;
use crate::summary::Summary;
use atq_api_spec::report::{Figures, NamedFigures, PercentilePoint};
pub use detect::{Detected, detect};
use known_figures::KnownFigures;

/// Maximum number of bytes examined to detect the format.
pub const HEAD: usize = 64 * 1024;

/// Decodes one file.
pub trait Decoder: std::fmt::Debug + Send {
    /// Decodes the next bytes.
    fn push(&mut self, bytes: &[u8], into: &mut FileTally);

    /// Ends the file.
    fn finish(&mut self, into: &mut FileTally);

    /// The bytes of memory for incomplete rows.
    fn memory(&self) -> usize {
        0
    }

    /// Samples that count unless the rest of the file has better ones.
    fn provisional(&self) -> Option<&FileTally> {
        None
    }
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
    /// The CSV of the image `atq-perftest`, with every message.
    PerfTestMessages,
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
            Self::PerfTest | Self::PerfTestMessages => ("perftest", "RabbitMQ PerfTest"),
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

    /// True if its figures are known while the file grows; files of other formats are written at the end of a test, or
    /// rewritten during it.
    pub fn is_live(self) -> bool {
        match self {
            Self::JtlCsv
            | Self::JtlXml
            | Self::Csv
            | Self::LocustHistory
            | Self::K6Csv
            | Self::K6Json
            | Self::VegetaGob
            | Self::VegetaJson
            | Self::VegetaCsv
            | Self::HeyCsv
            | Self::GhzCsv
            | Self::OhaCsv
            | Self::GatlingText
            | Self::GatlingBinary
            | Self::PerfTestMessages => true,
            Self::JmeterDashboard
            | Self::JmeterTable
            | Self::LocustStats
            | Self::LocustFailures
            | Self::LocustExceptions
            | Self::LocustJson
            | Self::K6Summary
            | Self::Artillery
            | Self::PerfTest
            | Self::VegetaReport
            | Self::HeySummary
            | Self::GhzJson
            | Self::OhaJson
            | Self::HdrLog
            | Self::HdrTable
            | Self::Wrk => false,
        }
    }

    /// A decoder for a file of this format that starts with `head`.
    pub fn decoder(self, head: &[u8]) -> Box<dyn Decoder> {
        match self {
            Self::JtlCsv => jtl_csv::decoder(head),
            Self::JtlXml => Box::new(jtl_xml::Xml::default()),
            Self::JmeterDashboard => whole::decoder(whole::MAX_BYTES, jmeter_dashboard::read),
            Self::JmeterTable => jmeter_table::decoder(head),
            Self::LocustStats => table::decoder(b',', locust::Stats::default()),
            Self::LocustHistory => table::decoder(b',', locust::History::default()),
            Self::LocustFailures => table::decoder(b',', locust::Failures::default()),
            Self::LocustExceptions => table::decoder(b',', locust::Exceptions),
            Self::LocustJson => whole::decoder(whole::MAX_BYTES, locust_json::read),
            Self::K6Summary => whole::decoder(k6::MAX_BYTES, k6::read),
            Self::K6Csv => table::decoder(b',', k6_points::Csv::default()),
            Self::K6Json => lines::decoder(k6_points::Points::default()),
            Self::Artillery => whole::decoder(whole::MAX_BYTES, artillery::read),
            Self::PerfTest => table::decoder(b',', perftest::PerfTest::default()),
            Self::PerfTestMessages => table::decoder(b',', perftest_messages::Messages::default()),
            Self::VegetaGob => Box::new(vegeta_gob::Gob::default()),
            Self::VegetaJson => bodies::without::<bodies::Json>(lines::decoder(vegeta::Json)),
            Self::VegetaCsv => {
                bodies::without::<bodies::Csv>(table::decoder(b',', vegeta::Csv::default()))
            }
            Self::VegetaReport => whole::decoder(whole::MAX_BYTES, vegeta::read),
            Self::HeyCsv => table::decoder(b',', hey::Csv::default()),
            Self::HeySummary => whole::decoder(whole::MAX_BYTES, hey::read),
            Self::GhzJson => Box::new(ghz::Json::default()),
            Self::GhzCsv => lines::decoder(ghz::Csv),
            Self::OhaJson => whole::decoder(whole::MAX_BYTES, oha::read),
            Self::OhaCsv => table::decoder(b',', oha::Csv::default()),
            Self::GatlingText => lines::decoder(gatling_text::Text::default()),
            Self::GatlingBinary => Box::new(gatling_binary::Binary::default()),
            Self::HdrLog => lines::decoder(hdr_log::Log::default()),
            Self::HdrTable => whole::decoder(hdr_table::MAX_BYTES, hdr_table::read),
            Self::Wrk => whole::decoder(wrk::MAX_BYTES, wrk::read),
            Self::Csv => plain::decoder(head),
        }
    }
}

#[cfg(test)]
mod tests;
