//! The report of a soak test, as a table.

use super::inventory::Inventory;
use super::kills::KillRecord;
use super::process;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Results of a soak test.
#[derive(Debug)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// Inventory before the test.
    pub before: Inventory,
    /// Inventory after the test.
    pub after: Inventory,
    /// Differences, by name.
    pub differences: BTreeSet<String>,
    /// Open files of the Director at the start and at the end.
    pub open_files: (usize, usize),
    /// Child processes of the Director at the end.
    pub children: usize,
    /// Tasks by outcome.
    pub outcomes: BTreeMap<String, usize>,
    /// Executed kills.
    pub kills: Vec<KillRecord>,
    /// Number of started containers.
    pub containers: usize,
    /// Other problems.
    pub problems: Vec<String>,
    /// Duration of the tasks, and of the whole test, in seconds.
    pub seconds: (f64, f64),
    /// The Director's log.
    pub log: String,
}

/// Additional open files that are not a leak: kept-alive connections to Docker.
const MAX_NEW_OPEN_FILES: usize = 16;

impl Report {
    /// Checks log, open files, children and the number of kills, and adds the problems.
    pub(super) fn check(&mut self, kills: usize) {
        self.problems.extend(process::log_errors(&self.log));
        let (first, last) = self.open_files;
        if last > first + MAX_NEW_OPEN_FILES {
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

    /// Whether there is neither a problem nor a difference.
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
                "(the differences disappear by themselves or appeared after the Director's end)"
            )?;
        }
        let (first, last) = self.open_files;
        writeln!(f, "{:<24} {first:>8} {last:>8}", "open files (Director)")?;
        let children = "children (Director)";
        writeln!(f, "{children:<24} {:>8} {:>8}", 0, self.children)?;
        writeln!(f)?;
        let total: usize = self.outcomes.values().sum();
        counted(f, &format!("{total} tasks"), &self.outcomes)?;
        let mut triggers = BTreeMap::new();
        let mut in_progress = BTreeMap::new();
        for kill in &self.kills {
            *triggers.entry(kill.trigger.clone()).or_insert(0) += 1;
            for (step, count) in &kill.in_progress {
                *in_progress.entry(step.clone()).or_insert(0) += count;
            }
        }
        counted(f, &format!("{} kills", self.kills.len()), &triggers)?;
        counted(f, "tasks in progress at kills", &in_progress)?;
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
