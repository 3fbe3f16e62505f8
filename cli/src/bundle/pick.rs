//! Which files of a directory are sent.
//!
//! All of them, hidden ones too, in the order of their names' bytes, without what `.atqignore` files leave out.
//! Those work like `.gitignore`, one in each directory if need be; nothing outside of the directory matters, so that
//! the same files are the same bundle wherever they lie. Never sent are the `.atqignore` files themselves and `.git`:
//! it differs from clone to clone, and holds credentials. A directory without files is not sent either, as Git has
//! none.

use crate::trouble::Trouble;
use ignore::{DirEntry, WalkBuilder};
use std::fs::Metadata;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Says what is left out.
const IGNORE: &str = ".atqignore";
/// Left out at any depth.
const NEVER: [&str; 2] = [IGNORE, ".git"];
const EXECUTABLE: u32 = 0o111;

/// A file that is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picked {
    /// Its name in the zip.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
    /// Size in bytes when it was looked at.
    pub bytes: u64,
    /// Whether somebody may execute it.
    pub executable: bool,
}

/// The files of the directory at `root`, an absolute path without links, which the user calls `shown`.
///
/// # Errors
/// When something in it cannot be sent, or nothing is left of it.
pub fn pick(root: &Path, shown: &Path) -> Result<Vec<Picked>, Trouble> {
    let mut walk = WalkBuilder::new(root);
    walk.standard_filters(false)
        .add_custom_ignore_filename(IGNORE)
        .filter_entry(|entry| {
            entry.depth() == 0 || !NEVER.iter().any(|never| entry.file_name() == *never)
        });
    let mut files = Vec::new();
    for entry in walk.build() {
        let entry = entry.map_err(|error| unusable(shown, &error))?;
        // A line of an `.atqignore` that means nothing.
        if let Some(error) = entry.error() {
            return Err(unusable(shown, error));
        }
        if !entry.file_type().is_some_and(|kind| kind.is_dir()) {
            files.push(look(root, &entry)?);
        }
    }
    if files.is_empty() {
        return Err(empty(root, shown));
    }
    files.sort_unstable_by(|one, other| one.name.cmp(&other.name));
    Ok(files)
}

fn unusable(shown: &Path, error: &ignore::Error) -> Trouble {
    let message = format!("`{}` cannot be packed: {error}", shown.display());
    Trouble::usage(message, "")
}

fn empty(root: &Path, shown: &Path) -> Trouble {
    let hint = match root.join(IGNORE).exists() {
        true => "its `.atqignore` leaves everything out",
        false => "expected at least one file",
    };
    Trouble::usage(format!("`{}` holds no file to send", shown.display()), hint)
}

fn look(root: &Path, entry: &DirEntry) -> Result<Picked, Trouble> {
    let name = name(root, entry.path())?;
    let metadata = match entry.path_is_symlink() {
        true => follow(root, entry.path(), &name)?,
        false => entry
            .path()
            .symlink_metadata()
            .map_err(|error| unfit(&name, &format!("cannot be read: {error}"), ""))?,
    };
    if !metadata.is_file() {
        let reason = "is a device, a pipe or a socket";
        return Err(unfit(&name, reason, leave_out(&name).as_str()));
    }
    Ok(Picked {
        path: entry.path().to_owned(),
        bytes: metadata.len(),
        executable: metadata.permissions().mode() & EXECUTABLE != 0,
        name,
    })
}

/// The name in the zip, if that is one that the Director takes.
fn name(root: &Path, path: &Path) -> Result<String, Trouble> {
    let relative = path.strip_prefix(root).unwrap_or(path);
    let Some(name) = relative.to_str() else {
        let lossy = relative.to_string_lossy();
        return Err(unfit(&lossy, "has a name that is not UTF-8", ""));
    };
    match atq_bundle_archive::relative_path(name) {
        Ok(name) => Ok(name),
        Err(reason) => {
            let (reason, hint) = reason.split_once("\nhint: ").unwrap_or((&reason, ""));
            Err(unfit(name, reason, hint))
        }
    }
}

/// What a link leads to. Bundles have no links: the file goes in its place, if it is one of the directory's own.
fn follow(root: &Path, path: &Path, name: &str) -> Result<Metadata, Trouble> {
    let hint = format!("put the file itself there, or {}", leave_out(name));
    let refuse = |reason: String| unfit(name, &reason, &hint);
    let target = path
        .canonicalize()
        .map_err(|error| refuse(format!("is a symbolic link that leads nowhere: {error}")))?;
    if !target.starts_with(root) {
        let target = target.display();
        return Err(refuse(format!(
            "is a symbolic link that leads out of the directory, to `{target}`"
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

fn leave_out(name: &str) -> String {
    format!("leave it out with the line `/{name}` in `{IGNORE}`")
}

fn unfit(name: &str, reason: &str, hint: &str) -> Trouble {
    Trouble::usage(format!("`{}` {reason}", name.escape_debug()), hint)
}
