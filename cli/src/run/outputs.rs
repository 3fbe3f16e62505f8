//! Output files of a test: checked before the start, and each written independently of the others.

use crate::args::Run;
use crate::context::Context;
use crate::error::CliError;
use crate::output::named;
use crate::path::segment;
use crate::{fetch, gitlab, junit, save};
use atq_api_spec::report::Report;
use atq_api_spec::task::Task;
use std::fs;
use std::path::{Path, PathBuf};

#[cfg(test)]
mod tests;

/// The outputs given on the command line.
#[derive(Debug, Clone, Copy, Default)]
pub struct Outputs<'a> {
    junit: Option<&'a Path>,
    gitlab: Option<&'a Path>,
    results: Option<&'a Path>,
}

impl<'a> Outputs<'a> {
    /// The outputs of `atq run`.
    pub fn of(args: &'a Run) -> Self {
        Self {
            junit: args.junit.as_deref(),
            gitlab: args.gitlab.as_deref(),
            results: args.results.as_deref(),
        }
    }

    /// The directory for the results.
    pub fn results(&self) -> Option<&'a Path> {
        self.results
    }

    /// Whether there are any outputs.
    pub fn any(&self) -> bool {
        self.results.is_some() || self.files().next().is_some()
    }

    fn files(&self) -> impl Iterator<Item = (&'static str, &'a Path)> + use<'a> {
        let files = [("--junit", self.junit), ("--gitlab", self.gitlab)];
        files
            .into_iter()
            .filter_map(|(option, path)| Some((option, path?)))
    }

    /// Checks before the test that all outputs can be written.
    ///
    /// # Errors
    /// A usage error when an output cannot be written, or two are the same file.
    pub fn probe(&self) -> Result<(), CliError> {
        if let Some(dir) = self.results {
            named::probe_dir("--results", dir)?;
        }
        for (option, path) in self.files() {
            named::probe(option, path)?;
        }
        if let (Some(junit), Some(gitlab)) = (self.junit, self.gitlab)
            && is_file(junit)
            && resolved(junit) == resolved(gitlab)
        {
            return Err(conflict("--junit", "--gitlab", junit));
        }
        let Some(dir) = self.results else {
            return Ok(());
        };
        for (option, path) in self.files() {
            let clashes = name_in(dir, path).is_some_and(|name| save::is_reserved(&name));
            if clashes && !self.is_junit_in_results(option, path) {
                return Err(conflict(option, "--results", path));
            }
        }
        save::check_usable(dir, self.named())
    }

    /// Whether `--junit` names the file that `--results` writes anyway, with the same content.
    fn is_junit_in_results(&self, option: &str, path: &Path) -> bool {
        let name = self.results.and_then(|dir| name_in(dir, path));
        option == "--junit" && name.as_deref() == Some(save::JUNIT)
    }

    fn named(&self) -> &'static [&'static str] {
        match self.junit {
            Some(path) if self.is_junit_in_results("--junit", path) => &[save::JUNIT],
            _ => &[],
        }
    }

    /// Writes all outputs, the small files first, so that a pipeline gets them in any case. Returns the errors.
    pub async fn write(&self, context: &Context, task: &Task) -> Vec<CliError> {
        let mut errors = Vec::new();
        let mut named = self.named();
        if let Some(path) = self.junit {
            let written = named::write(path, junit::document(task));
            if written.is_err() {
                named = &[];
            }
            errors.extend(written.err());
        }
        if let Some(path) = self.gitlab {
            errors.extend(write_figures(context, &task.id, path).await.err());
        }
        if let Some(dir) = self.results {
            errors.extend(save::save(context, task, dir, named).await);
        }
        errors
    }
}

async fn write_figures(context: &Context, name: &str, path: &Path) -> Result<(), CliError> {
    let from = format!("task/{}/report?format=json", segment(name));
    let report = fetch::bytes(&context.director, &from, "application/json").await?;
    let report: Report = serde_json::from_slice(&report).map_err(|error| {
        CliError::failed(format!("the report of `{name}` is invalid: {error}"), "")
    })?;
    named::write(path, gitlab::document(&report))
}

fn conflict(one: &str, other: &str, path: &Path) -> CliError {
    CliError::usage(
        format!("`{one}` and `{other}` both write `{}`", path.display()),
        "choose another file",
    )
}

/// Devices such as `/dev/null` may be given several times.
fn is_file(path: &Path) -> bool {
    fs::metadata(path).map_or(true, |found| found.is_file())
}

/// The path with its parent resolved.
fn resolved(path: &Path) -> Option<PathBuf> {
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let parent = fs::canonicalize(parent.unwrap_or(Path::new("."))).ok()?;
    Some(parent.join(path.file_name()?))
}

/// The name of `path` if it is directly in `dir`.
fn name_in(dir: &Path, path: &Path) -> Option<String> {
    let path = resolved(path)?;
    let dir = fs::canonicalize(dir).ok()?;
    let name = path.file_name()?.to_str()?;
    (path.parent() == Some(&dir)).then(|| name.to_owned())
}
