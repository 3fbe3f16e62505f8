//! How much an archive may ask for.

/// Up to this size, content may be as compressible as it likes: text of a few megabytes often shrinks a hundredfold.
const RATIO_FREE_BYTES: u64 = 16 * 1024 * 1024;
/// Beyond that, this many times its packed size is taken for a bomb.
const RATIO: u64 = 200;

/// Limits of one upload. All sizes are in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Size of the zip itself.
    pub upload_bytes: u64,
    /// Size of all its files together, unpacked.
    pub unpacked_bytes: u64,
    /// Files and directories, counting the directories that only the names of files imply.
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

/// Says why `unpacked` bytes out of `packed` ones look like a bomb, if they do.
pub(crate) fn bomb(packed: u64, unpacked: u64) -> Option<String> {
    let suspicious = unpacked > RATIO_FREE_BYTES && unpacked > packed.saturating_mul(RATIO);
    suspicious.then(|| {
        format!(
            "unpacks {packed} bytes to {unpacked}, more than {RATIO} times as many: this looks like a zip bomb"
        )
    })
}
