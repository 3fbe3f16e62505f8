//! `atq init`: writes an example of `deploy/examples`, which is part of this program.

use crate::args::{Example, Init};
use crate::context::Context;
use crate::exit::Exit;
use crate::trouble::Trouble;
use serde::Serialize;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

#[cfg(test)]
mod tests;

/// A file of an example.
#[derive(Debug, Clone, Copy)]
struct File {
    /// Path in the example's folder.
    path: &'static str,
    content: &'static str,
}

/// The files of a folder of `deploy/examples`.
macro_rules! files {
    ($folder:literal: $($path:literal),+) => {
        &[$(File {
            path: $path,
            content: include_str!(concat!("../../../deploy/examples/", $folder, "/", $path)),
        }),+]
    };
}

const JMETER: &[File] = files!("jmeter": "README.md", "task.json", "bundle/plan.jmx");
const LOCUST: &[File] = files!("locust": "README.md", "task.json", "bundle/locustfile.py");
const PLAIN: &[File] = files!(
    "plain": "README.md", "task.json", "bundle/master.sh", "bundle/worker.sh", "bundle/answer.sh"
);

impl Example {
    /// Its name on the command line, and of its directory.
    const fn name(self) -> &'static str {
        match self {
            Self::Jmeter => "jmeter",
            Self::Locust => "locust",
            Self::Plain => "plain",
        }
    }

    const fn files(self) -> &'static [File] {
        match self {
            Self::Jmeter => JMETER,
            Self::Locust => LOCUST,
            Self::Plain => PLAIN,
        }
    }

    /// Whether its README begins with something to load.
    const fn wants_target(self) -> bool {
        !matches!(self, Self::Plain)
    }
}

/// What was written, for `--json`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    /// The example's name.
    example: &'static str,
    /// The directory, as it was given.
    directory: PathBuf,
    /// Paths in the directory.
    files: Vec<&'static str>,
}

/// Writes the example, and says what to do next.
///
/// # Errors
/// When the directory is not empty, or cannot be written.
pub async fn init(context: &Context, args: &Init) -> Result<Exit, Trouble> {
    let example = args.example;
    let dir = match &args.dir {
        Some(dir) => dir.clone(),
        None => PathBuf::from(example.name()),
    };
    must_be_free(&dir)?;
    write(example, &dir)?;
    for line in next_steps(example, &dir) {
        context.out.line(line);
    }
    context.out.result(&Written {
        example: example.name(),
        files: example.files().iter().map(|file| file.path).collect(),
        directory: dir,
    });
    Ok(Exit::Pass)
}

/// Nothing of the user's is overwritten, and nothing of theirs becomes part of the example.
fn must_be_free(dir: &Path) -> Result<(), Trouble> {
    match std::fs::read_dir(dir).map(|mut entries| entries.next().is_none()) {
        Ok(true) => Ok(()),
        Ok(false) => Err(Trouble::usage(
            format!("the directory `{}` is not empty", dir.display()),
            "name another one: it is made when it does not exist",
        )),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Trouble::usage(
            format!("`{}` cannot be used as a directory: {error}", dir.display()),
            "",
        )),
    }
}

fn write(example: Example, dir: &Path) -> Result<(), Trouble> {
    for file in example.files() {
        let path = dir.join(file.path);
        write_file(&path, file.content).map_err(|error| {
            Trouble::failed(format!("cannot write `{}`: {error}", path.display()), "")
        })?;
    }
    Ok(())
}

fn write_file(path: &Path, content: &str) -> std::io::Result<()> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    std::fs::write(path, content)?;
    // The mode of a file is no part of what is compiled in; a script is known by its first line.
    match content.starts_with("#!") {
        true => make_executable(path),
        false => Ok(()),
    }
}

/// Who may read it may also run it.
#[cfg(unix)]
fn make_executable(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(path)?.permissions().mode();
    let mode = mode | ((mode & 0o444) >> 2);
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
}

#[cfg(not(unix))]
fn make_executable(_path: &Path) -> std::io::Result<()> {
    Ok(())
}

fn next_steps(example: Example, dir: &Path) -> Vec<String> {
    let mut lines = vec![format!("wrote `{}`; next:", dir.display())];
    lines.push(format!("  cd {}", quoted(dir)));
    if example.wants_target() {
        lines.push("  # README.md: the two commands that start something to load".to_owned());
    }
    lines.push("  atq run task.json --bundle bundle".to_owned());
    lines
}

/// The path so that a shell takes it as one word.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    match text.chars().all(plain) && !text.starts_with('-') {
        true => text,
        false if text.starts_with('-') => format!("'./{}'", text.replace('\'', r"'\''")),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}
