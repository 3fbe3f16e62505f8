//! A file that is being written beside its place, and takes it when it is whole.

use sha2::{Digest, Sha256};
use std::fs::{File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::SystemTime;
use tempfile::{Builder, NamedTempFile};

/// Read at once.
const CHUNK: usize = 256 * 1024;

/// The file, under a short name that no other file has; it is removed unless it takes its place.
#[derive(Debug)]
pub struct Draft {
    file: NamedTempFile,
    hash: Sha256,
}

impl Draft {
    /// An empty one.
    ///
    /// # Errors
    /// When no file can be created in `dir`.
    pub fn create_in(dir: &Path) -> io::Result<Self> {
        let file = Builder::new()
            .prefix(".atq-")
            .suffix(".part")
            // As of any other file: the umask takes from it.
            .permissions(Permissions::from_mode(0o666))
            .tempfile_in(dir)?;
        let hash = Sha256::new();
        Ok(Self { file, hash })
    }

    /// One with this content.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn with(dir: &Path, content: &[u8]) -> io::Result<Self> {
        let mut draft = Self::create_in(dir)?;
        draft.write_all(content)?;
        Ok(draft)
    }

    /// Where it is until it takes its place.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// SHA-256 of what was written, in hexadecimal.
    pub fn digest(&self) -> String {
        hex(self.hash.clone())
    }

    /// Sets the time of its last change.
    ///
    /// # Errors
    /// When the file system does not take it.
    pub fn set_modified(&self, time: SystemTime) -> io::Result<()> {
        self.file.as_file().set_modified(time)
    }

    /// Takes its place; a file that is there is replaced.
    ///
    /// # Errors
    /// When it cannot.
    pub fn replace(self, to: &Path) -> io::Result<()> {
        self.file.persist(to).map(drop).map_err(|error| error.error)
    }

    /// Takes its place, unless something is there.
    ///
    /// # Errors
    /// When something is there, or it cannot.
    pub fn place(self, to: &Path) -> io::Result<()> {
        let placed = self.file.persist_noclobber(to);
        placed.map(drop).map_err(|error| error.error)
    }
}

impl Write for Draft {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        if let Some(written) = bytes.get(..count) {
            self.hash.update(written);
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// SHA-256 of a file in hexadecimal.
///
/// # Errors
/// When it cannot be read.
pub fn digest_of(path: &Path) -> io::Result<String> {
    let (mut file, mut hash, mut piece) = (File::open(path)?, Sha256::new(), vec![0; CHUNK]);
    loop {
        let count = file.read(&mut piece)?;
        match piece.get(..count) {
            Some(read) if count > 0 => hash.update(read),
            _ => return Ok(hex(hash)),
        }
    }
}

fn hex(hash: Sha256) -> String {
    format!("{:x}", hash.finalize())
}
