//! Result archives to disk.
//!
//! What is refused is less than for bundles: result files may have names that no bundle may have, be as
//! large and shrink as much as they like, because they come from one's own Director. Only what would lie
//! outside the directory, and what is no file, is never unpacked.

use crate::fetch::{part, unwritten};
use crate::trouble::Trouble;
use std::fs::{self, File};
use std::io;
use std::path::{Component, Path, PathBuf};
use zip::ZipArchive;
use zip::read::ZipFile;

/// What was done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unpacked {
    /// The files, with `/` in their paths, in the order of the archive.
    pub files: Vec<String>,
    /// How many of them were there before, and are replaced.
    pub replaced: usize,
}

/// Unpacks the archive `zip` into `dir`, which is made if it is missing. Each file is there whole or not
/// at all; one that is there already is replaced.
///
/// # Errors
/// When the archive is broken or has names that lead out of `dir`, which are looked for before anything
/// is written; or when something cannot be written.
pub fn unpack(zip: &Path, dir: &Path) -> Result<Unpacked, Trouble> {
    let file = File::open(zip).map_err(|error| broken(error.to_string()))?;
    let mut archive = ZipArchive::new(file).map_err(|error| broken(error.to_string()))?;
    let mut unpacked = Unpacked::default();
    for index in 0..archive.len() {
        let entry = archive.by_index(index);
        checked(&entry.map_err(|error| broken(error.to_string()))?)?;
    }
    fs::create_dir_all(dir).map_err(unwritten(dir))?;
    for index in 0..archive.len() {
        let mut entry = archive
            .by_index(index)
            .map_err(|error| broken(error.to_string()))?;
        let path = checked(&entry)?;
        let to = dir.join(&path);
        if entry.is_dir() {
            fs::create_dir_all(&to).map_err(unwritten(&to))?;
            continue;
        }
        if to.symlink_metadata().is_ok() {
            unpacked.replaced += 1;
        }
        write(&mut entry, &to)?;
        unpacked.files.push(path.to_string_lossy().into_owned());
    }
    Ok(unpacked)
}

fn write<R: io::Read>(entry: &mut ZipFile<'_, R>, to: &Path) -> Result<(), Trouble> {
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent).map_err(unwritten(parent))?;
    }
    let part = part(to);
    let written = File::create(&part)
        .map_err(unwritten(&part))
        .and_then(|mut file| io::copy(entry, &mut file).map_err(unwritten(to)))
        .and_then(|_| fs::rename(&part, to).map_err(unwritten(to)));
    if written.is_err() {
        // Best effort: the trouble says more.
        drop(fs::remove_file(&part));
    }
    written
}

/// Where the entry goes.
fn checked<R: io::Read>(entry: &ZipFile<'_, R>) -> Result<PathBuf, Trouble> {
    let name = entry
        .name()
        .map_err(|error| broken(format!("an entry has no usable name: {error}")))?;
    let refused = |why: &str| broken(format!("the entry `{}` {why}", name.escape_debug()));
    if entry.is_symlink() {
        return Err(refused("is a symbolic link"));
    }
    relative(&name).map_err(refused)
}

/// A name as a path below the directory.
fn relative(name: &str) -> Result<PathBuf, &'static str> {
    if name.contains('\0') {
        return Err("has a NUL character in its name");
    }
    let mut path = PathBuf::new();
    for component in Path::new(name).components() {
        match component {
            Component::Normal(part) => path.push(part),
            Component::CurDir => {}
            Component::ParentDir => return Err("leads out of the archive by `..`"),
            Component::RootDir | Component::Prefix(_) => return Err("has an absolute name"),
        }
    }
    match path.as_os_str().is_empty() {
        true => Err("has an empty name"),
        false => Ok(path),
    }
}

fn broken(why: String) -> Trouble {
    Trouble::failed(
        format!("the archive of the results cannot be unpacked: {why}"),
        "`-o results.zip` brings it as it is",
    )
}

#[cfg(test)]
mod tests;
