//! Paths of requests.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Characters to percent-encode in a path segment: all except the unreserved ones of RFC 3986.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// The path with the query parameters that have a value.
pub fn with_query<const N: usize>(path: &str, parameters: [(&str, Option<String>); N]) -> String {
    let given = parameters.into_iter();
    let given = given.filter_map(|(name, value)| Some(format!("{name}={}", value?)));
    match given.collect::<Vec<_>>().join("&").as_str() {
        "" => path.to_owned(),
        query => format!("{path}?{query}"),
    }
}

/// Percent-encodes a name as a path segment.
pub fn segment(name: &str) -> String {
    utf8_percent_encode(name, RESERVED).to_string()
}
