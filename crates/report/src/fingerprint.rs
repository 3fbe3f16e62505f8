//! Fingerprints that show in little memory if two files contain the same samples: for each label and second the
//! number of samples and a sum of their hashes, separately for successful and failed ones.
//!
//! A listener for errors only, another format of the same run, or a copy repeat samples of another file. The order
//! of the rows does not matter, nor does the format, as long as it has durations and timestamps.
//! Some formats round times to seconds; then only durations are compared.

use crate::sample::Sample;
use crate::sketch::{Compared, Row, Sketch};
use foldhash::fast::{FixedState, RandomState};
use std::collections::{HashMap, HashSet};
use std::hash::BuildHasher;

const SECOND: u64 = 1_000_000;
const MILLI: u64 = 1000;
/// Maximum number of cells of a file; above it, adjacent seconds share a cell.
const MAX_CELLS: usize = 16 * 1024;
/// Maximum number of seconds per cell, as a power of two: eight years.
const MAX_SHIFT: u32 = 28;

/// With this many different durations, two equal files are unlikely to be equal by chance.
const MANY_DURATIONS: usize = 5;

/// Samples of one outcome in a cell, or in a whole file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Side {
    pub count: u64,
    /// Hash of durations.
    durations: u64,
    /// Hash of durations and milliseconds within the second.
    millis: u64,
    /// Hash of durations and microseconds within the second.
    micros: u64,
    /// Hash of durations and threads.
    makers: u64,
}

/// The data that two files have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Common {
    resolution: Resolution,
    /// True if both contain the thread of each sample.
    makers: bool,
}

/// Resolution of the timestamps of a file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resolution {
    /// Whole seconds.
    #[default]
    Seconds,
    /// Whole milliseconds.
    Millis,
    /// Microseconds.
    Micros,
}

/// The hashes of a sample.
#[derive(Debug, Clone, Copy)]
struct Hashes {
    durations: u64,
    millis: u64,
    micros: u64,
    makers: u64,
}

impl Side {
    fn add(&mut self, count: u64, hashes: Hashes) {
        self.count += count;
        self.durations = self.durations.wrapping_add(hashes.durations);
        self.millis = self.millis.wrapping_add(hashes.millis);
        self.micros = self.micros.wrapping_add(hashes.micros);
        self.makers = self.makers.wrapping_add(hashes.makers);
    }

    fn merge(&mut self, other: Self) {
        let hashes = Hashes {
            durations: other.durations,
            millis: other.millis,
            micros: other.micros,
            makers: other.makers,
        };
        self.add(other.count, hashes);
    }

    fn times(&self, resolution: Resolution) -> u64 {
        match resolution {
            Resolution::Seconds => self.durations,
            Resolution::Millis => self.millis,
            Resolution::Micros => self.micros,
        }
    }

    /// True if it has the same samples, according to the data that both files contain.
    fn equals(&self, other: &Self, common: Common) -> bool {
        self.count == other.count
            && self.times(common.resolution) == other.times(common.resolution)
            && (!common.makers || self.makers == other.makers)
    }

    /// A digest of the samples.
    fn digest(&self, resolution: Resolution) -> u64 {
        mix(self.count, self.times(resolution))
    }
}

/// The samples of a label in one second, or in a few adjacent ones.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cell {
    pub good: Side,
    pub failed: Side,
}

impl Cell {
    fn merge(&mut self, other: Self) {
        self.good.merge(other.good);
        self.failed.merge(other.failed);
    }
}

/// A fingerprint under construction.
#[derive(Debug, Default)]
pub struct Builder {
    shift: u32,
    cells: HashMap<(u32, u64), Cell, RandomState>,
    /// By label: the cell of the last sample, which usually is that of the next one too.
    last: Vec<(u64, Cell)>,
    /// By label: a hash of its name.
    names: Vec<u64>,
    good: Side,
    failed: Side,
    resolution: Resolution,
    has_makers: bool,
    sketch: Sketch,
}

