//! Saving the outputs of a run to a directory: result files, report, logs and manifest.

use crate::args::Logs;
use crate::context::Context;
use crate::error::CliError;
use crate::fetch::transfer;
use crate::out::Out;
use crate::output::draft::Draft;
use crate::output::named::probe_dir;
use crate::output::owned::{LIST, Name, Owned};
use crate::output::write_error;
use crate::path::segment;
use crate::unpack::unpack_below;
use crate::{junit, logs};
use atq_api_spec::task::{LogEntry, Task};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs;
use std::io::{BufWriter, Write};
use std::ops::ControlFlow;
use std::path::Path;

#[cfg(test)]
mod tests;

/// Media type of the archive.
pub const ZIP: &str = "application/zip";
const TASK: &str = "task.json";
/// File with the verdict.
pub const JUNIT: &str = "junit.xml";
/// File with the page of the report.
pub const PAGE: &str = "report.html";
const RESULTS: &str = "results";
const LOGS: &str = "logs";
/// File name, path below the task, media type.
const DOWNLOADS: [(&str, &str, &str); 4] = [
    ("report.json", "report", "application/json"),
    (PAGE, "report", "text/html"),
    ("manifest.json", "manifest", "application/json"),
    ("events.json", "events", "application/json"),
];

/// The files with fixed names.
fn files() -> impl Iterator<Item = &'static str> {
    [TASK, JUNIT]
        .into_iter()
        .chain(DOWNLOADS.map(|(file, _, _)| file))
}

/// Whether a file of this name in the directory would conflict.
pub fn is_reserved(name: &str) -> bool {
    [RESULTS, LOGS, LIST].contains(&name) || files().any(|file| file == name)
}

/// Checks that results can be saved to `dir`, which is created if it is missing. No foreign file may have one of their
/// names, except for those in `named`, which are given on the command line.
///
/// # Errors
/// Names the conflicting file.
pub fn check_usable(dir: &Path, named: &[&str]) -> Result<(), CliError> {
    probe_dir("--results", dir)?;
    let owned = Owned::open(dir)?;
    for file in files().filter(|file| !named.contains(file)) {
        owned.check_free(file)?;
    }
    owned.check_writable_dir(RESULTS)?;
    owned.check_writable_dir(LOGS)
}

/// Saves all outputs of the task to `dir`, which is created if it is missing: `task.json`, `junit.xml`, `results/`,
/// `report.json`, `report.html`, `manifest.json`, `events.json` and `logs/<service>.<replica>.log`. Each file is written
/// atomically. Files of an earlier call are removed first, so that they are not mistaken for files of this run. Outputs that
/// the task does not have are skipped with a message. `named` are files that were just written because they are given on the
/// command line.
///
/// Returns the errors; an error does not stop the other outputs.
pub async fn save(context: &Context, task: &Task, dir: &Path, named: &[&str]) -> Vec<CliError> {
    let opened = fs::create_dir_all(dir).map_err(write_error(dir));
    let owned = match opened.and_then(|()| Owned::open(dir)) {
        Ok(owned) => owned,
        Err(error) => return vec![error],
    };
    let mut saver = Saver {
        context,
        task,
        dir,
        owned,
        errors: Vec::new(),
    };
    saver.save_all(named).await;
    saver.errors
}

struct Saver<'a> {
    context: &'a Context,
    task: &'a Task,
    dir: &'a Path,
    owned: Owned,
    errors: Vec<CliError>,
}

