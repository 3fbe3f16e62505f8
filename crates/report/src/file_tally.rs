//! The figures of one result file during reading.

use crate::errors::Errors;
use crate::fingerprint::Builder;
use crate::found::Found;
use crate::sample::Sample;
use crate::samples::Samples;
use crate::summary::{History, Summary};
use crate::windows::Window;

/// The figures of a file so far.
#[derive(Debug, Default)]
pub struct FileTally {
    /// The default worker of the file; may be empty.
    pub(crate) worker: String,
    pub(crate) samples: Samples,
    pub(crate) found: Found,
    pub(crate) summary: Option<Summary>,
    pub(crate) summary_errors: Errors,
    pub(crate) history: History,
    pub(crate) notes: Vec<String>,
    pub(crate) fingerprint: Builder,
    /// True if its timestamps are relative to the start of the test instead of 1970.
    pub(crate) has_relative_times: bool,
}

impl FileTally {
    pub(crate) fn new(worker: &str, windows: &[Window]) -> Self {
        Self {
            worker: worker.to_owned(),
            samples: Samples::new(windows),
            history: History::new(windows),
            ..Self::default()
        }
    }

    /// Prepares the tally for figures during a run.
    pub(crate) fn follow(&mut self) {
        self.samples.follow();
        self.history.watches.limit();
        self.fingerprint = Builder::small();
    }

    /// An estimate of its memory in bytes.
    pub(crate) fn memory(&self) -> usize {
        self.samples.memory() + self.history.watches.memory() + self.fingerprint.memory()
    }

    /// Adds a sample; without a worker it gets the default worker.
    pub(crate) fn add(&mut self, sample: &Sample<'_>) {
        let worker = match sample.worker {
            b"" => self.worker.as_bytes(),
            named => named,
        };
        self.found.samples += sample.samples;
        self.found.rows += 1;
        let label = self.samples.add(&Sample { worker, ..*sample });
        // A copy has the same samples in any container.
        self.fingerprint.add(sample, label);
    }

    /// Records the number of active users at a time in microseconds since 1970.
    pub(crate) fn active(&mut self, at: u64, users: u32) {
        self.samples.active(at, self.worker.as_bytes(), users);
    }

    /// An empty tally for other samples of the same file.
    pub(crate) fn empty_like(&self) -> Self {
        let mut empty = Self::new(&self.worker, self.samples.windows());
        if self.samples.recent.is_some() {
            empty.follow();
        }
        empty
    }

    /// Takes the samples of another tally.
    pub(crate) fn take_samples(&mut self, mut other: Self) {
        self.found.samples += other.found.samples;
        self.samples.merge(&other.samples);
        let recent = other.samples.recent.take();
        if let (Some(ours), Some(theirs)) = (&mut self.samples.recent, recent) {
            ours.take(*theirs);
        }
        self.fingerprint = other.fingerprint;
    }

    /// Sets a tool's own summary, unless it has no samples.
    pub(crate) fn summarise(&mut self, summary: Summary) {
        self.found.samples = summary.total.samples;
        if summary.total.samples > 0 {
            let worker = self.worker.clone();
            self.summary = Some(Summary { worker, ..summary });
        }
    }

    /// Adds a note unless it exists.
    pub(crate) fn note(&mut self, text: impl Into<String>) {
        let text = text.into();
        if !self.notes.contains(&text) {
            self.notes.push(text);
        }
    }
}
