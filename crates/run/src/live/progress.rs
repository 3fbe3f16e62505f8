//! How far the result files of each container were read, and why some are not.

use atq_engine::{ReadProblem, Source};
use atq_task::timestamp::Timestamp;
use std::collections::BTreeMap;
use std::time::Duration;

/// Files that were not read for this long count as not followed.
const STALE_AFTER: Duration = Duration::from_secs(30);
/// Maximum number of containers that are named in a message.
const MAX_NAMED: usize = 3;

/// How far the containers' files were read.
#[derive(Debug)]
pub(super) struct Progress {
    pub(super) started: Timestamp,
    pub(super) sources: BTreeMap<Source, SourceProgress>,
}

#[derive(Debug, Default)]
pub(super) struct SourceProgress {
    /// The time up to which all bytes were received.
    pub(super) read_at: Option<Timestamp>,
    pub(super) problem: Option<ReadProblem>,
    pub(super) is_lost: bool,
    /// The time at which its end was observed.
    pub(super) ended_at: Option<Timestamp>,
    pub(super) is_closed: bool,
}

/// What a snapshot needs of [`Progress`].
pub(super) struct ReadState {
    /// The time up to which the files were read.
    pub(super) until: Timestamp,
    /// Whether all files that are expected to be read were read at least once.
    pub(super) is_read: bool,
    pub(super) lag: Option<Duration>,
    pub(super) problem: Option<String>,
    pub(super) lost: Vec<Source>,
}

impl SourceProgress {
    /// Whether more bytes are expected.
    pub(super) fn is_open(&self) -> bool {
        let is_complete = self.ended_at.is_some() && self.read_at >= self.ended_at;
        !self.is_lost && !is_complete
    }

    /// Whether bytes are expected and read.
    pub(super) fn is_followed(&self) -> bool {
        self.is_open() && !matches!(self.problem, Some(ReadProblem::Unread(_)))
    }

    /// The reason why its files are not read.
    pub(super) fn unread(&self) -> Option<&str> {
        match &self.problem {
            Some(ReadProblem::Unread(problem)) if self.is_open() => Some(problem),
            _ => None,
        }
    }

    /// The reason why some of its files are not read: also after its end, as these bytes are missing.
    pub(super) fn incomplete(&self) -> Option<&str> {
        match &self.problem {
            Some(ReadProblem::Incomplete(problem)) if !self.is_lost => Some(problem),
            _ => None,
        }
    }
}

impl Progress {
    /// Whether bytes of the container are accepted.
    pub(super) fn expects(&self, source: Source) -> bool {
        let source = self.sources.get(&source);
        source.is_some_and(|source| !source.is_closed)
    }

    /// The containers whose files are expected to be read.
    pub(super) fn followed(&self) -> impl Iterator<Item = (&Source, &SourceProgress)> {
        let sources = self.sources.iter();
        sources.filter(|(_, progress)| progress.is_followed())
    }

    pub(super) fn is_read_since(&self, since: Timestamp) -> bool {
        self.followed()
            .all(|(_, progress)| progress.read_at >= Some(since))
    }

    pub(super) fn read_state(&self, now: Timestamp) -> ReadState {
        let read_at = |progress: &SourceProgress| progress.read_at.unwrap_or(self.started);
        let (stale, current): (Vec<_>, Vec<_>) = self
            .followed()
            .partition(|(_, progress)| now.since(read_at(progress)) >= STALE_AFTER);
        let until = current.iter().map(|(_, progress)| read_at(progress)).min();
        let is_read = current
            .iter()
            .all(|(_, progress)| progress.read_at.is_some());
        let lost = self.sources.iter().filter(|(_, progress)| progress.is_lost);
        ReadState {
            lag: until.filter(|_| is_read).map(|until| now.since(until)),
            until: until.unwrap_or(now),
            is_read,
            problem: self.problem(&stale),
            lost: lost.map(|(source, _)| *source).collect(),
        }
    }

    /// The reason why files of some containers are not read.
    pub(super) fn problem(&self, stale: &[(&Source, &SourceProgress)]) -> Option<String> {
        if let Some((sources, problem)) = self.having(SourceProgress::unread) {
            return Some(format!("the results of {sources} are not read: {problem}"));
        }
        if let Some((sources, problem)) = self.having(SourceProgress::incomplete) {
            return Some(format!("some results of {sources} are not read: {problem}"));
        }
        let sources = stale.iter().map(|(source, _)| **source);
        (!stale.is_empty()).then(|| {
            let seconds = STALE_AFTER.as_secs();
            format!(
                "the results of {} were not read for {seconds} s or longer",
                named(sources)
            )
        })
    }

    /// The containers with such a problem, and that of the first one.
    pub(super) fn having<'a>(
        &'a self,
        problem: impl Fn(&'a SourceProgress) -> Option<&'a str>,
    ) -> Option<(String, &'a str)> {
        let sources = self.sources.iter();
        let having: Vec<_> = sources
            .filter_map(|(source, progress)| Some((*source, problem(progress)?)))
            .collect();
        let (_, first) = having.first()?;
        Some((named(having.iter().map(|(source, _)| *source)), first))
    }
}

/// The first containers, and the number of the others.
fn named(sources: impl ExactSizeIterator<Item = Source>) -> String {
    let more = sources.len().saturating_sub(MAX_NAMED);
    let named: Vec<String> = sources
        .take(MAX_NAMED)
        .map(|source| source.to_string())
        .collect();
    let named = named.join(", ");
    match more {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}
