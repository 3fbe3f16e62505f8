//! When the samples of a file arrive: how long a file may be silent before its test counts as silent, and how far its
//! clock is ahead.

use std::collections::VecDeque;

const SECOND: u64 = 1_000_000;
/// Number of arrivals that are remembered: an old pause is forgotten.
const REMEMBERED: usize = 30;
/// The interval between arrivals until they were observed for [`OBSERVED`].
const UNKNOWN_INTERVAL: u64 = 60 * SECOND;
/// Time for which arrivals are observed before their intervals are trusted.
const OBSERVED: u64 = 5 * SECOND;
/// Number of arrivals before a clock is known to be ahead. A few rows may have wrong dates.
const MIN_LEADS: usize = 5;

/// The latest arrivals of samples of a file. Times are in microseconds since 1970, by the clock of the reader.
#[derive(Debug, Default, Clone)]
pub struct Arrivals {
    /// Number of rows so far.
    rows: u64,
    last: Option<u64>,
    /// The last arrival of which the interval was counted.
    counted: Option<u64>,
    /// The time between arrivals: tools write in blocks.
    intervals: VecDeque<u64>,
    /// How far the last row of an arrival was dated ahead.
    leads: VecDeque<u64>,
}

impl Arrivals {
    /// Records the rows that have arrived until `at`, of which the last one is dated `dated`.
    pub fn observe(&mut self, at: u64, rows: u64, dated: Option<u64>) {
        if rows == self.rows {
            return;
        }
        self.rows = rows;
        self.last = Some(self.last.unwrap_or_default().max(at));
        let dated = dated.map(|dated| dated.saturating_sub(at));
        self.leads.extend(dated);
        let Some(counted) = self.counted else {
            self.counted = Some(at);
            return;
        };
        // Parts of a block do not hide the time between blocks.
        let interval = at.saturating_sub(counted);
        if interval >= SECOND {
            self.intervals.push_back(interval);
            self.counted = Some(at);
        }
        for remembered in [&mut self.intervals, &mut self.leads] {
            while remembered.len() > REMEMBERED {
                remembered.pop_front();
            }
        }
    }

    /// The rows so far arrived before an earlier process ended, the last of them at this time.
    pub fn restore(&mut self, at: u64, rows: u64) {
        (self.last, self.rows) = (Some(at), rows);
    }

    /// Time since the last arrival.
    pub fn silence(&self, at: u64) -> u64 {
        self.last.map_or(0, |last| at.saturating_sub(last))
    }

    /// The longest silence that is not unusual, if arrivals are at least this long apart: the next block may take twice as
    /// long as the others.
    pub fn usual_silence(&self, at_least: u64) -> u64 {
        let longest = self.intervals.iter().copied().max().unwrap_or_default();
        let is_known = self.intervals.iter().sum::<u64>() >= OBSERVED;
        let unknown = if is_known { 0 } else { UNKNOWN_INTERVAL };
        longest.max(at_least).max(unknown).saturating_mul(2) + SECOND
    }

    /// True if samples have arrived at different times, so that those that arrive are new.
    pub fn are_several(&self) -> bool {
        !self.intervals.is_empty()
    }

    /// How far the clock of the file is ahead: the median, because single rows may have wrong dates. `None`: not known
    /// yet.
    pub fn lead(&self) -> Option<u64> {
        if self.leads.len() < MIN_LEADS {
            return None;
        }
        let mut leads: Vec<u64> = self.leads.iter().copied().collect();
        leads.sort_unstable();
        leads.get(leads.len() / 2).copied()
    }
}
