//! The first pass: checks an archive without unpacking it.
//!
//! As with `unzip`, the central directory is authoritative; local headers are read only to locate the data.
//! The archive must start with its first entry (self-extracting programs are refused). Bytes after its end
//! are accepted within the size of a zip comment, because some transfers append line ends.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use zip::CompressionMethod;
use zip::read::{ArchiveOffset, Config, ZipFileEntry};
use zip::result::ZipError;
use zip::unstable::read::ZipIterable;

use crate::error::BundleError;
use crate::limits::{Limits, bomb};
use crate::name::relative_path;
use crate::tree::Tree;

const S_IFMT: u32 = 0o170_000;
const S_IFREG: u32 = 0o100_000;
const S_IFDIR: u32 = 0o040_000;
const S_IFLNK: u32 = 0o120_000;

/// A reader with its own position in a shared file, so that readers do not affect each other.
#[derive(Debug, Clone)]
pub(super) struct Cursor {
    file: Arc<File>,
    position: u64,
}

impl Cursor {
    pub(super) fn new(file: Arc<File>) -> Self {
        Self { file, position: 0 }
    }
}

impl Read for Cursor {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(buffer, self.position)?;
        self.position += count as u64;
        Ok(count)
    }
}

impl Seek for Cursor {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
            SeekFrom::End(by) => self.file.metadata()?.len().checked_add_signed(by),
        };
        self.position = position.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

/// Iterates over the entries of an archive. An index would need memory in proportion to the untrusted
/// central directory.
pub(super) type Archive = ZipIterable<Cursor>;

/// An entry that passed the checks.
pub(super) struct Checked<'a> {
    /// The name as in the archive, for messages.
    pub(super) name: String,
    /// The path to unpack to; see [`relative_path`].
    pub(super) path: String,
    pub(super) entry: ZipFileEntry<'a>,
}

impl Checked<'_> {
    pub(super) fn executable(&self) -> bool {
        (self.entry.external_attributes() >> 16) & 0o111 != 0
    }
}

/// The content of an archive.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Totals {
    /// Files, without directories.
    pub files: u64,
    /// Their total size, as declared.
    pub bytes: u64,
}

/// Opens the central directory.
pub(super) fn open(file: Arc<File>) -> Result<Archive, BundleError> {
    let config = Config {
        archive_offset: ArchiveOffset::Known(0),
    };
    ZipIterable::try_new(Cursor::new(file), config).map_err(|e| zip_error(None, e))
}

/// Checks every entry of the archive against the rules and `limits`.
///
/// # Errors
/// Any [`BundleError`] except those of a transfer.
pub fn scan(file: &Arc<File>, limits: &Limits) -> Result<Totals, BundleError> {
    let mut archive = open(Arc::clone(file))?;
    let packed = file
        .metadata()
        .map_err(BundleError::storage("read the upload"))?
        .len();
    let count = archive.len() as u64;
    if count > limits.entries {
        return Err(too_many(count, limits));
    }
    let mut scan = Scan {
        file,
        limits,
        packed,
        tree: Tree::default(),
        totals: Totals::default(),
        ranges: Vec::new(),
        directory_start: None,
        last_header: 0,
    };
    for entry in archive.files().map_err(|e| zip_error(None, e))? {
        scan.visit(&check(entry.map_err(|e| zip_error(None, e))?)?)?;
    }
    if scan.totals.files == 0 {
        return Err(BundleError::broken(None, "it contains no file"));
    }
    if !directory_ends(file, scan.last_header).map_err(|e| zip_error(None, e.into()))? {
        let reason = format!("its directory declares {count} entries but does not end after them");
        return Err(BundleError::broken(None, reason));
    }
    let totals = scan.totals;
    match scan.overlap() {
        None => Ok(totals),
        Some(index) => Err(overlap_error(&mut archive, index)),
    }
}

/// Passes the path of every file of a scanned archive to `each`, in the order of the archive.
///
/// # Errors
/// Those of [`scan`] for single entries.
pub fn each_file(file: &Arc<File>, mut each: impl FnMut(&str)) -> Result<(), BundleError> {
    let mut archive = open(Arc::clone(file))?;
    for entry in archive.files().map_err(|e| zip_error(None, e))? {
        let checked = check(entry.map_err(|e| zip_error(None, e))?)?;
        if !checked.entry.is_dir() {
            each(&checked.path);
        }
    }
    Ok(())
}

