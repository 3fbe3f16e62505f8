//! One invocation of `atq run`, as the Director knows it: the key that tells it from other clients, and the limits
//! that hold also when this program has died.

use crate::args::Run;
use crate::trouble::Trouble;
use reqwest::RequestBuilder;
use std::time::Duration;

/// The header with the key.
const KEY: &str = "Idempotency-Key";
/// Longest key in bytes.
const LONGEST_KEY: usize = 255;
/// The Director knows no shorter limits.
const SHORTEST: Duration = Duration::from_secs(1);

/// One invocation of `atq run`.
#[derive(Debug, Clone, Default)]
pub struct Invocation {
    /// Names it; the same in each of its requests.
    key: Option<String>,
    timeout: Option<Duration>,
    /// The lease that it has to renew.
    pub lease: Option<Duration>,
}

impl Invocation {
    /// That of these arguments, with the key that they give, or one of its own.
    ///
    /// # Errors
    /// When the key cannot be one.
    pub fn new(args: &Run) -> Result<Self, Trouble> {
        let own = || uuid::Uuid::new_v4().to_string();
        let given = given_key(args.idempotency_key.as_deref())?;
        Ok(Self {
            key: Some(given.unwrap_or_else(own)),
            timeout: args.timeout.map(|time| time.max(SHORTEST)),
            lease: args.lease.map(|time| time.max(SHORTEST)),
        })
    }

    /// Where the definition is sent to.
    pub fn path(&self) -> String {
        let limits = [("timeout", self.timeout), ("lease", self.lease)];
        let given = limits.iter().filter_map(|(name, time)| {
            let millis = (*time)?.as_millis();
            Some(format!("{name}={millis}ms"))
        });
        match given.collect::<Vec<_>>().join("&").as_str() {
            "" => "task".to_owned(),
            query => format!("task?{query}"),
        }
    }

    /// The request as one of this invocation: it ends nothing that another client has started.
    pub fn sign(&self, request: RequestBuilder) -> RequestBuilder {
        sign(request, self.key.as_deref())
    }
}

/// The request with the key, if there is one.
pub fn sign(request: RequestBuilder, key: Option<&str>) -> RequestBuilder {
    match key {
        Some(key) => request.header(KEY, key),
        None => request,
    }
}

/// The key that somebody gave; an empty one is none.
///
/// # Errors
/// When it cannot be one.
pub fn given_key(text: Option<&str>) -> Result<Option<String>, Trouble> {
    let Some(text) = text.filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let is_visible = |byte: u8| byte.is_ascii_graphic() && byte != b'"';
    match text.bytes().all(is_visible) && text.len() <= LONGEST_KEY {
        true => Ok(Some(text.to_owned())),
        false => Err(Trouble::usage(
            format!(
                "the idempotency key `{}` cannot be used",
                text.escape_debug()
            ),
            format!("expected 1 to {LONGEST_KEY} visible ASCII characters, for example a UUID"),
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
    fn each_invocation_has_a_key_of_its_own_unless_one_is_given() {
        let own = |invocation: Invocation| invocation.key.unwrap();
        assert_ne!(own(of(Run::default())), own(of(Run::default())));
        let given = Run {
            idempotency_key: Some("build-7".to_owned()),
            ..Run::default()
        };
        assert_eq!(own(of(given)), "build-7");
        for wrong in ["a b", "\u{e9}", "a\nb", &"x".repeat(256)] {
            assert!(given_key(Some(wrong)).is_err(), "{wrong:?}");
        }
        assert_eq!(given_key(Some("")).unwrap(), None);
    }

    #[test]
    fn limits_travel_beside_the_definition() {
        assert_eq!(of(Run::default()).path(), "task");
        let limited = Run {
            timeout: Some(Duration::from_secs(90)),
            lease: Some(Duration::from_millis(5)),
            ..Run::default()
        };
        assert_eq!(of(limited).path(), "task?timeout=90000ms&lease=1000ms");
    }
}
