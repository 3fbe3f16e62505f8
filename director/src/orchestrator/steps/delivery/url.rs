//! Under which URL the nodes reach the Director.

use crate::orchestrator::node_url::derive;
use crate::orchestrator::run::Run;
use crate::orchestrator::wait::{Deadline, StepError};
use crate::swarm::Node;
use crate::task::event::FailureCode;
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
