//! Options of a client's request: timeout, lease and key. They are not part of the definition, so that the same
//! definition with another timeout is still the same test.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Options of the request that submitted the definition.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Terms {
    /// Milliseconds after which the run is ended, counted from its acceptance; time in the queue is included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// Milliseconds after which the run is ended unless its client renews the lease.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lease_ms: Option<u64>,
    /// The key of the invocation that started the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<Key>,
    /// Name of the client that started the run, if it was identified.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
}

impl Terms {
    /// The timeout of the run.
    pub fn timeout(&self) -> Option<Duration> {
        self.timeout_ms.map(Duration::from_millis)
    }

    /// The length of the lease.
    pub fn lease(&self) -> Option<Duration> {
        self.lease_ms.map(Duration::from_millis)
    }

    /// Whether no option is set.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Identifies one invocation of a client (`Idempotency-Key`). A retried request carries the same key; every client
/// uses its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Key(String);

impl Key {
    /// Maximum length in bytes.
    const MAX_LENGTH: usize = 255;

    /// Reads a key: visible ASCII, with or without the quotes of the IETF draft.
    ///
    /// # Errors
    /// A description of a valid key.
    pub fn parse(text: &str) -> Result<Self, String> {
        let quoted = text
            .strip_prefix('"')
            .and_then(|rest| rest.strip_suffix('"'));
        let key = quoted.unwrap_or(text);
        let is_visible = key
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b'"');
        match is_visible && (1..=Self::MAX_LENGTH).contains(&key.len()) {
            true => Ok(Self(key.to_owned())),
            false => Err(format!(
                "1 to {} visible ASCII characters, for example a UUID",
                Self::MAX_LENGTH
            )),
        }
    }
}

/// The limit that ends a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expiry {
    /// The run did not complete within its timeout.
    Timeout,
    /// The client did not renew the lease.
    Lease,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_visible_ascii_with_or_without_quotes() {
        assert_eq!(Key::parse("\"a-1\"").unwrap(), Key::parse("a-1").unwrap());
        for wrong in ["", "\"\"", "a b", "a\"b", "\u{e9}", &"x".repeat(256)] {
            assert!(Key::parse(wrong).is_err(), "{wrong:?}");
        }
        assert!(Key::parse(&"x".repeat(255)).is_ok());
    }

    #[test]
    fn terms_of_an_old_record_are_empty() {
        let old: Terms = serde_json::from_str("{}").unwrap();
        assert!(old.is_empty());
        assert_eq!(serde_json::to_string(&old).unwrap(), "{}");
    }
}
