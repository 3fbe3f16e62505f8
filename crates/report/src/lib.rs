//! Figures and pages from the result files of load-test tools.
//!
//! - [`Tally`]: reads any number of files and returns one [`Report`]; `examples/figures.rs` prints it;
//! - [`Options`], [`Window`]: figures of time windows, for criteria such as `p95 < 500ms for 30s`;
//! - [`Live`](live::Live): figures while the files grow, and windows that end with the latest samples;
//! - [`compare`](compare::compare): two reports side by side; [`page`]: a report as one HTML page.
//!
//! The crate is pure computation on readers: no network, no Docker, no clock. Files are streamed: memory usage depends on
//! the number of labels and workers and on the duration of the run, not on the size of a file.
//!
//! ```
//! use atq_report::{Options, Tally};
//!
//! let csv = "timestamp,elapsed,label,success\n\
//!            1795255200000,120,GET /,true\n\
//!            1795255200500,80,GET /,false\n";
//! let mut tally = Tally::new(Options::default());
//! tally.read("worker.1/results.csv", None, csv.as_bytes())?;
//! let total = tally.finish("smoke", "1").report.total;
//! assert_eq!((total.samples, total.errors), (2, 1));
//! assert_eq!((total.min, total.max), (80.0, 120.0));
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! | format | content | source |
//! | --- | --- | --- |
//! | `jtl-csv` | samples | JMeter, CSV with a header in any order, or without one |
//! | `jtl-xml` | samples | JMeter, XML; sub-samples belong to their parent |
//! | `jmeter-summary` | figures | JMeter's dashboard (`statistics.json`); Aggregate Report, Summary Report as CSV |
//! | `locust` | figures | Locust's `--csv`: `_stats`, `_stats_history`, `_failures`, `_exceptions`; its `--json`, `--json-file` |
//! | `k6` | figures or samples | k6's `--summary-export`, `handleSummary` as JSON; `--out csv`, `--out json` |
//! | `artillery` | figures | Artillery's `--output` in JSON, of Artillery 2 and 1 |
//! | `perftest` | figures | RabbitMQ PerfTest's `--output-file`; numbers of messages are approximate |
//! | `vegeta` | samples or figures | Vegeta's results: gob of `vegeta attack`, JSON and CSV of `vegeta encode`; `vegeta report -type json` |
//! | `hey` | samples or figures | hey's `-o csv`; its printed summary |
//! | `ghz` | samples or figures | ghz's `-O json` and `-O pretty` (figures if it has no details), `-O csv` |
//! | `oha` | samples or figures | oha's `--output-format csv`; `--output-format json` |
//! | `gatling` | samples | Gatling's `simulation.log`: text of 3.0 to 3.12, binary of 3.13 to 3.15; labels are groups and name, `Group / Name` |
//! | `hdr` | figures | HdrHistogram's interval log (V2; tags are labels), and its table of percentiles as text or CSV |
//! | `wrk` | figures | the output of wrk 4 and wrk2, in a file |
//! | `csv` | samples | any tool: `timestamp,elapsed,label,success[,code,message,received_bytes,sent_bytes,active,worker]` |
//!
//! In `csv` the columns may be in any order, `timestamp` is the start of the sample in milliseconds
//! since 1970, `elapsed` is in milliseconds (both may have fractions), `success` is `true`, `false`, `1` or `0`.
//!
//! Counts, sums, minima and maxima are exact. Percentiles are computed from histograms whose counts
//! are added over all files: exact for whole milliseconds up to 2,047, with an error of at most a thousandth
//! above and for fractions. The estimator is that of JMeter's dashboard. Figures aggregated by a tool cannot be
//! merged like this; notes of the report explain how they were combined.

pub mod compare;
mod errors;
mod file;
mod file_tally;
mod fingerprint;
mod format;
mod found;
mod histogram;
mod labels;
pub mod live;
mod overlap;
pub mod page;
mod recent;
mod sample;
mod samples;
mod series;
mod sketch;
mod summary;
mod tally;
mod text;
mod unpack;
mod windows;

pub use atq_api_spec::report::{
    ContainerFigures, ContainerPoint, ContainerSeries, Figures, Report, Series, SeriesPoint,
};
pub use file::{FinishedFile, ResultFile};
pub use tally::{Finished, Options, SourceSummary, Tally};
pub use windows::{Extreme, Metric, Window, WindowResult, WindowResults};
