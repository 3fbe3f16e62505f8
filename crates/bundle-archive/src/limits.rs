//! Limits of an archive.

/// Smaller content may have any compression ratio: text of a few megabytes often shrinks a hundredfold.
const RATIO_FREE_BYTES: u64 = 16 * 1024 * 1024;
/// Larger content with a higher compression ratio is treated as a zip bomb.
const RATIO: u64 = 200;

/// Limits of one upload. All sizes are in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Size of the zip itself.
    pub upload_bytes: u64,
    /// Size of all its files together, unpacked.
    pub unpacked_bytes: u64,
    /// Files and directories, including directories implied by the paths of files.
    pub entries: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            upload_bytes: 2 << 30,
            unpacked_bytes: 8 << 30,
            entries: 100_000,
        }
    }
}

/// Returns the reason if `unpacked` bytes from `packed` ones look like a zip bomb.
pub(crate) fn bomb(packed: u64, unpacked: u64) -> Option<String> {
    let suspicious = unpacked > RATIO_FREE_BYTES && unpacked > packed.saturating_mul(RATIO);
    suspicious.then(|| {
        format!(
            "unpacks {packed} bytes to {unpacked}, more than {RATIO} times as many: this looks like a zip bomb"
        )
    })
}
