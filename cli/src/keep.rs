//! What a run has left, on this machine's disk: result files, report, logs, manifest.

use crate::args::Logs;
use crate::context::Context;
use crate::director::segment;
use crate::fetch::transfer;
use crate::out::Out;
use crate::output::draft::Draft;
use crate::output::named::probe_dir;
use crate::output::owned::{LIST, Name, Owned};
use crate::output::unwritten;
use crate::trouble::Trouble;
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
/// The verdict.
pub const JUNIT: &str = "junit.xml";
const RESULTS: &str = "results";
const LOGS: &str = "logs";
/// File, path below that of the task, media type.
const ANSWERS: [(&str, &str, &str); 4] = [
    ("report.json", "report", "application/json"),
    ("report.html", "report", "text/html"),
    ("manifest.json", "manifest", "application/json"),
    ("events.json", "events", "application/json"),
];

/// The files that always have the same names.
fn files() -> impl Iterator<Item = &'static str> {
    [TASK, JUNIT]
        .into_iter()
        .chain(ANSWERS.map(|(file, _, _)| file))
}

/// Whether a file of this name, directly in the directory, would be in the way.
pub fn is_own_name(name: &str) -> bool {
    [RESULTS, LOGS, LIST].contains(&name) || files().any(|file| file == name)
}

/// Whether results may be put into `dir`, which is made if it is missing. Nothing of somebody else may have one of
/// their names; `named` says which of them the command line names itself.
///
/// # Errors
/// Names what is in the way.
pub fn may_use(dir: &Path, named: &[&str]) -> Result<(), Trouble> {
    probe_dir("--results", dir)?;
    let owned = Owned::open(dir)?;
    for file in files().filter(|file| !named.contains(file)) {
        owned.must_be_free(file)?;
    }
    owned.must_take_files(RESULTS)?;
    owned.must_take_files(LOGS)
}

/// Puts everything that is kept of the task into `dir`, which is made if it is missing: `task.json`,
/// `junit.xml`, `results/`, `report.json`, `report.html`, `manifest.json`, `events.json` and
/// `logs/<service>.<replica>.log`. Each file is there whole or not at all. What an earlier call put there
/// is removed before: replicas that this run does not have must not look like its own. What the task does not have is
/// left out, and said. `named` are files that were just written because the command line names them.
///
/// Gives what went wrong; it holds up nothing else.
pub async fn keep(context: &Context, task: &Task, dir: &Path, named: &[&str]) -> Vec<Trouble> {
    let opened = fs::create_dir_all(dir).map_err(unwritten(dir));
    let owned = match opened.and_then(|()| Owned::open(dir)) {
        Ok(owned) => owned,
        Err(trouble) => return vec![trouble],
    };
    let mut keeper = Keeper {
        context,
        task,
        dir,
        owned,
        troubles: Vec::new(),
    };
    keeper.all(named).await;
    keeper.troubles
}

struct Keeper<'a> {
    context: &'a Context,
    task: &'a Task,
    dir: &'a Path,
    owned: Owned,
    troubles: Vec<Trouble>,
}

