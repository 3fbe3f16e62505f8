//! Headers that restrict what a browser does with an answer.

use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderName, HeaderValue};
use axum::response::Response;

/// The policy of answers without one of their own: nothing is loaded, no script runs, and no page may embed them.
const NOTHING: &str =
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Headers of every answer.
const ALL: [(HeaderName, &str); 5] = [
    // Texts of tools and containers must not be taken for pages or scripts.
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (CONTENT_SECURITY_POLICY, NOTHING),
    // Not `no-referrer`: with it, browsers send `Origin: null` with a form.
    (REFERRER_POLICY, "same-origin"),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
    // No answer stays in a browser or proxy after its client has signed out.
    (CACHE_CONTROL, "no-store"),
];

/// A page of another origin gets no reference to the window of a page of the Director.
const OF_PAGES: (HeaderName, &str) = (
    HeaderName::from_static("cross-origin-opener-policy"),
    "same-origin",
);

/// Adds the headers that the answer does not have.
pub async fn protect(mut response: Response) -> Response {
    let headers = response.headers_mut();
    let is_page = headers
        .get(CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"));
    for (name, value) in ALL.into_iter().chain(is_page.then_some(OF_PAGES)) {
        headers
            .entry(name)
            .or_insert(HeaderValue::from_static(value));
    }
    response
}
