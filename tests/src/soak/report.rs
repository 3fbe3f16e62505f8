//! What a soak has found, as a table.

use super::census::Census;
use super::killer::Killed;
use super::process;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// The findings.
#[derive(Debug)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// What was there before.
    pub before: Census,
    /// What is there at the end.
    pub after: Census,
    /// What differs, by name.
    pub differences: BTreeSet<String>,
    /// Open files of the Director at the start and at the end.
    pub open_files: (usize, usize),
    /// Children of the Director's process at the end.
    pub children: usize,
    /// Tasks by outcome.
    pub outcomes: BTreeMap<String, usize>,
    /// The kills.
    pub kills: Vec<Killed>,
    /// Containers that were started.
    pub containers: usize,
    /// What went wrong otherwise.
    pub problems: Vec<String>,
    /// How long the tasks took, and all of it.
    pub seconds: (f64, f64),
    /// The Director's log.
    pub log: String,
}

/// So many more open files are no leak: connections to Docker that are kept for the next call.
const OPEN_FILES: usize = 16;

impl Report {
    /// Adds what is wrong with the figures themselves; so many kills were wanted.
    pub(super) fn judge(&mut self, kills: usize) {
        self.problems.extend(process::complaints(&self.log));
        let (first, last) = self.open_files;
        if last > first + OPEN_FILES {
            self.problems
                .push(format!("{last} files are open, {first} were at the start"));
        }
        if self.children > 0 {
            self.problems
                .push(format!("the Director has {} children", self.children));
        }
        if self.kills.len() != kills {
            self.problems
                .push(format!("there were {} kills", self.kills.len()));
        }
    }

    /// Whether all is as it has to be.
    pub fn is_clean(&self) -> bool {
        self.problems.is_empty() && self.differences.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n{:<24} {:>8} {:>8}", "what", "before", "after")?;
        let after: BTreeMap<&str, usize> = self.after.counts().collect();
        for (kind, before) in self.before.counts() {
            let after = after.get(kind).copied().unwrap_or_default();
            writeln!(f, "{kind:<24} {before:>8} {after:>8}")?;
        }
        if self.after != self.before && self.differences.is_empty() {
            writeln!(
                f,
                "(what differs came after the Director's end, or goes by itself)"
            )?;
        }
        let (first, last) = self.open_files;
        writeln!(f, "{:<24} {first:>8} {last:>8}", "open files (Director)")?;
        let children = "children (Director)";
        writeln!(f, "{children:<24} {:>8} {:>8}", 0, self.children)?;
        writeln!(f)?;
        let total: usize = self.outcomes.values().sum();
        counted(f, &format!("{total} tasks"), &self.outcomes)?;
        let mut moments = BTreeMap::new();
        let mut met = BTreeMap::new();
        for kill in &self.kills {
            *moments.entry(kill.moment.clone()).or_insert(0) += 1;
            for (step, count) in &kill.met {
                *met.entry(step.clone()).or_insert(0) += count;
            }
        }
        counted(f, &format!("{} kills", self.kills.len()), &moments)?;
        counted(f, "tasks that they met", &met)?;
        let (tasks, all) = self.seconds;
        let (containers, seed) = (self.containers, self.seed);
        writeln!(
            f,
            "{containers} containers; {tasks:.0} s for the tasks, {all:.0} s in all; seed {seed}"
        )?;
        for difference in &self.differences {
            writeln!(f, "DIFFERENT  {difference}")?;
        }
        for problem in &self.problems {
            writeln!(f, "WRONG  {problem}")?;
        }
        Ok(())
    }
}

fn counted(
    f: &mut fmt::Formatter<'_>,
    what: &str,
    counts: &BTreeMap<String, usize>,
) -> fmt::Result {
    let parts: Vec<String> = counts
        .iter()
        .map(|(name, count)| format!("{count} {name}"))
        .collect();
    writeln!(f, "{what}: {}", parts.join("; "))
}
