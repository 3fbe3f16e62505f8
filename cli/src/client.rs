//! The HTTP client for a Director: its resolver, its proxy, its certificates.

use crate::trouble::{Trouble, innermost};
use crate::trust::Trust;
use atq_resolver::{SystemResolver, is_loopback};
use reqwest::{Client, Url};
use std::time::Duration;

/// Until there is a connection, with the look-up of the name: a server of DNS that is down costs some seconds.
const CONNECT: Duration = Duration::from_secs(10);

/// A client for the Director at `base`.
///
/// # Errors
/// When `https` is wanted and there is no certificate to trust.
pub fn client(base: &Url, trust: &Trust) -> Result<Client, Trouble> {
    let mut client = Client::builder()
        .user_agent(concat!("atq/", env!("CARGO_PKG_VERSION")))
        .dns_resolver(SystemResolver)
        // The client's own way makes a GET of a POST.
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT);
    if is_direct(base.host_str().unwrap_or_default(), variable) {
        client = client.no_proxy();
    }
    client = match base.scheme() {
        "https" => client.tls_backend_preconfigured(trust.config()?),
        // A container with nothing but this program has no certificates, and could not call at all.
        _ => client.tls_certs_only(Vec::<reqwest::Certificate>::new()),
    };
    client
        .build()
        .map_err(|error| Trouble::failed(format!("no HTTP client: {}", innermost(&error)), ""))
}

/// Whether no proxy may be used, whatever the environment says of proxies. A proxy would look for this machine on
/// its own. `*` in `NO_PROXY` is meant for addresses, too, and for either spelling of the variable.
fn is_direct(host: &str, variable: impl Fn(&str) -> Option<String>) -> bool {
    let excluded = ["NO_PROXY", "no_proxy"].into_iter().filter_map(variable);
    let is_everything = |list: String| {
        let mut entries = list.split([',', ' ']);
        entries.any(|entry| entry == "*")
    };
    is_loopback(host) || excluded.into_iter().any(is_everything)
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn direct(host: &str, name: &str, value: &str) -> bool {
        is_direct(host, |asked| (asked == name).then(|| value.to_owned()))
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
    fn a_star_means_every_host() {
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
