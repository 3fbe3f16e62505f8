//! What is written when a test is over: tried before it begins, and each whatever becomes of the others.

use crate::args::Run;
use crate::context::Context;
use crate::director::segment;
use crate::output::named;
use crate::trouble::Trouble;
use crate::{fetch, gitlab, junit, keep};
use atq_api_spec::report::Report;
use atq_api_spec::task::Task;
use std::fs;
use std::path::{Path, PathBuf};

#[cfg(test)]
mod tests;

/// The outputs that the command line names.
#[derive(Debug, Clone, Copy)]
pub struct Outputs<'a> {
    junit: Option<&'a Path>,
    gitlab: Option<&'a Path>,
    results: Option<&'a Path>,
}

impl<'a> Outputs<'a> {
    /// Those of `atq run`.
    pub fn of(args: &'a Run) -> Self {
        Self {
            junit: args.junit.as_deref(),
            gitlab: args.gitlab.as_deref(),
            results: args.results.as_deref(),
        }
    }

    /// Whether there is any.
    pub fn any(&self) -> bool {
        self.results.is_some() || self.files().next().is_some()
    }

    fn files(&self) -> impl Iterator<Item = (&'static str, &'a Path)> + use<'a> {
        let files = [("--junit", self.junit), ("--gitlab", self.gitlab)];
        files
            .into_iter()
            .filter_map(|(option, path)| Some((option, path?)))
    }

    /// Makes sure, before the test, that all of them can be written.
    ///
    /// # Errors
    /// When one cannot, or two are the same file. The command line is wrong then.
    pub fn probe(&self) -> Result<(), Trouble> {
        if let Some(dir) = self.results {
            named::probe_dir("--results", dir)?;
        }
        for (option, path) in self.files() {
            named::probe(option, path)?;
        }
        if let (Some(junit), Some(gitlab)) = (self.junit, self.gitlab)
            && is_file(junit)
            && place(junit) == place(gitlab)
        {
            return Err(both("--junit", "--gitlab", junit));
        }
        let Some(dir) = self.results else {
            return Ok(());
        };
        for (option, path) in self.files() {
            let clashes = name_in(dir, path).is_some_and(|name| keep::is_own_name(&name));
            if clashes && !self.is_kept_junit(option, path) {
                return Err(both(option, "--results", path));
            }
        }
        keep::may_use(dir, self.named())
    }

    /// `--junit` names the file that `--results` writes anyway, with the same content.
    fn is_kept_junit(&self, option: &str, path: &Path) -> bool {
        let name = self.results.and_then(|dir| name_in(dir, path));
        option == "--junit" && name.as_deref() == Some(keep::JUNIT)
    }

    fn named(&self) -> &'static [&'static str] {
        match self.junit {
            Some(path) if self.is_kept_junit("--junit", path) => &[keep::JUNIT],
            _ => &[],
        }
    }

    /// Writes everything; the small files first, so that a pipeline has them whatever comes. Gives what went wrong.
    pub async fn write(&self, context: &Context, task: &Task) -> Vec<Trouble> {
        let mut troubles = Vec::new();
        let mut named = self.named();
        if let Some(path) = self.junit {
            let written = named::write(path, junit::document(task));
            if written.is_err() {
                named = &[];
            }
            troubles.extend(written.err());
        }
        if let Some(path) = self.gitlab {
            troubles.extend(bring_figures(context, &task.id, path).await.err());
        }
        if let Some(dir) = self.results {
            troubles.extend(keep::keep(context, task, dir, named).await);
        }
        troubles
    }
}

async fn bring_figures(context: &Context, name: &str, path: &Path) -> Result<(), Trouble> {
    let from = format!("task/{}/report?format=json", segment(name));
    let report = fetch::bytes(&context.director, &from, "application/json").await?;
    let report: Report = serde_json::from_slice(&report).map_err(|error| {
        Trouble::failed(
            format!("the report of `{name}` cannot be read: {error}"),
            "",
        )
    })?;
    named::write(path, gitlab::document(&report))
}

fn both(one: &str, other: &str, path: &Path) -> Trouble {
    Trouble::usage(
        format!("`{one}` and `{other}` both write `{}`", path.display()),
        "name another file",
    )
}

/// `/dev/null` may be named as often as one likes.
fn is_file(path: &Path) -> bool {
    fs::metadata(path).map_or(true, |found| found.is_file())
}

/// The file, by whatever way it is named.
fn place(path: &Path) -> Option<PathBuf> {
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let parent = fs::canonicalize(parent.unwrap_or(Path::new("."))).ok()?;
    Some(parent.join(path.file_name()?))
}

/// The name of `path` if it is directly in `dir`.
fn name_in(dir: &Path, path: &Path) -> Option<String> {
    let place = place(path)?;
    let dir = fs::canonicalize(dir).ok()?;
    let name = place.file_name()?.to_str()?;
    (place.parent() == Some(&dir)).then(|| name.to_owned())
}
