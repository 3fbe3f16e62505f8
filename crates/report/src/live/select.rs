//! Selects the files that count, by the rules of the report: those of the master or else of the workers, each
//! sample once, samples rather than figures of intervals.

use super::file::LiveFile;
use super::overlaps::{Overlap, Overlaps};
use crate::fingerprint::Fingerprint;
use crate::overlap;
use crate::summary::History;
use crate::tally::{container, doubt_tools};
use std::collections::BTreeMap;

/// A followed file with its path.
pub type Named<'a> = (&'a str, &'a LiveFile);

/// The files that count.
#[derive(Debug, Default)]
pub struct Selection<'a> {
    /// Files with samples, or with figures of intervals if [`Selection::is_summarised`].
    pub files: Vec<Named<'a>>,
    /// True if no file has samples.
    pub is_summarised: bool,
    /// Files that do not count, with the reason.
    pub ignored: BTreeMap<&'a str, String>,
    /// Reasons why the figures cannot be trusted.
    pub doubts: Vec<String>,
}

/// True for files of the master.
pub fn is_of_master(path: &str) -> bool {
    path.starts_with("master.")
}

fn has_figures(file: &LiveFile) -> bool {
    let samples = file.samples().map_or(0, |tally| tally.found.samples);
    let of_intervals = file.history().and_then(|history| history.total.as_ref());
    samples > 0 || of_intervals.is_some_and(|total| total.samples > 0)
}

/// Selects the files that count.
pub fn select<'a>(files: &'a BTreeMap<String, LiveFile>, overlaps: &mut Overlaps) -> Selection<'a> {
    let named = || files.iter().map(|(path, file)| (path.as_str(), file));
    let by_master = named().any(|(path, file)| is_of_master(path) && has_figures(file));
    let mut containers: BTreeMap<&str, Vec<Named<'_>>> = BTreeMap::new();
    let of_role = named().filter(|(path, _)| is_of_master(path) == by_master);
    for (path, file) in of_role.filter(|(_, file)| has_figures(file)) {
        let files = containers.entry(container(path));
        files.or_default().push((path, file));
    }
    let mut selection = Selection::default();
    for (path, file) in named().filter(|(_, file)| file.is_too_large()) {
        let problem = file.problem().unwrap_or_default();
        let doubt = format!("the result file `{path}`: {problem}");
        selection.doubts.push(doubt);
    }
    let mut intervals = Vec::new();
    for files in containers.into_values() {
        let (samples, others): (Vec<_>, Vec<_>) = files.into_iter().partition(|(_, file)| {
            let fingerprint = file.fingerprint();
            fingerprint.is_some_and(|fingerprint| !fingerprint.is_empty())
        });
        let tools = samples.iter().map(|(path, file)| {
            let tool = file.format().map_or("", |format| format.tool());
            (tool, *path)
        });
        selection.doubts.extend(doubt_tools(tools));
        match samples.is_empty() {
            true => intervals.extend(others),
            false => selection.count(samples, overlaps),
        }
    }
    if selection.files.is_empty() {
        selection.is_summarised = !intervals.is_empty();
        selection.files = intervals;
    } else if !intervals.is_empty() {
        selection.doubts.push("some containers have single samples and others only figures of intervals, which are not counted".to_owned());
    }
    for (path, file) in &selection.files {
        if let Some(problem) = file.problem() {
            let doubt = format!("the result file `{path}`: {problem}");
            selection.doubts.push(doubt);
        }
    }
    selection
}

impl<'a> Selection<'a> {
    /// Counts the files of a container with samples, each sample once.
    fn count(&mut self, mut files: Vec<Named<'a>>, overlaps: &mut Overlaps) {
        let none = Fingerprint::default();
        files.sort_by(|(path, file), (other_path, other)| {
            let other = (other.fingerprint().unwrap_or(&none), *other_path);
            overlap::order((file.fingerprint().unwrap_or(&none), path), other)
        });
        let first = self.files.len();
        for (path, file) in files {
            let Some(ours) = file.fingerprint() else {
                continue;
            };
            let counted = self
                .files
                .iter()
                .filter_map(|(path, file)| Some((*path, container(path), file.fingerprint()?)));
            match overlap::repeated(ours, container(path), counted) {
                Some((other, relation)) => {
                    let (samples, which) = (ours.samples(), relation.which());
                    let why = format!("its {samples} samples are {which} of `{other}`");
                    self.ignored.insert(path, why);
                }
                None => self.files.push((path, file)),
            }
        }
        let of_container = self.files.split_off(first);
        let overlaps = overlaps.of(&of_container);
        let kept = of_container.iter().enumerate().filter(|(at, _)| {
            let theirs = overlaps.iter().filter(|overlap| overlap.smaller == *at);
            theirs.fold(true, |kept, overlap| {
                kept & self.keeps(&of_container, overlap)
            })
        });
        let kept: Vec<Named<'a>> = kept.map(|(_, file)| *file).collect();
        self.files.extend(kept);
    }

    /// True if a file counts although it has some samples of another one, which is a doubt. Files that grow are never
    /// exactly equal: one with mostly the same samples does not count.
    fn keeps(&mut self, files: &[Named<'a>], overlap: &Overlap) -> bool {
        let ((path, file), (other_path, other)) = (files[overlap.smaller], files[overlap.larger]);
        if self.ignored.contains_key(other_path) {
            return true;
        }
        let shared = overlap.shared;
        if shared * 2 >= overlap.samples && !(file.has_ended() && other.has_ended()) {
            let why = format!("most of its samples are in `{other_path}`");
            self.ignored.insert(path, why);
            return false;
        }
        self.doubts.push(format!(
            "`{path}` and `{other_path}` have some of the same samples ({shared} or more), which are counted twice: select files with `resultFiles`"
        ));
        true
    }

    /// The histories of a summarised run.
    pub fn histories(&self) -> Vec<&'a History> {
        let files = self.files.iter();
        files.filter_map(|(_, file)| file.history()).collect()
    }

    /// True if all samples are transactions.
    pub fn has_transactions_only(&self) -> bool {
        let mut samples = self.files.iter().filter_map(|(_, file)| file.samples());
        samples.all(|tally| tally.samples.has_transactions_only())
    }

    /// True if a file has times relative to the start of the test, or absolute ones, respectively.
    pub fn times(&self) -> (bool, bool) {
        let samples = self.files.iter().filter_map(|(_, file)| file.samples());
        let relative = samples.map(|tally| tally.has_relative_times);
        relative.fold((false, false), |(any, all), is| (any | is, all | !is))
    }

    /// Start of the first sample in microseconds since 1970.
    pub fn first(&self) -> Option<u64> {
        self.files.iter().filter_map(|(_, file)| file.first()).min()
    }

    /// The second at which the latest seconds of a file end. Those of files that are written late are not
    /// compared with those of others at the same time, but at the same distance from their end.
    pub fn end(&self, file: &LiveFile) -> u64 {
        let all_over = self.files.iter().all(|(_, file)| file.is_over());
        match (all_over, file.newest()) {
            (true, Some(newest)) => newest / 1_000_000 + 1,
            _ => file.complete_until(),
        }
    }
}
