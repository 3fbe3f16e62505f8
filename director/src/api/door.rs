//! Checks of every request before any route: the host that it addresses, and the page that has caused it. Without them,
//! a page in a browser on the Director's machine could use the API: under a name of its own that resolves to the
//! Director (DNS rebinding), or by a request from another site.

use super::access::{Access, Summary};
use super::error::{ApiError, RequestError, error_code};
use super::peer::Peer;
use crate::config::Config;
use atq_access::{HostRule, is_foreign};
use axum::extract::{Request, State};
use axum::http::header::{HOST, ORIGIN};
use axum::http::{HeaderMap, Version};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::sync::Arc;

/// Who may address the Director, from the configuration.
pub struct Door {
    hosts: HostRule,
    public_origin: Option<String>,
    access: Access,
}

impl Door {
    /// Accepts the hosts of `publicUrl`, `advertiseUrl` and `allowedHosts`.
    pub fn new(config: &Config, access: Access) -> Self {
        let urls = [&config.public_url, &config.advertise_url];
        let of_urls = urls.into_iter().flatten().filter_map(|url| host_of(url));
        let names = of_urls.chain(config.allowed_hosts.iter().map(String::as_str));
        Self {
            hosts: HostRule::new(names),
            public_origin: config.public_url.as_deref().and_then(origin_of),
            access,
        }
    }

    fn check(&self, request: &Request) -> Result<(), RequestError> {
        let peer = request.extensions().get();
        // The name in a request over a Unix socket is arbitrary, and a browser cannot connect to one.
        if !matches!(peer, Some(Peer::Socket { .. } | Peer::Control { .. })) {
            self.check_host(request)?;
        }
        let headers = request.headers();
        let page = atq_access::Request {
            is_unsafe: !request.method().is_safe(),
            host: text(headers, HOST.as_str()),
            origin: text(headers, ORIGIN.as_str()),
            fetch_site: text(headers, "sec-fetch-site"),
        };
        match is_foreign(&page, self.public_origin.as_deref()) {
            true => Err(RequestError::ForeignPage),
            false => Ok(()),
        }
    }

    fn check_host(&self, request: &Request) -> Result<(), RequestError> {
        let headers = request.headers();
        let values = headers.get_all(HOST).iter().map(|value| value.as_bytes());
        let may_lack = request.version() <= Version::HTTP_10;
        self.hosts.check(values, may_lack)?;
        // The target of a request may also be a whole URL, whose host then has precedence.
        if let Some(authority) = request.uri().authority() {
            let target = authority.as_str().as_bytes();
            self.hosts.check(std::iter::once(target), false)?;
        }
        Ok(())
    }
}

/// Refuses requests that [`Door`] does not accept.
pub async fn check(State(door): State<Arc<Door>>, request: Request, next: Next) -> Response {
    match door.check(&request) {
        Ok(()) => next.run(request).await,
        Err(error) => {
            let response = ApiError::from(error).into_response();
            let (status, code) = (response.status(), error_code(&response));
            let summary = Summary::of(&request);
            door.access.note_refusal(&summary, None, status, code);
            response
        }
    }
}

/// A header as text; text that is not ASCII matches nothing.
fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let value = headers.get(name)?;
    Some(value.to_str().unwrap_or("invalid"))
}

/// `scheme://host:port` of a URL.
fn origin_of(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    Some(format!("{scheme}://{}", rest.split('/').next()?))
}

/// The host of a URL, without its port.
fn host_of(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    let authority = rest.split('/').next()?;
    match authority.rfind(']') {
        Some(end) => authority.get(..=end),
        None => authority.split(':').next(),
    }
}
