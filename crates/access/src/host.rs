//! The names under which the Director may be addressed. A page of an attacker can let its own name resolve to the
//! Director's address (DNS rebinding) and then counts as the same site; the header `Host` gives it away.

use std::net::IpAddr;
use thiserror::Error;

/// A `Host` header that is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum HostError {
    /// It is missing.
    #[error("the header `Host` is missing")]
    Missing,
    /// There are several.
    #[error("the request has more than one header `Host`")]
    Repeated,
    /// It is not a host with an optional port.
    #[error("the header `Host` is not a host name or an IP address, with an optional port")]
    Malformed,
    /// The Director does not have this name.
    #[error(
        "the Director does not have the name `{0}` (set `publicUrl`, or add the name to `allowedHosts`)"
    )]
    Foreign(String),
}

/// The accepted names. IP addresses and the names of the loopback interface are always accepted: rebinding needs another
/// name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostRule {
    /// Lower case, without a dot at the end.
    names: Vec<String>,
}

impl HostRule {
    /// Accepts also these names.
    pub fn new<S: AsRef<str>>(names: impl IntoIterator<Item = S>) -> Self {
        let names = names.into_iter().map(|name| normal(name.as_ref()));
        Self {
            names: names.collect(),
        }
    }

    /// Checks the values of all `Host` headers of a request. `may_lack` is set for HTTP/1.0.
    ///
    /// # Errors
    /// When the request does not have exactly one, or it is not accepted.
    pub fn check<'a>(
        &self,
        mut values: impl Iterator<Item = &'a [u8]>,
        may_lack: bool,
    ) -> Result<(), HostError> {
        let value = match (values.next(), values.next()) {
            (Some(value), None) => value,
            (Some(_), Some(_)) => return Err(HostError::Repeated),
            (None, _) if may_lack => return Ok(()),
            (None, _) => return Err(HostError::Missing),
        };
        let text = std::str::from_utf8(value).map_err(|_| HostError::Malformed)?;
        let host = split_port(text).ok_or(HostError::Malformed)?;
        match self.accepts(host) {
            true => Ok(()),
            false => Err(HostError::Foreign(host.chars().take(100).collect())),
        }
    }

    /// Whether the host, without its port, is accepted.
    pub fn accepts(&self, host: &str) -> bool {
        let address = host.trim_start_matches('[').trim_end_matches(']');
        let name = normal(host);
        address.parse::<IpAddr>().is_ok()
            || name == "localhost"
            || name.ends_with(".localhost")
            || self.names.contains(&name)
    }
}

fn normal(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

/// The host of `host[:port]`; `None` if the text has another form.
pub(crate) fn split_port(text: &str) -> Option<&str> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let end = rest.find(']')? + 2;
            (text.get(..end)?, text.get(end..)?)
        }
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    let digits = match port {
        "" => "",
        port => port.strip_prefix(':')?,
    };
    let is_port = digits.is_empty() || digits.parse::<u16>().is_ok_and(|_| is_digits(digits));
    let is_v6 = host.starts_with('[');
    let is_name = host
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
    (is_port && !host.is_empty() && (is_v6 || is_name)).then_some(host)
}

fn is_digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(values: &[&str]) -> Result<(), HostError> {
        let rule = HostRule::new(["atq.Example.com"]);
        rule.check(values.iter().map(|value| value.as_bytes()), false)
    }

    #[test]
    fn own_names_and_all_addresses_are_accepted_with_any_port() {
        for host in [
            "localhost",
            "LOCALHOST:8080",
            "atq.localhost",
            "127.0.0.1:8080",
            "10.1.2.3",
            "[::1]:8080",
            "[fe80::1]",
            "atq.example.com",
            "ATQ.example.COM.:443",
        ] {
            assert_eq!(check(&[host]), Ok(()), "{host}");
        }
    }

    #[test]
    fn other_names_are_refused() {
        for host in [
            "evil.example",
            "atq.example.com.evil.example:8080",
            "localhost.evil.example",
            "xlocalhost",
            "1.2.3.4.evil.example",
            "0x7f000001",
        ] {
            let refused = check(&[host]);
            assert!(matches!(refused, Err(HostError::Foreign(_))), "{host}");
        }
    }

    #[test]
    fn a_missing_a_repeated_and_a_malformed_header_are_refused() {
        assert_eq!(check(&[]), Err(HostError::Missing));
        assert_eq!(
            check(&["localhost", "evil.example"]),
            Err(HostError::Repeated)
        );
        for host in [
            "",
            ":80",
            "localhost:x",
            "localhost:99999",
            "localhost:+80",
            "localhost@evil.example",
            "localhost/x",
            "[::1",
            "[::1]x",
            "a b",
        ] {
            assert_eq!(check(&[host]), Err(HostError::Malformed), "{host}");
        }
        let old = HostRule::default().check(std::iter::empty(), true);
        assert_eq!(old, Ok(()));
    }
}
