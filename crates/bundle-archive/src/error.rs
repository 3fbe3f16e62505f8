//! Why an upload was not kept.

use std::fmt::Write as _;
use std::io;

/// Everything that can go wrong with a bundle. Whatever the variant, nothing of the upload is left on disk.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// The file is not a zip, by its name or by its first bytes.
    #[error("not a zip archive: {reason}")]
    NotAZip {
        /// What was seen instead.
        reason: String,
    },
    /// The archive asks for something that no honest bundle needs, or for more than the limits allow.
    #[error("archive refused: {}{reason}", subject(entry))]
    Hostile {
        /// The entry at fault, fit for printing; none when it is the archive as a whole.
        entry: Option<String>,
        /// What is wrong with it.
        reason: String,
    },
    /// The archive is damaged or uses a feature that is not supported.
    #[error("archive cannot be read: {}{reason}", subject(entry))]
    Broken {
        /// The entry at fault, fit for printing; none when it is the archive as a whole.
        entry: Option<String>,
        /// What is wrong with it.
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
    /// The disk failed us.
    #[error("cannot {action}: {}", storage_reason(source))]
    Storage {
        /// What was being done, as a verb with its object.
        action: String,
        /// What the operating system said.
        source: io::Error,
    },
}

impl BundleError {
    /// The disk failed while `action` (a verb with its object) was done.
    pub fn storage(action: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Storage {
            action: action.into(),
            source,
        }
    }

    /// The entry, or the whole archive, is refused for this reason.
    pub fn hostile(entry: Option<&str>, reason: impl Into<String>) -> Self {
        Self::Hostile {
            entry: entry.map(printable),
            reason: reason.into(),
        }
    }

    /// The entry, or the whole archive, cannot be read for this reason.
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
            // The operating system's own error has no numbers.
            let told = source.get_ref().map(ToString::to_string);
            let told = told.unwrap_or_else(|| "the disk is full".to_owned());
            format!("{told}\nhint: free space under `glusterpath` or remove bundles")
        }
        io::ErrorKind::QuotaExceeded => "the disk quota is used up".to_owned(),
        _ => source.to_string(),
    }
}

/// Names come from strangers: they must not steer a terminal, break a log line or fill a page.
fn printable(name: &str) -> String {
    const SHOWN: usize = 120;
    let mut shown = String::new();
    for c in name.chars().take(SHOWN) {
        if c.is_control() {
            let _ = write!(shown, "{}", c.escape_default());
        } else {
            shown.push(c);
        }
    }
    if name.chars().nth(SHOWN).is_some() {
        shown.push_str("...");
    }
    shown
}
