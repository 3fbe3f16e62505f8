//! Access to uploaded bundles.

use async_trait::async_trait;

/// Size limits of a bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BundleLimits {
    /// Bytes of the zip.
    pub upload_bytes: u64,
    /// Bytes of all files.
    pub unpacked_bytes: u64,
    /// Number of entries.
    pub entries: u64,
}

/// The uploaded bundles.
#[async_trait]
pub trait Bundles: Send + Sync {
    /// The zip and its length in bytes; `None` if it does not exist.
    ///
    /// # Errors
    /// A message when the disk cannot be read.
    async fn zip(&self, bundle: &str) -> Result<Option<(std::fs::File, u64)>, String>;

    /// Its unpacked files on the Director's node; `None` for an invalid id.
    fn directory(&self, bundle: &str) -> Option<std::path::PathBuf>;

    /// Size limits of every bundle.
    fn limits(&self) -> BundleLimits;
}
