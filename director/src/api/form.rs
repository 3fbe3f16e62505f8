//! Forms, as far as one is needed: a file that streams through, and little else.

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

/// What a form may hold besides the file, in bytes: boundaries, headers and other fields.
pub const OVERHEAD: u64 = 1 << 20;

/// A form on its way in.
pub struct Form {
    parts: Multipart,
    in_file: Arc<AtomicBool>,
}

impl Form {
    /// The form of a request; nothing of it is read yet.
    ///
    /// # Errors
    /// When the request is not said to hold a form.
    pub async fn open(request: Request) -> Result<Self, RequestError> {
        let seen = request
            .headers()
            .get(CONTENT_TYPE)
            .map(|value| String::from_utf8_lossy(value.as_bytes()));
        let seen = seen.map_or_else(|| "missing".to_owned(), |seen| shorten(&seen));
        let in_file = Arc::new(AtomicBool::new(false));
        let paced = |body: Body| Body::from_stream(Paced::new(body, Arc::clone(&in_file)));
        match Multipart::from_request(request.map(paced), &()).await {
            Ok(parts) => Ok(Self { parts, in_file }),
            Err(_) => Err(RequestError::NotAForm { seen }),
        }
    }

    /// The next field, which `is_file` may take for the file; only a file may be large.
    ///
    /// # Errors
    /// When the form is broken or ends early.
    pub async fn next(
        &mut self,
        is_file: impl Fn(&str) -> bool,
    ) -> Result<Option<Field<'_>>, RequestError> {
        self.in_file.store(false, Ordering::Relaxed);
        let field = self.parts.next_field().await.map_err(broken)?;
        let file = field.as_ref().and_then(Field::name).is_some_and(is_file);
        self.in_file.store(file, Ordering::Relaxed);
        Ok(field)
    }
}

/// The next piece of a field.
///
/// # Errors
/// When the form is broken or ends early.
pub async fn chunk(field: &mut Field<'_>) -> Result<Option<Bytes>, RequestError> {
    field.chunk().await.map_err(broken)
}

/// Reads a field to its end.
///
/// # Errors
/// When the form is broken or ends early.
pub async fn skip(mut field: Field<'_>) -> Result<(), RequestError> {
    while chunk(&mut field).await?.is_some() {}
    Ok(())
}

fn broken(error: MultipartError) -> RequestError {
    RequestError::BadForm {
        reason: error.body_text(),
    }
}

/// A body that keeps memory flat. The reader of forms takes as much as is there into its memory before
/// it looks at any of it; so it is told after each piece that no more is there yet. And it keeps the
/// head of a field until that has an end; so what is outside of the file is bounded.
struct Paced {
    stream: BodyDataStream,
    in_file: Arc<AtomicBool>,
    outside: u64,
    pause: bool,
}

impl Paced {
    fn new(body: Body, in_file: Arc<AtomicBool>) -> Self {
        Self {
            stream: body.into_data_stream(),
            in_file,
            outside: 0,
            pause: false,
        }
    }
}

impl Stream for Paced {
    type Item = Result<Bytes, axum::BoxError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if std::mem::take(&mut self.pause) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let Poll::Ready(polled) = self.stream.poll_next_unpin(context) else {
            return Poll::Pending;
        };
        self.pause = true;
        let Some(Ok(piece)) = polled else {
            return Poll::Ready(polled.map(|piece| piece.map_err(Into::into)));
        };
        if self.in_file.load(Ordering::Relaxed) {
            return Poll::Ready(Some(Ok(piece)));
        }
        if self.outside > OVERHEAD {
            let told = format!("it holds more than {OVERHEAD} bytes besides the file");
            return Poll::Ready(Some(Err(io::Error::other(told).into())));
        }
        self.outside += piece.len() as u64;
        Poll::Ready(Some(Ok(piece)))
    }
}
