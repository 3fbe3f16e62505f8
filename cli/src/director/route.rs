//! The route to a Director: its base URL and an HTTP client for it. A redirect may change both.

use crate::client::client;
use crate::error::CliError;
use crate::socket;
use crate::trust::Trust;
use atq_resolver::is_loopback;
use reqwest::Url;
use std::path::{Path, PathBuf};

/// The base of requests over a Unix socket. The host is only sent in the header `Host`.
const SOCKET_BASE: &str = "http://localhost/api/";

/// The route to a Director.
#[derive(Debug, Clone)]
pub struct Route {
    /// The base URL; ends with `/api/`.
    pub base: Url,
    /// The HTTP client; does not follow redirects itself.
    pub client: reqwest::Client,
    /// The additional trusted certificates, also after a redirect.
    pub trust: Trust,
    /// The Unix socket that is used instead of the host of `base`.
    pub socket: Option<PathBuf>,
}

impl Route {
    /// The route to the Director at `url`, with or without a trailing `/api`.
    ///
    /// # Errors
    /// When the URL is invalid, or there is no trusted certificate at all.
    pub fn to(url: &str, trust: &Trust) -> Result<Self, CliError> {
        let (base, socket) = parsed(url)?;
        // Fails if a provider is installed already, which is the same.
        drop(rustls::crypto::ring::default_provider().install_default());
        Ok(Self {
            client: client(&base, socket.as_deref(), trust)?,
            base,
            trust: trust.clone(),
            socket,
        })
    }

    /// Whether requests are sent without encryption to another machine.
    pub fn is_unencrypted(&self) -> bool {
        let host = self.base.host_str().unwrap_or_default();
        self.socket.is_none() && self.base.scheme() == "http" && !is_loopback(host)
    }

    /// The URL without user, password and `/api/`.
    pub fn redacted(&self) -> String {
        redacted(&self.base, self.socket.as_deref())
    }
}

/// The URL of a Director without user, password and `/api`, in a form that is equal for equal Directors.
///
/// # Errors
/// When the URL is invalid.
pub fn redacted_url(url: &str) -> Result<String, CliError> {
    let (base, socket) = parsed(url)?;
    Ok(redacted(&base, socket.as_deref()))
}

/// What an invalid URL probably lacks.
fn hint_for(url: &str) -> String {
    match (url.contains("://"), url.contains('@')) {
        (false, false) => format!("for example `http://{url}`"),
        (true, true) => {
            "special characters in user and password are encoded, for example `/` as `%2F`"
                .to_owned()
        }
        _ => "for example http://127.0.0.1:8080".to_owned(),
    }
}

/// The base URL of requests, and the Unix socket if the URL is that of a socket.
fn parsed(url: &str) -> Result<(Url, Option<PathBuf>), CliError> {
    let invalid = |why: String| {
        CliError::usage(
            format!(
                "`{}` is not the URL of a Director: {why}",
                without_credentials(url)
            ),
            hint_for(url),
        )
    };
    let parse = |url: &str| Url::parse(url).map_err(|error| invalid(error.to_string()));
    if socket::is_url(url) {
        let path = socket::path_of(url).ok_or_else(|| {
            invalid("expected an absolute path, for example `unix:///run/atq/atq.sock`".to_owned())
        })?;
        return Ok((parse(SOCKET_BASE)?, Some(path)));
    }
    let trimmed = url.trim_end_matches('/').trim_end_matches("/api");
    let base = parse(&format!("{trimmed}/api/"))?;
    if !matches!(base.scheme(), "http" | "https") || base.host().is_none() {
        return Err(invalid(
            "expected `http://` or `https://` and a host, or `unix://` and a path".to_owned(),
        ));
    }
    if base.query().is_some() || base.fragment().is_some() || base.path().contains('@') {
        return Err(invalid(
            "expected no `?` and `#`, and no `@` after the host; in a password, encode `/`, `?` and `#` as \
             `%2F`, `%3F` and `%23`"
                .to_owned(),
        ));
    }
    Ok((base, None))
}

/// An unparsable URL without the part before `@`, which may contain a password.
fn without_credentials(url: &str) -> &str {
    url.rsplit_once('@').map_or(url, |(_, host)| host)
}

/// The new base of a Director whose `url` below `base` redirects to `to`; `None` when the path differs, or the redirect
/// would drop encryption.
pub fn new_base(base: &Url, url: &Url, to: &Url) -> Option<Url> {
    let is_downgrade = url.scheme() == "https" && to.scheme() != "https";
    if is_downgrade || to.query() != url.query() || !matches!(to.scheme(), "http" | "https") {
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
        // Fails only for URLs without a host.
        let _ = new.set_username(base.username());
        let _ = new.set_password(base.password());
    }
    Some(new)
}

fn redacted(base: &Url, socket: Option<&Path>) -> String {
    if let Some(path) = socket {
        return socket::url_of(path);
    }
    let mut url = base.clone();
    // Fails only for URLs without a host, which are rejected.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.as_str().trim_end_matches("/api/").to_owned()
}
