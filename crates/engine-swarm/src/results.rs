//! Results of containers: from the manager's node through Docker's archive API, from others by [`collectors`].

mod collectors;

use crate::core::Core;
use crate::error::SwarmError;
use crate::plan::RESULTS_TARGET;
use atq_engine::{Facts, Fetched, Member, ResultsReceiver};
use atq_retry::{Pauses, retry_with};
use futures_util::{StreamExt, TryStreamExt, stream};
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Number of containers on the manager's node that are read concurrently.
const CONCURRENCY: usize = 8;
/// Pauses between attempts after a temporary error.
const RETRY_PAUSES: Pauses = Pauses {
    first: Duration::from_millis(500),
    longest: Duration::from_millis(500),
};

/// Passes the results of these containers to `receiver`, from all nodes concurrently.
pub(crate) async fn pass_to(
    core: &Core,
    run: Facts<'_>,
    wanted: Vec<Member>,
    receiver: Arc<dyn ResultsReceiver>,
) -> Result<Fetched, SwarmError> {
    let placed = wanted.iter().filter_map(|one| {
        let node = one.node.clone()?;
        Some((one.source, node))
    });
    let (run_id, placed) = (&run.state.run, placed.collect());
    let _guard = core
        .ingest
        .expect_results(run_id, Arc::clone(&receiver), placed);
    let manager = with_retries(&*receiver, || core.swarm.manager()).await?;
    let mut nodes: BTreeMap<String, Vec<Member>> = BTreeMap::new();
    for one in wanted {
        let node = one.node.clone().unwrap_or_default();
        nodes.entry(node).or_default().push(one);
    }
    let own = nodes.remove(&manager.node_id).unwrap_or_default();
    let ((), others) = tokio::join!(
        from_own_node(core, own, &*receiver),
        collectors::fetch(core, run, &manager, nodes, &*receiver)
    );
    Ok(others)
}

/// Retries a call of Docker after temporary errors, until the deadline of the collection.
async fn with_retries<T, Fut>(
    receiver: &dyn ResultsReceiver,
    call: impl FnMut() -> Fut,
) -> Result<T, SwarmError>
where
    Fut: Future<Output = Result<T, SwarmError>>,
{
    let is_retryable = |error: &SwarmError| error.is_temporary() && Instant::now() < receiver.end();
    retry_with(RETRY_PAUSES, call, |error, pause| {
        is_retryable(error).then_some(pause)
    })
    .await
}

async fn from_own_node(core: &Core, wanted: Vec<Member>, receiver: &dyn ResultsReceiver) {
    let each = stream::iter(wanted).map(|one| from_container(core, one, receiver));
    each.buffer_unordered(CONCURRENCY).collect::<()>().await;
}

async fn from_container(core: &Core, one: Member, receiver: &dyn ResultsReceiver) {
    let Some(id) = one.container.as_deref() else {
        return;
    };
    match with_retries(receiver, || core.swarm.archive(id, RESULTS_TARGET)).await {
        Ok(tar) => {
            let tar = tar.map_err(io::Error::other).boxed();
            // The receiver records the outcome.
            let _ = receiver.take(one.source, tar).await;
        }
        Err(error) => receiver.note(one.source, error.to_string()),
    }
}
