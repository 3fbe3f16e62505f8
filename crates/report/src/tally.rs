//! Adds up the files of many containers, counting each sample once.
//!
//! The files of a container are read one after the other, and then selected:
//!
//! - a file whose samples are all in another one is not counted (a listener for errors, another format of
//!   the same run, a copy);
//! - summaries of a tool are not counted if there are single samples;
//! - files with some common samples, or of different tools, make the figures doubtful.

use crate::errors::Errors;
use crate::file::{FinishedFile, ResultFile};
use crate::histogram::{at_percentile, curve, curve_percentiles, to_f64};
use crate::overlap::{self, Counted};
use crate::samples::Samples;
use crate::summary::{self, History, Summary};
use crate::windows::{Window, WindowResults};
use atq_api_spec::report::{Report, ReportSource, Series};
use std::io::{self, ErrorKind, Read};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Bytes per read.
const READ_BYTES: usize = 256 * 1024;
/// Maximum number of files of a container that are compared before counting.
const MAX_PENDING: usize = 24;
/// Maximum number of doubts of one kind that are listed individually.
const MAX_LISTED: usize = 5;

/// Requests in addition to the report.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Time windows to evaluate.
    pub windows: Vec<Window>,
}

/// The summary of a file.
pub type SourceSummary = ReportSource;

/// Figures of any number of files.
#[derive(Debug, Default)]
pub struct Tally {
    windows: Vec<Window>,
    samples: Samples,
    /// The files with samples in `samples`.
    counted: Vec<Counted>,
    /// The container whose files are being read, and its files so far.
    container: String,
    pending: Vec<FinishedFile>,
    summaries: Vec<Summary>,
    summary_errors: Errors,
    history: History,
    sources: Vec<ReportSource>,
    notes: Vec<String>,
    doubts: Vec<String>,
    gaps: Vec<String>,
    /// True if there are samples with timestamps relative to the start of the test, or absolute ones, respectively.
    relative: bool,
    absolute: bool,
}

/// The report and further results.
#[derive(Debug)]
pub struct Finished {
    /// The report of all files.
    pub report: Report,
    /// The results of the time windows.
    pub windows: WindowResults,
    /// Reasons why the figures cannot be trusted, as sentences.
    pub doubts: Vec<String>,
    /// Reasons why samples may be missing, as sentences: truncated files, unreadable rows.
    pub gaps: Vec<String>,
}

impl Tally {
    /// An empty tally.
    pub fn new(options: Options) -> Self {
        Self {
            samples: Samples::new(&options.windows),
            history: History::new(&options.windows),
            windows: options.windows,
            ..Self::default()
        }
    }

