//! From a tar to files. Whoever made it is not trusted: only regular files are made, below one
//! directory in which there is never a link.

use super::{Budget, Stop};
use futures_util::StreamExt;
use std::io;
use std::path::{Component, Path, PathBuf};
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
    while let Some(entry) = entries.next().await {
        let mut entry = entry.map_err(broken)?;
        let is_file = match entry.header().entry_type() {
            EntryType::Directory => continue,
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => true,
            _ => false,
        };
        match below_its_root(&entry).filter(|_| is_file) {
            Some(path) => {
                budget.take_file()?;
                let path = into.join(path);
                file(&mut entry, &path, &mut piece, budget, unpacked).await?;
            }
            None => unpacked.left_out += 1,
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

/// The path of an entry without its first part; `None` when it leads elsewhere.
fn below_its_root<R: AsyncRead + Unpin>(entry: &Entry<R>) -> Option<PathBuf> {
    let path = entry.path().ok()?;
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

async fn file<R: AsyncRead + Unpin>(
    entry: &mut Entry<R>,
    path: &Path,
    piece: &mut [u8],
    budget: &Budget,
    unpacked: &mut Unpacked,
) -> Result<(), Stop> {
    let mut file = match create(path).await {
        Ok(file) => file,
        Err(error) if is_about_its_name(&error) => {
            unpacked.left_out += 1;
            return Ok(());
        }
        Err(error) => return Err(disk(&error)),
    };
    unpacked.files += 1;
    loop {
        // What came before an error is kept too.
        let (filled, end) = fill(entry, piece).await;
        if let Some(part) = piece.get(..filled).filter(|part| !part.is_empty()) {
            budget.take_bytes(filled)?;
            file.write_all(part).await.map_err(|error| disk(&error))?;
            unpacked.bytes += filled as u64;
        }
        match end {
            None => {}
            Some(end) => {
                file.flush().await.map_err(|error| disk(&error))?;
                return end.map_err(broken);
            }
        }
    }
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

fn disk(error: &io::Error) -> Stop {
    Stop::Disk(format!("the Director's disk does not take them: {error}"))
}

fn broken(error: io::Error) -> Stop {
    Stop::Broken(format!("they did not arrive to their end: {error}"))
}
