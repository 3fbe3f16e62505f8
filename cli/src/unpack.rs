//! Result archives to disk.
//!
//! What is refused is less than for bundles: result files may have names that no bundle may have, be as
//! large and shrink as much as they like, because they come from one's own Director. Only what would lie
//! outside the directory, and what is no file, is never unpacked. An entry that cannot be unpacked is no reason to
//! lose the others.

use crate::output::owned::{Name, Owned, Placed};
use crate::output::unwritten;
use crate::trouble::Trouble;
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use zip::read::ZipFile;
use zip::{ExtraField, ZipArchive};

/// What was done.
#[derive(Debug, Default)]
pub struct Unpacked {
    /// The files, with `/` in their paths, in the order of the archive.
    pub files: Vec<String>,
    /// How many of them this program had written before, and replaced.
    pub replaced: usize,
    /// Files whose names were taken: the wanted name, and the one that each has now.
    pub renamed: Vec<(String, String)>,
    /// Why entries are missing.
    pub troubles: Vec<Trouble>,
}

/// Unpacks the archive `zip` into `dir`, which is made if it is missing. Each file is there whole or not
/// at all; one that this program wrote before is replaced, and one of somebody else kept.
///
/// # Errors
/// When the archive is broken as a whole, or the directory cannot be made.
pub fn unpack(zip: &Path, dir: &Path) -> Result<Unpacked, Trouble> {
    fs::create_dir_all(dir).map_err(unwritten(dir))?;
    unpack_below(zip, &mut Owned::open(dir)?, None)
}

/// The same into the directory `below` of one that is open.
///
/// # Errors
/// When the archive is broken as a whole.
pub fn unpack_below(
    zip: &Path,
    owned: &mut Owned,
    below: Option<&str>,
) -> Result<Unpacked, Trouble> {
    let file = File::open(zip).map_err(|error| broken(error.to_string()))?;
    let mut archive = ZipArchive::new(file).map_err(|error| broken(error.to_string()))?;
    let mut unpacked = Unpacked::default();
    for index in 0..archive.len() {
        let entry = archive.by_index(index);
        let done = entry
            .map_err(|error| broken(error.to_string()))
            .and_then(|mut entry| one(&mut entry, owned, below, &mut unpacked));
        unpacked.troubles.extend(done.err());
    }
    Ok(unpacked)
}

fn one<R: io::Read>(
    entry: &mut ZipFile<'_, R>,
    owned: &mut Owned,
    below: Option<&str>,
    unpacked: &mut Unpacked,
) -> Result<(), Trouble> {
    let own_name = checked(entry)?;
    let name = match below {
        Some(dir) => own_name.below(dir),
        None => own_name,
    };
    if entry.is_dir() {
        return owned.make_dir(name.as_str()).map(drop);
    }
    let Placed {
        name: got,
        replaced,
    } = write(entry, owned, &name)?;
    unpacked.replaced += usize::from(replaced);
    if got != name.as_str() {
        unpacked
            .renamed
            .push((name.as_str().to_owned(), got.clone()));
    }
    unpacked.files.push(match below {
        Some(dir) => got
            .strip_prefix(&format!("{dir}/"))
            .unwrap_or(&got)
            .to_owned(),
        None => got,
    });
    Ok(())
}

fn write<R: io::Read>(
    entry: &mut ZipFile<'_, R>,
    owned: &mut Owned,
    name: &Name,
) -> Result<Placed, Trouble> {
    let (name, mut draft) = owned.begin(name)?;
    io::copy(entry, &mut draft).map_err(|error| {
        Trouble::failed(
            format!("`{}` cannot be unpacked: {error}", name.as_str()),
            "",
        )
    })?;
    if let Some(time) = modified(entry) {
        // Best effort: the content is what counts.
        drop(draft.set_modified(time));
    }
    owned.put(&name, draft)
}

/// When the file was last changed, if the archive has it to the second.
fn modified<R: io::Read>(entry: &ZipFile<'_, R>) -> Option<SystemTime> {
    let seconds = entry.extra_data_fields().find_map(|field| match field {
        ExtraField::ExtendedTimestamp(times) => times.mod_time(),
        _ => None,
    });
    Some(UNIX_EPOCH + Duration::from_secs(u64::from(seconds?)))
}

/// Where the entry goes.
fn checked<R: io::Read>(entry: &ZipFile<'_, R>) -> Result<Name, Trouble> {
    let name = entry
        .name()
        .map_err(|error| broken(format!("an entry has no usable name: {error}")))?;
    let refused = |why: &str| {
        let name = name.escape_debug();
        Trouble::failed(
            format!("the entry `{name}` of the results is left out: it {why}"),
            "",
        )
    };
    if entry.is_symlink() {
        return Err(refused("is a symbolic link"));
    }
    Name::parse(&name).map_err(refused)
}

fn broken(why: String) -> Trouble {
    Trouble::failed(
        format!("the archive of the results cannot be unpacked: {why}"),
        "`-o results.zip` brings it as it is",
    )
}

#[cfg(test)]
mod tests;
