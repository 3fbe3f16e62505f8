//! What a client asks for beside a definition: query parameters of `PUT /task`, the key of its invocation, and how a
//! task is to be ended.

use super::error::RequestError;
use super::query::Query;
use atq_run::wishes::Ending;
use atq_task::spec::shorten;
use atq_task::terms::{Key, Terms};
use axum::http::{HeaderMap, Uri};
use std::ops::RangeInclusive;
use std::time::Duration;

/// The header with the key of an invocation.
const KEY: &str = "idempotency-key";
/// Timeouts: up to 30 days, since a run may wait in the queue for long.
const TIMEOUTS: RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(30 * 86_400);
/// Leases: a client that died is to be noticed within a day.
const LEASES: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(86_400);

/// The terms of a request that sends a definition.
pub fn read(uri: &Uri, headers: &HeaderMap) -> Result<Terms, RequestError> {
    let query = Query::read(uri, &["timeout", "lease"])?;
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    Ok(Terms {
        timeout_ms: query.time("timeout", TIMEOUTS)?.map(millis),
        lease_ms: query.time("lease", LEASES)?.map(millis),
        key: key(headers)?,
    })
}

/// How a request wants a task to be ended.
pub fn ending(uri: &Uri, headers: &HeaderMap) -> Result<Ending, RequestError> {
    let query = Query::read(uri, &["force"])?;
    let force = query.word("force", &[("true", true), ("false", false)])?;
    Ok(Ending {
        key: key(headers)?,
        force: force.unwrap_or_default(),
    })
}

/// The key of the invocation that sends a request.
pub fn key(headers: &HeaderMap) -> Result<Option<Key>, RequestError> {
    let Some(value) = headers.get(KEY) else {
        return Ok(None);
    };
    let text = String::from_utf8_lossy(value.as_bytes());
    let bad = |expected| RequestError::BadHeader {
        name: KEY,
        seen: shorten(&text),
        expected,
    };
    Key::parse(&text).map(Some).map_err(bad)
}
