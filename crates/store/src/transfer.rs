//! Tasks out of a store and into another one, and a look at all of them: what `atq-director store`
//! does.
//!
//! The form is one JSON object a line, `{"format":1,"task":..,"spec":..,"desired":..,"history":[..]}`.
//! The state is not in it: it is the fold of the history.

use super::damage::{Whole, put};
use super::{Damage, Store, StoreError};
use atq_task::event::Record;
use atq_task::machine;
use atq_task::spec::{TaskName, TaskSpec};
use atq_task::state::Desired;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::io::{BufRead, Write};
use thiserror::Error;

/// Version of the form.
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

/// What an export has done.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Exported {
    /// Number of tasks written.
    pub tasks: usize,
    /// Tasks left out, because an import would refuse them.
    pub skipped: Vec<Damage>,
}

/// What a look at all tasks has shown.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Number of tasks.
    pub tasks: usize,
    /// Those with something wrong.
    pub problems: Vec<Damage>,
}

/// Why an import was refused. Nothing has been stored then.
#[derive(Debug, Error)]
pub enum ImportError {
    /// There are tasks already.
    #[error(
        "the store is not empty, it holds {tasks} task(s); tasks are imported into an empty store only\n(move the directory away first)"
    )]
    NotEmpty {
        /// How many.
        tasks: usize,
    },
    /// A line is not a task.
    #[error("line {line}: {reason}; nothing was imported")]
    Line {
        /// Its number, from 1.
        line: usize,
        /// What is wrong with it.
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
    /// Writes all tasks that can be read. Blocks.
    ///
    /// # Errors
    /// When the tasks cannot be listed, or `out` takes no more.
    pub fn export(&self, out: &mut impl Write) -> anyhow::Result<Exported> {
        let mut exported = Exported::default();
        for task in self.all_names()? {
            match self.examine(&task) {
                Ok(Some(whole)) => {
                    write_line(out, whole)?;
                    exported.tasks += 1;
                }
                Ok(None) => {}
                Err(reason) => exported.skipped.push(Damage { task, reason }),
            }
        }
        out.flush()?;
        Ok(exported)
    }

    /// Stores all tasks of `lines`, or none; gives their number. Blocks.
    ///
    /// # Errors
    /// When the store is not empty, a line is wrong, or the disk does not take it.
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
            let whole = read_line(&line).map_err(wrong)?;
            put(&db, &mut batch, &whole)?;
            let name = whole.spec.name;
            if !names.insert(name.clone()) {
                return Err(wrong(format!("the task `{name}` is there twice")));
            }
        }
        db.apply_batch(batch).map_err(StoreError::from)?;
        self.sync()?;
        Ok(names.len())
    }

    /// Folds every history and compares with the stored states. Changes nothing. Blocks.
    ///
    /// # Errors
    /// When the tasks cannot be listed.
    pub fn check(&self) -> Result<Checked, StoreError> {
        let mut checked = Checked::default();
        for task in self.all_names()? {
            let reason = match self.examine(&task) {
                Ok(Some(whole)) if whole.is_folded => None,
                Ok(Some(_)) => Some(
                    "the stored state is not the fold of its history; the next start rebuilds it"
                        .to_owned(),
                ),
                Ok(None) => Some("it has no event; the next start forgets it".to_owned()),
                Err(reason) => Some(reason),
            };
            checked.tasks += 1;
            checked
                .problems
                .extend(reason.map(|reason| Damage { task, reason }));
        }
        Ok(checked)
    }
}

fn write_line(out: &mut impl Write, whole: Whole) -> anyhow::Result<()> {
    let line = Line {
        format: LINE_FORMAT,
        task: whole.spec.name.clone(),
        spec: whole.spec,
        desired: whole.desired,
        history: whole.history,
    };
    serde_json::to_writer(&mut *out, &line)?;
    out.write_all(b"\n")?;
    Ok(())
}

/// Reads a line as far as the store relies on it: the definition was checked when it was accepted.
fn read_line(text: &str) -> Result<Whole, String> {
    let line: Line = serde_json::from_str(text)
        .map_err(|error| format!("it is not a task of an export: {error}"))?;
    if line.format != LINE_FORMAT {
        return Err(format!(
            "it has format {}; this Director reads format {LINE_FORMAT}",
            line.format
        ));
    }
    TaskName::parse(line.task.as_str())?;
    if line.spec.name != line.task {
        return Err(format!(
            "it is the task `{}`, but the definition of `{}`",
            line.task, line.spec.name
        ));
    }
    let state = machine::fold(&line.history)
        .map_err(|reason| format!("the history of `{}` cannot be read: {reason}", line.task))?;
    Ok(Whole {
        spec: line.spec,
        desired: line.desired,
        history: line.history,
        state,
        is_folded: true,
    })
}
