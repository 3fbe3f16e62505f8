//! Figures while a test runs, from the bytes of result files that grow.
//!
//! The decoders and sums are those of the report. [`Live::feed`] accepts the bytes of each file in order and in pieces
//! of any size; [`Live::snapshot`] returns the figures so far. When all files have [ended](Live::ended), the total is
//! that of the report.
//!
//! - A file that is truncated or replaced starts anew: its samples so far are dropped, because the report reads only what
//!   the file contains at the end.
//! - A file that is [renamed](Live::renamed) keeps its samples, so that the parts of a rotated file add up.
//! - The samples of a [lost](Live::lost) file are kept.
//! - Formats that tools write at the end of a test, or rewrite during it, are not live
//!   ([`SourceState::AtTheEnd`](atq_api_spec::live::SourceState::AtTheEnd)): summaries, JSON documents.
//! - A file that is not a result file is listed with the reason, and the rest of it is not examined.
//!
//! The latest seconds of a file are those before its newest samples, because tools write in blocks, and clocks of
//! nodes differ. A file without new samples for longer than its observed delay counts as silent.
//!
//! Memory is bounded: per file by labels, workers and the duration of the run; the number of files that
//! are read by [`MAX_FILES`].
//!
//! ```
//! use atq_report::live::Live;
//!
//! let mut live = Live::new(Vec::new());
//! live.feed("worker.1/results.csv", b"timestamp,elapsed,label,success\n1795255200000,120,GET /,tr");
//! live.feed("worker.1/results.csv", b"ue\n1795255200500,80,GET /,false\n");
//! let snapshot = live.snapshot(1_795_255_202_000);
//! assert_eq!((snapshot.total.samples, snapshot.total.errors), (2, 1));
//! ```

mod file;
mod measure;
mod select;
mod series;
mod snapshot;
mod window;

pub use atq_api_spec::live::{LiveFigures, SourceState};
pub use measure::{Measure, Measured};
pub use snapshot::{MAX_LABELS, MAX_SOURCES, MAX_WORKERS};
pub use window::LastWindow;

use crate::tally::container;
use crate::windows::Window;
use atq_api_spec::report::Series;
use file::LiveFile;
use select::{is_of_master, select};
use series::Points;
use std::collections::{BTreeMap, BTreeSet};

/// Maximum number of files that are read.
pub const MAX_FILES: usize = 1000;
/// Maximum number of files, including those that are not read: a tool may write a report of many pages.
const MAX_NAMES: usize = 10 * MAX_FILES;
/// Maximum number of listed doubts.
const MAX_DOUBTS: usize = 20;
const MILLI: u64 = 1000;

/// The growing result files of a run. A path is the container and the path in its results, such as
/// `worker.1/results.jtl`.
#[derive(Debug, Default)]
pub struct Live {
    windows: Vec<Window>,
    files: BTreeMap<String, LiveFile>,
    /// Files above the maximum, up to the same number.
    refused: BTreeSet<String>,
    points: Points,
    /// The time of the last observation in microseconds since 1970.
    at: Option<u64>,
}

impl Live {
    /// A run without files yet. `windows` are those of [`Live::windows`].
    pub fn new(windows: Vec<Window>) -> Self {
        Self {
            windows,
            ..Self::default()
        }
    }

    /// Adds the next bytes of a file.
    pub fn feed(&mut self, path: &str, bytes: &[u8]) {
        if let Some(file) = self.file(path) {
            file.feed(bytes);
        }
    }

    /// A file was truncated or replaced: its next bytes are those from its beginning.
    pub fn truncated(&mut self, path: &str) {
        let mut new = self.new_file(path);
        if let Some(file) = self.file(path) {
            new.restarts = file.restarts + 1;
            *file = new;
        }
    }

    /// Files have other paths now, all at the same time, and keep their figures; without another path they are no result
    /// files any more. A file that had one of the new paths before is dropped.
    pub fn renamed(&mut self, paths: &[(String, Option<String>)]) {
        let moved = paths.iter();
        let moved: Vec<_> = moved
            .filter_map(|(from, to)| Some((to.clone(), self.files.remove(from)?)))
            .collect();
        for to in paths.iter().filter_map(|(_, to)| to.as_ref()) {
            self.files.remove(to);
        }
        let moved = moved.into_iter();
        self.files
            .extend(moved.filter_map(|(to, file)| Some((to?, file))));
        self.points.changed(0);
    }