/// Mixes two numbers so that the result depends on every bit of both.
fn mix(a: u64, b: u64) -> u64 {
    let product = u128::from(a ^ 0x9e37_79b9_7f4a_7c15) * u128::from(b ^ 0xd1b5_4a32_d192_ed03);
    let [low, high] =
        [product, product >> 64].map(|half| u64::try_from(half & u128::from(u64::MAX)));
    low.unwrap_or_default() ^ high.unwrap_or_default()
}

impl Builder {
    /// Adds a sample; `label` is the number of its label.
    pub fn add(&mut self, sample: &Sample<'_>, label: usize) {
        let timestamp = sample.timestamp().unwrap_or_default();
        let (second, fraction) = (timestamp / SECOND, timestamp % SECOND);
        self.resolution = self.resolution.max(match fraction {
            0 => Resolution::Seconds,
            _ if fraction.is_multiple_of(MILLI) => Resolution::Millis,
            _ => Resolution::Micros,
        });
        let maker = if sample.thread.is_empty() {
            sample.worker
        } else {
            sample.thread
        };
        self.has_makers |= !maker.is_empty();
        let made_by = FixedState::with_seed(2).hash_one(maker);
        let what = mix(sample.elapsed, sample.samples << 32 | sample.known_errors());
        let hashes = Hashes {
            durations: what,
            millis: mix(what, fraction / MILLI),
            micros: mix(what, fraction),
            makers: mix(what, made_by),
        };
        let name = self.name(sample.label, label);
        self.sketch.add(Row {
            what: mix(name, hashes.millis),
            second,
            micros: u32::try_from(fraction).unwrap_or(u32::MAX),
            maker: u32::try_from(made_by >> 32).unwrap_or(u32::MAX),
        });
        let when = mix(name, second);
        let of_file = Hashes {
            durations: mix(hashes.durations, when),
            millis: mix(hashes.millis, when),
            micros: mix(hashes.micros, when),
            makers: mix(hashes.makers, when),
        };
        let failed = sample.known_errors();
        let good = sample.samples.saturating_sub(failed);
        let cell = self.cell(label, second);
        if failed > 0 {
            cell.failed.add(failed, hashes);
        }
        if good > 0 {
            cell.good.add(good, hashes);
            self.good.add(good, of_file);
        }
        if failed > 0 {
            self.failed.add(failed, of_file);
        }
    }

    fn name(&mut self, text: &[u8], label: usize) -> u64 {
        if let Some(name) = self.names.get(label).filter(|name| **name != 0) {
            return *name;
        }
        if self.names.len() <= label {
            self.names.resize(label + 1, 0);
        }
        // Labels above the cap share a number; the name of the first one represents them all.
        let name = FixedState::with_seed(1).hash_one(text) | 1;
        self.names[label] = name;
        name
    }

    fn cell(&mut self, label: usize, second: u64) -> &mut Cell {
        let slot = second >> self.shift;
        if self.last.len() <= label {
            self.last.resize(label + 1, (slot, Cell::default()));
        }
        if self.last[label].0 != slot {
            self.flush_cell(label);
            self.last[label] = (second >> self.shift, Cell::default());
        }
        &mut self.last[label].1
    }

    fn flush_cell(&mut self, label: usize) {
        let (slot, cell) = self.last[label];
        let number = u32::try_from(label).unwrap_or(u32::MAX);
        self.cells.entry((number, slot)).or_default().merge(cell);
        while self.cells.len() > MAX_CELLS && self.shift < MAX_SHIFT {
            self.shift += 1;
            for ((label, slot), cell) in std::mem::take(&mut self.cells) {
                self.cells
                    .entry((label, slot >> 1))
                    .or_default()
                    .merge(cell);
            }
            self.last.iter_mut().for_each(|(slot, _)| *slot >>= 1);
        }
    }

