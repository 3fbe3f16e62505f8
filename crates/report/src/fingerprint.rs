//! Compact fingerprints that show whether two files contain the same samples: for each label and second the number of
//! samples and a sum of their hashes, separately for successful and failed ones.
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

/// Hashes of samples: of the durations alone, together with the milliseconds within the second, with the microseconds
/// (see [`Resolution`]), and with the threads.
type Hashes = [u64; 4];
const MAKERS: usize = 3;

/// Samples of one outcome in a cell, or in a whole file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Side {
    pub count: u64,
    /// The sum of their hashes.
    hashes: Hashes,
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

impl Side {
    fn add(&mut self, count: u64, hashes: Hashes) {
        self.count += count;
        for (sum, hash) in self.hashes.iter_mut().zip(hashes) {
            *sum = sum.wrapping_add(hash);
        }
    }

    fn times(&self, resolution: Resolution) -> u64 {
        self.hashes[resolution as usize]
    }

    /// True if it has the same samples, according to the data that both files contain.
    fn equals(&self, other: &Self, common: Common) -> bool {
        self.count == other.count
            && self.times(common.resolution) == other.times(common.resolution)
            && (!common.makers || self.hashes[MAKERS] == other.hashes[MAKERS])
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
    fn add(&mut self, good: u64, failed: u64, hashes: Hashes) {
        if good > 0 {
            self.good.add(good, hashes);
        }
        if failed > 0 {
            self.failed.add(failed, hashes);
        }
    }

    fn merge(&mut self, other: Self) {
        self.good.add(other.good.count, other.good.hashes);
        self.failed.add(other.failed.count, other.failed.hashes);
    }

    fn samples(&self) -> u64 {
        self.good.count + self.failed.count
    }
}

/// A fingerprint under construction.
#[derive(Debug, Clone)]
pub struct Builder {
    /// Without its cells.
    file: Fingerprint,
    most_cells: usize,
    cells: HashMap<(u32, u64), Cell, RandomState>,
    /// By label: the cell of the last sample, which usually is that of the next one too.
    last: Vec<(u64, Cell)>,
    /// By label: a hash of its name.
    names: Vec<u64>,
}

/// Mixes two numbers so that the result depends on every bit of both.
fn mix(a: u64, b: u64) -> u64 {
    let product = u128::from(a ^ 0x9e37_79b9_7f4a_7c15) * u128::from(b ^ 0xd1b5_4a32_d192_ed03);
    let [low, high] =
        [product, product >> 64].map(|half| u64::try_from(half & u128::from(u64::MAX)));
    low.unwrap_or_default() ^ high.unwrap_or_default()
}

impl Default for Builder {
    fn default() -> Self {
        Self::with_cells(MAX_CELLS)
    }
}

impl Builder {
    /// A fingerprint with fewer cells, for a file that is followed during a run. Copies are found as well as with many
    /// cells, files with some common samples less reliably.
    pub fn small() -> Self {
        Self::with_cells(MAX_CELLS / 16)
    }

    fn with_cells(most_cells: usize) -> Self {
        Self {
            file: Fingerprint::default(),
            most_cells,
            cells: HashMap::default(),
            last: Vec::new(),
            names: Vec::new(),
        }
    }

    /// The fingerprint so far, without its cells: enough for [`Fingerprint::relation`].
    pub fn so_far(&self) -> &Fingerprint {
        &self.file
    }

    /// An estimate of its memory in bytes.
    pub fn memory(&self) -> usize {
        let cells = self.cells.capacity() * size_of::<((u32, u64), Cell)>();
        let last = self.last.capacity() * size_of::<(u64, Cell)>();
        cells + last + size_of_val(self.file.sketch.rows())
    }