    /// The container of a file is lost: no more bytes are expected.
    pub fn lost(&mut self, path: &str) {
        if let Some(file) = self.file(path) {
            file.lose();
        }
    }

    /// A file is complete.
    pub fn ended(&mut self, path: &str) {
        if let Some(file) = self.file(path) {
            file.end();
        }
    }

    /// The figures so far. `read_until` is the time up to which all files were read, in milliseconds since 1970: the
    /// current time, or less if bytes are delayed.
    pub fn snapshot(&mut self, read_until: u64) -> LiveFigures {
        let at = read_until.saturating_mul(MILLI);
        self.observe_at(at);
        let selection = select(&self.files);
        let mut snapshot = snapshot::of(&selection, at);
        snapshot.series = match selection.is_summarised {
            true => crate::summary::History::series_of(&selection.histories()),
            false if selection.times().0 => Series::default(),
            false => Series {
                missing: snapshot.series.missing,
                ..self.points.update(&selection)
            },
        };
        (snapshot.sources, snapshot.sources_left_out) =
            snapshot::sources(self.files.iter(), &selection);
        snapshot.sources_left_out += self.refused.len();
        snapshot.doubts.extend(self.refusal());
        snapshot.doubts.truncate(MAX_DOUBTS);
        snapshot
    }

    /// The values of the windows of [`Live::new`] that end with the latest complete second, in their order.
    /// `read_until` is that of [`Live::snapshot`]: with it, the throughput of a tool that writes nothing more becomes
    /// zero. Must be called about once a second, as the delay of the tool is measured between calls.
    pub fn windows(&mut self, read_until: u64) -> Vec<LastWindow> {
        self.observe(read_until);
        let mut selection = select(&self.files);
        selection.doubts.extend(self.refusal());
        let windows = self.windows.iter();
        windows
            .map(|window| window::of(window, &selection))
            .collect()
    }

    /// The figures so far of each of these parts; `None` if they are unknown. See [`Live::snapshot`], which computes
    /// those of all samples and labels at the same time.
    pub fn measure<'a>(
        &self,
        parts: impl IntoIterator<Item = Measure<'a>>,
    ) -> Vec<Option<Measured>> {
        let selection = select(&self.files);
        let parts = parts.into_iter();
        parts.map(|part| measure::of(&selection, &part)).collect()
    }

    /// Updates the progress of all files, and releases memory that only older seconds need. [`Live::snapshot`] and
    /// [`Live::windows`] do this, too; without them it is to be called about once a second.
    pub fn observe(&mut self, read_until: u64) {
        self.observe_at(read_until.saturating_mul(MILLI));
    }

    /// True if there are no files.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    fn refusal(&self) -> Option<String> {
        let refused = self.refused.len();
        (refused > 0)
            .then(|| format!("{refused} or more files are not read: at most {MAX_FILES} are"))
    }

    fn observe_at(&mut self, at: u64) {
        let before = self.at;
        self.at = Some(before.unwrap_or_default().max(at));
        for file in self.files.values_mut() {
            file.observe(at, before);
            self.points.changed(file.changed());
        }
    }

    fn new_file(&self, path: &str) -> LiveFile {
        let worker = (!is_of_master(path)).then(|| container(path));
        LiveFile::new(path, worker, &self.windows)
    }

    /// A file, which is created if there are not too many.
    fn file(&mut self, path: &str) -> Option<&mut LiveFile> {
        if !self.files.contains_key(path) {
            let read = self.files.values().filter(|file| file.is_read()).count();
            if read >= MAX_FILES || self.files.len() >= MAX_NAMES {
                if self.refused.len() < MAX_FILES {
                    self.refused.insert(path.to_owned());
                }
                return None;
            }
            self.files.insert(path.to_owned(), self.new_file(path));
        }
        self.files.get_mut(path)
    }
}
