//! `advertiseUrl`: where the nodes reach the port for carriers. Earlier versions had no such port: the URL was that of
//! the API, mostly `http`, and could have a path.

use super::Config;
use atq_engine_swarm::AdvertisedUrl;

/// Port of `https` URLs without one.
const HTTPS: u16 = 443;

/// The parts of an URL.
struct Parts<'a> {
    is_https: bool,
    host: &'a str,
    port: Option<u16>,
    path: &'a str,
}

/// The parts of an URL that [`super::fields::url`] has accepted.
fn parts(url: &str) -> Option<Parts<'_>> {
    let (scheme, rest) = url.split_once("://")?;
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    // A colon within brackets is part of an IPv6 address.
    let port = authority.rsplit_once(':');
    let port = port.and_then(|(host, port)| Some((host, port.parse().ok()?)));
    Some(Parts {
        is_https: scheme == "https",
        host: port.map_or(authority, |(host, _)| host),
        port: port.map(|(_, port)| port),
        path,
    })
}

impl Config {
    /// The URL under which the nodes reach the port for carriers. One of an earlier version keeps its host only.
    pub fn advertised(&self) -> Option<AdvertisedUrl> {
        let parts = parts(self.advertise_url.as_deref()?)?;
        Some(AdvertisedUrl {
            host: parts.host.to_owned(),
            port: match parts.is_https {
                true => Some(parts.port.unwrap_or(HTTPS)),
                false => None,
            },
        })
    }

    /// The host of `advertiseUrl`, as in a certificate.
    pub fn advertised_host(&self) -> Option<String> {
        let host = self.advertised()?.host;
        Some(host.trim_matches(['[', ']']).to_owned())
    }

    /// A warning about an `advertiseUrl` of an earlier version; `node_port` is the port for carriers.
    pub fn advertised_warning(&self, node_port: u16) -> Option<String> {
        let url = self.advertise_url.as_deref()?;
        let parts = parts(url)?;
        if parts.is_https && parts.path.is_empty() {
            return None;
        }
        let AdvertisedUrl { host, port } = self.advertised()?;
        let used = format!("https://{host}:{}", port.unwrap_or(node_port));
        Some(format!(
            "`advertiseUrl` is `{url}`, as in an earlier version. Nodes use https and `nodePort` now, without a path: using `{used}`. Set `advertiseUrl: {used}`, or remove the key if the nodes reach the manager under its own address"
        ))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn with(url: &str) -> Config {
        let text = format!("port: 8080\nglusterpath: /b\nadvertiseUrl: \"{url}\"\n");
        Config::parse(&text, |_| None).unwrap()
    }

    #[test]
    fn an_http_url_of_an_earlier_version_becomes_https_on_the_port_for_carriers() {
        for (url, used) in [
            ("http://10.0.0.1:8080", "https://10.0.0.1:8081"),
            ("http://director", "https://director:8081"),
            ("http://[fd00::1]:8080/x", "https://[fd00::1]:8081"),
            ("https://atq.example:8443/x/", "https://atq.example:8443"),
        ] {
            let warning = with(url).advertised_warning(8081).unwrap();
            assert!(warning.contains(&format!("using `{used}`")), "{warning}");
        }
        let advertised = with("http://10.0.0.1:8080").advertised().unwrap();
        assert_eq!(
            (advertised.host.as_str(), advertised.port),
            ("10.0.0.1", None)
        );
    }

    #[test]
    fn an_https_url_is_used_as_it_is() {
        for (url, host, port) in [
            ("https://director:9000", "director", 9000),
            ("https://10.0.0.1", "10.0.0.1", 443),
            ("https://[fd00::1]", "fd00::1", 443),
            ("https://[fd00::1]:9000/", "fd00::1", 9000),
        ] {
            let config = with(url);
            assert_eq!(config.advertised_warning(8081), None, "{url}");
            assert_eq!(config.advertised().unwrap().port, Some(port), "{url}");
            assert_eq!(config.advertised_host().as_deref(), Some(host), "{url}");
        }
        let none = Config::parse("port: 1\nglusterpath: /b\n", |_| None).unwrap();
        assert_eq!((none.advertised(), none.advertised_host()), (None, None));
    }
}
