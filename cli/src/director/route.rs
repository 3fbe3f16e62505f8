//! The route to a Director: its base URL and an HTTP client for it. A redirect may change both.

use crate::client::client;
use crate::error::CliError;
use crate::trust::Trust;
use reqwest::Url;

/// The route to a Director.
#[derive(Debug, Clone)]
pub struct Route {
    /// The base URL; ends with `/api/`.
    pub base: Url,
    /// The HTTP client; does not follow redirects itself.
    pub client: reqwest::Client,
    /// The additional trusted certificates, also after a redirect.
    pub trust: Trust,
}

impl Route {
    /// The route to the Director at `url`, with or without a trailing `/api`.
    ///
    /// # Errors
    /// When the URL is invalid, or there is no trusted certificate at all.
    pub fn to(url: &str, trust: &Trust) -> Result<Self, CliError> {
        let invalid = |why: String| {
            CliError::usage(
                format!(
                    "`{}` is not the URL of a Director: {why}",
                    without_credentials(url)
                ),
                "for example http://127.0.0.1:8080",
            )
        };
        let trimmed = url.trim_end_matches('/').trim_end_matches("/api");
        let base =
            Url::parse(&format!("{trimmed}/api/")).map_err(|error| invalid(error.to_string()))?;
        if !matches!(base.scheme(), "http" | "https") || base.host().is_none() {
            return Err(invalid(
                "expected `http://` or `https://` and a host".to_owned(),
            ));
        }
        if base.query().is_some() || base.fragment().is_some() || base.path().contains('@') {
            return Err(invalid(
                "expected no `?` and `#`, and no `@` after the host; in a password, encode `/`, `?` and `#` as \
                 `%2F`, `%3F` and `%23`"
                    .to_owned(),
            ));
        }
        // Fails if a provider is installed already, which is the same.
        drop(rustls::crypto::ring::default_provider().install_default());
        let client = client(&base, trust)?;
        let trust = trust.clone();
        Ok(Self {
            base,
            client,
            trust,
        })
    }
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

/// The base URL without user, password and `/api/`.
pub fn redacted(base: &Url) -> String {
    let mut url = base.clone();
    // Fails only for URLs without a host, which are rejected.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.as_str().trim_end_matches("/api/").to_owned()
}
