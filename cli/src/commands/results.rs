//! `atq results`.

use crate::args::Results;
use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use crate::fetch::{save, transfer};
use crate::output::draft::Draft;
use crate::output::{named, write_error};
use crate::path::segment;
use crate::save::{ZIP, report_renamed};
use crate::unpack::{Unpacked, unpack};
use serde::Serialize;
use std::fs::File;
use std::io::{self, IsTerminal};
use std::path::Path;

/// The `--json` document.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Downloaded<'a> {
    /// The directory or archive.
    output: &'a Path,
    /// Paths below the directory; absent for an archive.
    #[serde(skip_serializing_if = "Option::is_none")]
    files: Option<&'a [String]>,
    /// Number of existing files that were replaced.
    replaced: usize,
}

/// The target of the results.
#[derive(Debug, PartialEq, Eq)]
enum Place<'a> {
    Stdout,
    Zip(&'a Path),
    Dir(&'a Path),
}

/// The target of `--output`, by default a directory with the name of the task.
fn target(args: &Results) -> Result<Place<'_>, CliError> {
    match &args.output {
        Some(output) => Ok(place(output)),
        None => own_dir(&args.name).map(Place::Dir),
    }
}

/// The directory with the name of the task. An invalid name is rejected, since it could be a path elsewhere.
fn own_dir(name: &str) -> Result<&Path, CliError> {
    let is_safe = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
    if !name.is_empty() && !name.starts_with('-') && name.chars().all(is_safe) {
        return Ok(Path::new(name));
    }
    Err(CliError::usage(
        format!("`{}` is not the name of a task", name.escape_debug()),
        "expected letters, digits, `-` and `_`; `atq ps` lists the tasks",
    ))
}

fn place(output: &Path) -> Place<'_> {
    let is_zip = output
        .extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("zip"));
    match output {
        _ if output == Path::new("-") => Place::Stdout,
        _ if is_zip && !output.is_dir() => Place::Zip(output),
        _ => Place::Dir(output),
    }
}

/// Downloads the results of a task.
///
/// # Errors
/// When there are none, the run is not over, the Director is unreachable, or they cannot be written.
pub async fn results(context: &Context, args: &Results) -> Result<Exit, CliError> {
    let path = format!("task/{}/results", segment(&args.name));
    match target(args)? {
        Place::Stdout if context.out.json => {
            return Err(CliError::usage(
                "`--json` and `--output -` both write to standard output",
                "use only one of them",
            ));
        }
        Place::Stdout if io::stdout().is_terminal() => {
            return Err(CliError::usage(
                "`--output -` would write a zip to the terminal",
                "redirect it to a program or a file, or choose a directory",
            ));
        }
        Place::Stdout => to_stdout(context, &path).await?,
        Place::Zip(zip) => {
            named::probe("--output", zip)?;
            let replaced = usize::from(zip.symlink_metadata().is_ok());
            save(&context.director, &path, ZIP, zip).await?;
            report_replaced(context, replaced);
            context.out.line(zip.display());
            context.out.result(&Downloaded {
                output: zip,
                files: None,
                replaced,
            });
        }
        Place::Dir(dir) => {
            let unpacked = download(context, &args.name, dir).await?;
            for file in &unpacked.files {
                context.out.line(dir.join(file).display());
            }
            context.out.result(&Downloaded {
                output: dir,
                files: Some(&unpacked.files),
                replaced: unpacked.replaced,
            });
            return Ok(print_errors(context, &unpacked.errors));
        }
    }
    Ok(Exit::Pass)
}

/// Downloads and unpacks the results to `dir`; reports replaced and renamed files.
async fn download(context: &Context, name: &str, dir: &Path) -> Result<Unpacked, CliError> {
    let was_there = dir.exists();
    named::probe_dir("--output", dir)?;
    let path = format!("task/{}/results", segment(name));
    let begin = || Draft::create_in(dir).map_err(write_error(dir));
    let transferred = transfer(&context.director, &path, ZIP, begin).await;
    if transferred.is_err() && !was_there {
        // Only an empty directory can be removed this way.
        drop(std::fs::remove_dir(dir));
    }
    let zip = transferred?;
    let to = dir.to_owned();
    let unpacked = tokio::task::spawn_blocking(move || unpack(zip.path(), &to)).await;
    let unpacked = unpacked.map_err(|error| CliError::failed(error.to_string(), ""))??;
    report_replaced(context, unpacked.replaced);
    for (wanted, got) in &unpacked.renamed {
        report_renamed(context.out, wanted, got);
    }
    Ok(unpacked)
}

fn report_replaced(context: &Context, replaced: usize) {
    match replaced {
        0 => {}
        1 => context.out.progress("replaced 1 existing file"),
        many => context
            .out
            .progress(format_args!("replaced {many} existing files")),
    }
}

/// Prints the errors of missing files; returns the exit code.
fn print_errors(context: &Context, errors: &[CliError]) -> Exit {
    // The only JSON document is the list of files.
    let out = context.out.without_json();
    for error in errors {
        out.error(error);
    }
    errors.first().map_or(Exit::Pass, CliError::exit)
}

/// Writes only the complete archive: the reader of a pipe cannot detect an interrupted download.
async fn to_stdout(context: &Context, path: &str) -> Result<(), CliError> {
    let dir = tempfile::tempdir().map_err(write_error(&std::env::temp_dir()))?;
    let zip = dir.path().join("results.zip");
    save(&context.director, path, ZIP, &zip).await?;
    let written = File::open(&zip).and_then(|mut zip| io::copy(&mut zip, &mut io::stdout().lock()));
    written.map(drop).map_err(write_error(Path::new("-")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_default_directory_has_the_name_of_the_task() {
        let args = |name: &str| Results {
            name: name.to_owned(),
            output: None,
        };
        assert_eq!(
            target(&args("nightly")).unwrap(),
            Place::Dir(Path::new("nightly"))
        );
        for name in ["", "..", ".", "a/b", "/tmp", "-x", "a\0b", "x.zip"] {
            assert!(target(&args(name)).is_err(), "{name}");
        }
    }

    #[test]
    fn the_name_selects_the_kind_of_output() {
        assert_eq!(place(Path::new("-")), Place::Stdout);
        assert_eq!(
            place(Path::new("a/b.ZIP")),
            Place::Zip(Path::new("a/b.ZIP"))
        );
        assert_eq!(place(Path::new("out")), Place::Dir(Path::new("out")));
        let dir = tempfile::tempdir().unwrap();
        let odd = dir.path().join("dir.zip");
        std::fs::create_dir(&odd).unwrap();
        assert_eq!(place(&odd), Place::Dir(&odd));
    }
}
