//! Which files repeat samples of others.

use crate::fingerprint::{Fingerprint, Relation, Resolution};
use std::collections::HashMap;

/// Cells of all files together, of about a hundred bytes each; with more, neighbouring seconds share one.
const MOST_CELLS: usize = 100_000;
/// No more seconds share a cell than two to this.
const MOST_SHIFT: u32 = 28;
/// Sketched rows of all files together, of 24 bytes each.
const MOST_ROWS: usize = 200_000;
/// Of files that have a cell in common no more are paired.
const MOST_PAIRED: usize = 8;
/// Pairs of files that are looked at closely.
const MOST_PAIRS: usize = 2000;

/// A file whose samples are counted.
#[derive(Debug)]
pub struct Counted {
    /// How the report calls it.
    pub name: String,
    /// The container it is from.
    pub container: String,
    /// Its samples.
    pub fingerprint: Fingerprint,
}

/// The file that has all samples of this one, and how.
pub fn repeated<'a>(
    fingerprint: &Fingerprint,
    container: &str,
    counted: &'a [Counted],
) -> Option<(&'a Counted, Relation)> {
    counted.iter().find_map(|other| {
        let relation = fingerprint.relation(&other.fingerprint);
        // Rows of a coarse clock are the same by chance where several machines do the same.
        let may_be_chance =
            other.container != container && !fingerprint.is_telling(&other.fingerprint);
        (relation != Relation::Other && !may_be_chance).then_some((other, relation))
    })
}

/// Pairs of files that have some samples in common, by their indices, with how many.
pub fn partly(counted: &mut [Counted]) -> Vec<(usize, usize, u64)> {
    align(counted);
    let mut pairs = Pairs::default();
    for resolution in [Resolution::Micros, Resolution::Millis, Resolution::Seconds] {
        let digests = |counted: &Counted| match counted.fingerprint.resolution() >= resolution {
            true => counted.fingerprint.digests(resolution).collect(),
            false => Vec::new(),
        };
        // Two files are compared by what both of them record.
        let tells = |file: usize| counted[file].fingerprint.resolution();
        pairs.count(counted, digests, |one, other| {
            tells(one).min(tells(other)) == resolution
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

/// How many digests pairs of files have in common, by their indices.
#[derive(Debug, Default)]
struct Pairs {
    counts: HashMap<(usize, usize), u64>,
}

impl Pairs {
    /// Counts common digests of files for which `compares` holds.
    fn count(
        &mut self,
        counted: &[Counted],
        digests: impl Fn(&Counted) -> Vec<u64>,
        compares: impl Fn(usize, usize) -> bool,
    ) {
        let mut digests: Vec<(u64, usize)> = counted
            .iter()
            .enumerate()
            .flat_map(|(file, counted)| {
                digests(counted)
                    .into_iter()
                    .map(move |digest| (digest, file))
            })
            .collect();
        digests.sort_unstable();
        digests.dedup();
        for equal in digests.chunk_by(|one, other| one.0 == other.0) {
            let files = &equal[..equal.len().min(MOST_PAIRED)];
            for (at, (_, one)) in files.iter().enumerate() {
                for (_, other) in &files[at + 1..] {
                    if compares(*one, *other) {
                        *self.counts.entry((*one, *other)).or_default() += 1;
                    }
                }
            }
        }
    }

    /// The pairs with most in common first; not all of many.
    fn likely(self) -> Vec<(usize, usize)> {
        let mut pairs: Vec<((usize, usize), u64)> = self.counts.into_iter().collect();
        pairs.sort_unstable_by_key(|(pair, digests)| (u64::MAX - digests, *pair));
        pairs.truncate(MOST_PAIRS);
        pairs.into_iter().map(|(pair, _)| pair).collect()
    }
}

/// Brings all files to cells of the same length, and to few enough of them and of rows.
pub fn align(counted: &mut [Counted]) {
    let most_rows = MOST_ROWS / counted.len().max(1);
    for counted in counted.iter_mut() {
        counted.fingerprint.sketch().shrink(most_rows);
    }
    let shifts = counted.iter().map(|counted| counted.fingerprint.shift());
    let mut shift = shifts.max().unwrap_or_default();
    loop {
        counted
            .iter_mut()
            .for_each(|counted| counted.fingerprint.coarsen(shift));
        let cells: usize = counted
            .iter()
            .map(|counted| counted.fingerprint.cells())
            .sum();
        if cells <= MOST_CELLS || shift >= MOST_SHIFT {
            return;
        }
        shift += 1;
    }
}
