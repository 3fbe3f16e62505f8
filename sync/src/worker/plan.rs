//! The tool and its arguments. It is searched before the worker listens, so that a wrong command is reported at once.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{Access, access};

use crate::exec_at::NAME;
use crate::exit::{Code, Failure};
use crate::placeholder::Template;
use crate::share::Share;

/// The command of the tool, with placeholders in its arguments.
#[derive(Debug)]
pub struct Plan {
    name: OsString,
    program: PathBuf,
    arguments: Vec<Template>,
}

impl Plan {
    /// Finds the tool and reads its arguments.
    ///
    /// # Errors
    /// 127 for a tool that does not exist, 126 for one that is not executable, 2 for a wrong placeholder.
    pub fn new(command: &[OsString]) -> Result<Self, Failure> {
        let usage = |message| Failure {
            code: Code::USAGE,
            message,
        };
        let (name, arguments) = command
            .split_first()
            .ok_or_else(|| usage("no tool; right is `atq-sync worker -- TOOL ARGS`".to_owned()))?;
        let arguments: Result<_, _> = arguments.iter().map(|one| Template::parse(one)).collect();
        let path = std::env::var_os("PATH").unwrap_or_default();
        Ok(Self {
            name: name.clone(),
            program: find(name, &path)?,
            arguments: arguments.map_err(usage)?,
        })
    }

    /// The command for a share: this program, which becomes the tool at the start.
    ///
    /// # Errors
    /// A placeholder that the share has no value for, or this program is not found.
    pub fn command(&self, share: &Share) -> Result<Command, String> {
        let arguments = self.arguments.iter().map(|one| one.fill(share));
        let own = std::env::current_exe()
            .map_err(|error| format!("cannot find atq-sync itself: {error}"))?;
        let mut command = Command::new(own);
        command
            .args([
                OsStr::new(NAME),
                OsStr::new("--"),
                self.program.as_os_str(),
                &self.name,
            ])
            .args(arguments.collect::<Result<Vec<_>, _>>()?)
            .envs(share.environment());
        Ok(command)
    }
}

fn find(name: &OsStr, path: &OsStr) -> Result<PathBuf, Failure> {
    let direct = Path::new(name);
    let candidates: Vec<PathBuf> = match name.as_encoded_bytes().contains(&b'/') {
        true => vec![direct.to_owned()],
        false => std::env::split_paths(path)
            .map(|dir| dir.join(name))
            .collect(),
    };
    let is_executable =
        |file: &&PathBuf| file.is_file() && access(file.as_path(), Access::EXEC_OK).is_ok();
    if let Some(found) = candidates.iter().find(is_executable) {
        return Ok(found.clone());
    }
    Err(match candidates.iter().find(|file| file.exists()) {
        Some(file) => not_executable(file),
        None => not_found(name, path),
    })
}

fn not_executable(file: &Path) -> Failure {
    let why = match file.is_file() {
        true => "this user may not execute it; right is for example mode 755",
        false => "it is not a file",
    };
    Failure {
        code: Code::NOT_EXECUTABLE,
        message: format!("the tool `{}` is not executable: {why}", file.display()),
    }
}

fn not_found(name: &OsStr, path: &OsStr) -> Failure {
    let name = name.display();
    let message = match name.to_string().contains('/') {
        true => format!("the tool `{name}` does not exist"),
        false => format!(
            "the tool `{name}` is in no directory of PATH ({})",
            path.display()
        ),
    };
    Failure {
        code: Code::NOT_FOUND,
        message,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    fn file(dir: &Path, name: &str, mode: u32) {
        fs::write(dir.join(name), "#!/bin/sh\n").unwrap();
        fs::set_permissions(dir.join(name), Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_tool_is_searched_on_the_path_and_a_file_that_is_not_executable_is_skipped() {
        let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        file(first.path(), "tool", 0o644);
        let path = std::env::join_paths([first.path(), second.path()]).unwrap();
        let failure = find(OsStr::new("tool"), &path).unwrap_err();
        assert_eq!(failure.code, Code::NOT_EXECUTABLE, "{failure:?}");
        file(second.path(), "tool", 0o755);
        assert_eq!(
            find(OsStr::new("tool"), &path).unwrap(),
            second.path().join("tool")
        );
    }

    #[test]
    fn a_missing_tool_is_named_with_the_path() {
        let failure = find(OsStr::new("nosuch"), OsStr::new("/bin:/usr/bin")).unwrap_err();
        assert_eq!(failure.code, Code::NOT_FOUND);
        assert_eq!(
            failure.message,
            "the tool `nosuch` is in no directory of PATH (/bin:/usr/bin)"
        );
        let failure = find(OsStr::new("/no/such"), OsStr::new("")).unwrap_err();
        assert_eq!(failure.message, "the tool `/no/such` does not exist");
    }

    #[test]
    fn a_directory_is_not_executable() {
        let failure = find(OsStr::new("/tmp"), OsStr::new("")).unwrap_err();
        assert_eq!(failure.code, Code::NOT_EXECUTABLE);
    }
}
