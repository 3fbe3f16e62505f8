//! Error responses.

use axum::Json;
use axum::http::StatusCode;
use axum::http::header::{HeaderValue, WWW_AUTHENTICATE};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use thiserror::Error;

/// A refused request. A DNS failure is not an error: the client gets "no address yet".
#[derive(Debug, PartialEq, Error)]
pub(crate) enum Refusal {
    /// An invalid host name or parameter; the text has its name, its value and the expected value.
    #[error("{0}")]
    BadInput(String),
    /// The token is missing or wrong.
    #[error("token missing or wrong, expected the header `Authorization: Bearer <token>`")]
    Unauthorized,
    /// The path does not exist.
    #[error("no such path `{}`, expected `/api/{{hostname}}`, `/probe` or `/healthz`", truncate(.0))]
    UnknownPath(String),
    /// A method that the path does not support.
    #[error("method is `{}`, expected `{expected}`", truncate(.method))]
    MethodNotAllowed {
        /// The method of the request.
        method: String,
        /// The supported method.
        expected: &'static str,
    },
    /// The body exceeds this many bytes.
    #[error("the body is too large, expected at most {0} bytes")]
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

    fn status(&self) -> StatusCode {
        match self {
            Self::BadInput(_) => StatusCode::BAD_REQUEST,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::UnknownPath(_) => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
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

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = self.status();
        let body = json!({ "error": self.to_string() });
        let mut response = (status, Json(body)).into_response();
        if status == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Bearer");
            response.headers_mut().insert(WWW_AUTHENTICATE, scheme);
        }
        response
    }
}
