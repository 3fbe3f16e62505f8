//! `atq-director store`: looks at the store and carries tasks from one to another while no Director
//! runs.

use crate::args::{StoreCommand, print};
use anyhow::{Context, bail};
use atq_store::{Damage, Exported, Rescued, Store, StoreError};
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::ExitCode;

/// Does what `command` says with the store of `datadir`. Blocks.
pub fn run(datadir: &Path, command: &StoreCommand) -> ExitCode {
    let dir = datadir.join("state");
    let done = match command {
        StoreCommand::Export { file } => export(&dir, file.as_deref()),
        StoreCommand::Import { file } => import(datadir, &dir, file),
        StoreCommand::Check => check(&dir),
    };
    done.unwrap_or_else(|error| {
        eprintln!("atq-director: {error:#}");
        ExitCode::FAILURE
    })
}

/// A look must not make a store where there is none.
fn open(dir: &Path) -> anyhow::Result<Store> {
    if !dir.join("db").exists() {
        bail!(
            "there is no store in `{}`\n(it is looked for in `state` below the `datadir` of the configuration)",
            dir.display()
        );
    }
    Ok(Store::open(dir)?)
}

fn export(dir: &Path, file: Option<&Path>) -> anyhow::Result<ExitCode> {
    match open(dir) {
        Ok(store) => write(&store, file).map(|exported| verdict(&exported, true)),
        Err(error) => match error.downcast_ref() {
            Some(StoreError::Open { .. }) => {
                eprintln!("atq-director: {error:#}\nwhat follows is what can be read of a copy");
                let rescued = Rescued::open(dir)?;
                let exported = write(&rescued.store, file)?;
                if let (0, Some(path)) = (exported.tasks, file) {
                    // An empty file would only be in the way of the next try.
                    std::fs::remove_file(path)?;
                }
                Ok(verdict(&exported, false))
            }
            _ => Err(error),
        },
    }
}

fn write(store: &Store, file: Option<&Path>) -> anyhow::Result<Exported> {
    let Some(path) = file else {
        return store.export(&mut BufWriter::new(io::stdout().lock()));
    };
    // The definitions hold passwords, so nobody else may read them.
    let file = File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("cannot create `{}`", path.display()))?;
    let mut out = BufWriter::new(file);
    let exported = store.export(&mut out)?;
    out.flush()?;
    out.get_ref().sync_all()?;
    Ok(exported)
}

/// On standard error, because standard output may be the export.
fn verdict(exported: &Exported, whole: bool) -> ExitCode {
    for damage in &exported.skipped {
        eprintln!("skipped {}", line(damage));
    }
    eprintln!(
        "{} task(s) exported, {} skipped",
        exported.tasks,
        exported.skipped.len()
    );
    match whole && exported.skipped.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

fn import(datadir: &Path, dir: &Path, file: &Path) -> anyhow::Result<ExitCode> {
    let lines = File::open(file).with_context(|| format!("cannot read `{}`", file.display()))?;
    std::fs::create_dir_all(datadir)
        .with_context(|| format!("cannot use `{}`", datadir.display()))?;
    let tasks = Store::open(dir)?
        .import(BufReader::new(lines))
        .with_context(|| format!("cannot import `{}`", file.display()))?;
    Ok(print(&format!("{tasks} task(s) imported\n")))
}

fn check(dir: &Path) -> anyhow::Result<ExitCode> {
    let checked = open(dir)?.check()?;
    let mut text: String = checked
        .problems
        .iter()
        .map(|damage| format!("{}\n", line(damage)))
        .collect();
    text.push_str(&format!(
        "{} task(s), {} with a problem\n",
        checked.tasks,
        checked.problems.len()
    ));
    let printed = print(&text);
    Ok(match checked.problems.is_empty() {
        true => printed,
        false => ExitCode::FAILURE,
    })
}

fn line(damage: &Damage) -> String {
    format!("`{}`: {}", damage.task, damage.reason)
}
