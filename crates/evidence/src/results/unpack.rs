//! Unpacks a tar archive. The archive is untrusted: only regular files are created, below one directory that never
//! contains a symbolic link. A hard link is another name of an earlier file.

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

/// Bytes per write.
const CHUNK_BYTES: usize = 256 << 10;

/// The result of unpacking an archive.
#[derive(Debug, Default)]
pub struct Unpacked {
    pub files: u64,
    pub bytes: u64,
    pub left_out: u64,
    pub stop: Option<Stop>,
}

impl Unpacked {
    /// Skips an entry because of an error that concerns only this entry, for example a name that is too long.
    fn leave_out(&mut self, error: io::Error) -> Result<(), Stop> {
        use io::ErrorKind as Kind;
        match error.kind() {
            Kind::NotADirectory
            | Kind::IsADirectory
            | Kind::AlreadyExists
            | Kind::InvalidFilename
            | Kind::InvalidInput => {
                self.left_out += 1;
                Ok(())
            }
            _ => Err(disk_error(error)),
        }
    }
}

/// Unpacks the content of the one directory at the root of `tar` into the directory `into`, which is
/// created with the first file.
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
    let mut entries = archive.entries().map_err(transfer_error)?;
    let mut buffer = vec![0; CHUNK_BYTES];
    // `into` does not exist yet.
    let disk_path = into.parent().unwrap_or(into);
    while let Some(entry) = entries.next().await {
        let mut entry = entry.map_err(transfer_error)?;
        let kind = entry.header().entry_type();
        let path = entry.path().ok().and_then(|path| below_its_root(&path));
        match (kind, path) {
            (EntryType::Directory, _) => {}
            (EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse, Some(path)) => {
                budget.take_file()?;
                let path = into.join(path);
                file(&mut entry, &path, disk_path, &mut buffer, budget, unpacked).await?;
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
    // Read the padding after the last entry, so that the sender can finish.
    if let Ok(mut rest) = archive.into_inner() {
        let end = tokio::io::copy(&mut rest, &mut tokio::io::sink()).await;
        end.map_err(transfer_error)?;
    }
    Ok(())
}

/// The path without its first component; `None` if it is invalid or would leave the directory.
fn below_its_root(path: &Path) -> Option<PathBuf> {
    let mut parts = path.components().filter(|part| *part != Component::CurDir);
    let root = parts.next()?;
    let below: Option<PathBuf> = parts
        .map(|part| match part {
            Component::Normal(name) => Some(name),
            _ => None,
        })
        .collect();
    let valid_root = matches!(root, Component::Normal(_));
    below.filter(|below| valid_root && !below.as_os_str().is_empty())
}

/// Creates a hard link to `target`. It counts as a separate file, because it is one in the zip.
async fn link(
    target: &Path,
    path: &Path,
    budget: &Budget,
    unpacked: &mut Unpacked,
) -> Result<(), Stop> {
    let Some(metadata) = fs::metadata(target).await.ok().filter(Metadata::is_file) else {
        unpacked.left_out += 1;
        return Ok(());
    };
    budget.take_file()?;
    budget.take_bytes(metadata.len())?;
    let linked = async {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).await?;
        }
        fs::hard_link(target, path).await
    };
    match linked.await {
        Ok(()) => {
            unpacked.files += 1;
            unpacked.bytes += metadata.len();
            Ok(())
        }
        Err(error) => unpacked.leave_out(error),
    }
}

async fn file<R: AsyncRead + Unpin>(
    entry: &mut Entry<R>,
    path: &Path,
    disk_path: &Path,
    buffer: &mut [u8],
    budget: &Budget,
    unpacked: &mut Unpacked,
) -> Result<(), Stop> {
    check_disk_space(entry, disk_path)?;
    let mut file = match create(path).await {
        Ok(file) => file,
        Err(error) => return unpacked.leave_out(error),
    };
    unpacked.files += 1;
    let modified = entry.header().mtime().unwrap_or_default();
    let modified = UNIX_EPOCH + Duration::from_secs(modified.min(u64::from(u32::MAX)));
    loop {
        // Data received before an error is kept.
        let (filled, end) = fill(entry, buffer).await;
        if let Some(part) = buffer.get(..filled).filter(|part| !part.is_empty()) {
            budget.take_bytes(filled as u64)?;
            file.write_all(part).await.map_err(disk_error)?;
            unpacked.bytes += filled as u64;
        }
        match end {
            None => {}
            Some(end) => {
                file.flush().await.map_err(disk_error)?;
                // Best effort: the time is not essential.
                drop(file.into_std().await.set_modified(modified));
                return end.map_err(transfer_error);
            }
        }
    }
}

/// Checks the free disk space before a file is created, so that no file is truncated.
fn check_disk_space<R: AsyncRead + Unpin>(entry: &Entry<R>, disk_path: &Path) -> Result<(), Stop> {
    let bytes = entry.header().raw_entry_size().unwrap_or_default();
    disk::check(disk_path, bytes, Content::Results).map_err(disk_error)
}

/// Sockets deliver small parts: reads until `buffer` is full, or until the end.
async fn fill<R: AsyncRead + Unpin>(
    entry: &mut Entry<R>,
    buffer: &mut [u8],
) -> (usize, Option<io::Result<()>>) {
    let mut filled = 0;
    while let Some(free) = buffer.get_mut(filled..).filter(|free| !free.is_empty()) {
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

fn disk_error(error: io::Error) -> Stop {
    Stop::Disk(format!("the Director cannot write them: {error}"))
}

fn transfer_error(error: io::Error) -> Stop {
    Stop::Broken(format!("the transfer was interrupted: {error}"))
}
