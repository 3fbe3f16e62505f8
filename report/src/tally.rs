//! Adds up the samples of many files.

use crate::errors::{Errors, MOST_KINDS};
use crate::format::{self, Format};
use crate::histogram::{Distribution, to_f64};
use crate::labels::{Names, OTHER};
use crate::sample::{Sample, Sums, figures, together};
use crate::series::Timeline;
use crate::summary::{self, History, Summary};
use crate::windows::{Watches, Window, WindowResults};
use atq_api_spec::report::{Figures, NamedFigures, PercentilePoint, Report, ReportSource, Series};
use std::io::{self, Read};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Labels beyond these are counted as one.
const MOST_LABELS: usize = 2000;
/// Workers beyond these are counted as one.
const MOST_WORKERS: usize = 1000;
/// What of a file is looked at to know its format, in bytes.
const HEAD: usize = 64 * 1024;

/// What is wanted beside the report.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Windows of time to look through.
    pub windows: Vec<Window>,
}

/// What was found in a file.
pub type SourceSummary = ReportSource;

/// Figures of any number of files.
#[derive(Debug)]
pub struct Tally {
    labels: Names,
    by_label: Vec<LabelSums>,
    workers: Names,
    requests: Whole,
    /// Taken for the whole when the files have transactions only.
    transactions: Whole,
    /// Bytes that the tool does not tell of single samples.
    pub(crate) extra_received: u64,
    pub(crate) extra_sent: u64,
    pub(crate) summaries: Vec<Summary>,
    pub(crate) summary_errors: Errors,
    pub(crate) history: History,
    sources: Vec<ReportSource>,
    notes: Vec<String>,
}

/// All samples of a kind together.
#[derive(Debug)]
struct Whole {
    by_worker: Vec<Sums>,
    errors: Errors,
    timeline: Timeline,
    watches: Watches,
    watch: Option<usize>,
}

impl Whole {
    fn new(windows: Vec<Window>) -> Self {
        let watches = Watches::new(windows);
        Self {
            by_worker: Vec::new(),
            errors: Errors::default(),
            timeline: Timeline::default(),
            watch: watches.of_total(),
            watches,
        }
    }

    fn add(&mut self, sample: &Sample<'_>, worker: usize) {
        if let Some(watch) = self.watch {
            self.watches.add(watch, sample);
        }
        if self.by_worker.len() <= worker {
            self.by_worker.resize_with(worker + 1, Sums::default);
        }
        if let Some(sums) = self.by_worker.get_mut(worker) {
            sums.add(sample);
        }
        self.timeline.add(sample, worker);
        if !sample.ok {
            self.errors.add(sample.code, sample.message, 1);
        }
    }
}

/// A label can be that of requests and of a transaction at once.
#[derive(Debug, Default)]
struct LabelSums {
    requests: Sums,
    transactions: Sums,
    watch: Option<usize>,
}

impl LabelSums {
    fn of(&self, transactions: bool) -> &Sums {
        if transactions {
            &self.transactions
        } else {
            &self.requests
        }
    }
}

impl Tally {
    /// Nothing yet.
    pub fn new(options: Options) -> Self {
        let of_total = options
            .windows
            .iter()
            .filter(|window| window.label.is_none());
        let of_total = of_total.cloned().collect();
        let mut tally = Self {
            labels: Names::new(MOST_LABELS),
            by_label: Vec::new(),
            workers: Names::new(MOST_WORKERS),
            requests: Whole::new(options.windows),
            transactions: Whole::new(of_total),
            extra_received: 0,
            extra_sent: 0,
            summaries: Vec::new(),
            summary_errors: Errors::default(),
            history: History::default(),
            sources: Vec::new(),
            notes: Vec::new(),
        };
        // A label that is asked for must not end up among the others.
        let asked: Vec<String> = tally.requests.watches.labels().map(str::to_owned).collect();
        for label in asked {
            tally.label(label.as_bytes());
        }
        tally
    }

    /// Reads a file. `path_name` is how the report calls it; `worker_hint` names the worker whose file
    /// it is, for rows that do not say so themselves. A file that is no result adds nothing and has an
    /// empty format.
    ///
    /// # Errors
    /// When the reader fails; what was read until then is counted, and the source says so.
    pub fn read(
        &mut self,
        path_name: &str,
        worker_hint: Option<&str>,
        mut reader: impl Read,
    ) -> Result<SourceSummary, io::Error> {
        let mut head = Vec::with_capacity(HEAD);
        let read = reader.by_ref().take(HEAD as u64).read_to_end(&mut head);
        let format = format::detect(path_name, &head);
        let mut source = ReportSource {
            path: path_name.to_owned(),
            format: format.map_or("", Format::name).to_owned(),
            ..ReportSource::default()
        };
        let mut found = format::Found::default();
        let outcome = match (read, format) {
            (Err(error), _) => Err(error),
            (Ok(_), None) => Ok(()),
            (Ok(_), Some(format)) => {
                let file = format::File {
                    worker: worker_hint.unwrap_or_default(),
                };
                format::read(
                    format,
                    &file,
                    head.as_slice().chain(reader),
                    self,
                    &mut found,
                )
            }
        };
        source.samples = found.samples;
        source.problem = match &outcome {
            Ok(()) => found.problem(),
            Err(error) => Some(format!(
                "reading ended after {} samples: {error}",
                found.samples
            )),
        };
        self.sources.push(source.clone());
        outcome.map(|()| source)
    }

