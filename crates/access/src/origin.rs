//! Requests that a page of another site has caused (cross-site request forgery). Browsers send `Origin` with each unsafe
//! request, and current ones `Sec-Fetch-Site`; other clients send neither.

use crate::host::split_port;

/// The parts of a request that matter.
#[derive(Debug, Clone, Copy, Default)]
pub struct Request<'a> {
    /// Whether the method can change something: neither GET, HEAD nor OPTIONS.
    pub is_unsafe: bool,
    /// The header `Host`.
    pub host: Option<&'a str>,
    /// The header `Origin`.
    pub origin: Option<&'a str>,
    /// The header `Sec-Fetch-Site`.
    pub fetch_site: Option<&'a str>,
}

/// Whether a page of another origin has caused an unsafe request. `public_origin` is the origin of `publicUrl`, for a
/// proxy that changes `Host`.
pub fn is_foreign(request: &Request<'_>, public_origin: Option<&str>) -> bool {
    if !request.is_unsafe {
        return false;
    }
    let is_cross_site = request
        .fetch_site
        .is_some_and(|site| !matches!(site, "same-origin" | "none" | "same-site"));
    is_cross_site
        || request
            .origin
            .is_some_and(|origin| !is_own(origin, request.host, public_origin))
}

fn is_own(origin: &str, host: Option<&str>, public_origin: Option<&str>) -> bool {
    let is_public = public_origin.is_some_and(|own| own.eq_ignore_ascii_case(origin));
    is_public || host.is_some_and(|host| is_same(origin, host))
}

/// Whether the authority of the origin is the addressed host, with the default port of the scheme left out or not.
fn is_same(origin: &str, host: &str) -> bool {
    let Some((scheme, authority)) = origin.split_once("://") else {
        return false;
    };
    let default = match scheme {
        "http" => "80",
        "https" => "443",
        _ => return false,
    };
    let parts = |text: &str| {
        let name = split_port(text)?;
        let port = text.get(name.len()..)?.trim_start_matches(':');
        let port = if port.is_empty() { default } else { port };
        Some((name.to_ascii_lowercase(), port.to_owned()))
    };
    matches!((parts(authority), parts(host)), (Some(from), Some(to)) if from == to)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put<'a>(origin: Option<&'a str>, fetch_site: Option<&'a str>) -> bool {
        let request = Request {
            is_unsafe: true,
            host: Some("atq.example.com:8080"),
            origin,
            fetch_site,
        };
        is_foreign(&request, Some("https://atq.example.com"))
    }

    #[test]
    fn clients_without_a_browser_and_own_pages_are_accepted() {
        assert!(!put(None, None));
        assert!(!put(Some("http://atq.example.com:8080"), None));
        assert!(!put(
            Some("http://ATQ.example.com:8080"),
            Some("same-origin")
        ));
        assert!(!put(Some("https://atq.example.com"), Some("same-origin")));
        assert!(!put(None, Some("none")));
    }

    #[test]
    fn pages_of_others_are_refused() {
        for origin in [
            "null",
            "http://evil.example",
            "http://atq.example.com",
            "http://atq.example.com:8081",
            "https://atq.example.com:8080.evil.example",
            "http://atq.example.com:8080@evil.example",
            "file://",
            "",
        ] {
            assert!(put(Some(origin), None), "{origin}");
        }
        assert!(put(None, Some("cross-site")));
        assert!(put(Some("http://atq.example.com:8080"), Some("cross-site")));
        assert!(put(None, Some("unknown")));
    }

    #[test]
    fn reading_is_not_restricted_here() {
        let request = Request {
            origin: Some("http://evil.example"),
            fetch_site: Some("cross-site"),
            ..Request::default()
        };
        assert!(!is_foreign(&request, None));
    }

    #[test]
    fn the_default_port_may_be_left_out() {
        let from = |origin, host| {
            let request = Request {
                is_unsafe: true,
                host: Some(host),
                origin: Some(origin),
                fetch_site: None,
            };
            is_foreign(&request, None)
        };
        assert!(!from("http://10.0.0.1", "10.0.0.1:80"));
        assert!(!from("http://[::1]:80", "[::1]"));
        assert!(from("https://10.0.0.1", "10.0.0.1:80"));
    }
}
