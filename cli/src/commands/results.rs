//! `atq results`.

use crate::args::Results;
use crate::context::Context;
use crate::director::segment;
use crate::exit::Exit;
use crate::fetch::{save, transfer};
use crate::keep::{ZIP, tell_renamed};
use crate::output::draft::Draft;
use crate::output::{named, unwritten};
use crate::trouble::Trouble;
use crate::unpack::{Unpacked, unpack};
use serde::Serialize;
use std::fs::File;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};

/// What was brought.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Brought<'a> {
    /// The directory or archive.
    output: &'a Path,
    /// Paths below the directory; absent for an archive.
    #[serde(skip_serializing_if = "Option::is_none")]
    files: Option<&'a [String]>,
    /// Files, or the archive, that were there before and are replaced.
    replaced: usize,
}

/// Where the results go.
#[derive(Debug, PartialEq, Eq)]
enum Place<'a> {
    Stdout,
    Zip(&'a Path),
    Dir(&'a Path),
}

/// The place that `--output` names, else a directory of the task's name.
fn chosen(args: &Results) -> Result<Place<'_>, Trouble> {
    match &args.output {
        Some(output) => Ok(place(output)),
        None => own_dir(&args.name).map(Place::Dir),
    }
}

/// The directory of the task's name. A name that no task can have never leads elsewhere.
fn own_dir(name: &str) -> Result<&Path, Trouble> {
    let is_safe = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
    if !name.is_empty() && !name.starts_with('-') && name.chars().all(is_safe) {
        return Ok(Path::new(name));
    }
    Err(Trouble::usage(
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

/// Brings the results of a task.
///
/// # Errors
/// When there are none, the run is not over, the Director cannot be reached, or they cannot be written.
pub async fn results(context: &Context, args: &Results) -> Result<Exit, Trouble> {
    let path = format!("task/{}/results", segment(&args.name));
    match chosen(args)? {
        Place::Stdout if context.out.json => {
            return Err(Trouble::usage(
                "`--json` and `--output -` both want standard output",
                "leave one of them out",
            ));
        }
        Place::Stdout if io::stdout().is_terminal() => {
            return Err(Trouble::usage(
                "`--output -` would write a zip to the terminal",
                "send it to a program or a file, or name a directory",
            ));
        }
        Place::Stdout => to_stdout(context, &path).await?,
        Place::Zip(zip) => {
            named::probe("--output", zip)?;
            let replaced = usize::from(zip.symlink_metadata().is_ok());
            save(&context.director, &path, ZIP, zip).await?;
            tell_replaced(context, replaced);
            context.out.line(zip.display());
            context.out.result(&Brought {
                output: zip,
                files: None,
                replaced,
            });
        }
        Place::Dir(dir) => {
            let unpacked = bring(context, &args.name, dir).await?;
            for file in &unpacked.files {
                context.out.line(dir.join(file).display());
            }
            context.out.result(&Brought {
                output: dir,
                files: Some(&unpacked.files),
                replaced: unpacked.replaced,
            });
            return Ok(told(context, &unpacked.troubles));
        }
    }
    Ok(Exit::Pass)
}

/// Unpacks the results of the task into `dir`; says when files are replaced, or get other names.
async fn bring(context: &Context, name: &str, dir: &Path) -> Result<Unpacked, Trouble> {
    let was_there = dir.exists();
    named::probe_dir("--output", dir)?;
    let path = format!("task/{}/results", segment(name));
    let begin = || Draft::create_in(dir).map_err(unwritten(dir));
    let transferred = transfer(&context.director, &path, ZIP, begin).await;
    if transferred.is_err() && !was_there {
        // Only an empty directory can be removed this way.
        drop(std::fs::remove_dir(dir));
    }
    let zip = transferred?;
    let to = dir.to_owned();
    let unpacked = tokio::task::spawn_blocking(move || unpack(zip.path(), &to)).await;
    let unpacked = unpacked.map_err(|error| Trouble::failed(error.to_string(), ""))??;
    tell_replaced(context, unpacked.replaced);
    for (wanted, got) in &unpacked.renamed {
        tell_renamed(context.out, wanted, got);
    }
    Ok(unpacked)
}

fn tell_replaced(context: &Context, replaced: usize) {
    match replaced {
        0 => {}
        1 => context.out.progress("1 file that was there is replaced"),
        many => context
            .out
            .progress(format_args!("{many} files that were there are replaced")),
    }
}

/// The exit code of what is there, after why the rest is missing was told.
fn told(context: &Context, troubles: &[Trouble]) -> Exit {
    // There is one JSON document, the list of what is there.
    let aside = context.out.aside();
    for trouble in troubles {
        aside.trouble(trouble);
    }
    troubles.first().map_or(Exit::Pass, Trouble::exit)
}

/// A place for the archive, with what removes it.
fn temporary() -> Result<(tempfile::TempDir, PathBuf), Trouble> {
    let dir = tempfile::tempdir().map_err(unwritten(&std::env::temp_dir()))?;
    let zip = dir.path().join("results.zip");
    Ok((dir, zip))
}

/// Not before all of it is there: whoever reads a pipe does not see that something broke.
async fn to_stdout(context: &Context, path: &str) -> Result<(), Trouble> {
    let (_guard, zip) = temporary()?;
    save(&context.director, path, ZIP, &zip).await?;
    let written = File::open(&zip).and_then(|mut zip| io::copy(&mut zip, &mut io::stdout().lock()));
    written.map(drop).map_err(unwritten(Path::new("-")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn without_output_the_directory_has_the_name_of_the_task() {
        let args = |name: &str| Results {
            name: name.to_owned(),
            output: None,
        };
        assert_eq!(
            chosen(&args("nightly")).unwrap(),
            Place::Dir(Path::new("nightly"))
        );
        for name in ["", "..", ".", "a/b", "/tmp", "-x", "a\0b", "x.zip"] {
            assert!(chosen(&args(name)).is_err(), "{name}");
        }
    }

    #[test]
    fn the_name_says_what_is_wanted() {
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
