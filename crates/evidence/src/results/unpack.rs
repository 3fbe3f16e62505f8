//! From a tar to files. Whoever made it is not trusted: only regular files are made, below one
//! directory in which there is never a symbolic link. A hard link is one more name of a file that came before it.

use super::{Budget, Stop};
use atq_files::disk::{self, Content};
use futures_util::StreamExt;
use std::fs::Metadata;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};
use tokio::fs::{self, File};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio_tar::{Archive, Entry, EntryType};

/// Bytes that are written at once.
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
pub async fn unpack(tar: impl AsyncRead + Unpin + Send, into: &Path, budget: &Budget) -> Unpacked {
    let mut unpacked = Unpacked::default();
    unpacked.stop = all(tar, into, budget, &mut unpacked).await.err();
    unpacked
}

async fn all(
    tar: impl AsyncRead + Unpin + Send,
    into: &Path,
    budget: &Budget,
    unpacked: &mut Unpacked,
) -> Result<(), Stop> {
    let mut archive = Archive::new(tar);
    let mut entries = archive.entries().map_err(broken)?;
    let mut piece = vec![0; PIECE];
    // The directory itself is not there yet.
    let room = into.parent().unwrap_or(into);
    while let Some(entry) = entries.next().await {
        let mut entry = entry.map_err(broken)?;
        let kind = entry.header().entry_type();
        let path = entry.path().ok().and_then(|path| below_its_root(&path));
        match (kind, path) {
            (EntryType::Directory, _) => {}
            (EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse, Some(path)) => {
                budget.take_file()?;
                let path = into.join(path);
                file(&mut entry, &path, room, &mut piece, budget, unpacked).await?;
            }
            (EntryType::Link, Some(path)) => {
                let target = entry.link_name().ok().flatten();
                let target = target.and_then(|target| below_its_root(&target));
                match target {
                    Some(target) => {
                        link(&into.join(target), &into.join(path), budget, unpacked).await?;
                    }
                    None => unpacked.left_out += 1,
                }
            }
            _ => unpacked.left_out += 1,
        }
    }
    drop(entries);
    // A tar ends with empty blocks, and its sender with its last byte.
    if let Ok(mut rest) = archive.into_inner() {
        let end = tokio::io::copy(&mut rest, &mut tokio::io::sink()).await;
        end.map_err(broken)?;
    }
    Ok(())
}

/// A path without its first part; `None` when it leads elsewhere.
fn below_its_root(path: &Path) -> Option<PathBuf> {
    let mut parts = path.components().filter(|part| *part != Component::CurDir);
    let root = parts.next()?;
    let below: Option<PathBuf> = parts
        .map(|part| match part {
            Component::Normal(name) => Some(name),
            _ => None,
        })
        .collect();
    let starts_well = matches!(root, Component::Normal(_));
    below.filter(|below| starts_well && !below.as_os_str().is_empty())
}

/// One more name of the file `target`. It counts as a file of its own, since it is one in the zip.
async fn link(
    target: &Path,
    path: &Path,
    budget: &Budget,
    unpacked: &mut Unpacked,
) -> Result<(), Stop> {
    let Some(found) = fs::metadata(target).await.ok().filter(Metadata::is_file) else {
        unpacked.left_out += 1;
        return Ok(());
    };
    budget.take_file()?;
    budget.take_bytes(found.len())?;
    let linked = async {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).await?;
        }
        fs::hard_link(target, path).await
    };
    match linked.await {
        Ok(()) => {
            unpacked.files += 1;
            unpacked.bytes += found.len();
            Ok(())
        }
        Err(error) if is_about_its_name(&error) => {
            unpacked.left_out += 1;
            Ok(())
        }
        Err(error) => Err(refused(&error)),
    }
}

async fn file<R: AsyncRead + Unpin>(
    entry: &mut Entry<R>,
    path: &Path,
    room: &Path,
    piece: &mut [u8],
    budget: &Budget,
    unpacked: &mut Unpacked,
) -> Result<(), Stop> {
    check_room(entry, room)?;
    let mut file = match create(path).await {
        Ok(file) => file,
        Err(error) if is_about_its_name(&error) => {
            unpacked.left_out += 1;
            return Ok(());
        }
        Err(error) => return Err(refused(&error)),
    };
    unpacked.files += 1;
    let modified = entry.header().mtime().unwrap_or_default();
    let modified = UNIX_EPOCH + Duration::from_secs(modified.min(u64::from(u32::MAX)));
    loop {
        // What came before an error is kept too.
        let (filled, end) = fill(entry, piece).await;
        if let Some(part) = piece.get(..filled).filter(|part| !part.is_empty()) {
            budget.take_bytes(filled as u64)?;
            file.write_all(part)
                .await
                .map_err(|error| refused(&error))?;
            unpacked.bytes += filled as u64;
        }
        match end {
            None => {}
            Some(end) => {
                file.flush().await.map_err(|error| refused(&error))?;
                // Best effort: the content is what counts.
                drop(file.into_std().await.set_modified(modified));
                return end.map_err(broken);
            }
        }
    }
}

/// A file is kept whole or not begun: a disk without room for it is full before it is written.
fn check_room<R: AsyncRead + Unpin>(entry: &Entry<R>, room: &Path) -> Result<(), Stop> {
    let bytes = entry.header().raw_entry_size().unwrap_or_default();
    disk::check(room, bytes, Content::Results).map_err(|error| refused(&error))
}

/// Bytes from a socket come in small parts: reads until `piece` is full, or there is an end.
async fn fill<R: AsyncRead + Unpin>(
    entry: &mut Entry<R>,
    piece: &mut [u8],
) -> (usize, Option<io::Result<()>>) {
    let mut filled = 0;
    while let Some(free) = piece.get_mut(filled..).filter(|free| !free.is_empty()) {
        match entry.read(free).await {
            Ok(0) => return (filled, Some(Ok(()))),
            Ok(read) => filled += read,
            Err(error) => return (filled, Some(Err(error))),
        }
    }
    (filled, None)
}

async fn create(path: &Path) -> io::Result<File> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).await?;
    }
    File::create(path).await
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

fn refused(error: &io::Error) -> Stop {
    Stop::Disk(format!("the Director's disk does not take them: {error}"))
}

fn broken(error: io::Error) -> Stop {
    Stop::Broken(format!("they did not arrive to their end: {error}"))
}
