//! Sums of samples of one or several files, by label, by worker and over time.

use crate::errors::{Errors, MAX_KINDS};
use crate::histogram::{Distribution, Times};
use crate::labels::{Names, OTHER};
use crate::recent::Recent;
use crate::sample::{Sample, Sums, figures, together};
use crate::series::Timeline;
use crate::windows::{Watches, Window, WindowResults};
use atq_api_spec::report::{Figures, NamedFigures, Report, Series};

/// Labels above this number are counted as one.
pub const MAX_LABELS: usize = 2000;
/// Workers above this number are counted as one.
const MAX_WORKERS: usize = 1000;

/// Sums of samples.
#[derive(Debug, Default)]
pub struct Samples {
    labels: Names<MAX_LABELS>,
    by_label: Vec<LabelSums>,
    workers: Names<MAX_WORKERS>,
    requests: Totals,
    /// Used as the total if there are only transactions.
    transactions: Totals,
    /// True if the transactions are no sums of the requests, but other operations of a tool, which describes them itself.
    pub has_other_operations: bool,
    /// Bytes that the tool does not assign to single samples.
    pub extra_received: u64,
    pub extra_sent: u64,
    /// Present while the file is followed during a run.
    pub recent: Option<Box<Recent>>,
}

/// All samples of a kind.
#[derive(Debug, Default)]
pub struct Totals {
    pub by_worker: Vec<Sums>,
    errors: Errors,
    pub timeline: Timeline,
    pub watches: Watches,
    watch: Option<usize>,
}

impl Totals {
    fn new(windows: Vec<Window>) -> Self {
        let watches = Watches::new(windows);
        Self {
            watch: watches.of(None),
            watches,
            ..Self::default()
        }
    }

    fn add(&mut self, sample: &Sample<'_>, worker: usize) {
        if let Some(watch) = self.watch {
            self.watches.add(watch, sample);
        }
        self.worker(worker).add(sample);
        self.timeline.add(sample, worker);
        if sample.known_errors() > 0 {
            self.errors
                .add(sample.code, sample.message, sample.known_errors());
        }
    }

    fn worker(&mut self, worker: usize) -> &mut Sums {
        if self.by_worker.len() <= worker {
            self.by_worker.resize_with(worker + 1, Sums::default);
        }
        &mut self.by_worker[worker]
    }

    fn merge(&mut self, other: &Self, workers: &[usize]) {
        for (worker, sums) in workers.iter().zip(&other.by_worker) {
            self.worker(*worker).merge(sums);
        }
        self.errors.merge(&other.errors);
        self.timeline.merge(&other.timeline, workers);
        self.watches.merge(&other.watches);
    }

    fn memory(&self) -> usize {
        let workers = self.by_worker.iter();
        let workers = workers.map(|sums| size_of::<Sums>() + sums.times.memory());
        workers.sum::<usize>() + self.timeline.memory() + self.watches.memory()
    }

    fn compact(&mut self) {
        self.by_worker
            .iter_mut()
            .for_each(|sums| sums.times.compact());
        self.timeline.compact();
    }
}

/// A label can belong to requests and to a transaction at the same time.
#[derive(Debug, Default)]
struct LabelSums {
    requests: Sums,
    transactions: Sums,
    watch: Option<usize>,
}

impl LabelSums {
    fn make_sparse(&mut self) {
        self.requests.times = Times::sparse();
        self.transactions.times = Times::sparse();
    }

    fn both(&self) -> [&Sums; 2] {
        [&self.requests, &self.transactions]
    }

    fn of(&self, transactions: bool) -> &Sums {
        match transactions {
            true => &self.transactions,
            false => &self.requests,
        }
    }
}

/// The reportable result.
pub struct Finished {
    /// Sums and durations of all samples.
    pub sums: Sums,
    pub times: Distribution,
    pub report: Report,
    pub windows: WindowResults,
}

impl Samples {
    /// An empty set that watches these windows.
    pub fn new(windows: &[Window]) -> Self {
        let of_total = windows.iter().filter(|window| window.label.is_none());
        let of_total = of_total.cloned().collect();
        let mut samples = Self {
            requests: Totals::new(windows.to_vec()),
            transactions: Totals::new(of_total),
            ..Self::default()
        };
        // A requested label must not be counted as one of the others.
        for label in windows.iter().filter_map(|window| window.label.as_ref()) {
            samples.label(label.as_bytes());
        }
        samples
    }

    /// Prepares the set for figures during a run.
    pub fn follow(&mut self) {
        self.recent = Some(Box::default());
        for kind in self.kinds() {
            kind.watches.limit();
            kind.timeline.make_sparse();
        }
        let labels = self.by_label.iter_mut();
        labels.for_each(|sums| sums.make_sparse());
    }

