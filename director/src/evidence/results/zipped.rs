//! The kept results of a run as a zip that is made while it is sent: neither memory nor disk holds it.

use super::Evidence;
use super::names::text;
use crate::evidence::Source;
use crate::task::spec::TaskName;
use futures_util::{Stream, StreamExt, stream};
use std::fs::{self, DirEntry, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;
use time::OffsetDateTime;
use tokio::io::duplex;
use tokio::task::spawn_blocking;
use tokio_util::bytes::Bytes;
use tokio_util::io::{ReaderStream, SyncIoBridge};
use zip::write::{ExtendedFileOptions, FileOptions, StreamWriter};
use zip::{CompressionMethod, DateTime, ZipWriter};

/// Bytes that wait for whoever reads the zip.
const PIPE: usize = 256 << 10;
/// Result files are text that shrinks to a tenth; more effort takes more time than it saves.
const LEVEL: i64 = 1;
/// From this size on a file needs fields of 64 bits; it may still grow by what deflate adds.
const LARGE: u64 = u32::MAX as u64 - (16 << 20);

/// The extra field with the time of the last change in seconds since 1970, and the flag that it has that one.
const EXTENDED_TIMESTAMP: u16 = 0x5455;
const MODIFIED: u8 = 1;

type Zip = ZipWriter<StreamWriter<SyncIoBridge<tokio::io::DuplexStream>>>;

impl Evidence {
    /// A zip with what `sources` left, each in a directory of its name. It ends with an error when the disk
    /// cannot be read, so that no part of it is taken for the whole.
    pub fn zip_results(
        &self,
        task: &TaskName,
        run: &str,
        sources: Vec<Source>,
    ) -> impl Stream<Item = io::Result<Bytes>> + Send + use<> {
        let (writer, reader) = duplex(PIPE);
        let dirs: Vec<(Source, PathBuf)> = sources
            .into_iter()
            .map(|source| (source, self.results_dir(task, run, source)))
            .collect();
        let task = task.clone();
        // Made here: its end of the pipe belongs to this runtime.
        let writer = SyncIoBridge::new(writer);
        let written = spawn_blocking(move || {
            write(writer, &dirs).inspect_err(|error| {
                tracing::warn!(%task, %error, "the results were not sent to their end");
            })
        });
        let end = stream::once(written).filter_map(async |written| match written {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(Err(error)),
            Err(panicked) => Some(Err(io::Error::other(panicked))),
        });
        ReaderStream::new(reader).chain(end)
    }
}

fn write(
    writer: SyncIoBridge<tokio::io::DuplexStream>,
    dirs: &[(Source, PathBuf)],
) -> io::Result<()> {
    let mut zip = ZipWriter::new_stream(writer);
    for (source, dir) in dirs {
        add_dir(&mut zip, dir, &source.to_string())?;
    }
    let mut writer = zip.finish()?.into_inner();
    writer.flush()?;
    writer.shutdown()
}

fn add_dir(zip: &mut Zip, dir: &Path, name: &str) -> io::Result<()> {
    let mut entries: Vec<DirEntry> = fs::read_dir(dir)?.collect::<io::Result<_>>()?;
    entries.sort_by_key(DirEntry::file_name);
    for entry in entries {
        let name = format!("{name}/{}", text(&entry.file_name()));
        match entry.file_type()?.is_dir() {
            true => add_dir(zip, &entry.path(), &name)?,
            false => add_file(zip, &entry.path(), &name)?,
        }
    }
    Ok(())
}

fn add_file(zip: &mut Zip, path: &Path, name: &str) -> io::Result<()> {
    let mut file = File::open(path)?;
    let metadata = file.metadata()?;
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
    zip.start_file(name, options)?;
    io::copy(&mut file, zip).map(drop)
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
