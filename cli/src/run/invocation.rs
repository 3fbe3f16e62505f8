//! One invocation of `atq run`: its idempotency key, which distinguishes it from other clients, and the limits that the
//! Director enforces even if this program is killed.

use crate::args::Run;
use crate::error::CliError;
use crate::path::with_query;
use reqwest::RequestBuilder;
use std::time::Duration;

/// The header with the key.
const KEY_HEADER: &str = "Idempotency-Key";
/// Maximum length of a key in bytes.
const MAX_KEY_LENGTH: usize = 255;
/// Minimum of the limits at the Director.
const MIN_LIMIT: Duration = Duration::from_secs(1);

/// One invocation of `atq run`.
#[derive(Debug, Clone, Default)]
pub struct Invocation {
    /// The key, the same in all requests.
    key: Option<String>,
    timeout: Option<Duration>,
    /// The lease to renew.
    pub lease: Option<Duration>,
}

impl Invocation {
    /// The invocation for these arguments, with the given key or a random one.
    ///
    /// # Errors
    /// When the given key is invalid.
    pub fn new(args: &Run) -> Result<Self, CliError> {
        let random = || uuid::Uuid::new_v4().to_string();
        let given = given_key(args.idempotency_key.as_deref())?;
        Ok(Self {
            key: Some(given.unwrap_or_else(random)),
            timeout: args.timeout.map(|time| time.max(MIN_LIMIT)),
            lease: args.lease.map(|time| time.max(MIN_LIMIT)),
        })
    }

    /// The path for the definition, with the limits in the query.
    pub fn path(&self) -> String {
        let limit = |time: Option<Duration>| time.map(|time| format!("{}ms", time.as_millis()));
        let limits = [
            ("timeout", limit(self.timeout)),
            ("lease", limit(self.lease)),
        ];
        with_query("task", limits)
    }

    /// Adds the key to a request, so that it does not end a run started by another client.
    pub fn sign(&self, request: RequestBuilder) -> RequestBuilder {
        sign(request, self.key.as_deref())
    }
}

/// Adds the key to a request, if there is one.
pub fn sign(request: RequestBuilder, key: Option<&str>) -> RequestBuilder {
    match key {
        Some(key) => request.header(KEY_HEADER, key),
        None => request,
    }
}

/// The given key; an empty one is treated as absent.
///
/// # Errors
/// When the key is invalid.
pub fn given_key(text: Option<&str>) -> Result<Option<String>, CliError> {
    let Some(text) = text.filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let is_visible = |byte: u8| byte.is_ascii_graphic() && byte != b'"';
    match text.bytes().all(is_visible) && text.len() <= MAX_KEY_LENGTH {
        true => Ok(Some(text.to_owned())),
        false => Err(CliError::usage(
            format!("the idempotency key `{}` is invalid", text.escape_debug()),
            format!("expected 1 to {MAX_KEY_LENGTH} visible ASCII characters, for example a UUID"),
        )),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn of(args: Run) -> Invocation {
        Invocation::new(&args).unwrap()
    }

    #[test]
    fn each_invocation_has_a_random_key_unless_one_is_given() {
        let key = |invocation: Invocation| invocation.key.unwrap();
        assert_ne!(key(of(Run::default())), key(of(Run::default())));
        let given = Run {
            idempotency_key: Some("build-7".to_owned()),
            ..Run::default()
        };
        assert_eq!(key(of(given)), "build-7");
        for wrong in ["a b", "\u{e9}", "a\nb", &"x".repeat(256)] {
            assert!(given_key(Some(wrong)).is_err(), "{wrong:?}");
        }
        assert_eq!(given_key(Some("")).unwrap(), None);
    }

    #[test]
    fn limits_are_sent_in_the_query() {
        assert_eq!(of(Run::default()).path(), "task");
        let limited = Run {
            timeout: Some(Duration::from_secs(90)),
            lease: Some(Duration::from_millis(5)),
            ..Run::default()
        };
        assert_eq!(of(limited).path(), "task?timeout=90000ms&lease=1000ms");
    }
}
