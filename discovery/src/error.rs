//! Error responses.

use axum::Json;
use axum::http::StatusCode;
use axum::http::header::{HeaderValue, WWW_AUTHENTICATE};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// A refused request. A DNS failure is not an error: the client gets "no address yet".
#[derive(Debug, PartialEq)]
pub(crate) enum Refusal {
    /// An invalid host name or parameter; the text has its name, its value and the expected value.
    BadInput(String),
    /// The token is missing or wrong.
    Unauthorized,
    /// The path does not exist.
    UnknownPath(String),
    /// A method that the path does not support.
    MethodNotAllowed {
        /// The method of the request.
        method: String,
        /// The supported method.
        expected: &'static str,
    },
    /// The body exceeds this many bytes.
    TooLarge(usize),
}

impl Refusal {
    /// `value` comes from the client and is truncated, to bound the size of the response.
    pub(crate) fn bad(what: &str, value: &str, expected: &str) -> Self {
        let value = truncate(value);
        Self::BadInput(format!("`{what}` is `{value}`, expected {expected}"))
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
                    truncate(path)
                ),
            ),
            Self::MethodNotAllowed { method, expected } => (
                StatusCode::METHOD_NOT_ALLOWED,
                format!("method is `{}`, expected `{expected}`", truncate(method)),
            ),
            Self::TooLarge(limit) => (
                StatusCode::PAYLOAD_TOO_LARGE,
                format!("the body is too large, expected at most {limit} bytes"),
            ),
        }
    }
}

fn truncate(text: &str) -> String {
    const MAX_CHARS: usize = 80;
    match text.char_indices().nth(MAX_CHARS) {
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
