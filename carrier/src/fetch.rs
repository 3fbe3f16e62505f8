//! Downloading a bundle into its volume on this node.
//!
//! # Crash safety
//! The marker is written last, after all other content was flushed. Content without a marker is left over from an interrupted
//! carrier and is removed first. The zip is an unnamed temporary file in the volume itself: it uses no memory, and the kernel
//! removes it with the process. Each part has its own marker, so that a lost part is restored while containers still read
//! the others.

use std::fs::{self, File, Permissions};
use std::io::{self, BufWriter, Read as _, Write};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use atq_bundle_archive::{BundleError, BundleId, Limits, Totals, scan, unpack};
use atq_files::flush_tree;
use atq_node_protocol::order::{ArchiveLimits, Fetch, Split, SplitFile};
use atq_node_protocol::outcome::CarrierOutcome;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::args::Args;
use crate::http::{ClockOffset, Director};
use crate::order;
use crate::problem::{Problem, format_size, reason, with_retries};
use crate::split::{SplitError, split_rows};
use crate::volume::{self, Marker, Volume};

const BUFFER: usize = 1024 * 1024;
/// Total size of the write buffers of all parts of a file.
const PART_BUFFERS: usize = 16 * BUFFER;
const MIN_PART_BUFFER: usize = 8 * 1024;
/// Mount point of a part in a worker's container.
const PART_MOUNT: &str = "/atq/part";
const DIRECTORY_MODE: u32 = 0o755;
const FILE_MODE: u32 = 0o644;

/// Downloads the bundle, unless the volume has it already.
///
/// # Errors
/// The reason of the failure; the volume then has no marker.
pub fn run(args: &Args, order: &Fetch, until: Instant) -> Result<CarrierOutcome, Problem> {
    let director = Director::at(&order.url, order.certificate.as_deref(), args, until)?;
    let volume = Volume::lock(&args.bundle_dir, until)?;
    let delivery = Delivery::new(args, order, order::bundle(order)?, &volume);
    let mut summary = CarrierOutcome::default();
    let mut offset = None;
    if !delivery.is_complete() {
        (summary.bytes, offset) = delivery.fetch_missing(&director, until)?;
        summary.fetched = true;
    }
    summary.clock_offset_ms =
        ClockOffset::better(offset, director.offset()).map(|offset| offset.ms);
    Ok(summary)
}

struct Delivery<'a> {
    order: &'a Fetch,
    bundle: BundleId,
    root: &'a Path,
    split_key: Option<String>,
    /// Whether the bundle's own volume has its marker.
    is_present: bool,
    parts: Vec<Part>,
}

/// The volume with the part of one replica.
struct Part {
    root: PathBuf,
    is_present: bool,
}

/// A downloaded zip.
struct Download {
    zip: File,
    bytes: u64,
    offset: Option<ClockOffset>,
}

impl<'a> Delivery<'a> {
    fn new(args: &Args, order: &'a Fetch, bundle: BundleId, volume: &'a Volume) -> Self {
        let split_key = order.split.as_ref().map(Split::key);
        let is_present = |root: &Path| volume::is_complete(root, &bundle, split_key.as_deref());
        let replicas = order.split.as_ref().map_or(0, |split| split.replicas);
        let parts = (1..=replicas).map(|slot| {
            let root = args.parts_dir.join(slot.to_string());
            let is_present = is_present(&root);
            Part { root, is_present }
        });
        Self {
            order,
            bundle: bundle.clone(),
            root: volume.root(),
            is_present: is_present(volume.root()),
            parts: parts.collect(),
            split_key: split_key.clone(),
        }
    }

    fn is_complete(&self) -> bool {
        self.is_present && self.missing().next().is_none()
    }

    fn missing(&self) -> impl Iterator<Item = &Part> {
        self.parts.iter().filter(|part| !part.is_present)
    }

    /// Downloads and unpacks the missing content. Returns the bytes of the download and the measured clock offset.
    fn fetch_missing(
        &self,
        director: &Director,
        until: Instant,
    ) -> Result<(u64, Option<ClockOffset>), Problem> {
        self.clear()?;
        // Containers may be reading a complete volume: when only parts are missing, the bundle is unpacked to a temporary
        // directory instead.
        let temporary = match self.missing().next() {
            Some(part) if self.is_present => Some(temp_dir_in(&part.root)?),
            _ => None,
        };
        let root = temporary.as_ref().map_or(self.root, TempDir::path);
        let space = FreeSpace::of(root);
        let download = with_retries(until, || download(director, self.order, root, &space))?;
        let totals = self.unpack(download.zip, root, &space)?;
        self.split(root, &space, totals.bytes)?;
        drop(temporary);
        self.commit(totals)?;
        Ok((download.bytes, download.offset))
    }

