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

/// The last seconds of a file, by label and by worker.
#[derive(Debug)]
pub struct Recent {
    /// Samples that end later, in microseconds since 1970, are not recent: their time is wrong.
    until: u64,
    /// End of the newest sample in microseconds since 1970.
    newest: Option<u64>,
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
            newest: None,
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
        let newest = self.newest.unwrap_or_default().max(end);
        self.newest = Some(newest);
        let (second, first) = (end / SECOND, (newest / SECOND).saturating_sub(SECONDS));
        if second < first {
            return;
        }
        self.buckets.add(sample.elapsed);
        let of_kind = match sample.transaction {
            true => &mut self.transactions,
            false => &mut self.requests,
        };
        for (rings, number) in [(of_kind, worker), (&mut self.labels, label)] {
            at(rings, number).add(second, first, sample, self.buckets);
        }
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

    /// End of the newest sample that ended at `until` at the latest; later ones are dropped, and the others are kept
    /// out from now on. In microseconds since 1970.
    pub fn newest(&mut self, until: u64) -> Option<u64> {
        self.until = until;
        if self.newest.is_some_and(|newest| newest > until) {
            self.newest = None;
            let rings = [&mut self.labels, &mut self.requests, &mut self.transactions];
            rings.into_iter().flatten().for_each(Ring::clear);
        }
        self.newest
    }

    /// End of the newest sample in microseconds since 1970, right or wrong.
    pub fn newest_seen(&self) -> Option<u64> {
        self.newest
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

    fn clear(&mut self) {
        self.0.clear();
    }

    fn forget(&mut self, before: u64) {
        while self.0.front().is_some_and(|(number, _)| *number < before) {
            self.0.pop_front();
        }
        if self.0.is_empty() {
            self.0.shrink_to_fit();
        }
    }

    /// The seconds from `first` to the one before `end`.
    pub fn between(&self, first: u64, end: u64) -> impl Iterator<Item = &Second> {
        let seconds = self.0.iter();
        let inside = seconds.filter(move |(number, _)| (first..end).contains(number));
        inside.map(|(_, second)| second)
    }
}
