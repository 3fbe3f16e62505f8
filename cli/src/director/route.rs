//! The way to a Director: its base, and a client that fits it. A redirect may change both.

use super::innermost;
use crate::trouble::Trouble;
use reqwest::Url;
use std::time::Duration;

/// Until there is a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// What helps when there is no client for `https`.
const NO_CERTIFICATES: &str =
    "`https` needs the machine's certificates: the package `ca-certificates`, or `SSL_CERT_FILE`";

/// The way to a Director.
#[derive(Debug, Clone)]
pub struct Route {
    /// Ends with `/api/`.
    pub base: Url,
    /// Follows no redirect by itself.
    pub client: reqwest::Client,
}

impl Route {
    /// The way to the Director at `url`, with or without `/api` at its end.
    ///
    /// # Errors
    /// When that is no URL.
    pub fn to(url: &str) -> Result<Self, Trouble> {
        let wrong = |why: String| {
            // What is before an `@` may be a password.
            let url = url.rsplit_once('@').map_or(url, |(_, host)| host);
            Trouble::usage(
                format!("`{url}` is not the URL of a Director: {why}"),
                "for example http://127.0.0.1:8080",
            )
        };
        let trimmed = url.trim_end_matches('/').trim_end_matches("/api");
        let base =
            Url::parse(&format!("{trimmed}/api/")).map_err(|error| wrong(error.to_string()))?;
        if !matches!(base.scheme(), "http" | "https") || base.host().is_none() {
            return Err(wrong(
                "expected `http://` or `https://` and a host".to_owned(),
            ));
        }
        // The second one in a process is refused, and is the same.
        drop(rustls::crypto::ring::default_provider().install_default());
        let mut client = reqwest::Client::builder()
            .user_agent(concat!("atq/", env!("CARGO_PKG_VERSION")))
            // The client's own way makes a GET of a POST.
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT);
        if is_this_machine(&base) {
            // A proxy would look for the Director on its own machine.
            client = client.no_proxy();
        }
        if base.scheme() == "http" {
            // A container with nothing but this program has no certificates, and could not call at all.
            client = client.tls_certs_only(Vec::<reqwest::Certificate>::new());
        }
        let client = client.build().map_err(|error| {
            let message = format!("no HTTP client: {}", innermost(&error));
            Trouble::failed(message, NO_CERTIFICATES)
        })?;
        Ok(Self { base, client })
    }
}

/// The base of a Director that has moved from `base`, so that what was at `url` is at `to` now; none when that is
/// another path, or what was encrypted would no longer be.
pub fn new_base(base: &Url, url: &Url, to: &Url) -> Option<Url> {
    let is_worse = url.scheme() == "https" && to.scheme() != "https";
    if is_worse || to.query() != url.query() || !matches!(to.scheme(), "http" | "https") {
        return None;
    }
    let path = url.path().strip_prefix(base.path())?;
    let prefix = to
        .path()
        .strip_suffix(path)
        .filter(|prefix| prefix.ends_with("/api/"))?;
    let mut new = to.clone();
    new.set_query(None);
    new.set_path(prefix);
    if to.origin() == url.origin() {
        // Impossible only for URLs without a host.
        let _ = new.set_username(base.username());
        let _ = new.set_password(base.password());
    }
    Some(new)
}

/// Without user and password.
pub fn shown(base: &Url) -> String {
    let mut url = base.clone();
    // Impossible only for URLs without a host, which are refused.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.as_str().trim_end_matches("/api/").to_owned()
}

/// Whether the URL names the machine on which this program runs, whatever proxies there are.
pub fn is_this_machine(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || address
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}
