//! Validation of the body of `/probe`. Pure.

use std::net::Ipv4Addr;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use super::check::{Check, Get};
use crate::error::Refusal;
use crate::query::{DEFAULT_TIMEOUT, capped};

const EXPECTED_PORT: &str = "a port from 1 to 65535";
const EXPECTED_PATH: &str = "a path that begins with `/`, of at most 2000 visible ASCII characters";
const EXPECTED_STATUS: &str = "a status from 100 to 599";
const EXPECTED_GET: &str =
    r#"`port`, `path` and `status`, as in `{"port": 8080, "path": "/", "status": 200}`"#;
const EXPECTED_LIST: &str = r#"a list of IPv4 addresses, as in `["10.0.0.2"]`"#;
const EXPECTED_BODY: &str = "a JSON object with `addresses`, either `tcp` or `http`, and `timeout`";

/// A valid order to probe addresses.
#[derive(Debug, PartialEq)]
pub(crate) struct Order {
    /// At least one; as in the request, including duplicates.
    pub(crate) addresses: Vec<Ipv4Addr>,
    pub(crate) check: Check,
    /// Respond after this time at the latest.
    pub(crate) timeout: Duration,
}

impl Order {
    /// Parses and validates a body.
    pub(crate) fn parse(body: &[u8]) -> Result<Self, Refusal> {
        let body: Value = serde_json::from_slice(body).map_err(|error| {
            Refusal::BadInput(format!("`body`: {error}, expected {EXPECTED_BODY}"))
        })?;
        let body = object(
            "body",
            &body,
            &["addresses", "tcp", "http", "timeout"],
            EXPECTED_BODY,
        )?;
        Ok(Self {
            addresses: addresses(body.get("addresses"))?,
            check: check(body)?,
            timeout: body.get("timeout").map_or(Ok(DEFAULT_TIMEOUT), timeout)?,
        })
    }
}

/// An object without unknown fields: ignoring a misspelt field would change the probe.
fn object<'a>(
    name: &str,
    value: &'a Value,
    known: &[&str],
    expected: &str,
) -> Result<&'a Map<String, Value>, Refusal> {
    let Some(fields) = value.as_object() else {
        return Err(refuse(name, value, expected));
    };
    match fields.keys().find(|key| !known.contains(&key.as_str())) {
        Some(key) => Err(Refusal::bad(&format!("field of {name}"), key, expected)),
        None => Ok(fields),
    }
}

fn addresses(value: Option<&Value>) -> Result<Vec<Ipv4Addr>, Refusal> {
    let value = value.ok_or_else(|| Refusal::missing("addresses", EXPECTED_LIST))?;
    let list = value.as_array().filter(|list| !list.is_empty());
    let list = list.ok_or_else(|| refuse("addresses", value, EXPECTED_LIST))?;
    let mut places = list.iter().enumerate();
    places.try_fold(Vec::with_capacity(list.len()), |mut found, (at, value)| {
        let address = value.as_str().and_then(|text| text.parse().ok());
        let wrong = || refuse(&format!("addresses[{at}]"), value, "an IPv4 address");
        found.push(address.ok_or_else(wrong)?);
        Ok(found)
    })
}

fn check(body: &Map<String, Value>) -> Result<Check, Refusal> {
    match (body.get("tcp"), body.get("http")) {
        (Some(value), None) => Ok(Check::Tcp(port("tcp", value)?)),
        (None, Some(value)) => Ok(Check::Http(Arc::new(get(value)?))),
        (None, None) => Err(Refusal::missing("tcp", "either `tcp` or `http`")),
        (Some(_), Some(value)) => Err(refuse("http", value, "only one of `tcp` and `http`")),
    }
}

fn get(value: &Value) -> Result<Get, Refusal> {
    let fields = object("http", value, &["port", "path", "status"], EXPECTED_GET)?;
    let field = |key: &str, name: &str| {
        fields
            .get(key)
            .ok_or_else(|| Refusal::missing(name, EXPECTED_GET))
    };
    Ok(Get {
        port: port("http.port", field("port", "http.port")?)?,
        path: path(field("path", "http.path")?)?,
        status: status(field("status", "http.status")?)?,
    })
}

fn port(name: &str, value: &Value) -> Result<NonZeroU16, Refusal> {
    let number = value.as_u64().and_then(|n| u16::try_from(n).ok());
    let number = number.and_then(NonZeroU16::new);
    number.ok_or_else(|| refuse(name, value, EXPECTED_PORT))
}

/// The path is copied into a request line, so it must not contain anything that ends the line.
fn path(value: &Value) -> Result<String, Refusal> {
    let fits = |path: &&str| {
        path.starts_with('/') && path.len() <= 2000 && path.bytes().all(|b| b.is_ascii_graphic())
    };
    let path = value.as_str().filter(fits);
    path.map(ToOwned::to_owned)
        .ok_or_else(|| refuse("http.path", value, EXPECTED_PATH))
}

fn status(value: &Value) -> Result<u16, Refusal> {
    let number = value.as_u64().and_then(|n| u16::try_from(n).ok());
    let number = number.filter(|n| (100..=599).contains(n));
    number.ok_or_else(|| refuse("http.status", value, EXPECTED_STATUS))
}

fn timeout(value: &Value) -> Result<Duration, Refusal> {
    let seconds = value.as_f64().filter(|seconds| *seconds >= 0.0);
    let seconds = seconds.ok_or_else(|| refuse("timeout", value, "seconds, as in `5` or `0.5`"));
    seconds.map(capped)
}

fn refuse(name: &str, value: &Value, expected: &str) -> Refusal {
    Refusal::bad(name, &value.to_string(), expected)
}

#[cfg(test)]
mod tests;
