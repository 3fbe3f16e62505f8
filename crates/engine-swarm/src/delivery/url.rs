//! The URL under which the nodes reach the Director.

use crate::core::Core;
use crate::node_url::derive;
use crate::port::Node;
use atq_engine::{Deadline, RunContext, StepError};
use atq_task::event::FailureCode;

/// Hint when no URL can be derived.
const HINT: &str = "set `bind: 0.0.0.0` (read Security first) or `advertiseUrl` in the configuration of the Director, \
    or `delivery: shared` where all nodes have `glusterpath`";

/// The configured URL, or else a derived one. Fails unless this Director answers there.
pub(super) async fn find(
    core: &Core,
    run: &mut dyn RunContext,
    deadline: Deadline,
    nodes: &[Node],
) -> Result<String, StepError> {
    let settings = &core.settings;
    let (url, source) = match settings.advertise_url.clone() {
        Some(url) => (url, "`advertiseUrl`"),
        None => (
            derived(core, run, deadline, nodes).await?,
            "derived from `bind`",
        ),
    };
    let own = &settings.director_id;
    let problem = match core.self_check.director_at(&url).await {
        Ok(id) if id == *own => return Ok(url),
        Ok(id) => {
            format!("belongs to another Director: its id is `{id}`, this Director's id is `{own}`")
        }
        Err(problem) => problem,
    };
    let message =
        format!("the nodes would reach the Director at `{url}` ({source}), but that URL {problem}");
    let hint = "`advertiseUrl` sets another URL";
    Err(run.failed(FailureCode::DeliveryFailed, &message, hint))
}

async fn derived(
    core: &Core,
    run: &mut dyn RunContext,
    deadline: Deadline,
    nodes: &[Node],
) -> Result<String, StepError> {
    let manager = run.retry(deadline, || core.swarm.manager()).await?;
    let listen = core.settings.listen;
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
        run.failed(FailureCode::DeliveryFailed, &message, HINT)
    })
}