    /// Adds a sample.
    pub(crate) fn add(&mut self, sample: &Sample<'_>) {
        let label = self.label(sample.label);
        let Some(sums) = self.by_label.get_mut(label) else {
            return;
        };
        if let Some(watch) = sums.watch {
            self.requests.watches.add(watch, sample);
        }
        let whole = if sample.controller {
            sums.transactions.add(sample);
            &mut self.transactions
        } else {
            sums.requests.add(sample);
            &mut self.requests
        };
        let worker = self.workers.number(sample.worker);
        whole.add(sample, worker);
    }

    /// Notes how many users were active at a time, in microseconds since 1970.
    pub(crate) fn active(&mut self, at: u64, worker: &[u8], active: u32) {
        let worker = self.workers.number(worker);
        self.requests.timeline.active(at, worker, active);
    }

    /// Adds a note, once.
    pub(crate) fn note(&mut self, text: impl Into<String>) {
        let text = text.into();
        if !self.notes.contains(&text) {
            self.notes.push(text);
        }
    }

    fn label(&mut self, name: &[u8]) -> usize {
        let number = self.labels.number(name);
        if number >= self.by_label.len() {
            self.by_label.push(LabelSums {
                watch: self.requests.watches.of_label(name),
                ..LabelSums::default()
            });
        }
        number
    }

    /// The sums that make up a label, or all samples.
    fn sums(&self, label: Option<&str>) -> Vec<&Sums> {
        match label {
            None => {
                let transactions = self.has_transactions_only();
                let sums = self.by_label.iter();
                sums.map(|sums| sums.of(transactions)).collect()
            }
            Some(label) => {
                let found = self.labels.find(label.as_bytes());
                let sums = found.and_then(|number| self.by_label.get(number));
                sums.map_or_else(Vec::new, |sums| vec![&sums.requests, &sums.transactions])
            }
        }
    }

    /// Any percentile (0 to 100) of the response times of a label, or of all samples, in milliseconds.
    /// None: no such sample, or only a tool's own summary that does not have it.
    pub fn percentile(&self, label: Option<&str>, percentile: f64) -> Option<f64> {
        let (sums, times) = together(&self.sums(label));
        if sums.samples > 0 {
            return Some(times.percentile(percentile));
        }
        if self.has_samples() || label.is_some() {
            return None;
        }
        let points = summary::merge_distributions(&self.summaries);
        let mut points = points.iter();
        let point = points.find(|point| (point.percentile - percentile).abs() < 1e-9);
        point.map(|point| point.millis)
    }

    fn has_samples(&self) -> bool {
        let mut sums = self.by_label.iter();
        sums.any(|sums| sums.requests.samples + sums.transactions.samples > 0)
    }

    fn has_transactions_only(&self) -> bool {
        let mut sums = self.by_label.iter();
        sums.all(|sums| sums.requests.samples == 0) && self.has_samples()
    }

    /// The report on everything that was read, for this task and run.
    pub fn finish(mut self, task: &str, run: &str) -> (Report, WindowResults) {
        let report = Report {
            task: task.to_owned(),
            run: run.to_owned(),
            sources: std::mem::take(&mut self.sources),
            ..Report::default()
        };
        if self.has_samples() || self.summaries.is_empty() {
            self.of_samples(report)
        } else {
            self.of_summaries(report)
        }
    }

    fn of_samples(mut self, report: Report) -> (Report, WindowResults) {
        self.note_what_was_left_out();
        let (sums, times) = together(&self.sums(None));
        let seen = sums.samples > 0;
        let mut total = figures(&sums, &times);
        total.received_bytes += self.extra_received;
        total.sent_bytes += self.extra_sent;
        let labels = self.named_labels();
        let results = self.requests.watches.finish(&sums);
        let (whole, results) = if self.has_transactions_only() {
            let of_total = self.transactions.watches.finish(&sums);
            (&mut self.transactions, results.with(of_total))
        } else {
            (&mut self.requests, results)
        };
        let timeline = std::mem::take(&mut whole.timeline);
        let report = Report {
            started_at: seen.then(|| rfc3339(sums.first_start)).flatten(),
            ended_at: seen.then(|| rfc3339(sums.last_end)).flatten(),
            duration: if seen { sums.seconds() } else { 0.0 },
            total,
            labels,
            workers: named_workers(&whole.by_worker, &self.workers),
            errors: std::mem::take(&mut whole.errors).finish(),
            distribution: if seen { curve(&times) } else { Vec::new() },
            series: timeline.finish(self.workers.len()),
            notes: self.notes,
            ..report
        };
        (report, results)
    }

