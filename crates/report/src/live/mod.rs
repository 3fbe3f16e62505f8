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
//!   ([`SourceState::AtTheEnd`]): summaries, JSON documents.
//! - A file that is not a result file is listed with the reason, and the rest of it is not examined.
//!
//! The latest seconds of a file are those before its newest samples, because tools write in blocks, and clocks of
//! nodes differ. A file without new samples for longer than usual counts as silent. Samples in the future belong to no
//! window until the time comes.
//!
//! Memory is bounded: per file by labels, workers and the duration of the run; the number of files that
//! are read by [`MAX_FILES`]. When all files together need too much memory, the figures of the largest one are dropped,
//! which is a doubt.
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

mod arrivals;
mod file;
mod measure;
mod overlaps;
mod select;
mod series;
mod snapshot;
mod window;

pub use atq_api_spec::live::{LiveFigures, LiveSource, SourceState};
pub use measure::{Measure, Measured};
pub use snapshot::{MAX_LABELS, MAX_SOURCES, MAX_WORKERS};
pub use window::LastWindow;

use crate::tally::container;
use crate::windows::Window;
use atq_api_spec::report::Series;
use file::LiveFile;
use overlaps::Overlaps;
use select::{is_of_master, select};
use series::Points;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Maximum number of files that are read.
pub const MAX_FILES: usize = 1000;
/// Maximum number of files, including those that are not read: a tool may write a report of many pages.
const MAX_NAMES: usize = 10 * MAX_FILES;
/// Maximum memory of the figures of all files in bytes, as estimated.
const MAX_MEMORY: usize = 256 * 1024 * 1024;
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
    overlaps: Overlaps,
    /// The time of the latest observation, in microseconds since 1970.
    at: u64,
    /// Estimates of the memory of files in bytes.
    memory: HashMap<String, usize>,
    /// Maximum of all estimates; [`MAX_MEMORY`], or less in tests.
    most_memory: Option<usize>,
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
            self.limit_memory(path);
        }
    }

    /// A file was truncated or replaced: its next bytes are those from its beginning.
    pub fn truncated(&mut self, path: &str) {
        let mut new = self.new_file(path);
        if let Some(file) = self.file(path) {
            new.restarts = file.restarts + 1;
            *file = new;
            self.limit_memory(path);
        }
    }

    /// Files have other paths now, all at the same time, and keep their figures; without another path they are no result
    /// files any more. A file that had one of the new paths before is dropped.
    pub fn renamed(&mut self, paths: &[(String, Option<String>)]) {
        let moved = paths.iter();
        let moved: Vec<_> = moved
            .filter_map(|(from, to)| {
                let mut file = self.files.remove(from)?;
                file.rename(from);
                Some((to.clone(), file))
            })
            .collect();
        for to in paths.iter().filter_map(|(_, to)| to.as_ref()) {
            self.files.remove(to);
        }
        let moved = moved.into_iter();
        self.files
            .extend(moved.filter_map(|(to, file)| Some((to?, file))));
        self.points.changed(0);
        let files = self.files.iter();
        let estimates = files.map(|(path, file)| (path.clone(), file.memory_estimate()));
        self.memory = estimates.collect();
        self.drop_largest();
    }

    /// The bytes of a file so far were received by an earlier process, the last of them at `at`, in milliseconds since 1970.
    pub fn restored(&mut self, path: &str, at: u64) {
        if let Some(file) = self.files.get_mut(path) {
            file.restore(at.saturating_mul(MILLI));
        }
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
            self.limit_memory(path);
        }
    }

    /// The figures so far. `read_until` is the time up to which all files were read, in milliseconds since 1970: the
    /// current time, or less if bytes are delayed.
    pub fn snapshot(&mut self, read_until: u64) -> LiveFigures {
        let at = read_until.saturating_mul(MILLI);
        self.observe_at(at);
        let selection = select(&self.files, &mut self.overlaps);
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
    /// zero. Must be called about once a second, as the time between the blocks of a tool is measured by calls.
    pub fn windows(&mut self, read_until: u64) -> Vec<LastWindow> {
        self.observe(read_until);
        if self.windows.is_empty() {
            return Vec::new();
        }
        let mut selection = select(&self.files, &mut self.overlaps);
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
        let mut parts = parts.into_iter().peekable();
        if parts.peek().is_none() {
            return Vec::new();
        }
        // The comparisons of the last observation.
        let selection = select(&self.files, &mut self.overlaps.clone());
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
        // A file that was not read for a while is behind the others.
        self.at = self.at.max(at);
        let at = self.at;
        self.overlaps.observe(at);
        for file in self.files.values_mut() {
            file.observe(at);
            self.points.changed(file.changed());
        }
    }

    /// Measures a file, and drops the figures of the largest files if all files need too much memory.
    fn limit_memory(&mut self, path: &str) {
        let Some(file) = self.files.get(path) else {
            return;
        };
        let measured = file.memory_estimate();
        match self.memory.get_mut(path) {
            Some(before) => *before = measured,
            None => drop(self.memory.insert(path.to_owned(), measured)),
        }
        self.drop_largest();
    }

    fn drop_largest(&mut self) {
        let most = self.most_memory.unwrap_or(MAX_MEMORY);
        while self.memory.values().sum::<usize>() > most {
            // Estimates of other files may be old.
            for (path, estimate) in &mut self.memory {
                *estimate = self.files.get(path).map_or(0, LiveFile::memory_estimate);
            }
            let sum: usize = self.memory.values().sum();
            let largest = self.memory.iter().max_by_key(|(_, memory)| **memory);
            let Some((largest, _)) = largest.filter(|_| sum > most) else {
                return;
            };
            let largest = largest.clone();
            if let Some(file) = self.files.get_mut(&largest) {
                file.drop_figures();
            }
            self.memory.remove(&largest);
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
            self.files.values_mut().for_each(|file| file.note_new(path));
            self.files.insert(path.to_owned(), self.new_file(path));
        }
        self.files.get_mut(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1024 * 1024;

    fn limited(mib: usize) -> Live {
        Live {
            most_memory: Some(mib * MIB),
            ..Live::default()
        }
    }

    /// The files whose figures are dropped.
    fn dropped(live: &Live) -> Vec<&str> {
        let dropped = live.files.iter().filter(|(_, file)| file.is_too_large());
        dropped.map(|(path, _)| path.as_str()).collect()
    }

    #[test]
    fn renamed_files_count_for_the_memory_of_all_files() {
        let mut live = limited(64);
        live.feed("worker.1/r.csv", b"timestamp,elapsed,label,success\n");
        let to = Some("worker.1/r.csv.1".to_owned());
        live.renamed(&[("worker.1/r.csv".to_owned(), to)]);
        live.feed("worker.1/r.csv", b"timestamp,elapsed,label,success\n");
        let measured: Vec<_> = live.memory.keys().cloned().collect();
        assert_eq!(measured.len(), 2, "{measured:?}");
        assert!(live.memory.keys().all(|path| live.files.contains_key(path)));
    }

    #[test]
    fn quotes_that_are_never_closed_need_no_more_memory_than_the_limit() {
        let mut live = limited(16);
        let text = vec![b'x'; MIB / 2];
        for number in 0..40 {
            let path = format!("worker.{number}/r.csv");
            live.feed(&path, b"timestamp,elapsed,label,success\n");
            live.feed(&path, b"1760000000000,5,a,true\n\"");
            for _ in 0..8 {
                live.feed(&path, &text);
                let files = live.files.values().map(LiveFile::memory_estimate);
                assert!(files.sum::<usize>() <= 16 * MIB);
            }
        }
        assert!(dropped(&live).len() > 30);
        let snapshot = live.snapshot(1_760_000_001_000);
        let doubt = "its figures need too much memory while the test runs; the report counts it";
        assert!(snapshot.doubts[0].ends_with(doubt), "{:?}", snapshot.doubts);
        let states = snapshot.sources.iter().map(|source| source.state);
        assert!(
            states
                .filter(|state| *state == SourceState::Skipped)
                .count()
                > 30
        );
    }

    #[test]
    fn the_memory_of_a_long_row_is_released_after_it() {
        let mut live = limited(100);
        live.feed("a/r.csv", b"timestamp,elapsed,label,success\n");
        for _ in 0..14 {
            live.feed("a/r.csv", &vec![b'x'; MIB / 2]);
        }
        let during = live.files["a/r.csv"].memory_estimate();
        assert!(during > 7 * MIB, "{during}");
        live.feed("a/r.csv", b"\n");
        for _ in 0..3 {
            live.feed("a/r.csv", b"1760000000000,5,a,true\n");
        }
        let after = live.files["a/r.csv"].memory_estimate();
        assert!(after < MIB, "{after}");
    }

    #[test]
    fn figures_of_the_largest_file_are_dropped_first() {
        let mut live = limited(1);
        for (path, labels) in [("a/r.csv", 10), ("b/r.csv", 1500), ("c/r.csv", 10)] {
            live.feed(path, b"timestamp,elapsed,label,success\n");
            for label in 0..labels {
                let row = format!("1760000000000,5,{path} {label},true\n");
                live.feed(path, row.repeat(3).as_bytes());
            }
        }
        assert_eq!(dropped(&live), ["b/r.csv"]);
        assert_eq!(live.snapshot(1_760_000_001_000).total.samples, 60);
    }

    #[test]
    fn labels_without_recent_samples_need_less_memory() {
        let mut live = limited(100);
        live.feed("a/r.csv", b"timestamp,elapsed,label,success\n");
        for label in 0..100 {
            for sample in 0..1200 {
                let row = format!("1760000000000,{}.5,{label},true\n", sample * 7);
                live.feed("a/r.csv", row.as_bytes());
            }
        }
        let before = live.files["a/r.csv"].memory_estimate();
        for second in (0..40).step_by(10) {
            live.observe(1_760_000_000_000 + second * 1000);
        }
        let after = live.files["a/r.csv"].memory_estimate();
        assert!(after * 2 < before, "{before} {after}");
        assert_eq!(
            live.snapshot(1_760_000_100_000).labels[0].total.samples,
            1200
        );
    }
}
