//! Multipart forms with one large file, which is streamed.

use super::error::RequestError;
use atq_task::spec::shorten;
use axum::body::{Body, BodyDataStream, Bytes};
use axum::extract::multipart::{Field, MultipartError};
use axum::extract::{FromRequest, Multipart, Request};
use axum::http::header::CONTENT_TYPE;
use futures_util::{Stream, StreamExt};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

/// Maximum size of everything besides the file, in bytes: boundaries, headers and other fields.
pub const OVERHEAD: u64 = 1 << 20;

/// A form that is being received.
pub struct Form {
    parts: Multipart,
    in_file: Arc<AtomicBool>,
}

impl Form {
    /// The form of a request; nothing is read yet.
    ///
    /// # Errors
    /// When the content type is not a form.
    pub async fn open(request: Request) -> Result<Self, RequestError> {
        let found = request
            .headers()
            .get(CONTENT_TYPE)
            .map(|value| String::from_utf8_lossy(value.as_bytes()));
        let found = found.map_or_else(|| "missing".to_owned(), |found| shorten(&found));
        let in_file = Arc::new(AtomicBool::new(false));
        let pace = |body: Body| Body::from_stream(PacedBody::new(body, Arc::clone(&in_file)));
        match Multipart::from_request(request.map(pace), &()).await {
            Ok(parts) => Ok(Self { parts, in_file }),
            Err(_) => Err(RequestError::NotAForm(found)),
        }
    }

    /// The next field; `is_file` identifies the file by its name. Only the file may be large.
    ///
    /// # Errors
    /// When the form is invalid or incomplete.
    pub async fn next(
        &mut self,
        is_file: impl Fn(&str) -> bool,
    ) -> Result<Option<Field<'_>>, RequestError> {
        self.in_file.store(false, Ordering::Relaxed);
        let field = self.parts.next_field().await.map_err(invalid_form)?;
        let file = field.as_ref().and_then(Field::name).is_some_and(is_file);
        self.in_file.store(file, Ordering::Relaxed);
        Ok(field)
    }
}

/// The next chunk of a field.
///
/// # Errors
/// When the form is invalid or incomplete.
pub async fn chunk(field: &mut Field<'_>) -> Result<Option<Bytes>, RequestError> {
    field.chunk().await.map_err(invalid_form)
}

/// Reads and discards the rest of a field.
///
/// # Errors
/// When the form is invalid or incomplete.
pub async fn skip(mut field: Field<'_>) -> Result<(), RequestError> {
    while chunk(&mut field).await?.is_some() {}
    Ok(())
}

fn invalid_form(error: MultipartError) -> RequestError {
    RequestError::BadForm(error.body_text())
}

/// A body that bounds the memory of the form parser. The parser buffers all available data before it parses any of
/// it; therefore each chunk is followed by `Pending`. It also buffers the head of a field until its end; therefore
/// everything outside the file is bounded.
struct PacedBody {
    stream: BodyDataStream,
    in_file: Arc<AtomicBool>,
    outside: u64,
    yield_next: bool,
}

impl PacedBody {
    fn new(body: Body, in_file: Arc<AtomicBool>) -> Self {
        Self {
            stream: body.into_data_stream(),
            in_file,
            outside: 0,
            yield_next: false,
        }
    }
}

impl Stream for PacedBody {
    type Item = Result<Bytes, axum::BoxError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if std::mem::take(&mut self.yield_next) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let Poll::Ready(polled) = self.stream.poll_next_unpin(context) else {
            return Poll::Pending;
        };
        self.yield_next = true;
        let Some(Ok(chunk)) = polled else {
            return Poll::Ready(polled.map(|chunk| chunk.map_err(Into::into)));
        };
        if self.in_file.load(Ordering::Relaxed) {
            return Poll::Ready(Some(Ok(chunk)));
        }
        if self.outside > OVERHEAD {
            let reason = format!("it holds more than {OVERHEAD} bytes besides the file");
            return Poll::Ready(Some(Err(io::Error::other(reason).into())));
        }
        self.outside += chunk.len() as u64;
        Poll::Ready(Some(Ok(chunk)))
    }
}