/// Checks a single entry.
pub(super) fn check(entry: ZipFileEntry<'_>) -> Result<Checked<'_>, BundleError> {
    let raw = entry.name_raw();
    let Ok(name) = std::str::from_utf8(raw).map(str::to_owned) else {
        let shown = String::from_utf8_lossy(raw);
        let reason = "has a name that is not UTF-8\nhint: pack the archive again with UTF-8 names";
        return Err(BundleError::broken(Some(&shown), reason));
    };
    let path = relative_path(&name).map_err(|reason| BundleError::hostile(Some(&name), reason))?;
    check_kind(&entry, &name)?;
    check_content(&entry, &name)?;
    Ok(Checked { name, path, entry })
}

fn check_kind(entry: &ZipFileEntry<'_>, name: &str) -> Result<(), BundleError> {
    let hostile = |reason: &str| Err(BundleError::hostile(Some(name), reason));
    // The upper half is zero if the archive was created on a system without Unix modes.
    match (entry.external_attributes() >> 16) & S_IFMT {
        S_IFLNK => hostile(
            "is a symbolic link\nhint: pack the file it points to (`zip` does so without `-y`)",
        ),
        0 => Ok(()),
        S_IFREG if !entry.is_dir() => Ok(()),
        S_IFDIR if entry.is_dir() => Ok(()),
        S_IFREG => hostile("has the name of a directory and the mode of a file"),
        S_IFDIR => hostile("has the mode of a directory, but its name does not end with `/`"),
        _ => hostile("is a device, a pipe or a socket"),
    }
}

fn check_content(entry: &ZipFileEntry<'_>, name: &str) -> Result<(), BundleError> {
    let broken = |reason: String| Err(BundleError::broken(Some(name), reason));
    if entry.encrypted() {
        return broken("is encrypted\nhint: pack the archive again without a password".to_owned());
    }
    let method = entry.compression();
    if !matches!(
        method,
        CompressionMethod::Stored | CompressionMethod::Deflated
    ) {
        return broken(format!(
            "is packed by the unsupported method {method}: expected `Stored` or `Deflated`"
        ));
    }
    if method == CompressionMethod::Stored && entry.size() != entry.compressed_size() {
        return broken(format!(
            "is stored as {} bytes but declares {}",
            entry.compressed_size(),
            entry.size()
        ));
    }
    if entry.is_dir() && entry.size() != 0 {
        return broken("is a directory with content".to_owned());
    }
    match bomb(entry.compressed_size(), entry.size()) {
        Some(reason) => Err(BundleError::hostile(Some(name), reason)),
        None => Ok(()),
    }
}

struct Scan<'a> {
    file: &'a File,
    limits: &'a Limits,
    packed: u64,
    tree: Tree,
    totals: Totals,
    /// Start and end of each entry in the zip, with its number.
    ranges: Vec<(u64, u64, u32)>,
    directory_start: Option<u64>,
    /// Offset of the last directory entry.
    last_header: u64,
}

impl Scan<'_> {
    fn visit(&mut self, checked: &Checked<'_>) -> Result<(), BundleError> {
        let Checked { name, path, entry } = checked;
        let added = match (entry.is_dir(), path.is_empty()) {
            (true, true) => Ok(()),
            (true, false) => self.tree.add_directory(path),
            (false, true) => Err("has an empty name".to_owned()),
            (false, false) => self.tree.add_file(path),
        };
        added.map_err(|reason| BundleError::hostile(Some(name), reason))?;
        if self.tree.len() > self.limits.entries {
            return Err(too_many(self.tree.len(), self.limits));
        }
        self.count(checked)?;
        let end = data_start(self.file, entry.header_start())
            .map_err(|e| data_error(name, e))?
            .checked_add(entry.compressed_size())
            .ok_or_else(|| BundleError::broken(Some(name), "ends beyond the archive"))?;
        self.last_header = entry.central_header_start();
        self.directory_start.get_or_insert(self.last_header);
        self.ranges
            .push((entry.header_start(), end, self.ranges.len() as u32));
        Ok(())
    }

    fn count(&mut self, Checked { name, entry, .. }: &Checked<'_>) -> Result<(), BundleError> {
        if entry.is_dir() {
            return Ok(());
        }
        self.totals.files += 1;
        self.totals.bytes = self.totals.bytes.saturating_add(entry.size());
        let limit = self.limits.unpacked_bytes;
        if self.totals.bytes > limit {
            let reason = format!(
                "brings the unpacked size to {} bytes, more than {limit}\nhint: `limits.unpackedBytes` in the Director's configuration sets this limit",
                self.totals.bytes
            );
            return Err(BundleError::hostile(Some(name), reason));
        }
        match bomb(self.packed, self.totals.bytes) {
            Some(reason) => Err(BundleError::hostile(None, format!("it {reason}"))),
            None => Ok(()),
        }
    }

    /// The number of an entry that overlaps another one or the central directory. Overlaps let a
    /// small archive declare the same data many times.
    fn overlap(mut self) -> Option<u32> {
        self.ranges.sort_unstable();
        let directory = self.directory_start.unwrap_or(0);
        let mut pairs = self.ranges.windows(2);
        let shared = pairs.find(|pair| pair[0].1 > pair[1].0);
        let beyond = || self.ranges.iter().find(|range| range.1 > directory);
        let (_, _, index) = shared.map(|pair| &pair[1]).or_else(beyond)?;
        Some(*index)
    }
}

