//! Bodies of requests.

use super::error::RequestError;
use axum::body::{Body, BodyDataStream, Bytes, HttpBody};
use axum::extract::Request;
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, EXPECT};
use axum::middleware::Next;
use axum::response::Response;
use futures_util::{Stream, StreamExt};
use hyper::body::{Frame, SizeHint};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

/// How much of a refused body is read and thrown away.
const DRAIN_BYTES: u64 = 64 << 20;
/// How long a refused body is read and thrown away.
const DRAIN_TIME: Duration = Duration::from_secs(10);
/// How long a definition may take to arrive: one that comes drop by drop would hold a connection for ever.
const READ_TIME: Duration = Duration::from_secs(60);

/// Reads and throws away the rest of a body that was refused before its end: a client that is still
/// sending when the connection closes sees a broken pipe instead of the answer. One that asked
/// (`Expect: 100-continue`) and was never told to go on sends nothing.
pub async fn drain_refused(request: Request, next: Next) -> Response {
    if request.body().is_end_stream() {
        return next.run(request).await;
    }
    let asked = request.headers().contains_key(EXPECT);
    let (parts, body) = request.into_parts();
    let body = SharedBody::new(body);
    let response = next
        .run(Request::from_parts(parts, Body::from_stream(body.clone())))
        .await;
    let refused = response.status().is_client_error() || response.status().is_server_error();
    if refused && !(asked && body.is_untouched()) {
        // Whether its end came in time makes no difference to the answer.
        let _ = tokio::time::timeout(DRAIN_TIME, body.drain()).await;
    }
    response
}

/// A body that can still be read when the handler has dropped it.
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

    fn is_untouched(&self) -> bool {
        !self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .touched
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
        let mut reading = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if reading.ended {
            return Poll::Ready(None);
        }
        reading.touched = true;
        let polled = reading.stream.poll_next_unpin(context);
        reading.ended = matches!(polled, Poll::Ready(None | Some(Err(_))));
        polled
    }
}

/// A body that keeps something until it is sent or given up.
struct Holding<T> {
    body: Body,
    _held: T,
}

/// The same response; `held` is dropped with its body.
pub fn holding<T: Send + Unpin + 'static>(response: Response, held: T) -> Response {
    response.map(|body| Body::new(Holding { body, _held: held }))
}

impl<T: Unpin> HttpBody for Holding<T> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The whole body, of at most `limit` bytes.
///
/// # Errors
/// When it is larger, was cut off, or takes longer than [`READ_TIME`].
pub async fn read(headers: &HeaderMap, body: Body, limit: usize) -> Result<Vec<u8>, RequestError> {
    let read = tokio::time::timeout(READ_TIME, read_all(headers, body, limit)).await;
    read.unwrap_or(Err(RequestError::BodyTooSlow {
        seconds: READ_TIME.as_secs(),
    }))
}

async fn read_all(headers: &HeaderMap, body: Body, limit: usize) -> Result<Vec<u8>, RequestError> {
    let too_large = || RequestError::BodyTooLarge { limit };
    if content_length(headers).is_some_and(|length| length > limit as u64) {
        return Err(too_large());
    }
    let mut stream = body.into_data_stream();
    let mut bytes = Vec::new();
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|_| RequestError::BodyCutOff)?;
        if bytes.len() + chunk.len() > limit {
            return Err(too_large());
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// The announced length of the body in bytes.
pub fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers
        .get(CONTENT_LENGTH)?
        .to_str()
        .ok()?
        .trim()
        .parse()
        .ok()
}

/// Whether the body is meant to be JSON: it is said so, or nothing is said, or only curl's `-d` has
/// said what it says of everything.
///
/// # Errors
/// With the content type that was seen.
pub fn check_json(headers: &HeaderMap) -> Result<(), RequestError> {
    let Some(value) = headers.get(CONTENT_TYPE) else {
        return Ok(());
    };
    let seen = String::from_utf8_lossy(value.as_bytes()).into_owned();
    let essence = seen
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    let is_json = essence.ends_with("+json")
        || ["", "application/json", "application/x-www-form-urlencoded"]
            .contains(&essence.as_str());
    match is_json {
        true => Ok(()),
        false => Err(RequestError::NotJsonType {
            seen: atq_task::spec::shorten(&seen),
        }),
    }
}
