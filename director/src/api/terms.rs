//! Parameters of requests besides the definition: query parameters of `PUT /task`, the `Idempotency-Key`, and options
//! of stop and delete.

use super::error::RequestError;
use super::query::Query;
use atq_access::{Principal, Via};
use atq_run::stop_and_delete::StopOptions;
use atq_task::spec::shorten;
use atq_task::terms::{Key, Terms};
use axum::http::{HeaderMap, Uri};
use std::ops::RangeInclusive;
use std::time::Duration;

/// Header with the key of a client's invocation.
const KEY_HEADER: &str = "idempotency-key";
/// Allowed timeouts: up to 30 days, since a run may wait in the queue for long.
const TIMEOUTS: RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(30 * 86_400);
/// Allowed leases: a crashed client should be detected within a day.
const LEASES: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(86_400);

/// The terms of a request with a definition.
pub fn read(uri: &Uri, headers: &HeaderMap, client: &Principal) -> Result<Terms, RequestError> {
    let query = Query::read(uri, &["timeout", "lease"])?;
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    Ok(Terms {
        timeout_ms: query.time("timeout", TIMEOUTS)?.map(millis),
        lease_ms: query.time("lease", LEASES)?.map(millis),
        key: key(headers)?,
        created_by: actor(client),
    })
}

/// The options of a stop or delete request.
pub fn stop_options(
    uri: &Uri,
    headers: &HeaderMap,
    client: &Principal,
) -> Result<StopOptions, RequestError> {
    let query = Query::read(uri, &["force"])?;
    let force = query.choice("force", &[("true", true), ("false", false)])?;
    Ok(StopOptions {
        key: key(headers)?,
        force: force.unwrap_or_default(),
        by: actor(client),
    })
}

/// Name of the client for records; `None` if it was not identified.
fn actor(client: &Principal) -> Option<String> {
    (client.via != Via::Nothing).then(|| client.name.clone())
}

/// The key of the client's invocation.
pub fn key(headers: &HeaderMap) -> Result<Option<Key>, RequestError> {
    let Some(value) = headers.get(KEY_HEADER) else {
        return Ok(None);
    };
    let text = String::from_utf8_lossy(value.as_bytes());
    let bad = |expected| RequestError::BadHeader {
        name: KEY_HEADER,
        found: shorten(&text),
        expected,
    };
    Key::parse(&text).map(Some).map_err(bad)
}
