//! Resolves host names as the C library does: `/etc/hosts` first, then the DNS servers of `/etc/resolv.conf`.
//!
//! - [`resolve`]: the addresses of a host; `SystemResolver` (feature `reqwest`): the same for an HTTP client;
//! - [`is_loopback`]: whether a host is this machine;
//! - [`hosts`]: `/etc/hosts`; [`resolv_conf`]: `/etc/resolv.conf`;
//! - `lookup`: the search list, and the order and timeouts of the queries.
//!
//! The programs are static binaries, in which the C library's resolver does not work. Files are parsed line by line, and an
//! invalid line is ignored. Only configured servers are queried. The crate does not depend on other crates of the workspace.
//!
//! ```
//! use atq_resolver::hosts::Hosts;
//!
//! let hosts = Hosts::parse(b"10.0.0.1 director my_team.example # a comment\nnot a line\n::1 director");
//! let addresses = hosts.addresses("Director");
//! assert_eq!(addresses.len(), 2);
//! assert!(atq_resolver::is_loopback("127.0.0.1"));
//! ```

pub mod hosts;
mod lookup;
pub mod resolv_conf;

pub use lookup::ResolveError;

use hosts::Hosts;
use resolv_conf::ResolvConf;
#[cfg(feature = "reqwest")]
use std::net::SocketAddr;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Resolves a host. The files are read each time, so a change requires no restart.
///
/// # Errors
/// When the host does not exist, or no DNS server responds.
pub async fn resolve(host: &str) -> Result<Vec<IpAddr>, ResolveError> {
    match local(host, &Hosts::from_system()) {
        Some(addresses) => Ok(addresses),
        None => lookup::lookup(host, &ResolvConf::from_system().into()).await,
    }
}

/// The addresses of a host that are known without a DNS query.
fn local(host: &str, hosts: &Hosts) -> Option<Vec<IpAddr>> {
    let found = hosts.addresses(host);
    match found.is_empty() {
        false => Some(found),
        true if is_localhost(host) => {
            Some(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()])
        }
        true => None,
    }
}

/// Whether the host of a URL is this machine, as far as known without a DNS query.
pub fn is_loopback(host: &str) -> bool {
    is_loopback_with(host, &Hosts::from_system())
}

fn is_loopback_with(host: &str, hosts: &Hosts) -> bool {
    let literal = host.trim_start_matches('[').trim_end_matches(']');
    match literal.parse::<IpAddr>() {
        Ok(address) => is_this_machine(address),
        Err(_) => {
            local(host, hosts).is_some_and(|addresses| addresses.into_iter().all(is_this_machine))
        }
    }
}

/// The unspecified address also connects to this machine.
fn is_this_machine(address: IpAddr) -> bool {
    let address = address.to_canonical();
    address.is_loopback() || address.is_unspecified()
}

/// `localhost` and its subdomains (RFC 6761).
fn is_localhost(host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    host == "localhost" || host.ends_with(".localhost")
}

/// [`resolve`] as the resolver of an HTTP client.
#[cfg(feature = "reqwest")]
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemResolver;

#[cfg(feature = "reqwest")]
impl reqwest::dns::Resolve for SystemResolver {
    fn resolve(&self, name: reqwest::dns::Name) -> reqwest::dns::Resolving {
        Box::pin(async move {
            let addresses = resolve(name.as_str()).await?;
            // Port 0 is replaced by the port of the URL.
            let sockets = addresses
                .into_iter()
                .map(|address| SocketAddr::new(address, 0));
            Ok(Box::new(sockets) as reqwest::dns::Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn loopback_is_recognized_in_every_form() {
        let hosts =
            Hosts::parse(b"127.0.0.1 atq_director\n10.0.0.1 far\n127.0.0.1 both\n10.0.0.1 both");
        for host in [
            "127.0.0.1",
            "127.8.9.1",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "0.0.0.0",
            "[::]",
            "LocalHost",
            "localhost.",
            "app.localhost",
            "ATQ_Director",
        ] {
            assert!(is_loopback_with(host, &hosts), "{host}");
        }
        for host in [
            "10.0.0.1",
            "far",
            "both",
            "localhost.example.com",
            "unknown",
        ] {
            assert!(!is_loopback_with(host, &hosts), "{host}");
        }
    }

    #[test]
    fn the_hosts_file_overrides_localhost() {
        let hosts = Hosts::parse(b"127.0.0.2 localhost");
        assert_eq!(
            local("localhost", &hosts).unwrap(),
            ["127.0.0.2".parse::<IpAddr>().unwrap()]
        );
    }
}
