//! The address of Docker: from the configuration or the environment to HTTP clients. Nothing is sent.

use crate::error::{SwarmError, root_cause};
use bollard::errors::Error;
use bollard::{API_DEFAULT_VERSION, Docker};
use reqwest::{Certificate, Client, ClientBuilder, Identity, Url};
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Default address of Docker.
const LOCAL_SOCKET: &str = "unix:///var/run/docker.sock";
/// Connection timeout; every call has its own timeout in addition.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// bollard's own timeout in seconds, long enough to have no effect: each call has its own timeout.
const NO_TIMEOUT: u64 = 60 * 60;

/// The address of a Docker Engine, and an HTTP client for calls that bollard does not support.
#[derive(Debug)]
pub(super) struct Address {
    /// As configured by the user, for messages.
    pub host: String,
    /// Base URL of all paths.
    pub base: Url,
    /// Client with a connection pool.
    pub http: Client,
    transport: Transport,
}

/// The transport for bollard.
#[derive(Debug)]
enum Transport {
    /// The path of a socket.
    Socket(String),
    /// Host and port.
    Plain(String),
    /// Host and port, and the directory of the certificates.
    Secure(String, Option<PathBuf>),
}

impl Address {
    /// `host`, else `DOCKER_HOST`, else the local socket. As for the docker command, an empty variable counts as
    /// unset.
    pub fn find(host: Option<&str>) -> Result<Self, SwarmError> {
        let host = host
            .map(str::to_owned)
            .or_else(|| variable("DOCKER_HOST"))
            .unwrap_or_else(|| LOCAL_SOCKET.to_owned());
        let tls = variable("DOCKER_TLS_VERIFY").is_some();
        let certificates = variable("DOCKER_CERT_PATH").map(PathBuf::from);
        Self::open(&host, tls, certificates).map_err(|reason| SwarmError::Unavailable {
            host: host.clone(),
            reason,
        })
    }

    /// `tls` turns `tcp://` into HTTPS.
    fn open(host: &str, tls: bool, certificates: Option<PathBuf>) -> Result<Self, String> {
        // A provider may be installed already; any provider is fine.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let (scheme, rest) = host.split_once("://").ok_or_else(|| expected(host))?;
        // Proxies from the environment do not apply to Docker.
        let builder = Client::builder()
            .no_proxy()
            .dns_resolver(atq_resolver::SystemResolver)
            .connect_timeout(CONNECT_TIMEOUT);
        let rest = rest.to_owned();
        let transport = match scheme {
            "unix" => Transport::Socket(rest),
            "https" => Transport::Secure(rest, certificates),
            "tcp" if tls => Transport::Secure(rest, certificates),
            "tcp" | "http" => Transport::Plain(rest),
            _ => return Err(expected(host)),
        };
        let (base, builder) = match &transport {
            Transport::Socket(path) => {
                let builder = plain(builder).unix_socket(path.as_str());
                ("http://docker".to_owned(), builder)
            }
            Transport::Plain(at) => (format!("http://{at}"), plain(builder)),
            Transport::Secure(at, dir) => {
                (format!("https://{at}"), secure(builder, dir.as_deref())?)
            }
        };
        Ok(Self {
            host: host.to_owned(),
            base: Url::parse(&base).map_err(|e| format!("{e}; {}", expected(host)))?,
            http: builder.build().map_err(|e| root_cause(&e))?,
            transport,
        })
    }

    /// bollard's client. Fails while the socket does not exist.
    pub fn docker(&self) -> Result<Docker, Error> {
        let version = API_DEFAULT_VERSION;
        match &self.transport {
            Transport::Socket(path) => Docker::connect_with_unix(path, NO_TIMEOUT, version),
            Transport::Plain(at) => Docker::connect_with_http(at, NO_TIMEOUT, version),
            Transport::Secure(at, dir) => {
                // bollard requires the files; empty ones add nothing to the machine's certificates.
                let file = |name| match dir {
                    Some(dir) => dir.join(name),
                    None => PathBuf::from("/dev/null"),
                };
                let (key, own, trusted) = (file("key.pem"), file("cert.pem"), file("ca.pem"));
                Docker::connect_with_ssl(at, &key, &own, &trusted, NO_TIMEOUT, version)
            }
        }
    }
}

fn expected(host: &str) -> String {
    format!(
        "`{host}` is not an address of Docker; expected `unix:///var/run/docker.sock`, `tcp://host:port` or `https://host:port`"
    )
}

fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

/// Skips the machine's certificates: reading them dominates the start-up time, and an image without any could not
/// start at all.
fn plain(builder: ClientBuilder) -> ClientBuilder {
    builder.tls_certs_only(Vec::<Certificate>::new())
}

/// Uses `ca.pem`, `cert.pem` and `key.pem` of the directory `certificates`; without it, the machine's certificates
/// and no client certificate.
fn secure(builder: ClientBuilder, certificates: Option<&Path>) -> Result<ClientBuilder, String> {
    let Some(dir) = certificates else {
        return Ok(builder);
    };
    let read = |name: &str| {
        let path = dir.join(name);
        fs::read(&path).map_err(|e| format!("cannot read `{}`: {e}", path.display()))
    };
    let trusted = Certificate::from_pem_bundle(&read("ca.pem")?).map_err(|e| root_cause(&e))?;
    let mut own = read("cert.pem")?;
    own.extend_from_slice(b"\n");
    own.extend(read("key.pem")?);
    let own = Identity::from_pem(&own).map_err(|e| root_cause(&e))?;
    Ok(builder.tls_certs_only(trusted).identity(own))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn base(host: &str, tls: bool) -> String {
        Address::open(host, tls, None).unwrap().base.to_string()
    }

    #[test]
    fn every_kind_of_host_becomes_a_base() {
        assert_eq!(base("unix:///run/d.sock", true), "http://docker/");
        assert_eq!(base("tcp://10.0.0.1:2375", false), "http://10.0.0.1:2375/");
        assert_eq!(base("tcp://10.0.0.1:2376", true), "https://10.0.0.1:2376/");
        assert_eq!(base("http://m1:2375", false), "http://m1:2375/");
        assert_eq!(base("https://m1:2376", false), "https://m1:2376/");
    }

    #[test]
    fn errors_for_other_hosts_list_the_supported_forms() {
        for host in ["ssh://m1", "/var/run/docker.sock", "tcp://"] {
            let reason = Address::open(host, false, None).unwrap_err();
            assert!(
                reason.contains(host) && reason.contains("expected `unix://"),
                "{reason}"
            );
        }
    }

    #[test]
    fn a_missing_certificate_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let reason =
            Address::open("https://m1:2376", false, Some(dir.path().to_owned())).unwrap_err();
        assert!(reason.contains("ca.pem"), "{reason}");
    }
}
