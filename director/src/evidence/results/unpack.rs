//! From a tar to files. Whoever made it is not trusted: only regular files are made, below one
//! directory in which there is never a link. Blocks.

use super::{Budget, Stop};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Component, Path, PathBuf};
use tar::{Archive, Entry, EntryType};

/// Bytes that are read at once.
const PIECE: usize = 256 << 10;

/// What came of a tar.
#[derive(Debug, Default)]
pub struct Unpacked {
    pub files: u64,
    pub bytes: u64,
    pub left_out: u64,
    pub stop: Option<Stop>,
}

/// Unpacks what is below the one directory at the root of `tar` into the directory `into`, which is
/// made for the first file.
pub fn unpack(tar: impl Read, into: &Path, budget: &Budget) -> Unpacked {
    let mut unpacked = Unpacked::default();
    unpacked.stop = all(tar, into, budget, &mut unpacked).err();
    unpacked
}

fn all(tar: impl Read, into: &Path, budget: &Budget, unpacked: &mut Unpacked) -> Result<(), Stop> {
    let mut archive = Archive::new(tar);
    let mut piece = vec![0; PIECE];
    for entry in archive.entries().map_err(broken)? {
        let mut entry = entry.map_err(broken)?;
        match entry.header().entry_type() {
            EntryType::Directory => {}
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                match below_its_root(&entry) {
                    Some(path) => {
                        budget.take_file()?;
                        file(&mut entry, &into.join(path), &mut piece, budget, unpacked)?;
                    }
                    None => unpacked.left_out += 1,
                }
            }
            _ => unpacked.left_out += 1,
        }
    }
    // A tar ends with empty blocks, and its sender with its last byte.
    io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(broken)?;
    Ok(())
}

/// The path of an entry without its first part; `None` when it leads elsewhere.
fn below_its_root<R: Read>(entry: &Entry<'_, R>) -> Option<PathBuf> {
    let path = entry.path().ok()?;
    let mut parts = path.components().filter(|part| *part != Component::CurDir);
    parts.next()?;
    let below: Option<PathBuf> = parts
        .map(|part| match part {
            Component::Normal(name) => Some(name),
            _ => None,
        })
        .collect();
    let starts_well = !path.is_absolute() && !path.starts_with("..");
    below.filter(|below| starts_well && !below.as_os_str().is_empty())
}

fn file<R: Read>(
    entry: &mut Entry<'_, R>,
    path: &Path,
    piece: &mut [u8],
    budget: &Budget,
    unpacked: &mut Unpacked,
) -> Result<(), Stop> {
    let mut file = match create(path) {
        Ok(file) => file,
        Err(error) if is_about_its_name(&error) => {
            unpacked.left_out += 1;
            return Ok(());
        }
        Err(error) => return Err(disk(&error)),
    };
    unpacked.files += 1;
    loop {
        let read = match entry.read(piece) {
            Ok(0) => return Ok(()),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(broken(error)),
        };
        budget.take_bytes(read)?;
        let part = piece.get(..read).unwrap_or_default();
        file.write_all(part).map_err(|error| disk(&error))?;
        unpacked.bytes += read as u64;
    }
}

fn create(path: &Path) -> io::Result<File> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    File::create(path)
}

/// A file where a directory should be, a name that is too long: no other entry is the worse for it.
fn is_about_its_name(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    matches!(
        error.kind(),
        Kind::NotADirectory
            | Kind::IsADirectory
            | Kind::AlreadyExists
            | Kind::InvalidFilename
            | Kind::InvalidInput
    )
}

fn disk(error: &io::Error) -> Stop {
    Stop::Disk(format!("the Director's disk does not take them: {error}"))
}

fn broken(error: io::Error) -> Stop {
    Stop::Broken(format!("they did not arrive to their end: {error}"))
}
