//! Validation of host names and parameters. Pure.

use std::num::NonZeroU16;
use std::time::Duration;

use hickory_resolver::proto::rr::Name;

use crate::error::Refusal;

/// Upper bound for the timeout of a request: clients repeat long-polls instead.
const MAX_TIMEOUT: Duration = Duration::from_secs(30);
/// Timeout of a request without `timeout`.
pub(crate) const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);

/// A valid query for addresses.
#[derive(Debug, PartialEq)]
pub(crate) struct AddressQuery {
    /// Fully qualified, so that no search list is applied to it.
    pub(crate) name: Name,
    /// Wait for this many addresses; `None`: respond after a single lookup.
    pub(crate) replicas: Option<usize>,
    /// Respond after this time at the latest.
    pub(crate) timeout: Duration,
    /// Port on which an address must accept TCP connections to count.
    pub(crate) probe: Option<NonZeroU16>,
}

impl AddressQuery {
    /// Checks a host name and the pairs of the query string.
    pub(crate) fn parse(hostname: &str, pairs: &[(String, String)]) -> Result<Self, Refusal> {
        let name = parse_hostname(hostname)?;
        refuse_unknown(pairs)?;
        let replicas = find(pairs, "replicas")?;
        let replicas = replicas.map(|value| parse_replicas(value, max_addresses(&name)));
        let replicas = replicas.transpose()?;
        let timeout = find(pairs, "timeout")?.map_or(Ok(DEFAULT_TIMEOUT), parse_timeout)?;
        let probe = find(pairs, "probe")?.map(parse_probe).transpose()?;
        Ok(Self {
            name,
            replicas,
            timeout,
            probe,
        })
    }
}

/// Ignoring a misspelt parameter would turn a long-poll into a single lookup.
fn refuse_unknown(pairs: &[(String, String)]) -> Result<(), Refusal> {
    let known = ["replicas", "timeout", "probe"];
    match pairs.iter().find(|(key, _)| !known.contains(&key.as_str())) {
        Some((key, _)) => Err(Refusal::bad(
            "parameter",
            key,
            "`replicas`, `timeout` or `probe`",
        )),
        None => Ok(()),
    }
}

fn find<'a>(pairs: &'a [(String, String)], key: &str) -> Result<Option<&'a str>, Refusal> {
    let mut values = pairs
        .iter()
        .filter(|(k, _)| k == key)
        .map(|(_, v)| v.as_str());
    let first = values.next();
    match values.next() {
        Some(second) => Err(Refusal::bad(
            key,
            second,
            "no second value of this parameter",
        )),
        None => Ok(first),
    }
}

fn parse_hostname(value: &str) -> Result<Name, Refusal> {
    let refuse = |expected| Err(Refusal::bad("hostname", value, expected));
    if value.is_empty() {
        return refuse("a name, as in `/api/workers`");
    }
    if value.len() > 255 {
        return refuse("at most 255 characters");
    }
    let labels = value.strip_suffix('.').unwrap_or(value);
    if labels.split('.').any(str::is_empty) {
        return refuse("no empty part between dots");
    }
    if labels.split('.').any(|label| label.len() > 63) {
        return refuse("at most 63 characters between dots");
    }
    if !labels
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
    {
        return refuse("only ASCII letters, digits, `-`, `_` and `.`");
    }
    // Raw bytes preserve `_`, upper case and a leading `-`; parsing would apply the rules for internet host names.
    let Ok(mut name) = Name::from_labels(labels.split('.').map(str::as_bytes)) else {
        return refuse("a name that fits in a DNS message (253 characters)");
    };
    name.set_fqdn(true);
    Ok(name)
}

/// Maximum number of addresses in a DNS message of 64 KiB: 12 bytes of header, the question (name, type, class), and 16
/// bytes per address, of which 2 are a pointer to the name in the question.
///
/// A server that repeats the name with each address, such as Docker 20.10, fits fewer: 861 for a name of 60 characters,
/// 2339 for 12. Its response does not indicate this, so only the upper limit is enforced here.
fn max_addresses(name: &Name) -> usize {
    let labels: usize = name.iter().map(|label| label.len() + 1).sum();
    let question = labels + 1 + 4;
    (usize::from(u16::MAX) - 12 - question) / 16
}

fn parse_replicas(value: &str, max: usize) -> Result<usize, Refusal> {
    match value.parse() {
        Ok(n) if (1..=max).contains(&n) => Ok(n),
        _ => {
            let expected =
                format!("a whole number from 1 to {max} (the maximum for a DNS message of 64 KiB)");
            Err(Refusal::bad("replicas", value, &expected))
        }
    }
}

/// `5`, `0.5`, `5s` or `500ms`.
fn parse_timeout(value: &str) -> Result<Duration, Refusal> {
    let (number, unit) = if let Some(number) = value.strip_suffix("ms") {
        (number, 0.001)
    } else {
        (value.strip_suffix('s').unwrap_or(value), 1.0)
    };
    // Parsing as a float alone would also accept `inf`, `1e9` and signs.
    let plain = number.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    match number.parse::<f64>() {
        Ok(n) if plain => Ok(capped(n * unit)),
        _ => Err(Refusal::bad(
            "timeout",
            value,
            "seconds, as in `5`, `0.5`, `5s` or `500ms`",
        )),
    }
}

/// A timeout in seconds, limited to the maximum. `seconds` must not be negative.
pub(crate) fn capped(seconds: f64) -> Duration {
    MAX_TIMEOUT.mul_f64((seconds / MAX_TIMEOUT.as_secs_f64()).min(1.0))
}

fn parse_probe(value: &str) -> Result<NonZeroU16, Refusal> {
    value
        .strip_prefix("tcp:")
        .and_then(|port| port.parse().ok())
        .ok_or_else(|| Refusal::bad("probe", value, "`tcp:PORT` with a port from 1 to 65535"))
}

#[cfg(test)]
mod tests;
