//! Which host names and parameters are valid. Pure.

use std::num::NonZeroU16;
use std::time::Duration;

use hickory_resolver::proto::rr::Name;

use crate::error::Refusal;

/// Longest time a request waits, whatever it asks for: clients repeat long-polls rather than hang on one.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// How long a request waits that does not say.
pub(crate) const DEFAULT_WAIT: Duration = Duration::from_secs(5);

/// A valid question.
#[derive(Debug, PartialEq)]
pub(crate) struct Question {
    /// Fully qualified, so that no search list is applied to it.
    pub(crate) name: Name,
    /// Wait for that many addresses; `None`: look once and answer at once.
    pub(crate) replicas: Option<usize>,
    /// Answer after this time at the latest.
    pub(crate) timeout: Duration,
    /// Port on which an address must accept TCP connections to count.
    pub(crate) probe: Option<NonZeroU16>,
}

impl Question {
    /// Checks a host name and the pairs of the query string.
    pub(crate) fn parse(hostname: &str, pairs: &[(String, String)]) -> Result<Self, Refusal> {
        let name = parse_hostname(hostname)?;
        refuse_unknown(pairs)?;
        let replicas = match find(pairs, "replicas")? {
            Some(seen) => Some(parse_replicas(seen, most_addresses(&name))?),
            None => None,
        };
        let timeout = find(pairs, "timeout")?.map_or(Ok(DEFAULT_WAIT), parse_timeout)?;
        let probe = find(pairs, "probe")?.map(parse_probe).transpose()?;
        Ok(Self {
            name,
            replicas,
            timeout,
            probe,
        })
    }
}

/// A mistyped parameter that is ignored would turn a long-poll into a single look.
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
            "to be given once, it is given again",
        )),
        None => Ok(first),
    }
}

fn parse_hostname(seen: &str) -> Result<Name, Refusal> {
    let refuse = |expected| Err(Refusal::bad("hostname", seen, expected));
    if seen.is_empty() {
        return refuse("a name, as in `/api/workers`");
    }
    if seen.len() > 255 {
        return refuse("at most 255 characters");
    }
    let labels = seen.strip_suffix('.').unwrap_or(seen);
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
    // Raw bytes keep `_`, capitals and a `-` in front, where parsing would apply the rules for internet names.
    let Ok(mut name) = Name::from_labels(labels.split('.').map(str::as_bytes)) else {
        return refuse("a name that DNS can carry (253 characters)");
    };
    name.set_fqdn(true);
    Ok(name)
}

/// How many addresses one DNS message of 64 KiB holds: 12 bytes of header, the question (name, type, class), and for
/// each address 16 bytes, of which 2 point to the name in the question.
///
/// A server that repeats the name with each address, as Docker 20.10 does, fits fewer: 861 if it has 60 characters,
/// 2339 if it has 12. Nothing in its answer would tell, hence only the certain limit is enforced here.
fn most_addresses(name: &Name) -> usize {
    let labels: usize = name.iter().map(|label| label.len() + 1).sum();
    let question = labels + 1 + 4;
    (usize::from(u16::MAX) - 12 - question) / 16
}

fn parse_replicas(seen: &str, most: usize) -> Result<usize, Refusal> {
    match seen.parse() {
        Ok(n) if (1..=most).contains(&n) => Ok(n),
        _ => {
            let expected = format!(
                "a whole number from 1 to {most} (as many addresses as one DNS message of 64 KiB holds)"
            );
            Err(Refusal::bad("replicas", seen, &expected))
        }
    }
}

/// `5`, `0.5`, `5s` or `500ms`.
fn parse_timeout(seen: &str) -> Result<Duration, Refusal> {
    let (number, unit) = if let Some(number) = seen.strip_suffix("ms") {
        (number, 0.001)
    } else {
        (seen.strip_suffix('s').unwrap_or(seen), 1.0)
    };
    // The parser of floats would also take `inf`, `1e9` and signs.
    let plain = number.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    match number.parse::<f64>() {
        Ok(n) if plain => Ok(capped(n * unit)),
        _ => Err(Refusal::bad(
            "timeout",
            seen,
            "seconds, as in `5`, `0.5`, `5s` or `500ms`",
        )),
    }
}

/// A time of so many seconds, or the longest that a request waits. `seconds` must not be negative.
pub(crate) fn capped(seconds: f64) -> Duration {
    LONGEST_WAIT.mul_f64((seconds / LONGEST_WAIT.as_secs_f64()).min(1.0))
}

fn parse_probe(seen: &str) -> Result<NonZeroU16, Refusal> {
    seen.strip_prefix("tcp:")
        .and_then(|port| port.parse().ok())
        .ok_or_else(|| Refusal::bad("probe", seen, "`tcp:PORT` with a port from 1 to 65535"))
}

#[cfg(test)]
mod tests;
