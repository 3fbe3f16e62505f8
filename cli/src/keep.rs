//! What a run has left, on this machine's disk: result files, report, logs, manifest.

use crate::Context;
use crate::args::Logs;
use crate::commands::bring_results;
use crate::director::segment;
use crate::fetch::{part, save, unwritten, write};
use crate::trouble::Trouble;
use crate::{junit, logs};
use atq_api_spec::task::{LogEntry, Task};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

#[cfg(test)]
mod tests;

/// Written first: says that the rest beside it was kept by this program.
const TASK: &str = "task.json";
/// Directories that belong to one run as a whole.
const DIRS: [&str; 2] = ["results", "logs"];
/// File, path below that of the task, media type.
const ANSWERS: [(&str, &str, &str); 4] = [
    ("report.json", "report", "application/json"),
    ("report.html", "report", "text/html"),
    ("manifest.json", "manifest", "application/json"),
    ("events.json", "events", "application/json"),
];

/// Puts everything that is kept of the task into `dir`, which is made if it is missing: `task.json`,
/// `junit.xml`, `results/`, `report.json`, `report.html`, `manifest.json`, `events.json` and
/// `logs/<service>.<replica>.log`. Each file is there whole or not at all. What an earlier call put there
/// is replaced, as a whole; what the task does not have is left out, and said.
///
/// # Errors
/// When the Director cannot be reached, or the directory not be written.
pub async fn keep(context: &Context, name: &str, dir: &Path) -> Result<(), Trouble> {
    may_use(dir)?;
    let task = context.director.task(name).await?;
    clear(dir)?;
    let text = serde_json::to_string_pretty(&task).unwrap_or_default();
    write(&dir.join(TASK), text + "\n").await?;
    write(&dir.join("junit.xml"), junit::document(&task)).await?;
    let results = bring_results(context, name, &dir.join("results")).await;
    optional(context, "results", results.map(drop))?;
    for (file, path, accept) in ANSWERS {
        let path = format!("task/{}/{path}", segment(name));
        let saved = save(&context.director, &path, accept, &dir.join(file)).await;
        optional(context, file, saved)?;
    }
    let kept = keep_logs(context, &task, &dir.join("logs")).await;
    optional(context, "logs", kept)
}

/// Whether results may be put into `dir`. A `task.json` that no run left there may be somebody's definition,
/// and what lies beside it is theirs as well.
///
/// # Errors
/// When there is one.
pub fn may_use(dir: &Path) -> Result<(), Trouble> {
    let path = dir.join(TASK);
    match fs::read(&path) {
        Ok(text) if serde_json::from_slice::<Task>(&text).is_err() => Err(Trouble::usage(
            format!(
                "`{}` is there, and is not of an earlier run",
                path.display()
            ),
            "it would be overwritten: name another directory with `--results`",
        )),
        _ => Ok(()),
    }
}

/// Makes the directory, and removes from it what an earlier run left: replicas that this one does not have
/// must not look like its own.
fn clear(dir: &Path) -> Result<(), Trouble> {
    fs::create_dir_all(dir).map_err(unwritten(dir))?;
    if !dir.join(TASK).is_file() {
        return Ok(());
    }
    let gone = |result: io::Result<()>, path: PathBuf| match result {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(unwritten(&path)(error)),
        _ => Ok(()),
    };
    for path in DIRS.map(|name| dir.join(name)) {
        gone(fs::remove_dir_all(&path), path)?;
    }
    for path in ANSWERS.map(|(name, _, _)| dir.join(name)) {
        gone(fs::remove_file(&path), path)?;
    }
    Ok(())
}

/// What the Director does not have is no trouble.
fn optional(context: &Context, what: &str, kept: Result<(), Trouble>) -> Result<(), Trouble> {
    match kept {
        Err(trouble @ Trouble::Rejected { .. }) => {
            context
                .out
                .progress(format_args!("`{what}` is left out: {trouble}"));
            Ok(())
        }
        other => other,
    }
}

/// The files of the containers that wrote something.
struct LogFiles<'a> {
    dir: &'a Path,
    files: BTreeMap<PathBuf, BufWriter<File>>,
}

impl LogFiles<'_> {
    fn write(&mut self, entry: &LogEntry) -> Result<(), Trouble> {
        // The words are the Director's own; none of them may choose a place.
        let name = format!("{}.{}.log", segment(&entry.service), entry.replica);
        let path = self.dir.join(name);
        let file = match self.files.entry(path.clone()) {
            std::collections::btree_map::Entry::Occupied(file) => file.into_mut(),
            std::collections::btree_map::Entry::Vacant(place) => {
                let file = File::create(part(&path)).map_err(unwritten(&path))?;
                place.insert(BufWriter::new(file))
            }
        };
        writeln!(file, "{} {}", entry.at, entry.text).map_err(unwritten(&path))
    }

    fn finish(self) -> Result<(), Trouble> {
        for (path, mut file) in self.files {
            let written = file.flush().and_then(|()| fs::rename(part(&path), &path));
            written.map_err(unwritten(&path))?;
        }
        Ok(())
    }
}

async fn keep_logs(context: &Context, task: &Task, dir: &Path) -> Result<(), Trouble> {
    fs::create_dir_all(dir).map_err(unwritten(dir))?;
    let mut files = LogFiles {
        dir,
        files: BTreeMap::new(),
    };
    let wanted = Logs {
        name: task.id.clone(),
        ..Logs::default()
    };
    let mut written = Ok(());
    logs::read(context, &wanted, |entry| {
        written = files.write(entry);
        match written {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    })
    .await?;
    written?;
    files.finish()
}
