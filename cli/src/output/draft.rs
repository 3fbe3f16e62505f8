//! A temporary file that is moved to its final path when it is complete.

use sha2::{Digest, Sha256};
use std::fs::{File, Permissions};
use std::io::{self, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::SystemTime;
use tempfile::{Builder, NamedTempFile};

/// Size of a read.
const CHUNK: usize = 256 * 1024;

/// A temporary file with a unique name. It is removed on drop, unless it was moved to its final path.
#[derive(Debug)]
pub struct Draft {
    file: NamedTempFile,
    hash: Sha256,
}

impl Draft {
    /// Creates an empty draft.
    ///
    /// # Errors
    /// When no file can be created in `dir`.
    pub fn create_in(dir: &Path) -> io::Result<Self> {
        let file = Builder::new()
            .prefix(".atq-")
            .suffix(".part")
            // The umask applies, like for any other file.
            .permissions(Permissions::from_mode(0o666))
            .tempfile_in(dir)?;
        let hash = Sha256::new();
        Ok(Self { file, hash })
    }

    /// Creates a draft with this content.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn with(dir: &Path, content: &[u8]) -> io::Result<Self> {
        let mut draft = Self::create_in(dir)?;
        draft.write_all(content)?;
        Ok(draft)
    }

    /// The temporary path.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// SHA-256 of the content, in hexadecimal.
    pub fn digest(&self) -> String {
        hex(self.hash.clone())
    }

    /// Sets the modification time.
    ///
    /// # Errors
    /// When the file system rejects it.
    pub fn set_modified(&self, time: SystemTime) -> io::Result<()> {
        self.file.as_file().set_modified(time)
    }

    /// Moves the file to its final path and replaces an existing file.
    ///
    /// # Errors
    /// When the file cannot be moved.
    pub fn replace(self, to: &Path) -> io::Result<()> {
        self.file.persist(to).map(drop).map_err(|error| error.error)
    }

    /// Moves the file to its final path, unless that exists.
    ///
    /// # Errors
    /// When the path exists, or the file cannot be moved.
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
/// When the file cannot be read.
pub fn digest_of(path: &Path) -> io::Result<String> {
    let mut hash = Sha256::new();
    io::copy(
        &mut BufReader::with_capacity(CHUNK, File::open(path)?),
        &mut hash,
    )?;
    Ok(hex(hash))
}

fn hex(hash: Sha256) -> String {
    format!("{:x}", hash.finalize())
}
