//! Bringing a bundle into its volume on this node.
//!
//! # Crash story
//! The marker is written last, when all else is on the disk. Whatever is found without it is rubbish of a carrier that was
//! ended, and is removed first. The zip is a file without a name in the volume itself: on the disk and not in memory, and gone
//! with the process. Parts have markers of their own, so that one whose volume was lost is made anew while containers still
//! read the others.

use std::fs::{self, File, Permissions};
use std::io::{self, BufWriter, Read as _, Write};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use atq_bundle_archive::{BundleError, BundleId, Limits, Totals, scan, unpack};
use atq_files::flush_tree;
use atq_node_protocol::order::{ArchiveLimits, Fetch, Split, SplitFile};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::args::Args;
use crate::http::{Director, Offset};
use crate::order;
use crate::problem::{Problem, reason, size, tried};
use crate::split::{SplitError, deal};
use crate::volume::{self, Marker, Volume};
use crate::words::Done;

const BUFFER: usize = 1024 * 1024;
/// All buffers of a file's parts together.
const PART_BUFFERS: usize = 16 * BUFFER;
const LEAST_PART_BUFFER: usize = 8 * 1024;
/// Where a worker's containers see their part.
const PART_IN_CONTAINERS: &str = "/atq/part";
const DIRECTORY: u32 = 0o755;
const FILE: u32 = 0o644;

/// Brings the bundle, unless it is there.
///
/// # Errors
/// Why it is not there now; the volume then has no marker.
pub fn run(args: &Args, order: &Fetch, until: Instant) -> Result<Done, Problem> {
    let director = Director::at(&order.url, args, until)?;
    let volume = Volume::lock(&args.bundle_dir, until)?;
    let delivery = Delivery::new(args, order, order::bundle(order)?, &volume);
    let mut done = Done::default();
    let mut offset = None;
    if !delivery.is_complete() {
        (done.bytes, offset) = delivery.bring(&director, until)?;
        done.fetched = true;
    }
    done.clock_offset_ms = Offset::better(offset, director.offset()).map(|offset| offset.ms);
    Ok(done)
}

struct Delivery<'a> {
    order: &'a Fetch,
    bundle: BundleId,
    root: &'a Path,
    split_key: Option<String>,
    /// Whether the bundle's own volume has its marker.
    is_here: bool,
    parts: Vec<Part>,
}

/// The volume of one replica's part.
struct Part {
    root: PathBuf,
    is_here: bool,
}

/// A zip on the disk.
struct Fetched {
    zip: File,
    bytes: u64,
    offset: Option<Offset>,
}

impl<'a> Delivery<'a> {
    fn new(args: &Args, order: &'a Fetch, bundle: BundleId, volume: &'a Volume) -> Self {
        let split_key = order.split.as_ref().map(Split::key);
        let is_here = |root: &Path| volume::is_whole(root, &bundle, split_key.as_deref());
        let replicas = order.split.as_ref().map_or(0, |split| split.replicas);
        let parts = (1..=replicas).map(|slot| {
            let root = args.parts_dir.join(slot.to_string());
            let is_here = is_here(&root);
            Part { root, is_here }
        });
        Self {
            order,
            bundle: bundle.clone(),
            root: volume.root(),
            is_here: is_here(volume.root()),
            parts: parts.collect(),
            split_key: split_key.clone(),
        }
    }

    fn is_complete(&self) -> bool {
        self.is_here && self.missing().next().is_none()
    }

    fn missing(&self) -> impl Iterator<Item = &Part> {
        self.parts.iter().filter(|part| !part.is_here)
    }

