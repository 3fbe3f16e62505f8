//! A bundle upload in progress.

use std::fs::File;
use std::io::{self, Write};
use std::mem;

use atq_bundle_archive::{BundleError, BundleId};
use sha2::{Digest, Sha256};
use tokio::task::{JoinHandle, spawn_blocking};

use super::store::{BundleInfo, BundleStore};
use super::workdir::Workdir;

/// Bytes per write. An upload uses two buffers of this size.
const BUFFER_BYTES: usize = 1024 * 1024;
const WRITE_ACTION: &str = "write the upload";

/// The result of a completed upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uploaded {
    /// The bundle's id; equal zips have equal ids.
    pub id: BundleId,
    /// True if the bundle existed before; then nothing was written, and `info` describes the first upload.
    pub existed: bool,
    /// Description of the bundle.
    pub info: BundleInfo,
}

/// An upload in progress. Dropping it leaves nothing on disk.
#[derive(Debug)]
pub struct Incoming {
    store: BundleStore,
    workdir: Workdir,
    filling: Vec<u8>,
    writer: Writer,
    total: u64,
    /// The first bytes, until they have been checked.
    magic: Option<Vec<u8>>,
}

/// One buffer is filled while the other one is written and hashed on a blocking thread.
#[derive(Debug)]
enum Writer {
    Idle(Box<Sink>),
    Busy(JoinHandle<io::Result<Box<Sink>>>),
    Failed,
}

#[derive(Debug)]
struct Sink {
    file: File,
    hash: Sha256,
    buffer: Vec<u8>,
}

impl Sink {
    fn drain(mut self: Box<Self>) -> io::Result<Box<Self>> {
        self.file.write_all(&self.buffer)?;
        self.hash.update(&self.buffer);
        self.buffer.clear();
        Ok(self)
    }
}

/// Checks the name of an uploaded file, so that a caller can refuse it before the content arrives;
/// [`Incoming::finish`] repeats the check.
///
/// # Errors
/// [`BundleError::NotAZip`] if the name does not end with `.zip`.
pub fn check_file_name(name: &str) -> Result<(), BundleError> {
    if name.to_ascii_lowercase().ends_with(".zip") {
        return Ok(());
    }
    let shown: String = name
        .chars()
        .take(120)
        .flat_map(char::escape_debug)
        .collect();
    Err(BundleError::NotAZip {
        reason: format!("the file is named `{shown}`: expected a name that ends with `.zip`"),
    })
}

impl Incoming {
    pub(super) fn new(store: BundleStore, workdir: Workdir, file: File) -> Self {
        let sink = Sink {
            file,
            hash: Sha256::new(),
            buffer: Vec::new(),
        };
        Self {
            store,
            workdir,
            filling: Vec::new(),
            writer: Writer::Idle(Box::new(sink)),
            total: 0,
            magic: Some(Vec::new()),
        }
    }

    /// Writes the next bytes of the zip.
    ///
    /// # Errors
    /// [`BundleError::TooLarge`] once the limit is exceeded, [`BundleError::NotAZip`] if the first four
    /// bytes are not those of a zip, [`BundleError::Storage`] on an I/O error. After an error the upload can only be dropped.
    pub async fn write(&mut self, chunk: &[u8]) -> Result<(), BundleError> {
        self.total = self.total.saturating_add(chunk.len() as u64);
        let limit = self.store.limits().upload_bytes;
        if self.total > limit {
            return Err(BundleError::TooLarge { limit });
        }
        self.check_start(chunk)?;
        let mut rest = chunk;
        while !rest.is_empty() {
            self.filling
                .reserve_exact(BUFFER_BYTES - self.filling.len());
            let (now, later) = rest.split_at(rest.len().min(BUFFER_BYTES - self.filling.len()));
            self.filling.extend_from_slice(now);
            rest = later;
            if self.filling.len() == BUFFER_BYTES {
                self.swap_buffers().await?;
            }
        }
        Ok(())
    }

    /// Completes the upload: checks the archive, unpacks it and publishes it atomically.
    ///
    /// The work continues if this future is dropped; the result is then an ordinary bundle,
    /// because the upload was complete.
    ///
    /// # Errors
    /// Every variant of [`BundleError`]; none leaves anything on disk.
    pub async fn finish(mut self, file_name: &str) -> Result<Uploaded, BundleError> {
        check_file_name(file_name)?;
        if let Some(magic) = &self.magic {
            check_magic(magic)?;
        }
        self.swap_buffers().await?;
        let sink = self.idle_sink().await?;
        let Self {
            store,
            workdir,
            total,
            ..
        } = self;
        let file_name = file_name.to_owned();
        spawn_blocking(move || {
            let Sink { file, hash, buffer } = *sink;
            drop(buffer);
            store.keep(workdir, file, BundleId::of(hash), &file_name, total)
        })
        .await
        .map_err(io::Error::other)
        .map_err(BundleError::storage("unpack the upload"))?
    }

    fn check_start(&mut self, chunk: &[u8]) -> Result<(), BundleError> {
        let Some(magic) = &mut self.magic else {
            return Ok(());
        };
        let missing = 4 - magic.len();
        magic.extend_from_slice(&chunk[..chunk.len().min(missing)]);
        if magic.len() == 4 {
            check_magic(magic)?;
            self.magic = None;
        }
        Ok(())
    }

    async fn swap_buffers(&mut self) -> Result<(), BundleError> {
        let mut sink = self.idle_sink().await?;
        mem::swap(&mut sink.buffer, &mut self.filling);
        let store = self.store.clone();
        self.writer = Writer::Busy(spawn_blocking(move || {
            store.check_space(sink.buffer.len() as u64)?;
            sink.drain()
        }));
        Ok(())
    }

    async fn idle_sink(&mut self) -> Result<Box<Sink>, BundleError> {
        // The handle stays in place during the await, so that the call can be repeated after a cancellation.
        if let Writer::Busy(work) = &mut self.writer {
            let outcome = work.await.map_err(io::Error::other).and_then(|done| done);
            self.writer = Writer::Failed;
            return outcome.map_err(BundleError::storage(WRITE_ACTION));
        }
        match mem::replace(&mut self.writer, Writer::Failed) {
            Writer::Idle(sink) => Ok(sink),
            _ => Err(BundleError::storage(WRITE_ACTION)(io::Error::other(
                "an earlier write failed",
            ))),
        }
    }
}

fn check_magic(magic: &[u8]) -> Result<(), BundleError> {
    let reason = match magic {
        b"PK\x03\x04" => return Ok(()),
        b"PK\x05\x06" => return Err(BundleError::broken(None, "it is empty")),
        b"" => "the file is empty".to_owned(),
        other => {
            format!("its content begins with the bytes {other:02x?}: expected [50, 4b, 03, 04]")
        }
    };
    Err(BundleError::NotAZip { reason })
}
