//! The way to a Director: its base, and a client that fits it. A redirect may change both.

use crate::client::client;
use crate::trouble::Trouble;
use crate::trust::Trust;
use reqwest::Url;

/// The way to a Director.
#[derive(Debug, Clone)]
pub struct Route {
    /// Ends with `/api/`.
    pub base: Url,
    /// Follows no redirect by itself.
    pub client: reqwest::Client,
    /// The certificates that are trusted, also after a redirect.
    pub trust: Trust,
}

impl Route {
    /// The way to the Director at `url`, with or without `/api` at its end.
    ///
    /// # Errors
    /// When that is no URL, or there is no certificate to trust.
    pub fn to(url: &str, trust: &Trust) -> Result<Self, Trouble> {
        let wrong = |why: String| {
            Trouble::usage(
                format!("`{}` is not the URL of a Director: {why}", harmless(url)),
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
        if base.query().is_some() || base.fragment().is_some() || base.path().contains('@') {
            return Err(wrong(
                "`?`, `#`, and `@` after the host have no place in it; in a password `/`, `?` and `#` are \
                 `%2F`, `%3F` and `%23`"
                    .to_owned(),
            ));
        }
        // The second one in a process is refused, and is the same.
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

/// What cannot be read as a URL, without what is before an `@`, which may be a password.
fn harmless(url: &str) -> &str {
    url.rsplit_once('@').map_or(url, |(_, host)| host)
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
