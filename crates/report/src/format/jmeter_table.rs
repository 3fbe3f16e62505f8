//! The tables of JMeter's Aggregate Report and Summary Report as CSV: a row for each label, and `TOTAL`.
//! The listeners' `Save Table Data` writes them, and JMeter's plugin for the command line.

use super::Decoder;
use super::known_figures::{KnownFigures, curve};
use super::numbers::{number, whole};
use super::rows::Rows;
use super::table::{self, Table};
use crate::file_tally::FileTally;
use crate::found::BadRow;
use crate::histogram::{to_f64, to_u64};
use crate::summary::{JMETER_AGGREGATE, JMETER_SUMMARY, Summary};
use atq_api_spec::report::{Figures, PercentilePoint};

/// The row that sums up the others.
const TOTAL: &[u8] = b"TOTAL";

/// A file that begins like this.
pub fn decoder(head: &[u8]) -> Box<dyn Decoder> {
    let delimiter = table::delimiter(head, is_header).unwrap_or(b',');
    table::decoder(delimiter, Report::default())
}

/// Whether these are the names of the columns of such a table.
pub fn is_header(names: &[&[u8]]) -> bool {
    Columns::of(names).is_some()
}

/// Where the columns are.
#[derive(Debug)]
struct Columns {
    count: usize,
    label: usize,
    samples: usize,
    mean: usize,
    min: usize,
    max: usize,
    errors: usize,
    throughput: usize,
    /// In the Summary Report only.
    average_bytes: Option<usize>,
    /// In the Aggregate Report only.
    percentiles: Vec<(usize, f64)>,
}

impl Columns {
    /// By their names in JMeter, which have changed, and in its plugin for the command line, which does
    /// not translate them.
    fn of(names: &[&[u8]]) -> Option<Self> {
        let find = |wanted: &[&str]| {
            let is_wanted = |name: &&[u8]| {
                let name = name.trim_ascii();
                wanted.iter().any(|wanted| name == wanted.as_bytes())
            };
            names.iter().position(is_wanted)
        };
        let percentiles = names.iter().enumerate();
        Some(Self {
            count: names.len(),
            label: find(&["Label", "sampler_label"])?,
            samples: find(&["# Samples", "aggregate_report_count"])?,
            mean: find(&["Average", "average"])?,
            min: find(&["Min", "Minimum", "aggregate_report_min"])?,
            max: find(&["Max", "Maximum", "aggregate_report_max"])?,
            errors: find(&["Error %", "aggregate_report_error%"])?,
            throughput: find(&["Throughput", "aggregate_report_rate"])?,
            average_bytes: find(&["Avg. Bytes"]),
            percentiles: percentiles
                .filter_map(|(at, name)| Some((at, percentile(name.trim_ascii())?)))
                .collect(),
        })
    }
}

/// `90% Line` and the like; which ones there are can be set in JMeter.
fn percentile(name: &[u8]) -> Option<f64> {
    if matches!(name, b"Median" | b"aggregate_report_median") {
        return Some(50.0);
    }
    let name = name.strip_prefix(b"aggregate_report_").unwrap_or(name);
    let name = name
        .strip_suffix(b"% Line")
        .or_else(|| name.strip_suffix(b"%_line"))?;
    number(name).filter(|percentile| (0.0..=100.0).contains(percentile))
}

#[derive(Debug, Default)]
struct Report {
    columns: Option<Columns>,
    summary: Summary,
    /// The last row `TOTAL`. A label may have the same name.
    total: Option<(Figures, Vec<PercentilePoint>)>,
    /// Whether there are so many samples that the percent do not tell how many failed.
    about: bool,
}

impl Table for Report {
    fn row(&mut self, rows: &Rows, _: &mut FileTally) -> Result<(), BadRow> {
        let Some(columns) = &self.columns else {
            self.columns = Columns::of(&rows.fields().collect::<Vec<_>>());
            return Ok(());
        };
        if rows.len() != columns.count {
            return Err(BadRow::Fields(rows.len(), columns.count));
        }
        let label = rows.get(columns.label);
        let (figures, about) = figures(rows, columns)?;
        self.about |= about;
        if label == TOTAL {
            let distribution = distribution(rows, columns);
            if let Some((figures, _)) = self.total.replace((figures, distribution)) {
                self.summary.add_label("TOTAL", figures);
            }
        } else {
            self.summary
                .add_label(&String::from_utf8_lossy(label), figures);
        }
        Ok(())
    }

    fn finish(&mut self, into: &mut FileTally) {
        let mut summary = std::mem::take(&mut self.summary);
        let is_aggregate = self
            .columns
            .as_ref()
            .is_some_and(|columns| columns.average_bytes.is_none());
        summary.form = match is_aggregate {
            true => JMETER_AGGREGATE,
            false => JMETER_SUMMARY,
        };
        match self.total.take() {
            Some((total, distribution)) => {
                let rate = Some(total.throughput).filter(|rate| *rate > 0.0);
                summary.duration = rate.map(|rate| to_f64(total.samples) / rate);
                summary.total = total;
                summary.distribution = distribution;
            }
            None if summary.labels.is_empty() => return,
            None => {
                summary.total = without_total(&summary);
                into.found.wrong.get_or_insert_with(|| {
                    "it has no row `TOTAL`, which is its last: rows may be missing".to_owned()
                });
            }
        }
        self.note(is_aggregate, into);
        into.summarise(summary);
    }
}

