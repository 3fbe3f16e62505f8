//! A sketch of the rows of a file, chosen by their content, so that files with the same
//! rows choose the same ones.
//!
//! [`crate::fingerprint`] detects files that are equal, or equal within whole seconds. The sketch detects a file with
//! only some rows of every second of another file (one thread of many, slow samples, the errors of
//! several files). It is a "bottom k" sketch: the k rows with the smallest hashes.

/// Maximum number of rows of a file.
const MAX_ROWS: usize = 2048;
/// Maximum shift in seconds, in both directions, for counting rows that are equal by chance.
const SHIFTS: i64 = 30;
/// Minimum number of equal rows for an overlap of files of one container.
const MIN_SAME_CONTAINER: u64 = 2;
/// Minimum number of equal rows for an overlap of files of different containers.
const MIN_OTHER_CONTAINER: u64 = 6;

/// A row. Rows are sorted by `what`, which does not depend on the second: rows that repeat every second
/// are either all chosen or all skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Row {
    /// Hash of label, duration, outcome and the milliseconds within the second.
    pub what: u64,
    /// Seconds since 1970.
    pub second: u64,
    /// Microseconds within the second.
    pub micros: u32,
    /// Hash of the thread or worker.
    pub maker: u32,
}

impl Row {
    fn place(&self) -> (u64, u64) {
        (self.what, self.second)
    }
}

/// The data recorded by both of two files.
#[derive(Debug, Clone, Copy)]
pub struct Compared {
    /// Microseconds.
    pub micros: bool,
    /// Threads or workers.
    pub makers: bool,
}

/// The chosen rows of a file.
#[derive(Debug, Clone, Default)]
pub struct Sketch {
    /// Sorted and without duplicates after [`Sketch::finish`].
    rows: Vec<Row>,
    /// Rows from this position on are dropped.
    end: Option<(u64, u64)>,
}

impl Sketch {
    /// Adds a row unless it is beyond the limit.
    pub fn add(&mut self, row: Row) {
        if self.end.is_none_or(|end| row.place() < end) {
            self.rows.push(row);
            if self.rows.len() >= 2 * MAX_ROWS {
                self.shrink(MAX_ROWS);
            }
        }
    }

    /// Sorts the rows and keeps at most `most` of them.
    pub fn shrink(&mut self, most: usize) {
        self.rows.sort_unstable();
        self.rows.dedup();
        if let Some(first_left_out) = self.rows.get(most).map(Row::place) {
            self.end = Some(first_left_out);
            self.rows.retain(|row| row.place() < first_left_out);
        }
        self.rows.shrink_to(most);
    }

    /// Completes the sketch.
    pub fn finish(&mut self) {
        self.shrink(MAX_ROWS);
        self.rows.shrink_to_fit();
    }

    /// The rows.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The number of sketched rows in both files, a lower bound for all rows. Zero if they may be
    /// equal by chance, that is, if a similar number is equal after shifting the times of one file.
    pub fn shared_with(&self, other: &Self, compared: Compared, same_container: bool) -> u64 {
        let (ours, theirs) = (self.keys(compared), other.keys(compared));
        let shared = equal_keys(&ours, &theirs, 0);
        let least = match same_container {
            true => MIN_SAME_CONTAINER,
            false => MIN_OTHER_CONTAINER,
        };
        if shared < least {
            return 0;
        }
        let shifts = (1..=SHIFTS).flat_map(|by| [by, -by]);
        let by_chance = shifts.map(|by| equal_keys(&ours, &theirs, by)).max();
        // Rows at a steady rate may be equal after only a few of the shifts.
        match shared >= least + 2 * by_chance.unwrap_or_default() {
            true => shared,
            false => 0,
        }
    }

    fn keys(&self, compared: Compared) -> Vec<Row> {
        let rows = self.rows.iter().map(|row| Row {
            micros: if compared.micros { row.micros } else { 0 },
            maker: if compared.makers { row.maker } else { 0 },
            ..*row
        });
        let mut keys: Vec<Row> = rows.collect();
        keys.sort_unstable();
        keys.dedup();
        keys
    }
}

/// The number of rows in both lists after shifting the first one by `moved` seconds. Both are sorted.
fn equal_keys(ours: &[Row], theirs: &[Row], moved: i64) -> u64 {
    // Times may be relative to the start of the test.
    let base = |row: &Row, moved: i64| Row {
        second: row.second.saturating_add_signed(moved + SHIFTS),
        ..*row
    };
    let mut theirs = theirs.iter().map(|row| base(row, 0)).peekable();
    let mut equal = 0;
    for row in ours.iter().map(|row| base(row, moved)) {
        while theirs.next_if(|other| *other < row).is_some() {}
        equal += u64::from(theirs.next_if_eq(&row).is_some());
    }
    equal
}

#[cfg(test)]
mod tests;