    fn clear(&self) -> Result<(), Problem> {
        let missing = self.missing().map(|part| part.root.as_path());
        let own = (!self.is_present).then_some(self.root);
        for root in own.into_iter().chain(missing) {
            volume::clear(root).map_err(Problem::disk("clear the volume at", root))?;
        }
        Ok(())
    }

    fn unpack(&self, zip: File, root: &Path, space: &FreeSpace) -> Result<Totals, Problem> {
        let packed = zip.metadata().map_or(0, |metadata| metadata.len());
        let zip = Arc::new(zip);
        let totals =
            scan(&zip, &limits(self.order.limits)).map_err(|e| archive_error(&e, space, packed))?;
        let needed = packed.saturating_add(totals.bytes);
        space.check(needed)?;
        unpack(&zip, root).map_err(|e| archive_error(&e, space, needed))?;
        Ok(totals)
    }

    /// Splits the files of the order into the missing parts.
    fn split(&self, root: &Path, space: &FreeSpace, unpacked: u64) -> Result<(), Problem> {
        let Some(split) = &self.order.split else {
            return Ok(());
        };
        for file in &split.files {
            let from = root.join(&file.path);
            let named = |text: String| Problem::permanent(format!("`{}` {text}", file.path));
            if !fs::symlink_metadata(&from).is_ok_and(|metadata| metadata.is_file()) {
                return Err(named(
                    "is listed in `split` but is not a file of the bundle".to_owned(),
                ));
            }
            self.split_file(&from, file).map_err(|e| match e {
                SplitError::TooFew(rows) => {
                    named(format!("has {rows} rows for {} replicas", split.replicas))
                }
                SplitError::Write(e) if is_full(&e) => space.error(unpacked.saturating_mul(2)),
                other => named(other.to_string()),
            })?;
            if root == self.root {
                self.link(&from, &file.path)
                    .map_err(Problem::disk("link", &from))?;
            }
        }
        Ok(())
    }

    fn split_file(&self, from: &Path, file: &SplitFile) -> Result<(), SplitError> {
        let source = File::open(from).map_err(SplitError::Read)?;
        let buffer = (PART_BUFFERS / self.parts.len().max(1)).clamp(MIN_PART_BUFFER, BUFFER);
        let writers: io::Result<Vec<Box<dyn Write>>> = self
            .parts
            .iter()
            .map(|part| part.writer(&file.path, buffer))
            .collect();
        let mut writers = writers.map_err(SplitError::Write)?;
        split_rows(source, file.header, &mut writers).map(|_| ())
    }

    /// Replaces the file by a link to the part.
    fn link(&self, at: &Path, path: &str) -> io::Result<()> {
        fs::remove_file(at)?;
        symlink(Path::new(PART_MOUNT).join(path), at)
    }

    /// Flushes all content to the disk, then writes the markers.
    fn commit(&self, totals: Totals) -> Result<(), Problem> {
        let split_files = self
            .order
            .split
            .as_ref()
            .map_or(0, |s| s.files.len() as u64);
        let parts = self
            .missing()
            .map(|part| (part.root.as_path(), split_files));
        let own = (!self.is_present).then_some((self.root, totals.files));
        // The marker of the bundle itself is written last.
        let all: Vec<(&Path, u64)> = parts.chain(own).collect();
        for (root, files) in &all {
            flush_tree(root, *files).map_err(Problem::disk("flush", root))?;
        }
        let marker = Marker {
            bundle: self.bundle.clone(),
            split: self.split_key.clone(),
            files: totals.files,
            bytes: totals.bytes,
        };
        for (root, _) in &all {
            volume::write_marker(root, &marker)
                .map_err(Problem::disk("write the marker to", root))?;
        }
        Ok(())
    }
}