impl Report {
    fn note(&self, is_aggregate: bool, into: &mut FileTally) {
        into.note(
            "the figures are those of JMeter's table: times are whole milliseconds, and its total counts all rows, those of transactions and of parts of requests too",
        );
        if self.about {
            into.note("how many samples failed is calculated from JMeter's percent, which are rounded: it is off by some");
        }
        if !is_aggregate {
            into.note("received bytes are calculated from JMeter's average, which is rounded to a tenth of a byte");
        }
    }
}

/// The labels together. They need not have run all the time, so that their rates do not add up.
fn without_total(summary: &Summary) -> Figures {
    let mut total = crate::summary::merge(summary.labels.iter().map(|label| &label.figures));
    total.throughput = 0.0;
    total.missing.push("throughput".to_owned());
    total.missing.sort();
    total.missing.dedup();
    total
}

/// The figures of a row, and whether its number of errors is not exact.
fn figures(rows: &Rows, columns: &Columns) -> Result<(Figures, bool), BadRow> {
    let text = rows.get(columns.samples).trim_ascii();
    let samples = whole(text).ok_or_else(|| BadRow::value("# Samples", text))?;
    let percent = Percent::of(rows.get(columns.errors), samples)?;
    let at = |wanted: f64| {
        let mut columns = columns.percentiles.iter();
        let (column, _) = columns.find(|(_, percentile)| (percentile - wanted).abs() < 1e-9)?;
        number(rows.get(*column))
    };
    let if_any = |value: Option<f64>| value.filter(|_| samples > 0);
    // The last value of a row without an end may be a part of one.
    let average = columns.average_bytes.filter(|_| rows.terminated());
    let average = average.and_then(|column| number(rows.get(column)));
    let told = KnownFigures {
        samples,
        errors: percent.map(|percent| percent.errors),
        throughput: rate(rows.get(columns.throughput)),
        min: if_any(number(rows.get(columns.min))),
        mean: if_any(number(rows.get(columns.mean))),
        p50: if_any(at(50.0)),
        p90: if_any(at(90.0)),
        p95: if_any(at(95.0)),
        p99: if_any(at(99.0)),
        max: if_any(number(rows.get(columns.max))),
        received: average.map(|average| average * to_f64(samples)),
        ..KnownFigures::default()
    };
    Ok((told.figures(), percent.is_some_and(|percent| percent.about)))
}

/// How many samples failed.
#[derive(Debug, Clone, Copy)]
struct Percent {
    errors: u64,
    /// Whether other numbers of errors have the same percent.
    about: bool,
}

impl Percent {
    /// `33.333%`. Without the sign it is not known whether it is a part of one or of a hundred.
    fn of(text: &[u8], samples: u64) -> Result<Option<Self>, BadRow> {
        let text = text.trim_ascii();
        let Some(digits) = text.strip_suffix(b"%") else {
            return match number(text) {
                // Nothing is nothing of both.
                Some(0.0) => Ok(Some(Self {
                    errors: 0,
                    about: false,
                })),
                _ => Ok(None),
            };
        };
        // Up to a hundred, a comma can only be a decimal one.
        let with_dot = String::from_utf8_lossy(digits).replacen(',', ".", 1);
        let value = number(with_dot.as_bytes())
            .filter(|value| (0.0..=100.0).contains(value))
            .ok_or_else(|| BadRow::value("Error %", text))?;
        let fraction = digits
            .iter()
            .rev()
            .position(|byte| matches!(byte, b'.' | b','));
        let decimals = fraction.unwrap_or_default().min(12);
        let step = 10_f64.powi(-i32::try_from(decimals).unwrap_or_default());
        let samples = to_f64(samples);
        Ok(Some(Self {
            errors: to_u64((samples * value / 100.0).round()),
            about: samples * step / 100.0 >= 1.0,
        }))
    }
}

/// By the second, which older versions of JMeter write behind it, or another unit.
fn rate(text: &[u8]) -> Option<f64> {
    let text = text.trim_ascii();
    let units: [(&[u8], f64); 3] = [(b"/sec", 1.0), (b"/min", 60.0), (b"/hour", 3600.0)];
    let unit = units
        .iter()
        .find_map(|(unit, seconds)| Some((text.strip_suffix(*unit)?, *seconds)));
    let (digits, seconds) = unit.unwrap_or((text, 1.0));
    Some(number(digits)? / seconds)
}

fn distribution(rows: &Rows, columns: &Columns) -> Vec<PercentilePoint> {
    let ends = [(columns.min, 0.0), (columns.max, 100.0)];
    let columns = columns.percentiles.iter().copied().chain(ends);
    curve(columns.map(|(column, percentile)| (percentile, number(rows.get(column)))))
}
