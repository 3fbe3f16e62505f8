//! Detects files that repeat samples of others.

use crate::fingerprint::{Fingerprint, Relation, Resolution};
use std::cmp::{Ordering, Reverse};
use std::collections::HashMap;

/// Maximum number of cells of all files together, of about 100 bytes each; above it, adjacent seconds share a cell.
const MAX_CELLS: usize = 100_000;
/// Maximum number of seconds per cell, as a power of two.
const MAX_SHIFT: u32 = 28;
/// Maximum number of sketched rows of all files together, of 24 bytes each.
const MAX_ROWS: usize = 200_000;
/// Maximum number of files paired because of a common cell.
const MAX_PAIRED: usize = 8;
/// Maximum number of pairs compared in detail.
const MAX_PAIRS: usize = 2000;

/// A file with counted samples.
#[derive(Debug)]
pub struct Counted {
    /// Its name in the report.
    pub name: String,
    /// Its container.
    pub container: String,
    /// Fingerprint of its samples.
    pub fingerprint: Fingerprint,
}

impl Counted {
    /// Its name, container and fingerprint.
    pub fn parts(&self) -> (&str, &str, &Fingerprint) {
        (&self.name, &self.container, &self.fingerprint)
    }
}

/// Compares two files by fingerprint and name: those that may contain all samples of another one come first.
pub fn order(one: (&Fingerprint, &str), other: (&Fingerprint, &str)) -> Ordering {
    let key = |(fingerprint, name)| {
        let fingerprint: &Fingerprint = fingerprint;
        let most = (fingerprint.samples(), fingerprint.has_fractions());
        (Reverse(most), name)
    };
    key(one).cmp(&key(other))
}

/// Finds the file that has all samples of this one, among files with their container and fingerprint.
pub fn repeated<'a, T>(
    fingerprint: &Fingerprint,
    container: &str,
    counted: impl IntoIterator<Item = (T, &'a str, &'a Fingerprint)>,
) -> Option<(T, Relation)> {
    let mut counted = counted.into_iter();
    counted.find_map(|(other, other_container, other_fingerprint)| {
        let relation = fingerprint.relation(other_fingerprint);
        // Rows of a coarse clock can be equal by chance if several machines have the same load.
        let may_be_chance =
            other_container != container && !fingerprint.is_distinctive(other_fingerprint);
        (relation != Relation::Other && !may_be_chance).then_some((other, relation))
    })
}

impl Relation {
    /// The samples of the other file that this one repeats; empty if there is no such relation.
    pub fn which(self) -> &'static str {
        match self {
            Self::FailedOf => "the failed ones",
            Self::SuccessfulOf => "the successful ones",
            Self::Same | Self::Other => "all",
        }
    }
}

/// Pairs of files, by index, with some common samples, and the number of these.
pub fn partial_overlaps(counted: &mut [Counted]) -> Vec<(usize, usize, u64)> {
    align(counted);
    let mut pairs = Pairs::default();
    for resolution in [Resolution::Micros, Resolution::Millis, Resolution::Seconds] {
        let digests = |counted: &Counted| match counted.fingerprint.resolution >= resolution {
            true => counted.fingerprint.digests(resolution).collect(),
            false => Vec::new(),
        };
        // Files are compared by the data that both contain.
        let resolution_of = |file: usize| counted[file].fingerprint.resolution;
        pairs.count(counted, digests, |one, other| {
            resolution_of(one).min(resolution_of(other)) == resolution
        });
    }
    let rows = |counted: &Counted| counted.fingerprint.sketched().collect();
    pairs.count(counted, rows, |_, _| true);
    let shared = pairs.likely().into_iter().filter_map(|(one, other)| {
        let (first, second) = (&counted[one], &counted[other]);
        let same_container = first.container == second.container;
        let samples = first
            .fingerprint
            .shared_with(&second.fingerprint, same_container);
        (samples > 0).then_some((one, other, samples))
    });
    let mut shared: Vec<(usize, usize, u64)> = shared.collect();
    shared.sort_unstable();
    shared
}

/// Number of common digests of pairs of files, by index.
#[derive(Debug, Default)]
struct Pairs {
    counts: HashMap<(usize, usize), u64>,
}

impl Pairs {
    /// Counts common digests of files for which `compares` is true.
    fn count(
        &mut self,
        counted: &[Counted],
        digests: impl Fn(&Counted) -> Vec<u64>,
        compares: impl Fn(usize, usize) -> bool,
    ) {
        let files = counted.iter().enumerate();
        let digests = files.flat_map(|(file, counted)| {
            let digests = digests(counted).into_iter();
            digests.map(move |digest| (digest, file))
        });
        let mut digests: Vec<(u64, usize)> = digests.collect();
        digests.sort_unstable();
        digests.dedup();
        for equal in digests.chunk_by(|one, other| one.0 == other.0) {
            let files = &equal[..equal.len().min(MAX_PAIRED)];
            for (at, (_, one)) in files.iter().enumerate() {
                for (_, other) in &files[at + 1..] {
                    if compares(*one, *other) {
                        *self.counts.entry((*one, *other)).or_default() += 1;
                    }
                }
            }
        }
    }

    /// The pairs with most common digests first, limited in number.
    fn likely(self) -> Vec<(usize, usize)> {
        let mut pairs: Vec<((usize, usize), u64)> = self.counts.into_iter().collect();
        pairs.sort_unstable_by_key(|(pair, digests)| (u64::MAX - digests, *pair));
        pairs.truncate(MAX_PAIRS);
        pairs.into_iter().map(|(pair, _)| pair).collect()
    }
}

/// Converts all files to the same cell length, and limits the number of cells and rows.
pub fn align(counted: &mut [Counted]) {
    let most_rows = MAX_ROWS / counted.len().max(1);
    for counted in counted.iter_mut() {
        counted.fingerprint.sketch.shrink(most_rows);
    }
    let shifts = counted.iter().map(|counted| counted.fingerprint.shift);
    let mut shift = shifts.max().unwrap_or_default();
    loop {
        counted
            .iter_mut()
            .for_each(|counted| counted.fingerprint.coarsen(shift));
        let cells = counted
            .iter()
            .map(|counted| counted.fingerprint.cells.len());
        if cells.sum::<usize>() <= MAX_CELLS || shift >= MAX_SHIFT {
            return;
        }
        shift += 1;
    }
}
