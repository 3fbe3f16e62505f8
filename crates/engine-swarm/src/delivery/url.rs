//! The URL under which the nodes reach the Director.

use crate::core::Core;
use crate::node_url::{self, NodeUrl};
use crate::port::Node;
use atq_engine::{Deadline, RunContext, StepError};
use atq_task::event::FailureCode;

/// Hint when the nodes cannot reach the Director.
const HINT: &str = "`nodeBind` and `nodePort` in the configuration of the Director set where it listens for carriers, \
    `advertiseUrl` the URL that the nodes use; or use `delivery: shared` where all nodes have `glusterpath`";

/// Opens the port for carriers and returns the URL under which the nodes reach it. Fails unless this Director answers
/// there.
pub(super) async fn find(
    core: &Core,
    run: &mut dyn RunContext,
    deadline: Deadline,
    nodes: &[Node],
) -> Result<String, StepError> {
    let manager = run.retry(deadline, || core.swarm.manager()).await?;
    let elsewhere: Vec<String> = nodes
        .iter()
        .filter(|node| node.id != manager.node_id)
        .map(|node| format!("`{}`", node.hostname))
        .collect();
    let NodeUrl { url, origin } = node_url::open(core, &manager, elsewhere.is_empty())
        .await
        .map_err(|reason| {
            let nodes = match elsewhere.is_empty() {
                true => format!("`{}`", manager.node_id),
                false => elsewhere.join(", "),
            };
            let message = format!("{nodes} cannot reach the Director: {reason}");
            run.failed(FailureCode::DeliveryFailed, &message, HINT)
        })?;
    let own = &core.settings.director_id;
    let certificate = core.node_door.certificate();
    let problem = match core.self_check.director_at(&url, certificate).await {
        Ok(id) if id == *own => return Ok(url),
        Ok(id) => {
            format!("belongs to another Director: its id is `{id}`, this Director's id is `{own}`")
        }
        Err(problem) => problem,
    };
    let message =
        format!("the nodes would reach the Director at `{url}` ({origin}), but that URL {problem}");
    let hint = "`advertiseUrl` sets another URL; it must lead to `nodePort`, and TLS must not end on the way";
    Err(run.failed(FailureCode::DeliveryFailed, &message, hint))
}