    fn note_what_was_left_out(&mut self) {
        if self.labels.overflowed() {
            self.note(format!(
                "there are more than {MOST_LABELS} labels; the rest is counted as `{OTHER}`"
            ));
        }
        if self.workers.overflowed() {
            self.note(format!(
                "there are more than {MOST_WORKERS} workers; the rest is counted as `{OTHER}`"
            ));
        }
        if self.requests.errors.overflowed() || self.summary_errors.overflowed() {
            self.note(format!(
                "there are more than {MOST_KINDS} kinds of errors; the rest is counted as `{OTHER}`"
            ));
        }
        if !self.summaries.is_empty() && self.has_samples() {
            self.note("the figures are those of the single samples; summaries of tools beside them are not counted");
        }
        if self
            .by_label
            .iter()
            .any(|sums| sums.transactions.samples > 0)
        {
            self.note("transactions of JMeter have a label of their own and are not part of the total, whose requests they sum up");
        }
    }

    fn named_labels(&self) -> Vec<NamedFigures> {
        let labels = self.by_label.iter().enumerate().map(|(number, sums)| {
            (
                self.labels.name(number),
                vec![&sums.requests, &sums.transactions],
            )
        });
        named(labels)
    }

    fn of_summaries(mut self, report: Report) -> (Report, WindowResults) {
        self.note_what_was_left_out();
        let count = self.summaries.len();
        if count > 1 {
            self.note(format!(
                "percentiles are the highest of {count} summaries of the tool: those of all samples together are not above them"
            ));
        }
        let span = self.history.span();
        let told = self.summaries.iter().filter_map(|summary| summary.duration);
        let told = told.fold(0.0, f64::max);
        let watches = self.requests.watches.finish(&Sums::default());
        let report = Report {
            started_at: span.and_then(|(first, _)| rfc3339(first.saturating_mul(1_000_000))),
            ended_at: span.and_then(|(_, last)| rfc3339(last.saturating_mul(1_000_000))),
            duration: span.map_or(told, |(first, last)| to_f64(last - first)),
            total: summary::merge(self.summaries.iter().map(|summary| &summary.total)),
            labels: summary::merge_labels(&self.summaries),
            workers: workers_of(&self.summaries),
            errors: self.summary_errors.finish(),
            distribution: summary::merge_distributions(&self.summaries),
            series: span.map_or_else(Series::default, |_| self.history.finish()),
            notes: self.notes,
            ..report
        };
        (report, watches)
    }
}

/// Figures by name, in the order of the names, without those that have no samples.
fn named<'a>(sets: impl Iterator<Item = (String, Vec<&'a Sums>)>) -> Vec<NamedFigures> {
    let figures = sets.filter_map(|(name, sets)| {
        let (sums, times) = together(&sets);
        let figures: Figures = figures(&sums, &times);
        (figures.samples > 0).then_some(NamedFigures { name, figures })
    });
    let mut figures: Vec<NamedFigures> = figures.collect();
    figures.sort_by(|a, b| a.name.cmp(&b.name));
    figures
}

/// Only those that have a name.
fn named_workers(sums: &[Sums], names: &Names) -> Vec<NamedFigures> {
    let workers = sums.iter().enumerate();
    let workers = workers.map(|(number, sums)| (names.name(number), vec![sums]));
    named(workers.filter(|(name, _)| !name.is_empty()))
}

fn workers_of(summaries: &[Summary]) -> Vec<NamedFigures> {
    let named = summaries
        .iter()
        .filter(|summary| !summary.worker.is_empty());
    let workers = named.map(|summary| NamedFigures {
        name: summary.worker.clone(),
        figures: summary.total.clone(),
    });
    workers.collect()
}

/// Where the curve is drawn: finer where it is steep.
fn curve(times: &Distribution) -> Vec<PercentilePoint> {
    let coarse = (0..18).map(|step| f64::from(step) * 5.0);
    let fine = (90..99).map(f64::from);
    let finer = (990..999).map(|step| f64::from(step) / 10.0);
    let finest = (9990..10_000).map(|step| f64::from(step) / 100.0);
    let percentiles = [0.0, 1.0]
        .into_iter()
        .chain(coarse.skip(1))
        .chain([85.0 + 2.5]);
    let percentiles = percentiles.chain(fine).chain(finer).chain(finest);
    let percentiles = percentiles.chain([99.995, 99.999, 100.0]);
    let points = percentiles.map(|percentile| PercentilePoint {
        percentile,
        millis: times.percentile(percentile),
    });
    points.collect()
}

fn rfc3339(micros: u64) -> Option<String> {
    let nanos = i128::from(micros) * 1000;
    let time = OffsetDateTime::from_unix_timestamp_nanos(nanos).ok()?;
    time.format(&Rfc3339).ok()
}

#[cfg(test)]
mod tests;
