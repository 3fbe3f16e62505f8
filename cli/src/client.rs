//! The HTTP client for a Director: resolver, proxy and certificates.

use crate::error::{CliError, innermost};
use crate::trust::Trust;
use atq_resolver::{SystemResolver, is_loopback};
use reqwest::{Client, Url};
use std::path::Path;
use std::time::Duration;

/// Connect timeout, including name resolution: a DNS server that is down takes some seconds.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A client for the Director at `base`; with a Unix socket all connections use it, and no proxy.
///
/// # Errors
/// With `https`, when there is no trusted certificate.
pub fn client(base: &Url, socket: Option<&Path>, trust: &Trust) -> Result<Client, CliError> {
    let mut client = Client::builder()
        .user_agent(concat!("atq/", env!("CARGO_PKG_VERSION")))
        .dns_resolver(SystemResolver)
        // The default policy turns a POST into a GET.
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT_TIMEOUT);
    if is_direct(base.host_str().unwrap_or_default(), |name| {
        std::env::var(name).ok()
    }) {
        client = client.no_proxy();
    }
    if let Some(socket) = socket {
        client = client.unix_socket(socket);
    }
    client = match base.scheme() {
        "https" => client.tls_backend_preconfigured(trust.config()?),
        // An empty container image has no certificates; loading them would fail.
        _ => client.tls_certs_only(Vec::<reqwest::Certificate>::new()),
    };
    client.build().map_err(|error| {
        CliError::failed(
            format!("cannot create the HTTP client: {}", innermost(&error)),
            "",
        )
    })
}

/// Whether proxies of the environment are ignored for this host. A proxy would resolve `localhost` to itself. `*` in
/// `NO_PROXY` also covers addresses, in either spelling of the variable.
fn is_direct(host: &str, variable: impl Fn(&str) -> Option<String>) -> bool {
    let excluded = ["NO_PROXY", "no_proxy"].into_iter().filter_map(variable);
    let is_everything = |list: String| {
        let mut entries = list.split([',', ' ']);
        entries.any(|entry| entry == "*")
    };
    is_loopback(host) || excluded.into_iter().any(is_everything)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn direct(host: &str, name: &str, value: &str) -> bool {
        is_direct(host, |variable| {
            (variable == name).then(|| value.to_owned())
        })
    }

    #[test]
    fn no_proxy_is_used_for_this_machine() {
        for host in ["127.0.0.1", "localhost", "LocalHost", "[::1]", "127.1.2.3"] {
            assert!(direct(host, "", ""), "{host}");
        }
        assert!(!direct("10.0.0.1", "", ""));
        assert!(!direct("localhost.example.com", "", ""));
    }

    #[test]
    fn a_star_matches_every_host() {
        for name in ["NO_PROXY", "no_proxy"] {
            for value in ["*", "a.test, *", "*,a.test", " * "] {
                for host in ["10.0.0.1", "[fd00::1]", "director.example.com"] {
                    assert!(direct(host, name, value), "{name}={value} {host}");
                }
            }
        }
        assert!(!direct("10.0.0.1", "NO_PROXY", "*.example.com"));
        assert!(!direct("10.0.0.1", "HTTP_PROXY", "*"));
    }
}
