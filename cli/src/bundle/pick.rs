//! Selecting the files of a directory for a bundle.
//!
//! All files are included, also hidden ones, in byte order of their names, except those excluded by `.atqignore` files. These
//! work like `.gitignore` and may be in any directory. Files outside the directory have no effect, so that the same files
//! give the same bundle anywhere. `.atqignore` files and `.git` are always excluded: `.git` differs between clones and
//! contains credentials. Empty directories are excluded, as in Git.

use crate::error::CliError;
use ignore::{DirEntry, WalkBuilder};
use std::fs::Metadata;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Name of the ignore files.
const IGNORE: &str = ".atqignore";
/// Excluded at any depth.
const ALWAYS_EXCLUDED: [&str; 2] = [IGNORE, ".git"];
const EXECUTABLE: u32 = 0o111;

/// A file of a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// Name in the zip.
    pub name: String,
    /// Path on this machine.
    pub path: PathBuf,
    /// Size in bytes at the time of the selection.
    pub bytes: u64,
    /// Whether any execute bit is set.
    pub executable: bool,
}

/// The files of the directory `root`, an absolute path without links. `shown` is the path for messages.
///
/// # Errors
/// When a file cannot be part of a bundle, or there is no file.
pub fn pick(root: &Path, shown: &Path) -> Result<Vec<SourceFile>, CliError> {
    let mut walk = WalkBuilder::new(root);
    walk.standard_filters(false)
        .add_custom_ignore_filename(IGNORE)
        .filter_entry(|entry| {
            entry.depth() == 0
                || !ALWAYS_EXCLUDED
                    .iter()
                    .any(|name| entry.file_name() == *name)
        });
    let mut files = Vec::new();
    for entry in walk.build() {
        let entry = entry.map_err(|error| unusable(shown, &error))?;
        // An invalid line of an `.atqignore`.
        if let Some(error) = entry.error() {
            return Err(unusable(shown, error));
        }
        if !entry.file_type().is_some_and(|kind| kind.is_dir()) {
            files.push(source_file(root, &entry)?);
        }
    }
    if files.is_empty() {
        return Err(empty(root, shown));
    }
    files.sort_unstable_by(|one, other| one.name.cmp(&other.name));
    Ok(files)
}

fn unusable(shown: &Path, error: &ignore::Error) -> CliError {
    let message = format!("`{}` cannot be packed: {error}", shown.display());
    CliError::usage(message, "")
}

fn empty(root: &Path, shown: &Path) -> CliError {
    let hint = match root.join(IGNORE).exists() {
        true => "its `.atqignore` excludes everything",
        false => "expected at least one file",
    };
    CliError::usage(
        format!("`{}` has no files to upload", shown.display()),
        hint,
    )
}

fn source_file(root: &Path, entry: &DirEntry) -> Result<SourceFile, CliError> {
    let name = name(root, entry.path())?;
    let metadata = match entry.path_is_symlink() {
        true => follow(root, entry.path(), &name)?,
        false => entry
            .path()
            .symlink_metadata()
            .map_err(|error| invalid(&name, &format!("cannot be read: {error}"), ""))?,
    };
    if !metadata.is_file() {
        let reason = "is a device, a pipe or a socket";
        return Err(invalid(&name, reason, exclude_hint(&name).as_str()));
    }
    Ok(SourceFile {
        path: entry.path().to_owned(),
        bytes: metadata.len(),
        executable: metadata.permissions().mode() & EXECUTABLE != 0,
        name,
    })
}

/// The name in the zip, if the Director accepts it.
fn name(root: &Path, path: &Path) -> Result<String, CliError> {
    let relative = path.strip_prefix(root).unwrap_or(path);
    let Some(name) = relative.to_str() else {
        let lossy = relative.to_string_lossy();
        return Err(invalid(&lossy, "has a name that is not UTF-8", ""));
    };
    match atq_bundle_archive::relative_path(name) {
        Ok(name) => Ok(name),
        Err(reason) => {
            let (reason, hint) = reason.split_once("\nhint: ").unwrap_or((&reason, ""));
            Err(invalid(name, reason, hint))
        }
    }
}

/// The target of a link. Bundles have no links: the link is replaced by its target, which must be within the directory.
fn follow(root: &Path, path: &Path, name: &str) -> Result<Metadata, CliError> {
    let hint = format!("replace the link by the file, or {}", exclude_hint(name));
    let refuse = |reason: String| invalid(name, &reason, &hint);
    let target = path
        .canonicalize()
        .map_err(|error| refuse(format!("is a broken symbolic link: {error}")))?;
    if !target.starts_with(root) {
        let target = target.display();
        return Err(refuse(format!(
            "is a symbolic link to `{target}`, which is outside the directory"
        )));
    }
    let metadata = target
        .metadata()
        .map_err(|error| refuse(format!("cannot be read: {error}")))?;
    match metadata.is_dir() {
        true => Err(refuse("is a symbolic link to a directory".to_owned())),
        false => Ok(metadata),
    }
}

fn exclude_hint(name: &str) -> String {
    format!("exclude it with the line `/{name}` in `{IGNORE}`")
}

fn invalid(name: &str, reason: &str, hint: &str) -> CliError {
    CliError::usage(format!("`{}` {reason}", name.escape_debug()), hint)
}
