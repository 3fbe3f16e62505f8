//! Exports tasks from a store, imports them into another one, and checks all tasks: the implementation of
//! `atq-director store`.
//!
//! The format is one JSON object per line, `{"format":1,"task":..,"spec":..,"desired":..,"history":[..]}`.
//! The state is not exported: it is the fold of the history.

use super::damage::{IntactTask, put};
use super::{Damage, Store, StoreError};
use atq_task::event::Record;
use atq_task::machine;
use atq_task::spec::{TaskName, TaskSpec};
use atq_task::state::Desired;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::io::{BufRead, Write};
use thiserror::Error;

/// Version of the format.
const LINE_FORMAT: u32 = 1;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    format: u32,
    task: TaskName,
    spec: TaskSpec,
    desired: Desired,
    history: Vec<Record>,
}

/// The result of an export.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Exported {
    /// Number of tasks written.
    pub tasks: usize,
    /// Tasks skipped, because an import would refuse them.
    pub skipped: Vec<Damage>,
}

/// The result of a check.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Number of tasks.
    pub tasks: usize,
    /// Tasks with problems.
    pub problems: Vec<Damage>,
}

/// The reason why an import was refused. Nothing has been stored then.
#[derive(Debug, Error)]
pub enum ImportError {
    /// The store has tasks.
    #[error(
        "the store is not empty: it has {tasks} task{}, and tasks can be imported only into an empty store\n(move the directory away first)",
        if *tasks == 1 { "" } else { "s" }
    )]
    NotEmpty {
        /// Number of tasks.
        tasks: usize,
    },
    /// A line is not a task.
    #[error("line {line}: {reason}; nothing was imported")]
    Line {
        /// Its number, from 1.
        line: usize,
        /// The problem.
        reason: String,
    },
    /// The file cannot be read.
    #[error("cannot read the tasks: {0}; nothing was imported")]
    Unreadable(#[from] std::io::Error),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Store {
    /// Writes all readable tasks. Blocks.
    ///
    /// # Errors
    /// If the tasks cannot be listed, or if writing to `out` fails.
    pub fn export(&self, out: &mut impl Write) -> anyhow::Result<Exported> {
        let mut exported = Exported::default();
        for task in self.all_names()? {
            match self.examine(&task) {
                Ok(Some(intact)) => {
                    write_line(out, intact)?;
                    exported.tasks += 1;
                }
                Ok(None) => {}
                Err(reason) => exported.skipped.push(Damage { task, reason }),
            }
        }
        out.flush()?;
        Ok(exported)
    }

    /// Stores all tasks of `lines`, or none; returns their number. Blocks.
    ///
    /// # Errors
    /// If the store is not empty, a line is invalid, or writing fails.
    pub fn import(&self, lines: impl BufRead) -> Result<usize, ImportError> {
        let tasks = self.all_names()?.len();
        if tasks > 0 {
            return Err(ImportError::NotEmpty { tasks });
        }
        let (db, mut batch) = (self.db()?, sled::Batch::default());
        let mut names = BTreeSet::new();
        for (number, line) in (1..).zip(lines.lines()) {
            let line = line?;
            if line.trim().is_empty() {
                continue;
            }
            let wrong = |reason| ImportError::Line {
                line: number,
                reason,
            };
            let intact = read_line(&line).map_err(wrong)?;
            put(&db, &mut batch, &intact)?;
            let name = intact.spec.name;
            if !names.insert(name.clone()) {
                return Err(wrong(format!("the task `{name}` is listed twice")));
            }
        }
        db.apply_batch(batch).map_err(StoreError::from)?;
        self.sync()?;
        Ok(names.len())
    }

    /// Folds every history and compares the result with the stored state. Changes nothing. Blocks.
    ///
    /// # Errors
    /// When the tasks cannot be listed.
    pub fn check(&self) -> Result<Checked, StoreError> {
        let mut checked = Checked::default();
        for task in self.all_names()? {
            let reason = match self.examine(&task) {
                Ok(Some(intact)) if intact.state_is_current => None,
                Ok(Some(_)) => Some(
                    "the stored state differs from the history; the next start rebuilds it"
                        .to_owned(),
                ),
                Ok(None) => Some("it has no event; the next start removes it".to_owned()),
                Err(reason) => Some(reason),
            };
            let problem = reason.map(|reason| Damage { task, reason });
            checked.tasks += 1;
            checked.problems.extend(problem);
        }
        Ok(checked)
    }
}

fn write_line(out: &mut impl Write, intact: IntactTask) -> anyhow::Result<()> {
    let line = Line {
        format: LINE_FORMAT,
        task: intact.spec.name.clone(),
        spec: intact.spec,
        desired: intact.desired,
        history: intact.history,
    };
    serde_json::to_writer(&mut *out, &line)?;
    out.write_all(b"\n")?;
    Ok(())
}

/// Parses a line. The definition is not checked again: it was checked when it was accepted.
fn read_line(text: &str) -> Result<IntactTask, String> {
    let line: Line = serde_json::from_str(text)
        .map_err(|error| format!("it is not an exported task: {error}"))?;
    if line.format != LINE_FORMAT {
        return Err(format!(
            "it has format {}; this Director reads format {LINE_FORMAT}",
            line.format
        ));
    }
    TaskName::parse(line.task.as_str())?;
    if line.spec.name != line.task {
        return Err(format!(
            "it is the task `{}` with the definition of `{}`",
            line.task, line.spec.name
        ));
    }
    let state = machine::fold(&line.history)
        .map_err(|reason| format!("the history of `{}` cannot be read: {reason}", line.task))?;
    Ok(IntactTask {
        spec: line.spec,
        desired: line.desired,
        history: line.history,
        state,
        state_is_current: true,
    })
}