    /// Brings what is missing; bytes and clock of the download.
    fn bring(&self, director: &Director, until: Instant) -> Result<(u64, Option<Offset>), Problem> {
        self.clear()?;
        // What others read is not touched: when only parts are missing, the content lies beside them for a while.
        let aside = match self.missing().next() {
            Some(part) if self.is_here => Some(beside(&part.root)?),
            _ => None,
        };
        let root = aside.as_ref().map_or(self.root, TempDir::path);
        let room = Room::of(root);
        let fetched = tried(until, || download(director, self.order, root, &room))?;
        let totals = self.open(fetched.zip, root, &room)?;
        self.deal(root, &room, totals.bytes)?;
        drop(aside);
        self.seal(totals)?;
        Ok((fetched.bytes, fetched.offset))
    }

    fn clear(&self) -> Result<(), Problem> {
        let missing = self.missing().map(|part| part.root.as_path());
        let own = (!self.is_here).then_some(self.root);
        for root in own.into_iter().chain(missing) {
            volume::empty(root).map_err(Problem::disk("empty the volume at", root))?;
        }
        Ok(())
    }

    fn open(&self, zip: File, root: &Path, room: &Room) -> Result<Totals, Problem> {
        let packed = zip.metadata().map_or(0, |metadata| metadata.len());
        let zip = Arc::new(zip);
        let totals =
            scan(&zip, &limits(self.order.limits)).map_err(|e| refused(&e, room, packed))?;
        let needed = packed.saturating_add(totals.bytes);
        room.has(needed)?;
        unpack(&zip, root).map_err(|e| refused(&e, room, needed))?;
        Ok(totals)
    }

    /// Deals out the files of the order to the parts that are missing.
    fn deal(&self, root: &Path, room: &Room, unpacked: u64) -> Result<(), Problem> {
        let Some(split) = &self.order.split else {
            return Ok(());
        };
        for file in &split.files {
            let from = root.join(&file.path);
            let named = |text: String| Problem::lasting(format!("`{}` {text}", file.path));
            if !fs::symlink_metadata(&from).is_ok_and(|metadata| metadata.is_file()) {
                return Err(named(
                    "is to be split and is no file of the bundle".to_owned(),
                ));
            }
            self.deal_one(&from, file).map_err(|e| match e {
                SplitError::TooFew(rows) => named(format!(
                    "has {rows} rows for {} replicas\nhint: each replica needs at least one",
                    split.replicas
                )),
                SplitError::Write(e) if is_full(&e) => room.full(unpacked.saturating_mul(2)),
                other => named(other.to_string()),
            })?;
            if root == self.root {
                self.link(&from, &file.path)
                    .map_err(Problem::disk("link", &from))?;
            }
        }
        Ok(())
    }

    fn deal_one(&self, from: &Path, file: &SplitFile) -> Result<(), SplitError> {
        let source = File::open(from).map_err(SplitError::Read)?;
        let buffer = (PART_BUFFERS / self.parts.len().max(1)).clamp(LEAST_PART_BUFFER, BUFFER);
        let writers: io::Result<Vec<Box<dyn Write>>> = self
            .parts
            .iter()
            .map(|part| part.writer(&file.path, buffer))
            .collect();
        let mut writers = writers.map_err(SplitError::Write)?;
        deal(source, file.header, &mut writers).map(|_| ())
    }

    /// Puts a link to the part in place of the file.
    fn link(&self, at: &Path, path: &str) -> io::Result<()> {
        fs::remove_file(at)?;
        symlink(Path::new(PART_IN_CONTAINERS).join(path), at)
    }

    /// Gets all of it onto the disk, then says so.
    fn seal(&self, totals: Totals) -> Result<(), Problem> {
        let split_files = self
            .order
            .split
            .as_ref()
            .map_or(0, |s| s.files.len() as u64);
        let parts = self
            .missing()
            .map(|part| (part.root.as_path(), split_files));
        let own = (!self.is_here).then_some((self.root, totals.files));
        // The bundle's own marker comes last.
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
            volume::mark(root, &marker).map_err(Problem::disk("put the marker into", root))?;
        }
        Ok(())
    }
}

