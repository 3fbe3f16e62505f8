//! The tables of JMeter's Aggregate Report and Summary Report as CSV: a row for each label, and `TOTAL`.
//! Written by the listeners' `Save Table Data`, and by JMeter's plugin for the command line.

use super::numbers::{number, whole};
use super::rows::Rows;
use super::table::{self, Table};
use super::{BadRow, Decoder, Figures, FileTally, KnownFigures, PercentilePoint, Summary};
use super::{to_f64, to_u64};
use crate::histogram::curve;
use crate::summary::{JMETER_AGGREGATE, JMETER_SUMMARY};

/// The row with the totals.
const TOTAL: &[u8] = b"TOTAL";

/// A decoder for a file with this beginning.
pub fn decoder(head: &[u8]) -> Box<dyn Decoder> {
    let delimiter = table::delimiter(head, is_header).unwrap_or(b',');
    table::decoder(delimiter, Report::default())
}

/// True if these are the column names of such a table.
pub fn is_header(names: &[&[u8]]) -> bool {
    Columns::of(names).is_some()
}

/// Positions of the columns.
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
    /// Only in the Summary Report.
    average_bytes: Option<usize>,
    /// Only in the Aggregate Report.
    percentiles: Vec<(usize, f64)>,
}

impl Columns {
    /// Positions by column name. JMeter has renamed columns between versions, and its plugin for the command line uses
    /// other names.
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

/// `90% Line` and similar; the percentiles are configurable in JMeter.
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
    /// True if the rounded percentage does not determine the number of failed samples.
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
                    "its last row `TOTAL` is missing: other rows may be missing, too".to_owned()
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
            "the figures are those of JMeter's table: times are whole milliseconds, and its total includes all rows, also transactions and parts of requests",
        );
        if self.about {
            into.note("the number of failed samples is calculated from JMeter's rounded percentage and is approximate");
        }
        if !is_aggregate {
            into.note("received bytes are calculated from JMeter's average, which is rounded to a tenth of a byte");
        }
    }
}

/// The sum of the labels. They may run at different times, so their rates cannot be added.
fn without_total(summary: &Summary) -> Figures {
    let mut total = crate::summary::merge(summary.labels.iter().map(|label| &label.figures));
    total.throughput = 0.0;
    total.missing.push("throughput".to_owned());
    total.missing.sort();
    total.missing.dedup();
    total
}

/// The figures of a row, and true if its number of errors is approximate.
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
    // The last value of an unterminated row may be truncated.
    let average = columns.average_bytes.filter(|_| rows.terminated);
    let average = average.and_then(|column| number(rows.get(column)));
    let known = KnownFigures {
        samples,
        errors: percent.map(|percent| percent.errors),
        throughput: rate(rows.get(columns.throughput)),
        min: if_any(number(rows.get(columns.min))),
        mean: if_any(number(rows.get(columns.mean))),
        max: if_any(number(rows.get(columns.max))),
        received: average.map(|average| average * to_f64(samples)),
        ..KnownFigures::of_percentiles(|percentile| if_any(at(percentile)))
    };
    Ok((
        known.figures(),
        percent.is_some_and(|percent| percent.about),
    ))
}

/// The number of failed samples.
#[derive(Debug, Clone, Copy)]
struct Percent {
    errors: u64,
    /// True if other numbers of errors result in the same percentage.
    about: bool,
}

impl Percent {
    /// `33.333%`. Without the sign the unit is ambiguous: a fraction or a percentage.
    fn of(text: &[u8], samples: u64) -> Result<Option<Self>, BadRow> {
        let text = text.trim_ascii();
        let Some(digits) = text.strip_suffix(b"%") else {
            return match number(text) {
                // Zero is unambiguous.
                Some(0.0) => Ok(Some(Self {
                    errors: 0,
                    about: false,
                })),
                _ => Ok(None),
            };
        };
        // Up to 100, a comma can only be a decimal comma.
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

/// Per second, which older versions of JMeter append, or in another unit.
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