    /// Completes the fingerprint of the file.
    pub fn finish(mut self) -> Fingerprint {
        for label in 0..self.last.len() {
            self.flush_cell(label);
        }
        self.sketch.finish();
        let names = &self.names;
        let cells = self.cells.into_iter().filter_map(|((label, slot), cell)| {
            let name = names.get(usize::try_from(label).ok()?)?;
            Some(((*name, slot), cell))
        });
        let mut cells: Vec<((u64, u64), Cell)> = cells.collect();
        cells.retain(|(_, cell)| cell.good.count + cell.failed.count > 0);
        cells.sort_unstable_by_key(|(key, _)| *key);
        Fingerprint {
            shift: self.shift,
            cells,
            good: self.good,
            failed: self.failed,
            resolution: self.resolution,
            has_makers: self.has_makers,
            sketch: self.sketch,
        }
    }
}

/// The fingerprint of a file.
#[derive(Debug, Clone, Default)]
pub struct Fingerprint {
    /// The number of seconds per cell, as a power of two.
    shift: u32,
    /// Cells sorted by label and second.
    cells: Vec<((u64, u64), Cell)>,
    good: Side,
    failed: Side,
    resolution: Resolution,
    has_makers: bool,
    sketch: Sketch,
}

/// The relation between the samples of a file and those of another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// Both have the same samples.
    Same,
    /// The file has exactly the failed samples of the other one.
    FailedOf,
    /// The file has exactly the successful samples of the other one.
    SuccessfulOf,
    /// No such relation.
    Other,
}

impl Fingerprint {
    /// The number of samples.
    pub fn samples(&self) -> u64 {
        self.good.count + self.failed.count
    }

    /// True if there are no samples.
    pub fn is_empty(&self) -> bool {
        self.samples() == 0
    }

    /// The resolution of the file's timestamps.
    pub fn resolution(&self) -> Resolution {
        self.resolution
    }

    /// True if the timestamps have fractions of seconds.
    pub fn has_fractions(&self) -> bool {
        self.resolution > Resolution::Seconds
    }

    /// The data that both files contain.
    fn common(&self, other: &Self) -> Common {
        Common {
            resolution: self.resolution.min(other.resolution),
            makers: self.has_makers && other.has_makers,
        }
    }

    /// Compares all samples with those of another file.
    pub fn relation(&self, other: &Self) -> Relation {
        let common = self.common(other);
        let good = self.good.equals(&other.good, common);
        let failed = self.failed.equals(&other.failed, common);
        if self.samples() == 0 {
            Relation::Other
        } else if good && failed {
            Relation::Same
        } else if failed && self.good.count == 0 {
            Relation::FailedOf
        } else if good && self.failed.count == 0 {
            Relation::SuccessfulOf
        } else {
            Relation::Other
        }
    }

    /// The number of samples in cells that are equal in the other file when timestamps are shifted by `moved`
    /// cells.
    fn found_in(&self, other: &Self, common: Common, moved: i64) -> (u64, u64) {
        let (mut cells, mut samples) = (0, 0);
        for ((name, slot), cell) in &self.cells {
            let key = (*name, slot.wrapping_add_signed(moved));
            let Ok(at) = other.cells.binary_search_by_key(&key, |(key, _)| *key) else {
                continue;
            };
            let theirs = &other.cells[at].1;
            for (one, two) in [(cell.good, theirs.good), (cell.failed, theirs.failed)] {
                if one.count > 0 && one.equals(&two, common) {
                    cells += 1;
                    samples += one.count;
                }
            }
        }
        (cells, samples)
    }

    /// The number of samples in both files, or a lower bound; zero if they may be equal by chance.
    pub fn shared_with(&self, other: &Self, same_container: bool) -> u64 {
        let in_cells = self.shared_cells(other, same_container);
        in_cells.max(self.shared_rows(other, same_container))
    }

