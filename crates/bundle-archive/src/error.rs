//! Errors of an upload.

use std::fmt::Write as _;
use std::io;

/// An error of a bundle. With every variant, nothing of the upload remains on disk.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// The file is not a zip according to its name or its first bytes.
    #[error("not a zip archive: {reason}")]
    NotAZip {
        /// The name or bytes found.
        reason: String,
    },
    /// The archive has content that no legitimate bundle needs, or exceeds the limits.
    #[error("archive refused: {}{reason}", subject(entry))]
    Hostile {
        /// The invalid entry, escaped for printing; `None` if the whole archive is refused.
        entry: Option<String>,
        /// The reason.
        reason: String,
    },
    /// The archive is damaged or uses a feature that is not supported.
    #[error("archive cannot be read: {}{reason}", subject(entry))]
    Broken {
        /// The invalid entry, escaped for printing; `None` for the whole archive.
        entry: Option<String>,
        /// The reason.
        reason: String,
    },
    /// The upload is larger than `limits.uploadBytes`.
    #[error(
        "upload is larger than {limit} bytes\nhint: `limits.uploadBytes` in the Director's configuration sets this limit"
    )]
    TooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// An I/O error.
    #[error("cannot {action}: {}", storage_reason(source))]
    Storage {
        /// The failed action, as a verb with its object.
        action: String,
        /// The error of the operating system.
        source: io::Error,
    },
}

impl BundleError {
    /// Wraps an I/O error of `action`, a verb with its object.
    pub fn storage(action: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Storage {
            action: action.into(),
            source,
        }
    }

    /// Refuses the entry, or the whole archive.
    pub fn hostile(entry: Option<&str>, reason: impl Into<String>) -> Self {
        Self::Hostile {
            entry: entry.map(printable),
            reason: reason.into(),
        }
    }

    /// Reports that the entry, or the whole archive, cannot be read.
    pub fn broken(entry: Option<&str>, reason: impl Into<String>) -> Self {
        Self::Broken {
            entry: entry.map(printable),
            reason: reason.into(),
        }
    }
}

fn subject(entry: &Option<String>) -> String {
    entry
        .as_ref()
        .map_or_else(String::new, |name| format!("entry `{name}` "))
}

fn storage_reason(source: &io::Error) -> String {
    match source.kind() {
        io::ErrorKind::StorageFull => {
            // The error of the operating system lacks the free and the needed space.
            let message = source.get_ref().map(ToString::to_string);
            let message = message.unwrap_or_else(|| "the disk is full".to_owned());
            format!("{message}\nhint: free space under `glusterpath` or remove bundles")
        }
        io::ErrorKind::QuotaExceeded => "the disk quota is exceeded".to_owned(),
        _ => source.to_string(),
    }
}

/// Escapes and shortens an untrusted name, so that it cannot control a terminal, break a log line or fill a page.
fn printable(name: &str) -> String {
    const MAX_CHARS: usize = 120;
    let mut shown = String::new();
    for c in name.chars().take(MAX_CHARS) {
        if c.is_control() {
            let _ = write!(shown, "{}", c.escape_default());
        } else {
            shown.push(c);
        }
    }
    if name.chars().nth(MAX_CHARS).is_some() {
        shown.push_str("...");
    }
    shown
}
