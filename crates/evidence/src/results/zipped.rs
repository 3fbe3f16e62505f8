//! The kept results of a run as a zip that is made while it is sent: neither memory nor disk holds it, and no thread
//! waits for whoever reads it.

use super::Evidence;
use super::names::text;
use crate::Source;
use atq_task::spec::TaskName;
use futures_util::{Stream, stream};
use std::fs::{self, DirEntry, File, Metadata};
use std::io::{self, Read, Write};
use std::mem;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::UNIX_EPOCH;
use time::OffsetDateTime;
use tokio::task::spawn_blocking;
use tokio_util::bytes::Bytes;
use zip::write::{ExtendedFileOptions, FileOptions, StreamWriter};
use zip::{CompressionMethod, DateTime, ZipWriter};

/// Bytes that are made at once, when they are asked for.
const PIECE: usize = 128 << 10;
/// Bytes of a file that are looked at between two looks at the piece.
const PORTION: u64 = 256 << 10;
/// Result files are text that shrinks to a tenth; more effort takes more time than it saves.
const LEVEL: i64 = 1;
/// From this size on a file needs fields of 64 bits; it may still grow by what deflate adds.
const LARGE: u64 = u32::MAX as u64 - (16 << 20);

/// The extra field with the time of the last change in seconds since 1970, and the flag that it has that one.
const EXTENDED_TIMESTAMP: u16 = 0x5455;
const MODIFIED: u8 = 1;

impl Evidence {
    /// A zip with what `sources` left, each in a directory of its name. It ends with an error when the disk
    /// cannot be read, so that no part of it is taken for the whole.
    pub fn zip_results(
        &self,
        task: &TaskName,
        run: &str,
        sources: Vec<Source>,
    ) -> impl Stream<Item = io::Result<Bytes>> + Send + use<> {
        let mut todo: Vec<Entry> = sources
            .into_iter()
            .map(|source| Entry {
                path: self.results_dir(task, run, source),
                name: source.to_string(),
                is_dir: true,
            })
            .collect();
        todo.reverse();
        let task = task.clone();
        stream::try_unfold(Some(Zipping::new(todo)), move |zipping| {
            let task = task.clone();
            async move {
                let Some(zipping) = zipping else {
                    return Ok(None);
                };
                // Each piece is work of some milliseconds; in between, nothing waits but the stream itself.
                let made = spawn_blocking(move || zipping.piece()).await;
                made.unwrap_or_else(|panicked| Err(io::Error::other(panicked)))
                    .map(Some)
                    .inspect_err(|error| {
                        tracing::warn!(%task, %error, "the results were not sent to their end");
                    })
            }
        })
    }
}

/// A file or directory that is still to be put into the zip.
struct Entry {
    path: PathBuf,
    name: String,
    is_dir: bool,
}

/// A zip that is being made.
struct Zipping {
    zip: ZipWriter<StreamWriter<Buffer>>,
    /// What the zip has written and nobody has got yet.
    made: Buffer,
    /// The file that is being read.
    file: Option<File>,
    /// The next one is the last of these.
    todo: Vec<Entry>,
}

impl Zipping {
    fn new(todo: Vec<Entry>) -> Self {
        let made = Buffer::default();
        Self {
            zip: ZipWriter::new_stream(made.clone()),
            made,
            file: None,
            todo,
        }
    }

    /// The next piece, and what makes the one after it; nothing after the last. Blocks.
    fn piece(mut self) -> io::Result<(Bytes, Option<Self>)> {
        while self.made.len() < PIECE {
            if let Some(file) = &mut self.file {
                if io::copy(&mut file.take(PORTION), &mut self.zip)? == 0 {
                    self.file = None;
                }
            } else if let Some(entry) = self.todo.pop() {
                self.begin(entry)?;
            } else {
                self.zip.finish()?;
                return Ok((self.made.take(), None));
            }
        }
        Ok((self.made.take(), Some(self)))
    }

    fn begin(&mut self, entry: Entry) -> io::Result<()> {
        if entry.is_dir {
            self.todo.extend(below(&entry.path, &entry.name)?);
            return Ok(());
        }
        let file = File::open(entry.path)?;
        self.zip
            .start_file(entry.name, options(&file.metadata()?)?)?;
        self.file = Some(file);
        Ok(())
    }
}

/// What is in a directory, in the order of the names from the last to the first.
fn below(dir: &Path, name: &str) -> io::Result<Vec<Entry>> {
    let mut entries: Vec<DirEntry> = fs::read_dir(dir)?.collect::<io::Result<_>>()?;
    entries.sort_by_key(|entry| std::cmp::Reverse(entry.file_name()));
    let entry = |entry: DirEntry| {
        Ok(Entry {
            path: entry.path(),
            name: format!("{name}/{}", text(&entry.file_name())),
            is_dir: entry.file_type()?.is_dir(),
        })
    };
    entries.into_iter().map(entry).collect()
}

fn options(metadata: &Metadata) -> io::Result<FileOptions<'static, 'static, ExtendedFileOptions>> {
    let mut options = FileOptions::<ExtendedFileOptions>::default()
        .compression_method(CompressionMethod::Deflated)
        .compression_level(Some(LEVEL))
        .large_file(metadata.len() >= LARGE);
    let modified = metadata.modified()?.duration_since(UNIX_EPOCH);
    let modified = modified
        .ok()
        .and_then(|since| u32::try_from(since.as_secs()).ok());
    if let Some(seconds) = modified {
        options = options.last_modified_time(dos_time(seconds));
        let field = [&[MODIFIED][..], &seconds.to_le_bytes()].concat();
        options.add_extra_field(EXTENDED_TIMESTAMP, field, false)?;
    }
    Ok(options)
}

/// The time as zips have it since 1989, here in UTC; what is more exact is in the extra field.
fn dos_time(seconds: u32) -> DateTime {
    let time = OffsetDateTime::from_unix_timestamp(i64::from(seconds)).ok();
    let time = time.and_then(|at| {
        let (year, month, day) = at.to_calendar_date();
        let year = u16::try_from(year).ok()?;
        let (hour, minute, second) = at.to_hms();
        DateTime::from_date_and_time(year, month.into(), day, hour, minute, second).ok()
    });
    time.unwrap_or_default()
}

/// Bytes in memory, of which the zip has one end.
#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Buffer {
    fn len(&self) -> usize {
        self.lock().len()
    }

    fn take(&self) -> Bytes {
        mem::take(&mut *self.lock()).into()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.lock().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
