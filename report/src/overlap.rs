//! Which files repeat samples of others.

use crate::fingerprint::{Fingerprint, Relation, Resolution};
use std::collections::HashMap;

/// Cells of all files together, of about a hundred bytes each; with more, neighbouring seconds share one.
const MOST_CELLS: usize = 100_000;
/// No more seconds share a cell than two to this.
const MOST_SHIFT: u32 = 28;
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
    let mut pairs: HashMap<(usize, usize), u64> = HashMap::new();
    for resolution in [Resolution::Micros, Resolution::Millis, Resolution::Seconds] {
        let tells = |file: usize| counted[file].fingerprint.resolution();
        let files = counted.iter().enumerate();
        let digests = files.filter(|(file, _)| tells(*file) >= resolution);
        let mut digests: Vec<(u64, usize)> = digests
            .flat_map(|(file, counted)| {
                counted
                    .fingerprint
                    .digests(resolution)
                    .map(move |digest| (digest, file))
            })
            .collect();
        digests.sort_unstable();
        digests.dedup();
        for equal in digests.chunk_by(|one, other| one.0 == other.0) {
            let files = &equal[..equal.len().min(MOST_PAIRED)];
            for (at, (_, one)) in files.iter().enumerate() {
                for (_, other) in &files[at + 1..] {
                    // Two files are compared by what both of them tell.
                    if tells(*one).min(tells(*other)) == resolution {
                        *pairs.entry((*one, *other)).or_default() += 1;
                    }
                }
            }
        }
    }
    let mut pairs: Vec<((usize, usize), u64)> = pairs.into_iter().collect();
    pairs.sort_unstable_by_key(|(pair, cells)| (u64::MAX - cells, *pair));
    pairs.truncate(MOST_PAIRS);
    let shared = pairs.into_iter().filter_map(|((one, other), _)| {
        let samples = counted[one]
            .fingerprint
            .shared_with(&counted[other].fingerprint);
        (samples > 0).then_some((one, other, samples))
    });
    let mut shared: Vec<(usize, usize, u64)> = shared.collect();
    shared.sort_unstable();
    shared
}

/// Brings all files to cells of the same length, and to few enough of them.
pub fn align(counted: &mut [Counted]) {
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
