//! One file during a run.

use super::arrivals::Arrivals;
use crate::file::{FinishedFile, ResultFile};
use crate::file_tally::FileTally;
use crate::fingerprint::Fingerprint;
use crate::format::Format;
use crate::recent::{self, Recent};
use crate::summary::History;
use crate::windows::Window;
use atq_api_spec::live::SourceState;

const SECOND: u64 = 1_000_000;
/// Samples that end later than this after the current time have a wrong time.
const MAX_AHEAD: u64 = 3600 * SECOND;
/// Samples that end later than this after the current time are in the future, until the clock of the file is known.
const TOLERANCE: u64 = 2 * SECOND;
/// Minimum time between arrivals of figures of intervals.
const MIN_INTERVAL: u64 = 3 * SECOND;
/// Points over time that end this long before the newest sample are compacted.
const ACTIVE_POINTS: u64 = 30 * SECOND;

/// Minimum time between the blocks that a tool writes, as far as its silence is concerned: a tool that fills a buffer takes
/// longer for it when its requests become fewer.
const MIN_BLOCK_INTERVAL: u64 = 10 * SECOND;
/// Time after which labels without samples are compacted.
const IDLE: u64 = 10 * SECOND;
const TOO_LARGE: &str =
    "its figures need too much memory while the test runs; the report counts it";

/// A file that grows.
#[derive(Debug)]
pub struct LiveFile {
    stage: Stage,
    /// True if its container is lost.
    is_lost: bool,
    /// True if another file has the path that it had before.
    is_rotated: bool,
    /// The path that it had before it was renamed.
    former: Option<String>,
    /// Number of times that the file was truncated or replaced.
    pub restarts: u64,
    progress: Progress,
}

#[derive(Debug)]
enum Stage {
    Reading(Box<ResultFile>),
    Ended(Box<FinishedFile>),
    /// Not read, for this reason.
    Skipped(String),
    /// Not read any more, because its figures need too much memory.
    TooLarge,
    /// Not read, because the format has no figures during a run.
    AtTheEnd(Format),
}

/// Times in microseconds since 1970.
#[derive(Debug, Default, Clone)]
struct Progress {
    first: Option<u64>,
    newest: Option<u64>,
    arrivals: Arrivals,
    /// True if its latest samples are in the future, and there are too many of them to know the others.
    is_in_future: bool,
    /// The second before which no more samples are expected.
    complete_until: u64,
    compacted: u64,
}

impl LiveFile {
    pub fn new(path: &str, worker: Option<&str>, windows: &[Window]) -> Self {
        Self {
            stage: Stage::Reading(Box::new(ResultFile::followed(path, worker, windows))),
            is_lost: false,
            is_rotated: false,
            former: None,
            restarts: 0,
            progress: Progress::default(),
        }
    }

    /// Adds the next bytes. Those of a skipped file, or after the end, are ignored.
    pub fn feed(&mut self, bytes: &[u8]) {
        let Stage::Reading(file) = &mut self.stage else {
            return;
        };
        file.push(bytes);
        let next = match file.format() {
            Some(format) if !format.is_live() => Stage::AtTheEnd(format),
            None if file.is_other() => {
                let why = file.problem();
                Stage::Skipped(why.unwrap_or_else(|| "it is not a result file".to_owned()))
            }
            _ => return,
        };
        self.stage = next;
    }

    /// The file is complete.
    pub fn end(&mut self) {
        let stage = std::mem::replace(&mut self.stage, Stage::Skipped(String::new()));
        self.stage = match stage {
            Stage::Reading(file) => {
                let finished = file.finish(None);
                match (finished.format, &finished.problem) {
                    (Some(format), _) if !format.is_live() => Stage::AtTheEnd(format),
                    (Some(_), _) => Stage::Ended(Box::new(finished)),
                    (None, problem) => {
                        let why = problem.clone();
                        Stage::Skipped(why.unwrap_or_else(|| "it is not a result file".to_owned()))
                    }
                }
            }
            other => other,
        };
    }

    pub fn lose(&mut self) {
        self.is_lost = true;
    }

    /// An earlier process has received the bytes so far, the last of them at this time in microseconds since 1970.
    pub fn restore(&mut self, at: u64) {
        let (rows, _) = self.last_row();
        self.progress.arrivals.restore(at, rows);
    }

    /// The file was renamed.
    pub fn rename(&mut self, former: &str) {
        self.former = Some(former.to_owned());
    }

    /// A new file has this path. If it is the one that this file had before, nothing more is written to this file.
    pub fn note_new(&mut self, path: &str) {
        self.is_rotated |= self.former.as_deref() == Some(path);
    }