fn overlap_error(archive: &mut Archive, index: u32) -> BundleError {
    let name = archive
        .files()
        .ok()
        .and_then(|files| files.nth(index as usize)?.ok())
        .map(|entry| String::from_utf8_lossy(entry.name_raw()).into_owned());
    let reason = "overlaps another part of the archive";
    BundleError::hostile(name.as_deref(), reason)
}

/// Offset of the data of the entry with its local header at `header`. The library computes it only together
/// with a decompressor, which is too expensive for a check of each entry.
fn data_start(file: &File, header: u64) -> io::Result<u64> {
    const FIXED: usize = 30;
    const SIGNATURE: &[u8] = b"PK\x03\x04";
    let mut fixed = [0; FIXED];
    file.read_exact_at(&mut fixed, header)?;
    if &fixed[..4] != SIGNATURE {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let name = u16::from_le_bytes([fixed[26], fixed[27]]);
    let extra = u16::from_le_bytes([fixed[28], fixed[29]]);
    header
        .checked_add(FIXED as u64 + u64::from(name) + u64::from(extra))
        .ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// True if the directory ends after its entry at `header`. Otherwise it declares fewer
/// entries than it has, and tools disagree about the content.
fn directory_ends(file: &File, header: u64) -> io::Result<bool> {
    const FIXED: usize = 46;
    let mut fixed = [0; FIXED];
    file.read_exact_at(&mut fixed, header)?;
    let variable: u64 = [28, 30, 32]
        .map(|at| u64::from(u16::from_le_bytes([fixed[at], fixed[at + 1]])))
        .iter()
        .sum();
    let mut signature = [0; 4];
    file.read_exact_at(&mut signature, header + FIXED as u64 + variable)?;
    // Signatures of the end record, the zip64 end record and the digital signature.
    Ok(matches!(
        &signature,
        b"PK\x05\x06" | b"PK\x06\x06" | b"PK\x05\x05"
    ))
}

fn too_many(seen: u64, limits: &Limits) -> BundleError {
    let reason = format!(
        "it contains {seen} or more files and directories, more than {}\nhint: `limits.entries` in the Director's configuration sets this limit",
        limits.entries
    );
    BundleError::hostile(None, reason)
}

/// Classifies errors while reading an entry: those with an operating system code are I/O errors, all others are errors
/// of the archive.
pub(super) fn data_error(name: &str, error: io::Error) -> BundleError {
    if error.raw_os_error().is_some() {
        return BundleError::storage(format!(
            "read entry `{}` of the upload",
            name.escape_debug()
        ))(error);
    }
    if error.kind() == io::ErrorKind::UnexpectedEof {
        let reason = "ends too early: the archive is truncated or its directory is wrong";
        return BundleError::broken(Some(name), reason);
    }
    BundleError::broken(Some(name), format!("is damaged: {error}"))
}

/// Classifies errors of the directory, or of an entry if `name` is given.
pub(super) fn zip_error(name: Option<&str>, error: ZipError) -> BundleError {
    match error {
        ZipError::Io(e) if e.raw_os_error().is_some() => BundleError::storage("read the upload")(e),
        ZipError::Io(e) if e.kind() == io::ErrorKind::UnexpectedEof => {
            BundleError::broken(name, "it is truncated")
        }
        ZipError::InvalidArchive(reason) => BundleError::broken(
            name,
            format!(
                "its directory is missing or damaged ({reason})\nhint: the file may be truncated"
            ),
        ),
        other => BundleError::broken(name, other.to_string()),
    }
}