    /// Adds a sample, and returns the number of its label.
    pub fn add(&mut self, sample: &Sample<'_>) -> usize {
        let label = self.label(sample.label);
        let sums = &mut self.by_label[label];
        if let Some(watch) = sums.watch {
            self.requests.watches.add(watch, sample);
        }
        let whole = if sample.transaction {
            sums.transactions.add(sample);
            &mut self.transactions
        } else {
            sums.requests.add(sample);
            &mut self.requests
        };
        let worker = self.workers.number(sample.worker);
        whole.add(sample, worker);
        if let Some(recent) = &mut self.recent {
            recent.add(sample, label, worker);
        }
        label
    }

    /// Adds other samples.
    pub fn merge(&mut self, other: &Self) {
        for (number, sums) in other.by_label.iter().enumerate() {
            let label = self.label(other.labels.bytes(number));
            let into = &mut self.by_label[label];
            into.requests.merge(&sums.requests);
            into.transactions.merge(&sums.transactions);
        }
        let workers =
            (0..other.workers.len()).map(|number| self.workers.number(other.workers.bytes(number)));
        let workers: Vec<usize> = workers.collect();
        self.requests.merge(&other.requests, &workers);
        self.transactions.merge(&other.transactions, &workers);
        self.has_other_operations |= other.has_other_operations;
        self.extra_received = self.extra_received.saturating_add(other.extra_received);
        self.extra_sent = self.extra_sent.saturating_add(other.extra_sent);
    }

    /// Releases unused memory.
    pub fn compact(&mut self) {
        for sums in &mut self.by_label {
            sums.requests.times.compact();
            sums.transactions.times.compact();
        }
        self.requests.compact();
        self.transactions.compact();
    }

    /// Releases memory of labels and workers without samples since the last call.
    pub fn compact_idle(&mut self) {
        for sums in &mut self.by_label {
            sums.requests.times.compact_idle();
            sums.transactions.times.compact_idle();
        }
        for kind in self.kinds() {
            let workers = kind.by_worker.iter_mut();
            workers.for_each(|sums| sums.times.compact_idle());
        }
    }

    /// An estimate of the memory in bytes.
    pub fn memory(&self) -> usize {
        let labels = self.by_label.iter();
        let labels = labels.map(|sums| {
            let times = sums.both().map(|sums| sums.times.memory());
            size_of::<LabelSums>() + times.iter().sum::<usize>()
        });
        let kinds = [&self.requests, &self.transactions].map(Totals::memory);
        let recent = self.recent.as_ref().map_or(0, |recent| recent.memory());
        labels.sum::<usize>() + kinds.iter().sum::<usize>() + recent
    }

    /// Records the number of active users at a time in microseconds since 1970.
    pub fn active(&mut self, at: u64, worker: &[u8], active: u32) {
        let worker = self.workers.number(worker);
        self.requests.timeline.active(at, worker, active);
        if let Some(recent) = &mut self.recent {
            recent.active(worker, active);
        }
    }

    /// The watched windows.
    pub fn windows(&self) -> &[Window] {
        &self.requests.watches.windows
    }

    fn label(&mut self, name: &[u8]) -> usize {
        let number = self.labels.number(name);
        if number >= self.by_label.len() {
            let mut sums = LabelSums {
                watch: self.requests.watches.of(Some(name)),
                ..LabelSums::default()
            };
            // During a run, the files of all workers are in memory.
            if self.recent.is_some() {
                sums.make_sparse();
            }
            self.by_label.push(sums);
        }
        number
    }

    /// The sums of a label, or of all samples.
    pub fn sums(&self, label: Option<&str>) -> Vec<&Sums> {
        match label {
            None => {
                let transactions = self.has_transactions_only();
                let sums = self.by_label.iter();
                sums.map(|sums| sums.of(transactions)).collect()
            }
            Some(label) => {
                let found = self.labels.find(label.as_bytes());
                let sums = found.and_then(|number| self.by_label.get(number));
                sums.map_or_else(Vec::new, |sums| sums.both().to_vec())
            }
        }
    }

    /// A percentile (0 to 100) of the response times of a label, or of all samples, in milliseconds;
    /// `None` without samples, or if individual durations are unknown.
    pub fn percentile(&self, label: Option<&str>, percentile: f64) -> Option<f64> {
        let (sums, times) = together(&self.sums(label));
        (sums.counts.samples > 0 && !sums.unknown.times).then(|| times.percentile(percentile))
    }

    /// Start of the first sample in microseconds since 1970; `None` without timestamps.
    pub fn first_start(&self) -> Option<u64> {
        let kinds = [&self.requests, &self.transactions];
        let sums = kinds.into_iter().flat_map(|kind| &kind.by_worker);
        let dated = sums.filter(|sums| sums.is_dated());
        dated.map(|sums| sums.first_start).min()
    }