    pub fn state(&self) -> SourceState {
        match &self.stage {
            Stage::AtTheEnd(_) => SourceState::AtTheEnd,
            Stage::Skipped(_) | Stage::TooLarge => SourceState::Skipped,
            Stage::Ended(_) => SourceState::Ended,
            Stage::Reading(_) if self.is_lost => SourceState::Lost,
            Stage::Reading(file) if file.format().is_none() => SourceState::Waiting,
            Stage::Reading(_) => SourceState::Reading,
        }
    }

    /// True if it is read: its figures need memory.
    pub fn is_read(&self) -> bool {
        matches!(self.stage, Stage::Reading(_) | Stage::Ended(_))
    }

    /// True if no more bytes are expected.
    pub fn is_over(&self) -> bool {
        self.is_lost || matches!(self.stage, Stage::Ended(_))
    }

    pub fn format(&self) -> Option<Format> {
        match &self.stage {
            Stage::Reading(file) => file.format(),
            Stage::Ended(file) => file.format,
            Stage::AtTheEnd(format) => Some(*format),
            Stage::Skipped(_) | Stage::TooLarge => None,
        }
    }

    /// True if its figures need too much memory during the run.
    pub fn is_too_large(&self) -> bool {
        matches!(self.stage, Stage::TooLarge)
    }

    /// Drops its figures, as they need too much memory.
    pub fn drop_figures(&mut self) {
        self.stage = Stage::TooLarge;
        self.progress = Progress::default();
    }

    /// An estimate of its memory in bytes.
    pub fn memory_estimate(&self) -> usize {
        match &self.stage {
            Stage::Reading(file) => file.memory(),
            Stage::Ended(file) => file.tally.memory() + file.fingerprint.memory(),
            _ => 0,
        }
    }

    /// The reason why the file is not read, or why its figures are doubtful.
    pub fn problem(&self) -> Option<String> {
        match &self.stage {
            Stage::Reading(file) => file.problem().or_else(|| {
                let future = "the latest rows are dated in the future";
                self.progress.is_in_future.then(|| future.to_owned())
            }),
            Stage::Ended(file) => file.problem.clone(),
            Stage::Skipped(why) => Some(why.clone()),
            Stage::TooLarge => Some(TOO_LARGE.to_owned()),
            Stage::AtTheEnd(_) => None,
        }
    }

    /// The samples that count; `None`: the file is not read.
    pub fn samples(&self) -> Option<&FileTally> {
        match &self.stage {
            Stage::Reading(file) => Some(file.so_far()),
            Stage::Ended(file) => Some(&file.tally),
            _ => None,
        }
    }

    fn own(&self) -> Option<&FileTally> {
        match &self.stage {
            Stage::Reading(file) => Some(file.tally()),
            Stage::Ended(file) => Some(&file.tally),
            _ => None,
        }
    }

    fn own_mut(&mut self) -> Option<&mut FileTally> {
        match &mut self.stage {
            Stage::Reading(file) => Some(file.tally_mut()),
            Stage::Ended(file) => Some(&mut file.tally),
            _ => None,
        }
    }

    /// Figures of intervals, if the tool has written some.
    pub fn history(&self) -> Option<&History> {
        let history = &self.own()?.history;
        history.total.is_some().then_some(history)
    }

    pub fn recent(&self) -> Option<&Recent> {
        self.samples()?.samples.recent.as_deref()
    }

    /// The number of active users, if known.
    pub fn active(&self) -> Option<u64> {
        if self.is_over() {
            return None;
        }
        let known = |tally: &FileTally| {
            let active = &tally.samples.recent.as_ref()?.active;
            let mut known = active.iter().flatten().copied().map(u64::from).peekable();
            known.peek()?;
            Some(known.sum())
        };
        // They are not samples, and never provisional.
        self.own()
            .and_then(known)
            .or_else(|| self.samples().and_then(known))
    }

    /// Bytes that are not assigned to samples: received, sent.
    pub fn extra_bytes(&self) -> (u64, u64) {
        let samples = self.own().map(|tally| &tally.samples);
        samples.map_or((0, 0), |samples| {
            (samples.extra_received, samples.extra_sent)
        })
    }

    /// The fingerprint of the samples so far, without its cells while the file grows.
    pub fn fingerprint(&self) -> Option<&Fingerprint> {
        match &self.stage {
            Stage::Reading(file) => Some(file.so_far().fingerprint.so_far()),
            Stage::Ended(file) => Some(&file.fingerprint),
            _ => None,
        }
    }

    /// The complete fingerprint of the samples so far.
    pub fn whole_fingerprint(&self) -> Fingerprint {
        match &self.stage {
            Stage::Reading(file) => file.so_far().fingerprint.clone().finish(),
            Stage::Ended(file) => file.fingerprint.clone(),
            _ => Fingerprint::default(),
        }
    }

    pub fn has_ended(&self) -> bool {
        matches!(self.stage, Stage::Ended(_))
    }

    /// Start of the first sample in microseconds since 1970.
    pub fn first(&self) -> Option<u64> {
        self.progress.first
    }

