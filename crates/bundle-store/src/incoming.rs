//! An upload on its way in.

use std::fs::File;
use std::io::{self, Write};
use std::mem;

use atq_bundle_archive::{BundleError, BundleId};
use sha2::{Digest, Sha256};
use tokio::task::{JoinHandle, spawn_blocking};

use super::store::{BundleInfo, BundleStore};
use super::workdir::Workdir;

/// The unit of writing. Two buffers of this size are all the memory that an upload takes while it streams.
const BUFFER: usize = 1024 * 1024;
const WRITE: &str = "write the upload";

/// The result of a complete upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uploaded {
    /// The bundle's id, the same for the same zip.
    pub id: BundleId,
    /// Whether the bundle was there before; then nothing was written, and `info` describes the first upload.
    pub existed: bool,
    /// What the bundle holds.
    pub info: BundleInfo,
}

/// An upload in progress. Dropping it at any moment leaves nothing on disk.
#[derive(Debug)]
pub struct Incoming {
    store: BundleStore,
    workdir: Workdir,
    filling: Vec<u8>,
    writer: Writer,
    total: u64,
    /// The first bytes, until they have been looked at.
    begins: Option<Vec<u8>>,
}

/// While one buffer is written and hashed on a blocking thread, the other one fills.
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

/// Checks the name under which a file is uploaded, so that a caller may refuse it before its content arrives;
/// [`Incoming::finish`] checks it in any case.
///
/// # Errors
/// [`BundleError::NotAZip`] when the name does not end with `.zip`.
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
            begins: Some(Vec::new()),
        }
    }

    /// Takes the next bytes of the zip.
    ///
    /// # Errors
    /// [`BundleError::TooLarge`] as soon as the limit is passed, [`BundleError::NotAZip`] as soon as the first four
    /// bytes show it, [`BundleError::Storage`] when the disk fails. After an error the upload is only good to drop.
    pub async fn write(&mut self, chunk: &[u8]) -> Result<(), BundleError> {
        self.total = self.total.saturating_add(chunk.len() as u64);
        let limit = self.store.limits().upload_bytes;
        if self.total > limit {
            return Err(BundleError::TooLarge { limit });
        }
        self.look_at(chunk)?;
        let mut rest = chunk;
        while !rest.is_empty() {
            self.filling.reserve_exact(BUFFER - self.filling.len());
            let (now, later) = rest.split_at(rest.len().min(BUFFER - self.filling.len()));
            self.filling.extend_from_slice(now);
            rest = later;
            if self.filling.len() == BUFFER {
                self.hand_over().await?;
            }
        }
        Ok(())
    }

    /// Ends the upload: checks the archive, unpacks it and makes it visible in one step.
    ///
    /// Once begun the work runs to its end even if this future is dropped; what it makes is then a bundle like any
    /// other, since the upload was complete.
    ///
    /// # Errors
    /// Every variant of [`BundleError`]; none leaves anything on disk.
    pub async fn finish(mut self, file_name: &str) -> Result<Uploaded, BundleError> {
        check_file_name(file_name)?;
        if let Some(begins) = &self.begins {
            check_magic(begins)?;
        }
        self.hand_over().await?;
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

    fn look_at(&mut self, chunk: &[u8]) -> Result<(), BundleError> {
        let Some(begins) = &mut self.begins else {
            return Ok(());
        };
        let missing = 4 - begins.len();
        begins.extend_from_slice(&chunk[..chunk.len().min(missing)]);
        if begins.len() == 4 {
            check_magic(begins)?;
            self.begins = None;
        }
        Ok(())
    }

    async fn hand_over(&mut self) -> Result<(), BundleError> {
        let mut sink = self.idle_sink().await?;
        mem::swap(&mut sink.buffer, &mut self.filling);
        let store = self.store.clone();
        self.writer = Writer::Busy(spawn_blocking(move || {
            store.room_for(sink.buffer.len() as u64)?;
            sink.drain()
        }));
        Ok(())
    }

    async fn idle_sink(&mut self) -> Result<Box<Sink>, BundleError> {
        // The handle stays in place while it is awaited: a caller that gives up here may call again.
        if let Writer::Busy(work) = &mut self.writer {
            let outcome = work.await.map_err(io::Error::other).and_then(|done| done);
            self.writer = Writer::Failed;
            return outcome.map_err(BundleError::storage(WRITE));
        }
        match mem::replace(&mut self.writer, Writer::Failed) {
            Writer::Idle(sink) => Ok(sink),
            _ => Err(BundleError::storage(WRITE)(io::Error::other(
                "an earlier write failed",
            ))),
        }
    }
}

fn check_magic(begins: &[u8]) -> Result<(), BundleError> {
    let reason = match begins {
        b"PK\x03\x04" => return Ok(()),
        b"PK\x05\x06" => return Err(BundleError::broken(None, "it is empty")),
        b"" => "the file is empty".to_owned(),
        other => {
            format!("its content begins with the bytes {other:02x?}: expected [50, 4b, 03, 04]")
        }
    };
    Err(BundleError::NotAZip { reason })
}