impl Keeper<'_> {
    async fn all(&mut self, named: &[&str]) {
        let is_meant = |name: &str| {
            let is_below = |dir: &str| name.split('/').next() == Some(dir) && name != dir;
            is_below(RESULTS) || is_below(LOGS) || files().any(|file| file == name)
        };
        // Written a moment ago.
        let is_meant = |name: &str| is_meant(name) && !named.contains(&name);
        let cleared = self.owned.clear(is_meant);
        self.did(cleared);
        for name in named {
            let adopted = self.owned.adopt(name);
            self.did(adopted);
        }
        let text = serde_json::to_string_pretty(self.task).unwrap_or_default() + "\n";
        let written = self.write(TASK, text.as_bytes());
        self.did(written);
        if !named.contains(&JUNIT) {
            let written = self.write(JUNIT, junit::document(self.task).as_bytes());
            self.did(written);
        }
        let brought = self.results().await;
        self.optional(RESULTS, brought);
        for (file, path, accept) in ANSWERS {
            let saved = self.save(file, path, accept).await;
            self.optional(file, saved);
        }
        let kept = self.logs().await;
        self.optional(LOGS, kept);
    }

    fn did(&mut self, done: Result<(), Trouble>) {
        self.troubles.extend(done.err());
    }

    /// What the Director does not have is no trouble.
    fn optional(&mut self, what: &str, done: Result<(), Trouble>) {
        match done {
            Err(trouble) if trouble.is_absence() => {
                let out = self.context.out;
                out.progress(format_args!("`{what}` is left out: {trouble}"));
            }
            done => self.did(done),
        }
    }

    fn write(&mut self, file: &str, content: &[u8]) -> Result<(), Trouble> {
        let draft = Draft::with(self.dir, content);
        self.put(file, draft.map_err(unwritten(&self.dir.join(file)))?)
    }

    async fn save(&mut self, file: &str, path: &str, accept: &str) -> Result<(), Trouble> {
        let draft = self.bring(path, accept).await?;
        self.put(file, draft)
    }

    async fn bring(&self, path: &str, accept: &str) -> Result<Draft, Trouble> {
        let path = format!("task/{}/{path}", segment(&self.task.id));
        let begin = || Draft::create_in(self.dir).map_err(unwritten(self.dir));
        transfer(&self.context.director, &path, accept, begin).await
    }

    fn put(&mut self, file: &str, draft: Draft) -> Result<(), Trouble> {
        let name = name(file)?;
        let placed = self.owned.put(&name, draft)?;
        if placed.name != file {
            tell_renamed(self.context.out, file, &placed.name);
        }
        Ok(())
    }

    async fn results(&mut self) -> Result<(), Trouble> {
        let zip = self.bring("results", ZIP).await?;
        let unpacked = unpack_below(zip.path(), &mut self.owned, Some(RESULTS))?;
        for (wanted, got) in &unpacked.renamed {
            tell_renamed(self.context.out, wanted, got);
        }
        self.troubles.extend(unpacked.troubles);
        Ok(())
    }

    async fn logs(&mut self) -> Result<(), Trouble> {
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

fn name(text: &str) -> Result<Name, Trouble> {
    Name::parse(text).map_err(|why| Trouble::failed(format!("`{text}` {why}"), ""))
}

/// The files of the containers that wrote something.
struct LogFiles<'a> {
    owned: &'a mut Owned,
    files: BTreeMap<String, (Name, BufWriter<Draft>)>,
}

impl<'a> LogFiles<'a> {
    fn new(owned: &'a mut Owned) -> Self {
        let files = BTreeMap::new();
        Self { owned, files }
    }

    fn write(&mut self, entry: &LogEntry) -> Result<(), Trouble> {
        // The words are the Director's own; none of them may choose a place.
        let file = format!("{LOGS}/{}.{}.log", segment(&entry.service), entry.replica);
        let (name, draft) = match self.files.entry(file.clone()) {
            Entry::Occupied(file) => file.into_mut(),
            Entry::Vacant(place) => {
                let (name, draft) = self.owned.begin(&name(&file)?)?;
                place.insert((name, BufWriter::new(draft)))
            }
        };
        let written = writeln!(draft, "{} {}", entry.at, entry.text);
        written.map_err(unwritten(Path::new(name.as_str())))
    }

    fn finish(self) -> Result<(), Trouble> {
        for (name, draft) in self.files.into_values() {
            let whole = draft.into_inner().map_err(|error| error.into_error());
            let draft = whole.map_err(unwritten(Path::new(name.as_str())))?;
            self.owned.put(&name, draft)?;
        }
        Ok(())
    }
}

/// Says that a file got another name than that of the archive.
pub fn tell_renamed(out: Out, wanted: &str, got: &str) {
    out.progress(format_args!(
        "the name `{wanted}` is taken or too long: the file is `{got}`"
    ));
}
