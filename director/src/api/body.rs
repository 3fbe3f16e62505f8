//! Request bodies.

use super::error::RequestError;
use atq_engine::RefusedRequest;
use atq_task::spec::shorten;
use axum::body::{Body, BodyDataStream, Bytes, HttpBody};
use axum::extract::Request;
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, EXPECT};
use axum::middleware::Next;
use axum::response::Response;
use futures_util::{Stream, StreamExt};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

/// Maximum number of bytes of a refused body that are read and discarded.
const DRAIN_BYTES: u64 = 64 << 20;
/// Timeout of discarding a refused body.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);
/// Timeout for receiving a definition: a client that sends very slowly would hold a connection indefinitely.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// Reads and discards the rest of a refused body: a client that is still sending when the connection closes would get
/// a broken pipe instead of the response. A client that sent `Expect: 100-continue` and got no confirmation sends no
/// body.
pub async fn drain_refused(request: Request, next: Next) -> Response {
    if request.body().is_end_stream() {
        return next.run(request).await;
    }
    let expects_continue = request.headers().contains_key(EXPECT);
    let (parts, body) = request.into_parts();
    let body = SharedBody::new(body);
    let response = next
        .run(Request::from_parts(parts, Body::from_stream(body.clone())))
        .await;
    let refused = response.status().is_client_error() || response.status().is_server_error();
    // A sender without authorization must not keep its connection busy.
    let refused = refused && response.extensions().get::<RefusedRequest>().is_none();
    if refused && !(expects_continue && body.is_untouched()) {
        // The response does not depend on the outcome.
        let _ = tokio::time::timeout(DRAIN_TIMEOUT, body.drain()).await;
    }
    response
}

/// A body that can still be read after the handler has dropped it.
#[derive(Clone)]
struct SharedBody(Arc<Mutex<Reading>>);

struct Reading {
    stream: BodyDataStream,
    touched: bool,
    ended: bool,
}

impl SharedBody {
    fn new(body: Body) -> Self {
        let stream = body.into_data_stream();
        Self(Arc::new(Mutex::new(Reading {
            stream,
            touched: false,
            ended: false,
        })))
    }

    fn lock(&self) -> MutexGuard<'_, Reading> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_untouched(&self) -> bool {
        !self.lock().touched
    }

    async fn drain(mut self) {
        let mut left = DRAIN_BYTES;
        while let Some(Ok(chunk)) = self.next().await {
            left = left.saturating_sub(chunk.len() as u64);
            if left == 0 {
                return;
            }
        }
    }
}

impl Stream for SharedBody {
    type Item = Result<Bytes, axum::Error>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut reading = self.lock();
        if reading.ended {
            return Poll::Ready(None);
        }
        reading.touched = true;
        let polled = reading.stream.poll_next_unpin(context);
        reading.ended = matches!(polled, Poll::Ready(None | Some(Err(_))));
        polled
    }
}

/// Attaches a guard to the response; it is dropped with the body.
pub fn with_guard<T: Send + 'static>(response: Response, guard: T) -> Response {
    response.map(|body| {
        Body::new(body.map_err(move |error| {
            let _ = &guard;
            error
        }))
    })
}

/// Reads the whole body, of at most `limit` bytes.
///
/// # Errors
/// When the body is larger, incomplete, or takes longer than [`READ_TIMEOUT`].
pub async fn read(headers: &HeaderMap, body: Body, limit: usize) -> Result<Bytes, RequestError> {
    if content_length(headers).is_some_and(|length| length > limit as u64) {
        return Err(RequestError::BodyTooLarge(limit));
    }
    let read = Limited::new(body, limit).collect();
    match tokio::time::timeout(READ_TIMEOUT, read).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(RequestError::BodyTooLarge(limit)),
        Ok(Err(_)) => Err(RequestError::BodyCutOff),
        Err(_) => Err(RequestError::BodyTooSlow(READ_TIMEOUT.as_secs())),
    }
}

/// The declared length of the body in bytes.
pub fn content_length(headers: &HeaderMap) -> Option<u64> {
    let length = headers.get(CONTENT_LENGTH)?.to_str().ok()?;
    length.trim().parse().ok()
}

/// Checks that the content type is JSON, missing, or the default of curl's `-d`.
///
/// # Errors
/// When it is another content type.
pub fn check_json(headers: &HeaderMap) -> Result<(), RequestError> {
    let Some(value) = headers.get(CONTENT_TYPE) else {
        return Ok(());
    };
    let found = String::from_utf8_lossy(value.as_bytes()).into_owned();
    let essence = found.split(';').next().unwrap_or_default();
    match essence.trim().to_ascii_lowercase().as_str() {
        "" | "application/json" | "application/x-www-form-urlencoded" => Ok(()),
        json if json.ends_with("+json") => Ok(()),
        _ => Err(RequestError::NotJsonType(shorten(&found))),
    }
}