impl Saver<'_> {
    async fn save_all(&mut self, named: &[&str]) {
        let is_output = |name: &str| {
            let is_below = |dir: &str| name.split('/').next() == Some(dir) && name != dir;
            is_below(RESULTS) || is_below(LOGS) || files().any(|file| file == name)
        };
        // Named files were just written.
        let is_outdated = |name: &str| is_output(name) && !named.contains(&name);
        let cleared = self.owned.clear(is_outdated);
        self.record(cleared);
        for name in named {
            let adopted = self.owned.adopt(name);
            self.record(adopted);
        }
        let text = serde_json::to_string_pretty(self.task).unwrap_or_default() + "\n";
        let written = self.write(TASK, text.as_bytes());
        self.record(written);
        if !named.contains(&JUNIT) {
            let written = self.write(JUNIT, junit::document(self.task).as_bytes());
            self.record(written);
        }
        let downloaded = self.results().await;
        self.optional(RESULTS, downloaded);
        for (file, path, accept) in DOWNLOADS {
            let saved = self.download(file, path, accept).await;
            self.optional(file, saved);
        }
        let saved = self.logs().await;
        self.optional(LOGS, saved);
    }

    fn record(&mut self, result: Result<(), CliError>) {
        self.errors.extend(result.err());
    }

    /// An output that the Director does not have is not an error.
    fn optional(&mut self, output: &str, result: Result<(), CliError>) {
        match result {
            Err(error) if error.is_not_found() => {
                let out = self.context.out;
                out.progress(format_args!("`{output}` is skipped: {error}"));
            }
            result => self.record(result),
        }
    }

    fn write(&mut self, file: &str, content: &[u8]) -> Result<(), CliError> {
        let draft = Draft::with(self.dir, content);
        self.put(file, draft.map_err(write_error(&self.dir.join(file)))?)
    }

    async fn download(&mut self, file: &str, path: &str, accept: &str) -> Result<(), CliError> {
        let draft = self.fetch(path, accept).await?;
        self.put(file, draft)
    }

    async fn fetch(&self, path: &str, accept: &str) -> Result<Draft, CliError> {
        let path = format!("task/{}/{path}", segment(&self.task.id));
        let begin = || Draft::create_in(self.dir).map_err(write_error(self.dir));
        transfer(&self.context.director, &path, accept, begin).await
    }

    fn put(&mut self, file: &str, draft: Draft) -> Result<(), CliError> {
        let name = name(file)?;
        let placed = self.owned.put(&name, draft)?;
        if placed.name != file {
            report_renamed(self.context.out, file, &placed.name);
        }
        Ok(())
    }

    async fn results(&mut self) -> Result<(), CliError> {
        let zip = self.fetch("results", ZIP).await?;
        let unpacked = unpack_below(zip.path(), &mut self.owned, Some(RESULTS))?;
        for (wanted, got) in &unpacked.renamed {
            report_renamed(self.context.out, wanted, got);
        }
        self.errors.extend(unpacked.errors);
        Ok(())
    }

    async fn logs(&mut self) -> Result<(), CliError> {
        let wanted = Logs {
            name: self.task.id.clone(),
            ..Logs::default()
        };
        let mut files = LogFiles::new(&mut self.owned);
        let mut written = Ok(());
        logs::read(self.context, &wanted, |entry| {
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
}

fn name(text: &str) -> Result<Name, CliError> {
    Name::parse(text).map_err(|why| CliError::failed(format!("`{text}` {why}"), ""))
}

/// The log files of the containers.
struct LogFiles<'a> {
    owned: &'a mut Owned,
    files: BTreeMap<String, (Name, BufWriter<Draft>)>,
}

impl<'a> LogFiles<'a> {
    fn new(owned: &'a mut Owned) -> Self {
        let files = BTreeMap::new();
        Self { owned, files }
    }

    fn write(&mut self, entry: &LogEntry) -> Result<(), CliError> {
        // The service is from the Director. It is encoded, so that it cannot select another directory.
        let file = format!("{LOGS}/{}.{}.log", segment(&entry.service), entry.replica);
        let (name, draft) = match self.files.entry(file.clone()) {
            Entry::Occupied(file) => file.into_mut(),
            Entry::Vacant(place) => {
                let (name, draft) = self.owned.begin(&name(&file)?)?;
                place.insert((name, BufWriter::new(draft)))
            }
        };
        let written = writeln!(draft, "{} {}", entry.at, entry.text);
        written.map_err(write_error(Path::new(name.as_str())))
    }

    fn finish(self) -> Result<(), CliError> {
        for (name, draft) in self.files.into_values() {
            let complete = draft.into_inner().map_err(|error| error.into_error());
            let draft = complete.map_err(write_error(Path::new(name.as_str())))?;
            self.owned.put(&name, draft)?;
        }
        Ok(())
    }
}

/// Reports that a file was saved under another name.
pub fn report_renamed(out: Out, wanted: &str, got: &str) {
    out.progress(format_args!(
        "the name `{wanted}` is taken or too long; saved as `{got}`"
    ));
}
