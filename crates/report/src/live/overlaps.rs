//! Files of a container with common samples. They are compared every few seconds only, because this takes long.

use super::select::Named;
use crate::fingerprint::Fingerprint;
use crate::overlap::{self, Counted};
use crate::tally::container;

/// Maximum number of files of a container that are compared during a run.
const MAX_COMPARED: usize = 24;
/// Time in microseconds after which growing files are compared again.
const VALID_FOR: u64 = 10_000_000;

/// Files of a container, by index, with common samples.
#[derive(Debug, Clone, Copy)]
pub struct Overlap {
    pub larger: usize,
    pub smaller: usize,
    /// The number of common samples, or less.
    pub shared: u64,
    /// The number of samples of the smaller file at the time of the comparison.
    pub samples: u64,
}

/// The overlaps of the files of all containers.
#[derive(Debug, Default, Clone)]
pub struct Overlaps {
    /// The time of the last observation in microseconds since 1970.
    at: u64,
    compared: Vec<Compared>,
    /// Number of comparisons so far.
    comparisons: u64,
}

/// The files of a container when they were compared.
#[derive(Debug, Clone)]
struct Compared {
    at: u64,
    files: Vec<Version>,
    overlaps: Vec<Overlap>,
}

/// A file at the time of a comparison.
#[derive(Debug, Clone)]
struct Version {
    path: String,
    restarts: u64,
    has_ended: bool,
    samples: u64,
}

impl Version {
    fn of((path, file): &Named<'_>) -> Self {
        Self {
            path: (*path).to_owned(),
            restarts: file.restarts,
            has_ended: file.has_ended(),
            samples: file.fingerprint().map_or(0, Fingerprint::samples),
        }
    }

    /// True if the file has not changed much.
    fn is_like(&self, (path, file): &Named<'_>) -> bool {
        let samples = file.fingerprint().map_or(0, Fingerprint::samples);
        self.path == *path
            && self.restarts == file.restarts
            && self.has_ended == file.has_ended()
            && (self.samples..self.samples.saturating_mul(2).max(1)).contains(&samples)
    }
}

impl Compared {
    /// The overlaps, if they are those of these files, in any order.
    fn find(&self, files: &[Named<'_>], at: u64) -> Option<Vec<Overlap>> {
        let have_ended = self.files.iter().all(|file| file.has_ended);
        let is_valid = have_ended || at.abs_diff(self.at) < VALID_FOR;
        if !is_valid || files.len() != self.files.len() {
            return None;
        }
        let position = |version: &Version| files.iter().position(|file| version.is_like(file));
        let now: Vec<usize> = self.files.iter().map(position).collect::<Option<_>>()?;
        let overlaps = self.overlaps.iter().map(|overlap| Overlap {
            larger: now[overlap.larger],
            smaller: now[overlap.smaller],
            ..*overlap
        });
        Some(overlaps.collect())
    }

    fn is_of(&self, name: &str) -> bool {
        let mut files = self.files.iter();
        files.any(|file| container(&file.path) == name)
    }
}

impl Overlaps {
    /// Sets the time of the observation in microseconds since 1970.
    pub fn observe(&mut self, at: u64) {
        self.at = at;
    }

    /// The overlaps of files of a container, the larger ones first.
    pub fn of(&mut self, files: &[Named<'_>]) -> Vec<Overlap> {
        let Some((first, _)) = files.first() else {
            return Vec::new();
        };
        if !(2..=MAX_COMPARED).contains(&files.len()) {
            return Vec::new();
        }
        let mut compared = self.compared.iter();
        if let Some(found) = compared.find_map(|compared| compared.find(files, self.at)) {
            return found;
        }
        let overlaps = compare(files);
        self.comparisons += 1;
        self.compared.retain(|old| !old.is_of(container(first)));
        self.compared.push(Compared {
            at: self.at,
            files: files.iter().map(Version::of).collect(),
            overlaps: overlaps.clone(),
        });
        overlaps
    }
}

fn compare(files: &[Named<'_>]) -> Vec<Overlap> {
    let mut counted: Vec<Counted> = files
        .iter()
        .map(|(path, file)| Counted {
            name: (*path).to_owned(),
            container: container(path).to_owned(),
            fingerprint: file.whole_fingerprint(),
        })
        .collect();
    let pairs = overlap::partial_overlaps(&mut counted).into_iter();
    let overlaps = pairs.map(|(larger, smaller, shared)| Overlap {
        larger,
        smaller,
        shared,
        samples: counted[smaller].fingerprint.samples(),
    });
    overlaps.collect()
}

#[cfg(test)]
mod tests {
    use crate::live::Live;

    const T: u64 = 1_760_000_000_000;

    #[test]
    fn files_of_a_container_are_compared_every_ten_seconds_and_at_the_end() {
        let mut live = Live::default();
        let paths = ["worker.1/a.csv", "worker.1/b.csv"];
        for path in paths {
            live.feed(path, b"timestamp,elapsed,label,success\n");
        }
        for second in 0..100_u64 {
            for (number, path) in paths.iter().enumerate() {
                for row in 0..10 {
                    let at = T + second * 1000 + row * 10;
                    let row = format!("{at},{},{path} {number},true\n", row + second);
                    live.feed(path, row.as_bytes());
                }
            }
            let now = T + second * 1000 + 1000;
            live.windows(now);
            live.snapshot(now);
            live.measure([super::super::Measure::default()]);
        }
        let during = live.overlaps.comparisons;
        assert!((8..=20).contains(&during), "{during}");
        for (number, path) in paths.iter().enumerate() {
            live.ended(path);
            live.snapshot(T + 101_000);
            assert_eq!(live.overlaps.comparisons, during + 1 + number as u64);
        }
        live.snapshot(T + 500_000);
        assert_eq!(live.overlaps.comparisons, during + 2);
    }
}
