//! Bundle ids.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

const DIGITS: usize = 32;

/// A bundle id: 32 lower-case hex digits, the first half of the zip's SHA-256.
///
/// No other text is accepted, so an id used as a path component cannot escape its directory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct BundleId(String);

/// The error for a text that is not a bundle id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{seen}` is not a bundle id: expected 32 lower-case hex digits, as the upload returned them"
)]
pub struct InvalidBundleId {
    seen: String,
}

impl BundleId {
    /// The id of content with this hash.
    pub fn of(content: Sha256) -> Self {
        let mut hex = format!("{:x}", content.finalize());
        hex.truncate(DIGITS);
        Self(hex)
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for BundleId {
    type Err = InvalidBundleId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let valid =
            text.len() == DIGITS && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if valid {
            return Ok(Self(text.to_owned()));
        }
        Err(InvalidBundleId {
            seen: text
                .chars()
                .take(64)
                .flat_map(char::escape_default)
                .collect(),
        })
    }
}

impl TryFrom<String> for BundleId {
    type Error = InvalidBundleId;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl fmt::Display for BundleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
