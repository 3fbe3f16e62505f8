//! Files given on the command line. They are checked before a test, so that an unwritable path does not fail after an
//! hour.

use super::draft::Draft;
use super::write_error;
use crate::error::CliError;
use rustix::fs::OFlags;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The current object at the path of a file.
enum Occupant {
    /// Nothing, or a file to replace.
    File,
    /// A device or a pipe. It is written to, never replaced: replacing `/dev/null` would break the machine.
    Device,
}

/// Checks that the file `path` of `option` can be written. Creates missing directories.
///
/// # Errors
/// A usage error, when it cannot be written.
pub fn probe(option: &str, path: &Path) -> Result<(), CliError> {
    attempt(path).map_err(|error| unusable(option, path, &error))
}

/// Checks that files can be written to the directory `path` of `option`. Creates the directory if it is missing.
///
/// # Errors
/// A usage error, when they cannot be written.
pub fn probe_dir(option: &str, path: &Path) -> Result<(), CliError> {
    let attempt = || {
        fs::create_dir_all(path)?;
        Draft::create_in(path).map(drop)
    };
    attempt().map_err(|error| unusable(option, path, &error))
}

fn unusable(option: &str, path: &Path, error: &io::Error) -> CliError {
    CliError::usage(
        format!("`{option} {}` cannot be written: {error}", path.display()),
        "choose another path",
    )
}

fn attempt(path: &Path) -> io::Result<()> {
    match occupant(path)? {
        Occupant::Device => open_device(path).map(drop),
        Occupant::File => {
            let dir = create_parent(path)?;
            Draft::create_in(&dir).map(drop)
        }
    }
}

fn occupant(path: &Path) -> io::Result<Occupant> {
    let ends_with_slash = path.as_os_str().as_encoded_bytes().ends_with(b"/");
    if path.file_name().is_none() || ends_with_slash {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
        Ok(found) if found.is_file() => Ok(Occupant::File),
        Ok(_) => Ok(Occupant::Device),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Occupant::File),
        Err(error) => Err(error),
    }
}

/// Opens a device without blocking: a pipe without a reader is an error.
fn open_device(path: &Path) -> io::Result<File> {
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).map_err(io::Error::other)?;
    OpenOptions::new()
        .write(true)
        .custom_flags(flags)
        .open(path)
}

fn create_parent(path: &Path) -> io::Result<PathBuf> {
    let parent = path.parent().unwrap_or(Path::new(""));
    let dir = match parent.as_os_str().is_empty() {
        true => Path::new("."),
        false => parent,
    };
    fs::create_dir_all(dir)?;
    Ok(dir.to_owned())
}

/// Starts to write the file `path`, which is complete after [`finish`].
///
/// # Errors
/// When the file cannot be written.
pub fn begin(path: &Path) -> Result<Draft, CliError> {
    let begin = || match occupant(path)? {
        Occupant::Device => Draft::create_in(&std::env::temp_dir()),
        Occupant::File => Draft::create_in(&create_parent(path)?),
    };
    begin().map_err(write_error(path))
}

/// Moves the draft to `path`.
///
/// # Errors
/// When the file cannot be written.
pub fn finish(draft: Draft, path: &Path) -> Result<(), CliError> {
    let finish = || match occupant(path)? {
        Occupant::Device => copy(draft.path(), &mut open_device(path)?),
        Occupant::File => draft.replace(path),
    };
    finish().map_err(write_error(path))
}

fn copy(from: &Path, to: &mut File) -> io::Result<()> {
    let mut content = Vec::new();
    File::open(from)?.read_to_end(&mut content)?;
    to.write_all(&content)
}

/// Writes a file atomically. Creates the directory if it is missing.
///
/// # Errors
/// When the file cannot be written.
pub fn write(path: &Path, content: impl AsRef<[u8]>) -> Result<(), CliError> {
    let mut draft = begin(path)?;
    draft
        .write_all(content.as_ref())
        .map_err(write_error(path))?;
    finish(draft, path)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::exit::Exit;

    #[test]
    fn files_are_written_to_new_directories_and_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b/junit.xml");
        probe("--junit", &path).unwrap();
        assert!(!path.exists());
        for text in ["<x/>", "<y/>"] {
            write(&path, text).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn unwritable_files_are_reported_before_and_after() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        let long = dir.path().join("x".repeat(300));
        for path in [
            dir.path().to_owned(),
            dir.path().join("new/"),
            file.join("x"),
            long,
            PathBuf::new(),
            PathBuf::from("/proc/none/x"),
        ] {
            let error = probe("--junit", &path).unwrap_err();
            assert_eq!(error.exit(), Exit::Usage);
            let shown = format!("`--junit {}` cannot be written", path.display());
            assert!(error.to_string().contains(&shown), "{error}");
            let error = write(&path, "").unwrap_err();
            assert_eq!(error.exit(), Exit::InfrastructureFailed);
        }
        let error = probe_dir("--results", &file).unwrap_err();
        assert_eq!(error.exit(), Exit::Usage);
        assert!(probe_dir("--results", &file.join("x")).is_err());
    }

    #[test]
    fn devices_are_written_to_and_never_replaced() {
        use std::os::unix::fs::FileTypeExt;
        let null = Path::new("/dev/null");
        probe("--junit", null).unwrap();
        write(null, "text").unwrap();
        assert!(fs::metadata(null).unwrap().file_type().is_char_device());
        let full = write(Path::new("/dev/full"), "text").unwrap_err();
        assert!(full.to_string().contains("/dev/full"), "{full}");
    }
}