    /// Reads a file. `path_name` is its name in the report; the part before the first `/` is the container.
    /// `worker_hint` is the default worker of its rows. A file that is not a result file adds nothing and has an empty
    /// format. It has a problem if it looks like a result file.
    ///
    /// # Errors
    /// If the reader fails; the part read so far is counted, and the source has a problem.
    pub fn read(
        &mut self,
        path_name: &str,
        worker_hint: Option<&str>,
        mut reader: impl Read,
    ) -> Result<SourceSummary, io::Error> {
        let mut file = ResultFile::new(path_name, worker_hint, &self.windows);
        let mut buffer = vec![0; READ_BYTES];
        let outcome = loop {
            match reader.read(&mut buffer) {
                Ok(0) => break Ok(()),
                Ok(read) => file.push(&buffer[..read]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => break Err(error),
            }
            if file.is_other() {
                break Ok(());
            }
        };
        let failed = outcome.as_ref().err().map(ToString::to_string);
        let source = self.add(file.finish(failed.as_deref()));
        outcome.map(|()| source)
    }

    /// Adds a completely read file. Files of a container should follow each other.
    pub fn add(&mut self, file: FinishedFile) -> SourceSummary {
        let container = container(&file.name);
        if *container != self.container || self.pending.len() >= MAX_PENDING {
            self.count_pending();
            self.container = container.to_owned();
        }
        let source = ReportSource {
            path: file.name.clone(),
            format: file.format.map_or("", |format| format.name()).to_owned(),
            samples: file.tally.found.samples,
            problem: file.problem.clone(),
            ..ReportSource::default()
        };
        self.sources.push(source.clone());
        self.pending.push(file);
        source
    }

    /// Selects the files of the container that count, and adds them up.
    fn count_pending(&mut self) {
        let files = std::mem::take(&mut self.pending);
        for file in &files {
            let name = &file.name;
            for note in file.tally.found.notes() {
                self.notes.push(format!("`{name}`: {note}"));
            }
            self.notes.extend(file.tally.notes.iter().cloned());
            self.record_problem(file);
        }
        self.doubts.extend(doubt_tools(tools_of(&files)));
        let (singles, summaries): (Vec<FinishedFile>, Vec<FinishedFile>) = files
            .into_iter()
            .partition(|file| !file.fingerprint.is_empty());
        let has_singles = !singles.is_empty();
        self.count_samples(singles);
        overlap::align(&mut self.counted);
        if has_singles {
            for file in summaries.iter().filter(|file| file.tally.summary.is_some()) {
                let why = "it is a summary, and there are single samples to count";
                self.ignore(&file.name, why.to_owned());
            }
        } else {
            self.count_summaries(summaries);
        }
    }

    /// Records the problem of a file by its effect on the figures.
    fn record_problem(&mut self, file: &FinishedFile) {
        let Some(problem) = &file.problem else { return };
        let text = format!("the result file `{}`: {problem}", file.name);
        match file.format {
            Some(format) if !format.has_figures() => self.notes.push(text),
            Some(_) if file.tally.found.samples > 0 => self.gaps.push(text),
            _ => self.doubts.push(text),
        }
    }

    fn count_samples(&mut self, mut files: Vec<FinishedFile>) {
        files.sort_by(|one, other| {
            let other = (&other.fingerprint, other.name.as_str());
            overlap::order((&one.fingerprint, &one.name), other)
        });
        for file in files {
            let counted = self.counted.iter().map(Counted::parts);
            let found = overlap::repeated(&file.fingerprint, container(&file.name), counted);
            if let Some((other, relation)) = found {
                let (samples, which) = (file.tally.found.samples, relation.which());
                let why = format!("its {samples} samples are {which} of `{other}`");
                self.ignore(&file.name, why);
                continue;
            }
            self.relative |= file.tally.has_relative_times;
            self.absolute |= !file.tally.has_relative_times;
            self.samples.merge(&file.tally.samples);
            self.counted.push(Counted {
                container: container(&file.name).to_owned(),
                name: file.name,
                fingerprint: file.fingerprint,
            });
        }
    }

    fn count_summaries(&mut self, files: Vec<FinishedFile>) {
        let summaries = files.iter().map(|file| file.tally.summary.as_ref());
        let repeated = summary::repeated(summaries.collect());
        for (copy, of) in &repeated {
            if let (Some(copy), Some(of)) = (files.get(*copy), files.get(*of)) {
                let (ours, theirs) = (copy.tally.found.samples, of.tally.found.samples);
                let of = &of.name;
                let why = match ours == theirs {
                    true => format!("its figures are those of `{of}`"),
                    false => format!(
                        "it is another format of the run of `{of}`, which has {theirs} samples instead of {ours}"
                    ),
                };
                self.ignore(&copy.name, why);
            }
        }
        let mut of_container: Vec<(String, Summary)> = Vec::new();
        for (at, mut file) in files.into_iter().enumerate() {
            if repeated.contains_key(&at) {
                continue;
            }
            if let Some(summary) = file.tally.summary.take() {
                of_container.push((file.name.clone(), summary));
            }
            self.summary_errors.merge(&file.tally.summary_errors);
            self.history.merge(file.tally.history);
        }
        if let [(first, _), .., (last, _)] = of_container.as_slice() {
            let note = format!(
                "`{first}` to `{last}` are {} summaries of one container and were added up; it is unknown if they ran concurrently",
                of_container.len()
            );
            if have_copies(of_container.iter().map(|(_, summary)| summary)) {
                self.doubts.push(format!("{note}; some have the same figures and may be copies: select files with `resultFiles`"));
            }
            self.notes.push(note);
        }
        let several = of_container.len() > 1;
        for (_, mut summary) in of_container {
            if several {
                summary.total.missing.push("throughput".to_owned());
            }
            self.summaries.push(summary);
        }
    }

    /// Marks a file as not counted.
    fn ignore(&mut self, name: &str, why: String) {
        self.notes.push(format!("`{name}` is not counted: {why}"));
        if let Some(source) = self.sources.iter_mut().find(|source| source.path == name) {
            source.ignored = Some(why);
        }
    }

    /// A percentile (0 to 100) of the response times of a label, or of all samples, in milliseconds.
    /// `None` if there are no such samples, or only a tool's summary without this percentile.
    pub fn percentile(&mut self, label: Option<&str>, percentile: f64) -> Option<f64> {
        self.count_pending();
        if !self.samples.is_empty() || label.is_some() {
            return self.samples.percentile(label, percentile);
        }
        let points = summary::merge_distributions(&self.summaries);
        at_percentile(&points, percentile)
    }

    /// Completes the report.
    pub fn finish(mut self, task: &str, run: &str) -> Finished {
        self.count_pending();
        self.doubt_overlaps();
        let by_samples = !self.samples.is_empty() || self.summaries.is_empty();
        if !by_samples && have_copies(self.summaries.iter()) {
            let doubt = "summaries of different containers have the same figures and may be copies: select files with `resultFiles`";
            self.doubts.push(doubt.to_owned());
        }
        if by_samples && !self.summaries.is_empty() {
            let doubt = "some containers have single samples and others only a summary, which is not counted";
            self.doubts.push(doubt.to_owned());
        }
        let (report, windows) = match by_samples {
            true => self.of_samples(),
            false => self.of_summaries(),
        };
        let mut notes = Vec::new();
        for note in self.notes.into_iter().chain(report.notes) {
            if !notes.contains(&note) {
                notes.push(note);
            }
        }
        Finished {
            report: Report {
                task: task.to_owned(),
                run: run.to_owned(),
                sources: self.sources,
                notes,
                ..report
            },
            windows,
            doubts: self.doubts,
            gaps: self.gaps,
        }
    }

    fn doubt_overlaps(&mut self) {
        let shared = overlap::partial_overlaps(&mut self.counted);
        for (one, other, samples) in shared.iter().take(MAX_LISTED) {
            self.doubts.push(format!(
                "`{}` and `{}` have some of the same samples ({samples} or more), which are counted twice: select files with `resultFiles`",
                self.counted[*one].name, self.counted[*other].name
            ));
        }
        if shared.len() > MAX_LISTED {
            let more = shared.len() - MAX_LISTED;
            self.doubts.push(format!(
                "{more} more pairs of files have some of the same samples"
            ));
        }
    }

    fn of_samples(&mut self) -> (Report, WindowResults) {
        let samples = std::mem::take(&mut self.samples).finish();
        let (sums, mut report, mut windows) = (&samples.sums, samples.report, samples.windows);
        if sums.is_dated() {
            report.duration = sums.seconds();
        }
        if sums.counts.samples > 0 && !sums.unknown.times {
            let times = |percentile| (percentile, Some(samples.times.percentile(percentile)));
            report.distribution = curve(curve_percentiles().map(times));
        }
        if self.relative {
            report.series = Series::default();
            windows.remove_dates();
        } else if sums.is_dated() {
            report.started_at = rfc3339(sums.first_start);
            report.ended_at = rfc3339(sums.last_end);
        }
        if self.relative && self.absolute {
            report.total.missing.push("throughput".to_owned());
            report.total.throughput = 0.0;
        }
        (report, windows)
    }

    fn of_summaries(&mut self) -> (Report, WindowResults) {
        let mut notes = Vec::new();
        let count = self.summaries.len();
        if count > 1 {
            notes.push(format!(
                "percentiles are the highest of {count} summaries of the tool, as upper bounds"
            ));
        }
        let history = std::mem::take(&mut self.history);
        let samples = self.summaries.iter().map(|summary| summary.total.samples);
        let windows = history
            .windows(&self.windows, samples.sum())
            .unwrap_or_else(|| WindowResults::none(&self.windows));
        let span = history.span();
        let date = |second: u64| rfc3339(second.saturating_mul(1_000_000));
        let reported = self.summaries.iter().filter_map(|summary| summary.duration);
        let reported = reported.fold(0.0, f64::max);
        let report = Report {
            started_at: span.and_then(|(first, _)| date(first)),
            ended_at: span.and_then(|(_, last)| date(last)),
            duration: span.map_or(reported, |(first, last)| to_f64(last - first)),
            total: summary::merge(self.summaries.iter().map(|summary| &summary.total)),
            labels: summary::merge_labels(&self.summaries),
            workers: summary::workers(&self.summaries),
            errors: std::mem::take(&mut self.summary_errors).finish(),
            distribution: summary::merge_distributions(&self.summaries),
            series: span.map_or_else(Series::default, |_| history.finish()),
            notes,
            ..Report::default()
        };
        (report, windows)
    }
}

/// The files with samples, each with its tool.
fn tools_of(files: &[FinishedFile]) -> impl Iterator<Item = (&str, &str)> {
    let files = files.iter().filter(|file| file.tally.found.samples > 0);
    files.map(|file| {
        let tool = file.format.map_or("", |format| format.tool());
        (tool, file.name.as_str())
    })
}

/// A doubt if there are files of several tools in a container, which belong to several tests.
pub(crate) fn doubt_tools<'a>(files: impl Iterator<Item = (&'a str, &'a str)>) -> Option<String> {
    let mut tools: Vec<(&str, &str)> = Vec::new();
    for (tool, file) in files {
        if tools.iter().all(|(known, _)| *known != tool) {
            tools.push((tool, file));
        }
    }
    let [(_, first), _, ..] = tools.as_slice() else {
        return None;
    };
    let files = tools
        .iter()
        .map(|(tool, file)| format!("`{file}` ({tool})"));
    let files: Vec<String> = files.collect();
    Some(format!(
        "`{}` has results of different tools: {}; select files with `resultFiles`",
        container(first),
        files.join(", ")
    ))
}

/// True if two of the summaries have the same figures.
fn have_copies<'a>(mut summaries: impl Iterator<Item = &'a Summary> + Clone) -> bool {
    while let Some(one) = summaries.next() {
        if summaries.clone().any(|other| one.has_figures_of(other)) {
            return true;
        }
    }
    false
}

/// The container of a file.
pub(crate) fn container(name: &str) -> &str {
    name.split_once('/').map_or("", |(container, _)| container)
}

fn rfc3339(micros: u64) -> Option<String> {
    let nanos = i128::from(micros) * 1000;
    let time = OffsetDateTime::from_unix_timestamp_nanos(nanos).ok()?;
    time.format(&Rfc3339).ok()
}

#[cfg(test)]
mod tests;