    /// End of the newest sample in microseconds since 1970.
    pub fn newest(&self) -> Option<u64> {
        self.progress.newest
    }

    /// The second before which no more samples are expected.
    pub fn complete_until(&self) -> u64 {
        self.progress.complete_until
    }

    /// Updates the progress at a time up to which everything was read, in microseconds since 1970.
    ///
    /// The clock of a file may differ from that of the reader. A file that grows is complete until its newest sample. It is
    /// complete for longer by the time for which it has been silent, except for the time that it usually is.
    pub fn observe(&mut self, at: u64) {
        let (rows, dated) = self.last_row();
        self.progress.arrivals.observe(at, rows, dated);
        let lead = self.progress.arrivals.lead();
        let until = at.saturating_add(lead.unwrap_or(TOLERANCE));
        self.drop_after(at.saturating_add(MAX_AHEAD));
        let span = self.span(until);
        self.progress.is_in_future =
            span.is_none() && self.recent().is_some_and(Recent::has_samples);
        let Some((first, newest, settled)) = span else {
            return;
        };
        let arrivals = &self.progress.arrivals;
        let silence = arrivals.silence(at);
        let until = match self.is_over() || self.is_rotated {
            true if arrivals.are_several() => newest.saturating_add(silence),
            true => at,
            false => {
                let at_least = match self.history() {
                    Some(_) => MIN_INTERVAL,
                    None => MIN_BLOCK_INTERVAL,
                };
                let unusual = silence.saturating_sub(arrivals.usual_silence(at_least));
                match unusual {
                    0 => 0,
                    unusual => newest.saturating_add(unusual),
                }
            }
        };
        self.progress.first = Some(first);
        self.progress.newest = Some(newest);
        self.progress.complete_until = settled.max(until / SECOND);
        self.forget(newest);
        if at.abs_diff(self.progress.compacted) >= IDLE {
            self.progress.compacted = at;
            if let Some(tally) = self.own_mut() {
                tally.samples.compact_idle();
            }
        }
    }

    /// The number of rows so far, and the time of the last one.
    fn last_row(&self) -> (u64, Option<u64>) {
        if let Some(history) = self.history() {
            let until = history.complete_until;
            return (until, Some(until.saturating_mul(SECOND)));
        }
        let rows = self.samples().map_or(0, |tally| tally.found.rows);
        (rows, self.recent().and_then(Recent::last))
    }

    /// The start of the first sample, the end of the newest one until a time, and the second before which the file is
    /// complete if it grows steadily.
    fn span(&self, until: u64) -> Option<(u64, u64, u64)> {
        if let Some(history) = self.history() {
            let (first, last) = history.span()?;
            // A tool may wait before its first request.
            let first = history.begun().unwrap_or(first);
            let micros = |second: u64| second.saturating_mul(SECOND);
            let settled = history.complete_until.min(until / SECOND);
            return Some((micros(first), micros(last).min(until), settled));
        }
        let first = self.samples()?.samples.first_start()?;
        let newest = self.recent()?.newest(until)?;
        Some((first, newest, newest / SECOND))
    }

    /// Drops the dates of samples after this time, which are wrong.
    fn drop_after(&mut self, until: u64) {
        let Some(tally) = self.own_mut() else { return };
        tally.history.watches.drop_after(until / SECOND);
        for kind in tally.samples.kinds() {
            kind.watches.drop_after(until / SECOND);
        }
        if let Some(recent) = &mut tally.samples.recent {
            recent.drop_after(until);
        }
    }

    /// Releases memory that only older seconds need.
    fn forget(&mut self, newest: u64) {
        // After the end of all files, their last seconds are shown.
        let end = self.progress.complete_until.min(newest / SECOND + 1);
        let Some(tally) = self.own_mut() else { return };
        tally.history.watches.forget(end);
        for kind in tally.samples.kinds() {
            kind.watches.forget(end);
            kind.timeline
                .compact_before(newest.saturating_sub(ACTIVE_POINTS));
        }
        if let Some(recent) = &mut tally.samples.recent {
            recent.forget(end.saturating_sub(recent::SECONDS));
        }
    }

    /// True if the samples that count are not those of the rest of the file.
    fn is_provisional(&self) -> bool {
        let both = self.samples().zip(self.own());
        both.is_some_and(|(counted, own)| !std::ptr::eq(counted, own))
    }

    /// Start of the first point over time that has changed since the last call.
    pub fn changed(&mut self) -> u64 {
        // Provisional samples are few.
        if self.is_provisional() {
            return 0;
        }
        let Some(tally) = self.own_mut() else {
            return u64::MAX;
        };
        let changed = tally.samples.kinds().map(|kind| kind.timeline.changed());
        changed.into_iter().min().unwrap_or(u64::MAX)
    }
}
