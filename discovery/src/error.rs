//! What a client gets when its request cannot be answered.

use axum::Json;
use axum::http::StatusCode;
use axum::http::header::{HeaderValue, WWW_AUTHENTICATE};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// A refused request. DNS trouble is none: to the client that is "no address yet".
#[derive(Debug, PartialEq)]
pub(crate) enum Refusal {
    /// A host name or parameter that makes no sense; the text names it, what was seen and what is expected.
    BadInput(String),
    /// The token is missing or another.
    Unauthorized,
    /// No such path.
    UnknownPath(String),
    /// A method other than the one that the path has.
    MethodNotAllowed {
        /// What the client used.
        seen: String,
        /// What there is.
        expected: &'static str,
    },
    /// A body of more than so many bytes.
    TooLarge(usize),
}

impl Refusal {
    /// `seen` comes from the client and is cut, so that an answer never grows with it.
    pub(crate) fn bad(what: &str, seen: &str, expected: &str) -> Self {
        let seen = shorten(seen);
        Self::BadInput(format!("`{what}` is `{seen}`, expected {expected}"))
    }

    pub(crate) fn missing(what: &str, expected: &str) -> Self {
        Self::BadInput(format!("`{what}` is missing, expected {expected}"))
    }

    fn parts(&self) -> (StatusCode, String) {
        match self {
            Self::BadInput(text) => (StatusCode::BAD_REQUEST, text.clone()),
            Self::Unauthorized => (
                StatusCode::UNAUTHORIZED,
                "token missing or wrong, expected the header `Authorization: Bearer <token>`"
                    .into(),
            ),
            Self::UnknownPath(path) => (
                StatusCode::NOT_FOUND,
                format!(
                    "no such path `{}`, expected `/api/{{hostname}}`, `/probe` or `/healthz`",
                    shorten(path)
                ),
            ),
            Self::MethodNotAllowed { seen, expected } => (
                StatusCode::METHOD_NOT_ALLOWED,
                format!("method is `{}`, expected `{expected}`", shorten(seen)),
            ),
            Self::TooLarge(most) => (
                StatusCode::PAYLOAD_TOO_LARGE,
                format!("the body is larger than expected, which is {most} bytes at most"),
            ),
        }
    }
}

fn shorten(text: &str) -> String {
    const LONGEST: usize = 80;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

#[derive(Serialize)]
struct Body {
    error: String,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, error) = self.parts();
        let mut response = (status, Json(Body { error })).into_response();
        if status == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Bearer");
            response.headers_mut().insert(WWW_AUTHENTICATE, scheme);
        }
        response
    }
}