    /// Adds a sample; `label` is the number of its label.
    pub fn add(&mut self, sample: &Sample<'_>, label: usize) {
        let timestamp = sample.timestamp().unwrap_or_default();
        let (second, fraction) = (timestamp / SECOND, timestamp % SECOND);
        self.file.resolution = self.file.resolution.max(match fraction {
            0 => Resolution::Seconds,
            _ if fraction.is_multiple_of(MILLI) => Resolution::Millis,
            _ => Resolution::Micros,
        });
        let maker = match sample.thread {
            b"" => sample.worker,
            thread => thread,
        };
        self.file.has_makers |= !maker.is_empty();
        let made_by = FixedState::with_seed(2).hash_one(maker);
        let failed = sample.known_errors();
        let what = mix(sample.elapsed, sample.samples << 32 | failed);
        let in_millis = mix(what, fraction / MILLI);
        let hashes = [what, in_millis, mix(what, fraction), mix(what, made_by)];
        let name = self.name(sample.label, label);
        self.file.sketch.add(Row {
            what: mix(name, in_millis),
            second,
            micros: u32::try_from(fraction).unwrap_or(u32::MAX),
            maker: u32::try_from(made_by >> 32).unwrap_or(u32::MAX),
        });
        let when = mix(name, second);
        let of_file = hashes.map(|hash| mix(hash, when));
        let good = sample.samples.saturating_sub(failed);
        self.cell(label, second).add(good, failed, hashes);
        self.file.whole.add(good, failed, of_file);
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
        let slot = second >> self.file.shift;
        if self.last.len() <= label {
            self.last.resize(label + 1, (slot, Cell::default()));
        }
        if self.last[label].0 != slot {
            self.flush_cell(label);
            self.last[label] = (second >> self.file.shift, Cell::default());
        }
        &mut self.last[label].1
    }

    fn flush_cell(&mut self, label: usize) {
        let (slot, cell) = self.last[label];
        let number = u32::try_from(label).unwrap_or(u32::MAX);
        self.cells.entry((number, slot)).or_default().merge(cell);
        while self.cells.len() > self.most_cells && self.file.shift < MAX_SHIFT {
            self.file.shift += 1;
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
        self.file.sketch.finish();
        let names = &self.names;
        let cells = self.cells.into_iter().filter_map(|((label, slot), cell)| {
            let name = names.get(usize::try_from(label).ok()?)?;
            Some(((*name, slot), cell))
        });
        let mut cells: Vec<((u64, u64), Cell)> = cells.collect();
        cells.retain(|(_, cell)| cell.samples() > 0);
        cells.sort_unstable_by_key(|(key, _)| *key);
        Fingerprint { cells, ..self.file }
    }
}

/// The fingerprint of a file.
#[derive(Debug, Clone, Default)]
pub struct Fingerprint {
    /// The number of seconds per cell, as a power of two.
    pub shift: u32,
    /// Cells sorted by label and second.
    pub cells: Vec<((u64, u64), Cell)>,
    /// All samples.
    whole: Cell,
    /// The resolution of the file's timestamps.
    pub resolution: Resolution,
    has_makers: bool,
    /// The sketched rows.
    pub sketch: Sketch,
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
    /// An estimate of its memory in bytes.
    pub fn memory(&self) -> usize {
        size_of_val(self.cells.as_slice()) + size_of_val(self.sketch.rows())
    }

    /// The number of samples.
    pub fn samples(&self) -> u64 {
        self.whole.samples()
    }

    /// True if there are no samples.
    pub fn is_empty(&self) -> bool {
        self.samples() == 0
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
        let (ours, theirs) = (&self.whole, &other.whole);
        let good = ours.good.equals(&theirs.good, common);
        let failed = ours.failed.equals(&theirs.failed, common);
        if self.samples() == 0 {
            Relation::Other
        } else if good && failed {
            Relation::Same
        } else if failed && ours.good.count == 0 {
            Relation::FailedOf
        } else if good && ours.failed.count == 0 {
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

    /// True if equal rows in both files are unlikely to be a coincidence: both files have fractions of seconds, or
    /// neither has them but there are many different durations.
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

    /// A digest for each sketched row, to find equal ones; none for files with a resolution of seconds.
    pub fn sketched(&self) -> impl Iterator<Item = u64> {
        let rows = match self.has_fractions() {
            true => self.sketch.rows(),
            false => &[],
        };
        rows.iter().map(|row| mix(row.what, row.second))
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
