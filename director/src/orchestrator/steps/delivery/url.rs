//! Under which URL the nodes reach the Director.

use crate::orchestrator::run::Run;
use crate::orchestrator::wait::{Deadline, StepError};
use crate::swarm::Node;
use crate::task::event::FailureCode;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// What helps when it cannot be found.
const WAYS: &str = "set `bind: 0.0.0.0` (see Security first) or `advertiseUrl` in the configuration of the Director, \
    or `delivery: shared` where all nodes have `glusterpath`";

/// The URL that is configured, or else found; the Director itself must be there.
pub async fn find(run: &mut Run, deadline: Deadline, nodes: &[Node]) -> Result<String, StepError> {
    let settings = &run.shared.settings;
    let (url, source) = match settings.advertise_url.clone() {
        Some(url) => (url, "`advertiseUrl`"),
        None => (found(run, deadline, nodes).await?, "found from `bind`"),
    };
    let reach = Arc::clone(&run.shared.reach);
    let own = run.shared.settings.director_id.clone();
    let problem = match reach.director_at(&url).await {
        Ok(id) if id == own => return Ok(url),
        Ok(id) => format!("is another Director: its id is `{id}`, and this one's is `{own}`"),
        Err(problem) => problem,
    };
    let message = format!(
        "the nodes are to reach the Director at `{url}` ({source}), but what is there {problem}"
    );
    let hint = "`advertiseUrl` names another URL";
    Err(run.failed(FailureCode::DeliveryFailed, message, hint))
}

async fn found(run: &mut Run, deadline: Deadline, nodes: &[Node]) -> Result<String, StepError> {
    let swarm = Arc::clone(&run.shared.swarm);
    let manager = run.docker(deadline, || swarm.manager()).await?;
    let listen = run.shared.settings.listen;
    let elsewhere: Vec<String> = nodes
        .iter()
        .filter(|node| node.id != manager.node_id)
        .map(|node| format!("`{}`", node.hostname))
        .collect();
    derive(listen, &manager.node_address, elsewhere.is_empty()).ok_or_else(|| {
        let message = format!(
            "{} cannot reach the Director: it listens on {listen} (`bind: {}`), and the manager's address in the Swarm is `{}`",
            elsewhere.join(", "),
            listen.ip(),
            manager.node_address
        );
        run.failed(FailureCode::DeliveryFailed, message, WAYS)
    })
}

/// The URL for a Director that listens on `listen` on a node with the address `manager`; `alone`: only
/// this node needs it.
pub fn derive(listen: SocketAddr, manager: &str, alone: bool) -> Option<String> {
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
