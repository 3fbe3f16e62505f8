//! What a report does not need of a file, but figures during a run do: its last seconds, response codes,
//! active users.

use crate::labels::Names;
use crate::sample::Sample;
use crate::windows::{Buckets, Second};
use std::collections::VecDeque;

/// Length in seconds of the latest figures.
pub const SECONDS: u64 = 10;
/// Response codes above this number are counted as one.
pub const MAX_CODES: usize = 100;
const SECOND: u64 = 1_000_000;
/// Number of the latest different seconds that are kept: those in the future do not hide the others.
const MAX_SECONDS: usize = 24;

/// The last seconds of a file, by label and by worker.
#[derive(Debug)]
pub struct Recent {
    /// Samples that end later, in microseconds since 1970, are not recent: their time is wrong.
    until: u64,
    /// The latest seconds with samples, sorted by the end of the newest sample of each, in microseconds since 1970.
    newest: Vec<u64>,
    /// End of the last sample of the file in microseconds since 1970.
    last: Option<u64>,
    /// By the numbers of labels and workers in the file.
    pub labels: Vec<Ring>,
    pub requests: Vec<Ring>,
    pub transactions: Vec<Ring>,
    /// Numbers of requests by response code.
    pub codes: Names<MAX_CODES>,
    pub code_counts: Vec<u64>,
    /// The last number of active users, by worker.
    pub active: Vec<Option<u32>>,
    pub buckets: Buckets,
}

impl Default for Recent {
    fn default() -> Self {
        Self {
            until: u64::MAX,
            newest: Vec::new(),
            last: None,
            labels: Vec::new(),
            requests: Vec::new(),
            transactions: Vec::new(),
            codes: Names::default(),
            code_counts: Vec::new(),
            active: Vec::new(),
            buckets: Buckets::default(),
        }
    }
}

impl Recent {
    /// Adds a sample of the file.
    pub fn add(&mut self, sample: &Sample<'_>, label: usize, worker: usize) {
        self.code(sample);
        if let Some(users) = sample.active {
            self.active(worker, users);
        }
        let Some(end) = sample.end().filter(|end| *end <= self.until) else {
            return;
        };
        self.last = Some(end);
        let Some(first) = self.note(end) else { return };
        let second = end / SECOND;
        self.buckets.add(sample.elapsed);
        let of_kind = match sample.transaction {
            true => &mut self.transactions,
            false => &mut self.requests,
        };
        for (rings, number) in [(of_kind, worker), (&mut self.labels, label)] {
            at(rings, number).add(second, first, sample, self.buckets);
        }
    }

    /// Records the end of a sample, and returns the first second that is kept; `None` if it is before that.
    fn note(&mut self, end: u64) -> Option<u64> {
        let second = end / SECOND;
        match self.newest.iter().rposition(|at| at / SECOND <= second) {
            Some(found) if self.newest[found] / SECOND == second => {
                self.newest[found] = self.newest[found].max(end);
            }
            found => self.newest.insert(found.map_or(0, |found| found + 1), end),
        }
        if self.newest.len() > MAX_SECONDS {
            self.newest.remove(0);
        }
        let first = self.newest.first()? / SECOND;
        (second >= first).then_some(first)
    }

    fn code(&mut self, sample: &Sample<'_>) {
        if sample.code.is_empty() || sample.transaction {
            return;
        }
        let number = self.codes.number(sample.code);
        *at(&mut self.code_counts, number) += sample.samples;
    }

    /// Records the number of active users of a worker.
    pub fn active(&mut self, worker: usize, users: u32) {
        *at(&mut self.active, worker) = Some(users);
    }

    /// Takes the last seconds of other samples of the file, with the same numbers.
    pub fn take(&mut self, other: Self) {
        let active = match self.active.is_empty() {
            true => other.active,
            false => std::mem::take(&mut self.active),
        };
        *self = Self { active, ..other };
    }

    /// End of the newest sample in microseconds since 1970, without those in seconds after `until`.
    pub fn newest(&self, until: u64) -> Option<u64> {
        let mut newest = self.newest.iter().rev();
        let found = newest.find(|end| *end / SECOND <= until / SECOND)?;
        Some((*found).min(until))
    }

    /// True if there are samples with right times.
    pub fn has_samples(&self) -> bool {
        !self.newest.is_empty()
    }

    /// End of the last sample of the file in microseconds since 1970.
    pub fn last(&self) -> Option<u64> {
        self.last
    }

    /// Drops samples that ended after `until`, in microseconds since 1970, and keeps others like them out.
    pub fn drop_after(&mut self, until: u64) {
        self.until = until;
        self.last = self.last.filter(|end| *end <= until);
        if self.newest.last().is_some_and(|end| *end > until) {
            self.newest.retain(|end| *end <= until);
            let rings = [&mut self.labels, &mut self.requests, &mut self.transactions];
            for ring in rings.into_iter().flatten() {
                ring.0.retain(|(second, _)| *second <= until / SECOND);
            }
        }
    }

    /// An estimate of the memory in bytes.
    pub fn memory(&self) -> usize {
        let rings = [&self.labels, &self.requests, &self.transactions];
        rings.into_iter().flatten().map(Ring::memory).sum()
    }

    /// Drops seconds before this one.
    pub fn forget(&mut self, before: u64) {
        let rings = [&mut self.labels, &mut self.requests, &mut self.transactions];
        for ring in rings.into_iter().flatten() {
            ring.forget(before);
        }
    }
}

/// The entry of a number; entries up to it are created.
fn at<T: Default>(list: &mut Vec<T>, number: usize) -> &mut T {
    if list.len() <= number {
        list.resize_with(number + 1, T::default);
    }
    &mut list[number]
}

/// Some consecutive seconds, sorted; those without samples are left out.
#[derive(Debug, Default)]
pub struct Ring(VecDeque<(u64, Second)>);

impl Ring {
    fn add(&mut self, second: u64, first: u64, sample: &Sample<'_>, buckets: Buckets) {
        self.forget(first);
        let found = self.0.iter().rposition(|(number, _)| *number <= second);
        let index = match found {
            Some(index) if self.0[index].0 == second => index,
            before => {
                let index = before.map_or(0, |index| index + 1);
                self.0.insert(index, (second, Second::default()));
                index
            }
        };
        self.0[index].1.add(sample, buckets);
    }

    fn forget(&mut self, before: u64) {
        while self.0.front().is_some_and(|(number, _)| *number < before) {
            self.0.pop_front();
        }
        if self.0.is_empty() {
            self.0.shrink_to_fit();
        }
    }

    fn memory(&self) -> usize {
        let seconds = self.0.iter().map(|(_, second)| second.memory());
        size_of::<Self>() + seconds.sum::<usize>()
    }

    /// The seconds from `first` to the one before `end`.
    pub fn between(&self, first: u64, end: u64) -> impl Iterator<Item = &Second> {
        let seconds = self.0.iter();
        let inside = seconds.filter(move |(number, _)| (first..end).contains(number));
        inside.map(|(_, second)| second)
    }
}
