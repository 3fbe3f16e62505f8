//! `atq-director store`: checks, exports and imports the store while no Director runs.

use crate::args::{StoreCommand, print};
use anyhow::{Context, bail};
use atq_store::{Damage, Exported, Rescued, Store, StoreError};
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::ExitCode;

/// Runs `command` on the store of `datadir`. Blocks the thread.
pub fn run(datadir: &Path, command: &StoreCommand) -> ExitCode {
    let dir = datadir.join("state");
    let result = match command {
        StoreCommand::Export { file } => export(&dir, file.as_deref()),
        StoreCommand::Import { file } => import(datadir, &dir, file),
        StoreCommand::Check => check(&dir),
    };
    result.unwrap_or_else(|error| {
        eprintln!("atq-director: {error:#}");
        ExitCode::FAILURE
    })
}

/// Fails if there is no store, because opening would create one.
fn open(dir: &Path) -> anyhow::Result<Store> {
    if !dir.join("db").exists() {
        bail!(
            "there is no store in `{}`\n(expected in `state` below the `datadir` of the configuration)",
            dir.display()
        );
    }
    Ok(Store::open(dir)?)
}

fn export(dir: &Path, file: Option<&Path>) -> anyhow::Result<ExitCode> {
    match open(dir) {
        Ok(store) => write(&store, file).map(|exported| report(&exported, true)),
        Err(error) => match error.downcast_ref() {
            Some(StoreError::Open { .. }) => {
                eprintln!("atq-director: {error:#}\nexporting the readable tasks from a copy");
                let rescued = Rescued::open(dir)?;
                let exported = write(&rescued.store, file)?;
                if let (0, Some(path)) = (exported.tasks, file) {
                    // An empty file would block the next attempt.
                    std::fs::remove_file(path)?;
                }
                Ok(report(&exported, false))
            }
            _ => Err(error),
        },
    }
}

fn write(store: &Store, file: Option<&Path>) -> anyhow::Result<Exported> {
    let Some(path) = file else {
        return store.export(&mut BufWriter::new(io::stdout().lock()));
    };
    // Definitions may contain passwords: only the owner can read the file.
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

/// Reports on standard error, because standard output may be the export.
fn report(exported: &Exported, complete: bool) -> ExitCode {
    for damage in &exported.skipped {
        eprintln!("skipped {}", line(damage));
    }
    eprintln!(
        "{} exported, {} skipped",
        tasks(exported.tasks),
        exported.skipped.len()
    );
    match complete && exported.skipped.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

fn import(datadir: &Path, dir: &Path, file: &Path) -> anyhow::Result<ExitCode> {
    let lines = File::open(file).with_context(|| format!("cannot read `{}`", file.display()))?;
    std::fs::create_dir_all(datadir)
        .with_context(|| format!("cannot use `{}`", datadir.display()))?;
    let imported = Store::open(dir)?
        .import(BufReader::new(lines))
        .with_context(|| format!("cannot import `{}`", file.display()))?;
    Ok(print(&format!("{} imported\n", tasks(imported))))
}

fn check(dir: &Path) -> anyhow::Result<ExitCode> {
    let checked = open(dir)?.check()?;
    let mut text: String = checked
        .problems
        .iter()
        .map(|damage| format!("{}\n", line(damage)))
        .collect();
    text.push_str(&format!(
        "{}, {} with a problem\n",
        tasks(checked.tasks),
        checked.problems.len()
    ));
    let printed = print(&text);
    Ok(match checked.problems.is_empty() {
        true => printed,
        false => ExitCode::FAILURE,
    })
}

fn tasks(count: usize) -> String {
    match count {
        1 => "1 task".to_owned(),
        count => format!("{count} tasks"),
    }
}

fn line(damage: &Damage) -> String {
    format!("`{}`: {}", damage.task, damage.reason)
}
