//! Unpacking result archives.
//!
//! The checks are less strict than for bundles, because the archive is from the user's own Director: there are no limits for
//! names, sizes and compression ratios. Entries outside the directory and entries that are not files are never unpacked. An
//! entry that cannot be unpacked does not affect the others.

use crate::error::CliError;
use crate::output::owned::{Name, Owned, Placed};
use crate::output::write_error;
use std::fmt::Display;
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use zip::read::ZipFile;
use zip::{ExtraField, ZipArchive};

/// The result of unpacking.
#[derive(Debug, Default)]
pub struct Unpacked {
    /// The files, with `/` in their paths, in the order of the archive.
    pub files: Vec<String>,
    /// Number of files that replaced files of an earlier call.
    pub replaced: usize,
    /// Files whose names were taken: the requested and the final name.
    pub renamed: Vec<(String, String)>,
    /// Errors of missing entries.
    pub errors: Vec<CliError>,
}

/// Unpacks the archive `zip` to `dir`, which is created if it is missing. Each file is written atomically; files of an earlier
/// call are replaced, foreign files are kept.
///
/// # Errors
/// When the archive as a whole is invalid, or the directory cannot be created.
pub fn unpack(zip: &Path, dir: &Path) -> Result<Unpacked, CliError> {
    fs::create_dir_all(dir).map_err(write_error(dir))?;
    unpack_below(zip, &mut Owned::open(dir)?, None)
}

/// Like [`unpack`], to the subdirectory `below` of an open directory.
///
/// # Errors
/// When the archive as a whole is invalid.
pub fn unpack_below(
    zip: &Path,
    owned: &mut Owned,
    below: Option<&str>,
) -> Result<Unpacked, CliError> {
    let file = File::open(zip).map_err(invalid_archive)?;
    let mut archive = ZipArchive::new(file).map_err(invalid_archive)?;
    let mut unpacked = Unpacked::default();
    for index in 0..archive.len() {
        let entry = archive.by_index(index).map_err(invalid_archive);
        let done =
            entry.and_then(|mut entry| unpack_entry(&mut entry, owned, below, &mut unpacked));
        unpacked.errors.extend(done.err());
    }
    Ok(unpacked)
}

fn unpack_entry<R: io::Read>(
    entry: &mut ZipFile<'_, R>,
    owned: &mut Owned,
    below: Option<&str>,
    unpacked: &mut Unpacked,
) -> Result<(), CliError> {
    let own_name = entry_name(entry)?;
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
) -> Result<Placed, CliError> {
    let (name, mut draft) = owned.begin(name)?;
    io::copy(entry, &mut draft).map_err(|error| {
        CliError::failed(
            format!("`{}` cannot be unpacked: {error}", name.as_str()),
            "",
        )
    })?;
    if let Some(time) = modified(entry) {
        // Best effort: only the content matters.
        drop(draft.set_modified(time));
    }
    owned.put(&name, draft)
}

/// The modification time of an entry, if the archive has it in UTC.
fn modified<R: io::Read>(entry: &ZipFile<'_, R>) -> Option<SystemTime> {
    let seconds = entry.extra_data_fields().find_map(|field| match field {
        ExtraField::ExtendedTimestamp(times) => times.mod_time(),
        _ => None,
    });
    Some(UNIX_EPOCH + Duration::from_secs(u64::from(seconds?)))
}

/// The validated name of an entry.
fn entry_name<R: io::Read>(entry: &ZipFile<'_, R>) -> Result<Name, CliError> {
    let name = entry
        .name()
        .map_err(|error| invalid_archive(format!("an entry has no usable name: {error}")))?;
    let refused = |why: &str| {
        let name = name.escape_debug();
        CliError::failed(
            format!("the entry `{name}` of the results is skipped: it {why}"),
            "",
        )
    };
    if entry.is_symlink() {
        return Err(refused("is a symbolic link"));
    }
    Name::parse(&name).map_err(refused)
}

fn invalid_archive(why: impl Display) -> CliError {
    CliError::failed(
        format!("the archive of the results cannot be unpacked: {why}"),
        "`-o results.zip` downloads it unchanged",
    )
}

#[cfg(test)]
mod tests;
