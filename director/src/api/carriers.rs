//! The routes of the port for carriers: only those of the engine. They are not reachable on other ports.

use super::access::{Access, Summary};
use super::error::{self, ApiError, RequestError};
use super::{body, metrics, router};
use crate::metrics::HttpMetrics;
use atq_engine::RefusedRequest;
use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn, from_fn_with_state, map_request};
use axum::response::{IntoResponse, Response};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tower_http::catch_panic::CatchPanicLayer;

/// Path that is served at once: it needs no run.
const READY: &str = "/carrier/ready";
/// Maximum number of records of unauthorized requests in a period.
const MAX_RECORDS: u32 = 20;
const RECORD_PERIOD: Duration = Duration::from_secs(60);
/// Code of their responses.
const NOT_AUTHORIZED: &str = "not_authorized";

/// The routes of the engine, as the port for carriers serves them. `recovered` tells whether earlier tasks are resumed:
/// before that, their carriers are unknown. Unauthorized requests are in the audit log of `access`; all are counted in
/// `requests`.
pub fn carriers(
    engine_routes: Router,
    recovered: watch::Receiver<bool>,
    access: Access,
    requests: HttpMetrics,
) -> Router {
    let audited = Audited {
        access,
        limit: Arc::default(),
    };
    engine_routes
        .layer(from_fn(body::drain_refused))
        .layer(from_fn_with_state(recovered, await_recovery))
        .layer(from_fn_with_state(audited, audit))
        .layer(CatchPanicLayer::custom(error::crashed))
        .layer(from_fn(metrics::note_route))
        .layer(from_fn_with_state(requests, metrics::count))
        .layer(map_request(async |request: Request| {
            router::with_idle_timeout(request)
        }))
}

/// Lets carriers repeat their requests until earlier tasks are resumed.
async fn await_recovery(
    State(recovered): State<watch::Receiver<bool>>,
    request: Request,
    next: Next,
) -> Response {
    if !*recovered.borrow() && request.uri().path() != READY {
        return ApiError::from(RequestError::Starting).into_response();
    }
    next.run(request).await
}

/// Records unauthorized requests.
async fn audit(State(audited): State<Audited>, request: Request, next: Next) -> Response {
    let summary = Summary::of(&request);
    let response = next.run(request).await;
    if let Some(refused) = response.extensions().get::<RefusedRequest>()
        && let Some(omitted) = audited.limit.admit(Instant::now())
    {
        let RefusedRequest {
            request,
            node,
            reason,
        } = refused;
        tracing::warn!(
            node,
            request,
            reason,
            omitted,
            "refused a request at the port for carriers"
        );
        let access = &audited.access;
        access.note_refusal(&summary, None, response.status(), Some(NOT_AUTHORIZED));
    }
    response
}

/// State of [`audit`]. Cheap to clone.
#[derive(Clone)]
struct Audited {
    access: Access,
    limit: Arc<RecordLimit>,
}

/// Limits the number of records: a container could fill the log with them, and push out the records of other requests.
#[derive(Default)]
struct RecordLimit(Mutex<Records>);

#[derive(Default)]
struct Records {
    /// Start of the current period; `None` before the first record.
    since: Option<Instant>,
    recorded: u32,
    omitted: u64,
}

impl RecordLimit {
    /// The number of records that were omitted before this one; `None` if it is omitted, too.
    fn admit(&self, now: Instant) -> Option<u64> {
        let mut records = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_over = |since: Instant| now.duration_since(since) >= RECORD_PERIOD;
        if records.since.is_none_or(is_over) {
            records.since = Some(now);
            records.recorded = 0;
        }
        if records.recorded >= MAX_RECORDS {
            records.omitted += 1;
            return None;
        }
        records.recorded += 1;
        Some(std::mem::take(&mut records.omitted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unauthorized_requests_beyond_the_limit_are_counted_only() {
        let (limit, begin) = (RecordLimit::default(), Instant::now());
        for _ in 0..MAX_RECORDS {
            assert_eq!(limit.admit(begin), Some(0));
        }
        for _ in 0..3 {
            assert_eq!(limit.admit(begin + RECORD_PERIOD / 2), None);
        }
        assert_eq!(limit.admit(begin + RECORD_PERIOD), Some(3));
        assert_eq!(limit.admit(begin + RECORD_PERIOD), Some(0));
    }
}