    /// The requests, or the transactions if there are no requests: those that the total counts.
    pub fn counted(&self, transactions: bool) -> &Totals {
        match transactions {
            true => &self.transactions,
            false => &self.requests,
        }
    }

    /// Both kinds.
    pub fn kinds(&mut self) -> [&mut Totals; 2] {
        [&mut self.requests, &mut self.transactions]
    }

    /// The sums of every label with samples, with its number and name.
    pub fn labels(&self) -> impl Iterator<Item = (usize, &[u8], Vec<&Sums>)> {
        let labels = self.by_label.iter().enumerate();
        labels.map(|(number, sums)| (number, self.labels.bytes(number), sums.both().to_vec()))
    }

    /// True if there are samples of a label.
    pub fn has_label(&self, label: &str) -> bool {
        let sums = self.sums(Some(label));
        sums.iter().any(|sums| sums.counts.samples > 0)
    }

    /// The name of a label as text.
    pub fn label_name(&self, number: usize) -> String {
        self.labels.name(number)
    }

    /// The name of a worker as text.
    pub fn worker_name(&self, number: usize) -> String {
        self.workers.name(number)
    }

    /// True if there are more labels than the maximum.
    pub fn has_other_labels(&self) -> bool {
        self.labels.overflowed()
    }

    /// True if there are no samples.
    pub fn is_empty(&self) -> bool {
        let mut sums = self.by_label.iter();
        sums.all(|sums| sums.both().iter().all(|sums| sums.counts.samples == 0))
    }

    /// True if all samples are transactions.
    pub fn has_transactions_only(&self) -> bool {
        let mut sums = self.by_label.iter();
        sums.all(|sums| sums.requests.counts.samples == 0) && !self.is_empty()
    }

    fn has_transactions(&self) -> bool {
        let mut sums = self.by_label.iter();
        sums.any(|sums| sums.transactions.counts.samples > 0)
    }

    /// Completes the result.
    pub fn finish(mut self) -> Finished {
        let notes = self.notes();
        let (sums, times) = together(&self.sums(None));
        let mut total = figures(&sums, &times);
        total.received_bytes += self.extra_received;
        total.sent_bytes += self.extra_sent;
        let labels = self.named_labels();
        let windows = self.requests.watches.finish(&sums);
        let (whole, windows) = if self.has_transactions_only() {
            let of_total = self.transactions.watches.finish(&sums);
            (&mut self.transactions, windows.with(of_total))
        } else {
            (&mut self.requests, windows)
        };
        let series = std::mem::take(&mut whole.timeline).finish(self.workers.len());
        let report = Report {
            total,
            labels,
            workers: named_workers(&whole.by_worker, &self.workers),
            errors: std::mem::take(&mut whole.errors).finish(),
            series: Series {
                missing: series_missing(&sums),
                ..series
            },
            notes,
            ..Report::default()
        };
        Finished {
            sums,
            times,
            report,
            windows,
        }
    }

    fn notes(&self) -> Vec<String> {
        let too_many = |overflowed: bool, most: usize, what: &str| {
            overflowed.then(|| {
                format!("there are more than {most} {what}; the others are counted as `{OTHER}`")
            })
        };
        let errors = self.requests.errors.overflowed();
        let transactions = "transactions of JMeter have separate labels and are not part of the total, because they sum up its requests";
        [
            too_many(self.labels.overflowed(), MAX_LABELS, "labels"),
            too_many(self.workers.overflowed(), MAX_WORKERS, "workers"),
            too_many(errors, MAX_KINDS, "kinds of errors"),
            (self.has_transactions() && !self.has_other_operations)
                .then(|| transactions.to_owned()),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    fn named_labels(&self) -> Vec<NamedFigures> {
        let labels = self.by_label.iter().enumerate();
        named(labels.map(|(number, sums)| (self.labels.name(number), sums.both().to_vec())))
    }
}

/// The names of unknown figures over time.
pub fn series_missing(sums: &Sums) -> Vec<String> {
    let errors = sums.unknown.errors.then_some("errors");
    let times = ["p50", "p90", "p95", "p99", "max"].into_iter();
    let times = times.filter(|_| sums.unknown.times);
    times.chain(errors).map(str::to_owned).collect()
}

/// Figures by name, sorted, without names that have no samples.
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

/// The figures of the workers that have a name.
fn named_workers(sums: &[Sums], names: &Names<MAX_WORKERS>) -> Vec<NamedFigures> {
    let workers = sums.iter().enumerate();
    let workers = workers.map(|(number, sums)| (names.name(number), vec![sums]));
    named(workers.filter(|(name, _)| !name.is_empty()))
}
