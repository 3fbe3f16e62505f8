//! Fingerprints of secrets. A plain hash of a short password is easily guessed, so these are keyed. The key
//! never leaves the data directory; a fingerprint reveals only whether two values are equal.

use super::Evidence;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use std::fs;
use std::io::{self, Write};
use std::path::Path;

const KEY: &str = "manifest-key";

impl Evidence {
    /// The fingerprint of `secret`: HMAC-SHA256, stable as long as the data directory exists. Blocks.
    ///
    /// # Errors
    /// If the key cannot be read or created.
    pub fn fingerprint(&self, secret: &str) -> io::Result<String> {
        let key = key(self.root.parent().unwrap_or(&self.root))?;
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).map_err(io::Error::other)?;
        mac.update(secret.as_bytes());
        Ok(format!("hmac-sha256:{:x}", mac.finalize().into_bytes()))
    }
}

/// The key of a data directory, created on first use.
fn key(datadir: &Path) -> io::Result<Vec<u8>> {
    let path = datadir.join(KEY);
    match fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        read => return read,
    }
    fs::create_dir_all(datadir)?;
    // Temporary files are readable only by their owner.
    let mut draft = tempfile::NamedTempFile::new_in(datadir)?;
    for _ in 0..2 {
        draft.write_all(uuid::Uuid::new_v4().as_bytes())?;
    }
    draft.as_file().sync_all()?;
    match draft.persist_noclobber(&path) {
        // Another process created the key first.
        Err(error) if error.error.kind() != io::ErrorKind::AlreadyExists => Err(error.error),
        _ => fs::read(&path),
    }
}