    /// The number of sketched rows in both files. Rows with a resolution of seconds are too similar for this.
    fn shared_rows(&self, other: &Self, same_container: bool) -> u64 {
        let common = self.common(other);
        if common.resolution == Resolution::Seconds {
            return 0;
        }
        let compared = Compared {
            micros: common.resolution == Resolution::Micros,
            makers: common.makers,
        };
        self.sketch
            .shared_with(&other.sketch, compared, same_container)
    }

    /// The number of samples in seconds that are equal in both files; zero if a similar number is equal after a
    /// shift, that is, by chance.
    fn shared_cells(&self, other: &Self, same_container: bool) -> u64 {
        /// Fewer equal samples may be a coincidence.
        const MIN_EQUAL: u64 = 3;
        /// Maximum shift in cells, in both directions, for counting equal cells by chance.
        const SHIFTS: i64 = 10;
        let common = self.common(other);
        let (cells, samples) = self.found_in(other, common, 0);
        // Machines with the same load occasionally have an equal second.
        let least_cells = if same_container { 1 } else { 3 };
        if samples < MIN_EQUAL || cells < least_cells {
            return 0;
        }
        let shifts = (1..=SHIFTS).flat_map(|by| [by, -by]);
        let by_chance = shifts
            .map(|by| self.found_in(other, common, by).0)
            .max()
            .unwrap_or_default();
        // Without fractions of seconds, a few equal seconds are likely.
        let by_chance = by_chance + u64::from(common.resolution == Resolution::Seconds);
        match cells > 4 * by_chance {
            true => samples,
            false => 0,
        }
    }

    /// True if equal rows in both files are unlikely to be a coincidence: both have fractions of seconds, or neither
    /// has and there are many durations.
    pub fn is_distinctive(&self, other: &Self) -> bool {
        if self.has_fractions() || other.has_fractions() {
            return self.has_fractions() && other.has_fractions();
        }
        let hashes = self.cells.iter();
        let hashes = hashes.map(|(_, cell)| {
            cell.good.digest(Resolution::Seconds) ^ cell.failed.digest(Resolution::Seconds)
        });
        hashes.collect::<HashSet<u64>>().len() >= MANY_DURATIONS
    }

    /// A digest for each cell and outcome, to find equal ones.
    pub fn digests(&self, resolution: Resolution) -> impl Iterator<Item = u64> {
        self.cells.iter().flat_map(move |((name, slot), cell)| {
            let key = mix(*name, *slot);
            let sides = [(cell.good, 1), (cell.failed, 2)].into_iter();
            let sides = sides.filter(|(side, _)| side.count > 0);
            sides.map(move |(side, kind)| mix(mix(side.digest(resolution), kind), key))
        })
    }

    /// The sketched rows.
    pub fn sketch(&mut self) -> &mut Sketch {
        &mut self.sketch
    }

    /// A digest for each sketched row, to find equal ones; none for files with a resolution of seconds.
    pub fn sketched(&self) -> impl Iterator<Item = u64> {
        let rows = match self.has_fractions() {
            true => self.sketch.rows(),
            false => &[],
        };
        rows.iter().map(|row| mix(row.what, row.second))
    }

    /// The number of seconds per cell, as a power of two.
    pub fn shift(&self) -> u32 {
        self.shift
    }

    /// The number of cells.
    pub fn cells(&self) -> usize {
        self.cells.len()
    }

    /// Merges adjacent cells until `1 << shift` seconds share one.
    pub fn coarsen(&mut self, shift: u32) {
        let by = shift.saturating_sub(self.shift).min(63);
        if by == 0 {
            return;
        }
        let mut cells: Vec<((u64, u64), Cell)> = Vec::new();
        for ((name, slot), cell) in std::mem::take(&mut self.cells) {
            let key = (name, slot >> by);
            match cells.last_mut() {
                Some((last, into)) if *last == key => into.merge(cell),
                _ => cells.push((key, cell)),
            }
        }
        cells.shrink_to_fit();
        self.cells = cells;
        self.shift = shift;
    }
}
