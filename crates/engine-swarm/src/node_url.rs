//! The URL under which carriers on the nodes reach the Director. The port for carriers is opened before they are sent.

use crate::core::{Core, SwarmSettings};
use crate::error::SwarmError;
use crate::port::Manager;
use atq_engine::Deadline;
use atq_retry::{Pauses, retry};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

/// Backoff of [`reopen`] while Docker does not answer, and its end: runs fail after that time, too.
const RETRY_PAUSES: Pauses = Pauses {
    first: Duration::from_millis(500),
    longest: Duration::from_secs(2),
};
const RETRY_FOR: Duration = Duration::from_secs(300);

/// `advertiseUrl`: where the nodes reach the port for carriers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdvertisedUrl {
    /// Host name or address; an IPv6 address is in brackets.
    pub host: String,
    /// Port; `None`: that for carriers.
    pub port: Option<u16>,
}

impl AdvertisedUrl {
    /// The host, if it is an address.
    fn address(&self) -> Option<IpAddr> {
        self.host.trim_matches(['[', ']']).parse().ok()
    }

    fn with_port(&self, default: u16) -> String {
        format!("https://{}:{}", self.host, self.port.unwrap_or(default))
    }
}

/// How carriers reach the Director.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NodeUrl {
    /// The URL.
    pub url: String,
    /// Its origin, for messages.
    pub origin: UrlOrigin,
}

/// The origin of a [`NodeUrl`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UrlOrigin {
    /// `advertiseUrl`.
    Configured,
    /// The address on which the Director listens.
    Derived,
}

impl fmt::Display for UrlOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Configured => "`advertiseUrl`",
            Self::Derived => "derived from `nodeBind` and the manager's address",
        })
    }
}

/// Opens the port for carriers and returns its URL. With `alone`, only the manager's node uses it.
///
/// # Errors
/// A sentence that describes the problem.
pub(crate) async fn open(core: &Core, manager: &Manager, alone: bool) -> Result<NodeUrl, String> {
    let address = listen(core, manager, alone).await?;
    Ok(match &core.settings.advertised {
        Some(advertised) => NodeUrl {
            url: advertised.with_port(core.node_door.port()),
            origin: UrlOrigin::Configured,
        },
        None => NodeUrl {
            url: format!("https://{address}"),
            origin: UrlOrigin::Derived,
        },
    })
}

/// Opens the port for carriers where they reach it.
pub(crate) async fn listen(
    core: &Core,
    manager: &Manager,
    alone: bool,
) -> Result<SocketAddr, String> {
    let (settings, door) = (&core.settings, &core.node_door);
    let advertised = settings.advertised.as_ref();
    if settings.node_bind.is_none()
        && let Some(address) = advertised.and_then(AdvertisedUrl::address)
        // It may be an address of another machine, which forwards connections.
        && let Ok(opened) = door.open(address).await
    {
        return Ok(opened);
    }
    door.open(address(settings, &manager.node_address, alone)?)
        .await
}

/// Opens the port for carriers again that earlier runs have on other nodes.
pub(crate) async fn reopen(core: &Core) {
    let deadline = Deadline::after(RETRY_FOR);
    let status = async || Ok((core.swarm.manager().await?, core.swarm.nodes().await?));
    let answered = retry(RETRY_PAUSES, deadline, status, SwarmError::is_temporary).await;
    // Without an answer, the port is opened when carriers are sent.
    let Ok((manager, nodes)) = answered else {
        return;
    };
    if nodes.len() > 1
        && let Err(reason) = listen(core, &manager, false).await
    {
        tracing::warn!("other nodes cannot reach the Director: {reason}");
    }
}

/// The address under which carriers reach the Director on a node with the Swarm address `manager`.
fn address(settings: &SwarmSettings, manager: &str, alone: bool) -> Result<IpAddr, String> {
    let local = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let parsed: Option<IpAddr> = manager.parse().ok();
    let external = parsed.filter(|ip| !ip.is_loopback() && !ip.is_unspecified());
    let bind = settings.node_bind.filter(|ip| !ip.is_unspecified());
    match (bind, alone) {
        (Some(bind), false) if bind.is_loopback() => Err(format!(
            "the Director listens for carriers on {bind} only (`nodeBind`)"
        )),
        (Some(bind), _) => Ok(bind),
        // Forwarded connections arrive at the external address, if there is one.
        (None, _) if settings.advertised.is_some() => Ok(external.unwrap_or(local)),
        (None, true) => Ok(local),
        (None, false) => external.ok_or_else(|| {
            format!(
                "the manager's address in the Swarm, `{manager}`, is none that other nodes reach"
            )
        }),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::fake::settings;

    #[test]
    fn carriers_use_an_address_that_their_nodes_reach() {
        let cases = [
            ("", "10.0.0.1", true, Some("127.0.0.1")),
            ("", "10.0.0.1", false, Some("10.0.0.1")),
            ("", "fd00::1", false, Some("fd00::1")),
            ("", "127.0.0.1", true, Some("127.0.0.1")),
            ("", "127.0.0.1", false, None),
            ("", "0.0.0.0", false, None),
            ("", "", false, None),
            ("0.0.0.0", "10.0.0.1", true, Some("127.0.0.1")),
            ("0.0.0.0", "10.0.0.1", false, Some("10.0.0.1")),
            ("::", "10.0.0.1", false, Some("10.0.0.1")),
            ("0.0.0.0", "127.0.0.1", false, None),
            ("10.0.0.2", "10.0.0.1", true, Some("10.0.0.2")),
            ("10.0.0.2", "10.0.0.1", false, Some("10.0.0.2")),
            ("127.0.0.1", "10.0.0.1", true, Some("127.0.0.1")),
            ("127.0.0.1", "10.0.0.1", false, None),
        ];
        for (bind, manager, alone, expected) in cases {
            let settings = SwarmSettings {
                node_bind: bind.parse().ok(),
                ..settings()
            };
            let found = address(&settings, manager, alone);
            let expected = expected.map(|text| text.parse().unwrap());
            assert_eq!(found.ok(), expected, "{bind} {manager} {alone}");
        }
    }

    #[test]
    fn an_advertised_url_without_a_port_has_that_of_carriers() {
        let of = |host: &str, port| {
            let host = host.to_owned();
            AdvertisedUrl { host, port }
        };
        let name = of("director", None);
        assert_eq!(name.with_port(8081), "https://director:8081");
        assert_eq!(name.address(), None);
        let v6 = of("[fd00::1]", Some(443));
        assert_eq!(v6.with_port(8081), "https://[fd00::1]:443");
        assert_eq!(v6.address(), "fd00::1".parse().ok());
    }
}