impl Part {
    /// Where rows for this part go; nowhere when it is complete.
    fn writer(&self, path: &str, buffer: usize) -> io::Result<Box<dyn Write>> {
        if self.is_here {
            return Ok(Box::new(io::sink()));
        }
        set_mode(&self.root, DIRECTORY)?;
        for (end, _) in path.match_indices('/') {
            let directory = self.root.join(&path[..end]);
            match fs::create_dir(&directory) {
                Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
                _ => set_mode(&directory, DIRECTORY)?,
            }
        }
        let file = File::create_new(self.root.join(path))?;
        file.set_permissions(Permissions::from_mode(FILE))?;
        Ok(Box::new(BufWriter::with_capacity(buffer, file)))
    }
}

fn beside(root: &Path) -> Result<TempDir, Problem> {
    TempDir::new_in(root).map_err(Problem::disk("make a directory in", root))
}

/// The zip into a file without a name, hashed on the way.
fn download(
    director: &Director,
    order: &Fetch,
    into: &Path,
    room: &Room,
) -> Result<Fetched, Problem> {
    let answer = director.get(&format!("{}/bundle/{}", order.run, order.bundle))?;
    let body = answer.response.into_body();
    let announced = body.content_length();
    let limit = order.limits.upload_bytes;
    if announced.is_some_and(|bytes| bytes > limit) {
        return Err(too_large(limit));
    }
    room.has(announced.unwrap_or(0))?;
    let mut from = body.into_reader();
    let cannot = |e: io::Error| disk(e, room, announced.unwrap_or(0));
    let mut zip = tempfile::tempfile_in(into).map_err(cannot)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; BUFFER];
    let mut bytes = 0;
    loop {
        let count = match from.read(&mut buffer) {
            Ok(count) => count,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(broken_off(order, bytes, announced, &reason(&e))),
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
    if announced.is_some_and(|announced| announced != bytes) {
        return Err(broken_off(order, bytes, announced, "it ended too early"));
    }
    let seen = BundleId::of(hash);
    if seen.as_str() != order.bundle {
        let text = format!("the bundle's hash is `{seen}`, wanted `{}`", order.bundle);
        return Err(Problem::lasting(text));
    }
    let offset = answer.offset;
    Ok(Fetched { zip, bytes, offset })
}

fn limits(ordered: ArchiveLimits) -> Limits {
    Limits {
        upload_bytes: ordered.upload_bytes,
        unpacked_bytes: ordered.unpacked_bytes,
        entries: ordered.entries,
    }
}

fn too_large(limit: u64) -> Problem {
    Problem::lasting(format!("the bundle is larger than {limit} bytes"))
}

fn broken_off(order: &Fetch, bytes: u64, of: Option<u64>, why: &str) -> Problem {
    let of = of.map_or_else(String::new, |of| format!(" of {of}"));
    Problem::passing(format!(
        "the download from the Director at `{}` broke off after {bytes}{of} bytes: {why}",
        order.url
    ))
}

/// What was free before the work began.
struct Room {
    free: Option<u64>,
}

impl Room {
    fn of(path: &Path) -> Self {
        let free = volume::free(path).ok();
        Self { free }
    }

    /// Says so at once when it will not do.
    fn has(&self, needed: u64) -> Result<(), Problem> {
        if self.free.is_some_and(|free| free < needed) {
            return Err(self.full(needed));
        }
        Ok(())
    }

    fn full(&self, needed: u64) -> Problem {
        let free = self
            .free
            .map_or_else(String::new, |free| format!(", {} are free", size(free)));
        Problem::lasting(format!(
            "no space left on the device: {} are needed{free}",
            size(needed)
        ))
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

fn disk(error: io::Error, room: &Room, needed: u64) -> Problem {
    if is_full(&error) {
        return room.full(needed);
    }
    Problem::lasting(format!("cannot write the download: {}", reason(&error)))
}

fn refused(error: &BundleError, room: &Room, needed: u64) -> Problem {
    match error {
        BundleError::Storage { source, .. } if is_full(source) => room.full(needed),
        other => Problem::lasting(other.to_string()),
    }
}

fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    fs::set_permissions(path, Permissions::from_mode(mode))
}
