//! `atq init`: writes an example of `deploy/examples`, which is part of this program.

use crate::args::{Example, Init};
use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use serde::Serialize;
use std::fs::Permissions;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

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

const ARTILLERY: &[File] =
    files!("artillery": "README.md", "task.json", "bundle/test.yml", "bundle/users.csv");
const GATLING: &[File] = files!(
    "gatling": "README.md", "task.json", "bundle/ExampleSimulation.java", "bundle/users.csv"
);
const JMETER: &[File] = files!("jmeter": "README.md", "task.json", "bundle/plan.jmx");
const LOCUST: &[File] =
    files!("locust": "README.md", "task.json", "bundle/locustfile.py", "bundle/shape.py");
const MQTT: &[File] = files!(
    "mqtt": "README.md", "task.json", "task-locust.json", "bundle/devices.csv", "bundle/locustfile_mqtt.py"
);
const PERFTEST: &[File] = files!(
    "perftest": "README.md", "task.json", "bundle/publish_consume_low.js",
    "bundle/publish_consume_medium.js", "bundle/message_sizes_and_latency.js"
);
const PLAIN: &[File] = files!(
    "plain": "README.md", "task.json", "bundle/master.sh", "bundle/worker.sh", "bundle/answer.sh"
);
const VEGETA: &[File] =
    files!("vegeta": "README.md", "task.json", "bundle/worker.sh", "bundle/targets.txt");
const WRK: &[File] = files!("wrk": "README.md", "task.json", "bundle/request.lua");

impl Example {
    /// The name on the command line, which is also that of the directory, and the files.
    const fn contents(self) -> (&'static str, &'static [File]) {
        match self {
            Self::Artillery => ("artillery", ARTILLERY),
            Self::Gatling => ("gatling", GATLING),
            Self::Jmeter => ("jmeter", JMETER),
            Self::Locust => ("locust", LOCUST),
            Self::Mqtt => ("mqtt", MQTT),
            Self::Perftest => ("perftest", PERFTEST),
            Self::Plain => ("plain", PLAIN),
            Self::Vegeta => ("vegeta", VEGETA),
            Self::Wrk => ("wrk", WRK),
        }
    }

    /// Whether the README starts with a system under test.
    const fn has_target(self) -> bool {
        !matches!(self, Self::Plain)
    }
}

/// The `--json` document.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Written<'a> {
    /// The example's name.
    example: &'static str,
    /// The directory, as given.
    directory: &'a Path,
    /// Paths within the directory.
    files: Vec<&'static str>,
}

/// Writes the example, and prints the next steps.
///
/// # Errors
/// When the directory is not empty, or cannot be written.
pub async fn init(context: &Context, args: &Init) -> Result<Exit, CliError> {
    let (example, files) = args.example.contents();
    let directory = args.dir.as_deref().unwrap_or(Path::new(example));
    check_empty(directory)?;
    write(files, directory)?;
    let written = Written {
        example,
        directory,
        files: files.iter().map(|file| file.path).collect(),
    };
    let steps = next_steps(args.example, directory);
    context.out.show(steps, &written);
    Ok(Exit::Pass)
}

/// Checks that the directory is absent or empty, so that no file of the user is overwritten or becomes part of the example.
fn check_empty(dir: &Path) -> Result<(), CliError> {
    match std::fs::read_dir(dir).map(|mut entries| entries.next().is_none()) {
        Ok(true) => Ok(()),
        Ok(false) => Err(CliError::usage(
            format!("the directory `{}` is not empty", dir.display()),
            "choose another directory; it is created if it does not exist",
        )),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(CliError::usage(
            format!("`{}` cannot be used as a directory: {error}", dir.display()),
            "",
        )),
    }
}

fn write(files: &[File], dir: &Path) -> Result<(), CliError> {
    for file in files {
        let path = dir.join(file.path);
        write_file(&path, file.content).map_err(|error| {
            CliError::failed(format!("cannot write `{}`: {error}", path.display()), "")
        })?;
    }
    Ok(())
}

fn write_file(path: &Path, content: &str) -> std::io::Result<()> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    std::fs::write(path, content)?;
    // Embedded files have no mode; a script is recognized by its first line.
    match content.starts_with("#!") {
        true => make_executable(path),
        false => Ok(()),
    }
}

/// Sets the execute bit wherever the read bit is set.
fn make_executable(path: &Path) -> std::io::Result<()> {
    let mode = std::fs::metadata(path)?.permissions().mode();
    let mode = mode | ((mode & 0o444) >> 2);
    std::fs::set_permissions(path, Permissions::from_mode(mode))
}

fn next_steps(example: Example, dir: &Path) -> Vec<String> {
    let mut lines = vec![
        format!("wrote `{}`; next:", dir.display()),
        format!("  cd {}", quoted(dir)),
    ];
    if example.has_target() {
        lines.push("  # README.md: two commands that start a system under test".to_owned());
    }
    lines.push("  atq run task.json --bundle bundle".to_owned());
    lines
}

/// The path, quoted for a shell.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    let is_option = text.starts_with('-');
    match text.chars().all(plain) && !is_option {
        true => text,
        false => {
            let place = if is_option { "./" } else { "" };
            format!("'{place}{}'", text.replace('\'', r"'\''"))
        }
    }
}
