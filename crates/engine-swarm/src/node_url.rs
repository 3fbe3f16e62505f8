//! The URL under which carriers on the nodes reach the Director.

use crate::core::SwarmSettings;
use crate::port::Manager;
use std::net::{IpAddr, SocketAddr};

/// The URL of the Director for carriers on other nodes.
///
/// # Errors
/// A description of the problem when there is none.
pub(crate) fn url_for_nodes(settings: &SwarmSettings, manager: &Manager) -> Result<String, String> {
    if let Some(url) = &settings.advertise_url {
        return Ok(url.clone());
    }
    let listen = settings.listen;
    derive(listen, &manager.node_address, false).ok_or_else(|| {
        format!(
            "its node cannot reach the Director, which listens on `{listen}`; set `bind` or `advertiseUrl`"
        )
    })
}

/// The URL of a Director that listens on `listen` on a node with the address `manager`. With `alone`, only this node
/// uses the URL.
pub(crate) fn derive(listen: SocketAddr, manager: &str, alone: bool) -> Option<String> {
    let ip = listen.ip();
    let manager: Option<IpAddr> = manager.parse().ok();
    let usable = |ip: &IpAddr| !ip.is_loopback() && !ip.is_unspecified();
    let host = match (ip.is_unspecified(), alone) {
        (true, true) => Some(IpAddr::from([127, 0, 0, 1])),
        (true, false) => manager.filter(usable),
        (false, true) => Some(ip),
        (false, false) => Some(ip).filter(usable),
    }?;
    Some(format!("http://{}", SocketAddr::new(host, listen.port())))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_url_is_one_that_the_nodes_can_reach() {
        let cases = [
            (
                "127.0.0.1:80",
                "10.0.0.1",
                true,
                Some("http://127.0.0.1:80"),
            ),
            ("127.0.0.1:80", "10.0.0.1", false, None),
            ("0.0.0.0:80", "127.0.0.1", true, Some("http://127.0.0.1:80")),
            ("0.0.0.0:80", "10.0.0.1", false, Some("http://10.0.0.1:80")),
            ("[::]:80", "10.0.0.1", false, Some("http://10.0.0.1:80")),
            ("0.0.0.0:80", "127.0.0.1", false, None),
            ("0.0.0.0:80", "", false, None),
            ("10.0.0.2:80", "10.0.0.1", false, Some("http://10.0.0.2:80")),
            ("10.0.0.2:80", "10.0.0.1", true, Some("http://10.0.0.2:80")),
            (
                "[fd00::1]:80",
                "10.0.0.1",
                false,
                Some("http://[fd00::1]:80"),
            ),
        ];
        for (listen, manager, alone, url) in cases {
            let found = derive(listen.parse().unwrap(), manager, alone);
            assert_eq!(found.as_deref(), url, "{listen} {manager} {alone}");
        }
    }
}