impl Part {
    /// The writer for rows of this part; discards them when the part is complete.
    fn writer(&self, path: &str, buffer: usize) -> io::Result<Box<dyn Write>> {
        if self.is_present {
            return Ok(Box::new(io::sink()));
        }
        set_mode(&self.root, DIRECTORY_MODE)?;
        for (end, _) in path.match_indices('/') {
            let directory = self.root.join(&path[..end]);
            match fs::create_dir(&directory) {
                Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
                _ => set_mode(&directory, DIRECTORY_MODE)?,
            }
        }
        let file = File::create_new(self.root.join(path))?;
        file.set_permissions(Permissions::from_mode(FILE_MODE))?;
        Ok(Box::new(BufWriter::with_capacity(buffer, file)))
    }
}

fn temp_dir_in(root: &Path) -> Result<TempDir, Problem> {
    TempDir::new_in(root).map_err(Problem::disk("create a directory in", root))
}

/// Downloads the zip to an unnamed file and checks its hash.
fn download(
    director: &Director,
    order: &Fetch,
    into: &Path,
    space: &FreeSpace,
) -> Result<Download, Problem> {
    let answer = director.get(&format!("{}/bundle/{}", order.run, order.bundle))?;
    let body = answer.response.into_body();
    let expected = body.content_length();
    let limit = order.limits.upload_bytes;
    if expected.is_some_and(|bytes| bytes > limit) {
        return Err(too_large(limit));
    }
    space.check(expected.unwrap_or(0))?;
    let mut from = body.into_reader();
    let cannot = |e: io::Error| write_error(e, space, expected.unwrap_or(0));
    let mut zip = tempfile::tempfile_in(into).map_err(cannot)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; BUFFER];
    let mut bytes = 0;
    loop {
        let count = match from.read(&mut buffer) {
            Ok(count) => count,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(interrupted(order, bytes, expected, &reason(&e))),
        };
        if count == 0 {
            break;
        }
        bytes += count as u64;
        if bytes > limit {
            return Err(too_large(limit));
        }
        hash.update(&buffer[..count]);
        zip.write_all(&buffer[..count]).map_err(cannot)?;
    }
    if expected.is_some_and(|expected| expected != bytes) {
        return Err(interrupted(
            order,
            bytes,
            expected,
            "unexpected end of the body",
        ));
    }
    let actual = BundleId::of(hash);
    if actual.as_str() != order.bundle {
        let text = format!(
            "the bundle's hash is `{actual}`, expected `{}`",
            order.bundle
        );
        return Err(Problem::permanent(text));
    }
    let offset = answer.offset;
    Ok(Download { zip, bytes, offset })
}

fn limits(limits: ArchiveLimits) -> Limits {
    Limits {
        upload_bytes: limits.upload_bytes,
        unpacked_bytes: limits.unpacked_bytes,
        entries: limits.entries,
    }
}

fn too_large(limit: u64) -> Problem {
    Problem::permanent(format!("the bundle is larger than {limit} bytes"))
}

fn interrupted(order: &Fetch, bytes: u64, of: Option<u64>, why: &str) -> Problem {
    let of = of.map_or_else(String::new, |of| format!(" of {of}"));
    Problem::temporary(format!(
        "the download from the Director at `{}` was interrupted after {bytes}{of} bytes: {why}",
        order.url
    ))
}

/// Free space before the work began; `None` when the file system does not report it.
struct FreeSpace {
    bytes: Option<u64>,
}

impl FreeSpace {
    fn of(path: &Path) -> Self {
        let stat = rustix::fs::statvfs(path).ok();
        Self {
            bytes: stat.map(|stat| stat.f_bfree.saturating_mul(stat.f_frsize)),
        }
    }

    /// Fails early when there is not enough space.
    fn check(&self, needed: u64) -> Result<(), Problem> {
        if self.bytes.is_some_and(|free| free < needed) {
            return Err(self.error(needed));
        }
        Ok(())
    }

    fn error(&self, needed: u64) -> Problem {
        let free = self.bytes.map_or_else(String::new, |free| {
            format!(", {} are free", format_size(free))
        });
        Problem::permanent(format!(
            "no space left on the device: {} are needed{free}",
            format_size(needed)
        ))
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

fn write_error(error: io::Error, space: &FreeSpace, needed: u64) -> Problem {
    if is_full(&error) {
        return space.error(needed);
    }
    Problem::permanent(format!("cannot write the download: {}", reason(&error)))
}

fn archive_error(error: &BundleError, space: &FreeSpace, needed: u64) -> Problem {
    match error {
        BundleError::Storage { source, .. } if is_full(source) => space.error(needed),
        other => Problem::permanent(other.to_string()),
    }
}

fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    fs::set_permissions(path, Permissions::from_mode(mode))
}
