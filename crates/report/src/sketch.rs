//! A small sample of the rows of a file, chosen by their content, so that two files that hold the same
//! rows choose the same ones.
//!
//! [`crate::fingerprint`] finds files that are equal, or equal within whole seconds. A file with only some
//! of the rows of every second of another one (one thread of many, the slow samples, the errors of
//! several files together) is found here. It is the "bottom k" sketch: the k rows with the smallest hashes.

/// Rows that are kept of a file.
const MOST_ROWS: usize = 2048;
/// Seconds by which the times of one file are moved, back and forth, to count equal rows by chance.
const SHIFTS: i64 = 30;
/// Equal rows of files of one container from which on they are the same rows.
const LEAST_WITHIN: u64 = 2;
/// Equal rows of files of different containers from which on they are the same rows.
const LEAST_ACROSS: u64 = 6;

/// A row. Rows are in order of `what`, which does not depend on the second: rows that repeat every second
/// are chosen, or not chosen, together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Row {
    /// Hash of label, duration, outcome and the milliseconds within the second.
    pub what: u64,
    /// Seconds since 1970.
    pub second: u64,
    /// Microseconds within the second.
    pub micros: u32,
    /// Hash of the thread or worker that made it.
    pub maker: u32,
}

impl Row {
    fn place(&self) -> (u64, u64) {
        (self.what, self.second)
    }
}

/// What two files both record of a row.
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
    /// In order, each once, when finished.
    rows: Vec<Row>,
    /// Rows from this place on are not kept.
    end: Option<(u64, u64)>,
}

impl Sketch {
    /// Adds a row, if it is one of those that are kept.
    pub fn add(&mut self, row: Row) {
        if self.end.is_none_or(|end| row.place() < end) {
            self.rows.push(row);
            if self.rows.len() >= 2 * MOST_ROWS {
                self.shrink(MOST_ROWS);
            }
        }
    }

    /// Puts the rows in order, and keeps no more than so many.
    pub fn shrink(&mut self, most: usize) {
        self.rows.sort_unstable();
        self.rows.dedup();
        if let Some(first_left_out) = self.rows.get(most).map(Row::place) {
            self.end = Some(first_left_out);
            self.rows.retain(|row| row.place() < first_left_out);
        }
        self.rows.shrink_to(most);
    }

    /// No more rows come.
    pub fn finish(&mut self) {
        self.shrink(MOST_ROWS);
        self.rows.shrink_to_fit();
    }

    /// The rows.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// How many of the kept rows are in both files: a lower bound for all rows. Zero when they can be
    /// equal by chance: then about as many are equal after the times of one file are moved.
    pub fn shared_with(&self, other: &Self, compared: Compared, same_container: bool) -> u64 {
        let (ours, theirs) = (self.keys(compared), other.keys(compared));
        let shared = equal_keys(&ours, &theirs, 0);
        let least = match same_container {
            true => LEAST_WITHIN,
            false => LEAST_ACROSS,
        };
        if shared < least {
            return 0;
        }
        let shifts = (1..=SHIFTS).flat_map(|by| [by, -by]);
        let by_chance = shifts.map(|by| equal_keys(&ours, &theirs, by)).max();
        // Rows at a steady rate may be equal after a few of the shifts only.
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

/// How many of the rows are in both when the first ones are moved by so many seconds. Both are in order.
fn equal_keys(ours: &[Row], theirs: &[Row], moved: i64) -> u64 {
    // Times may count from the start of the test.
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
