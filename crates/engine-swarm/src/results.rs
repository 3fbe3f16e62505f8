//! Results of containers: from the manager's node through Docker's archive API, from others by [`collectors`].

mod collectors;

use crate::core::Core;
use crate::error::SwarmError;
use crate::plan::RESULTS_TARGET;
use atq_engine::{Facts, Fetched, Member, Taker};
use atq_patience::{Pauses, retry_with};
use futures_util::{StreamExt, TryStreamExt, stream};
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How many containers of the manager's node are read at once.
const AT_ONCE: usize = 8;
/// Before Docker is asked again.
const TROUBLE: Pauses = Pauses {
    first: Duration::from_millis(500),
    longest: Duration::from_millis(500),
};

/// Hands the results of these containers to `taker`: every node's containers, all nodes at once.
pub(crate) async fn hand_over(
    core: &Core,
    run: Facts<'_>,
    wanted: Vec<Member>,
    taker: Arc<dyn Taker>,
) -> Result<Fetched, SwarmError> {
    let _waiting = core.arrivals.wait(&run.state.run, Arc::clone(&taker));
    let manager = patiently(&*taker, || core.swarm.manager()).await?;
    let mut nodes: BTreeMap<String, Vec<Member>> = BTreeMap::new();
    for one in wanted {
        let node = one.node.clone().unwrap_or_default();
        nodes.entry(node).or_default().push(one);
    }
    let own = nodes.remove(&manager.node_id).unwrap_or_default();
    let ((), others) = tokio::join!(
        from_own_node(core, own, &*taker),
        collectors::fetch(core, run, &manager, nodes, &*taker)
    );
    Ok(others)
}

/// Calls Docker until it answers, refuses for good, or the deadline of the collection passes.
async fn patiently<T, Fut>(taker: &dyn Taker, call: impl FnMut() -> Fut) -> Result<T, SwarmError>
where
    Fut: Future<Output = Result<T, SwarmError>>,
{
    let is_worth_it = |error: &SwarmError| error.is_temporary() && Instant::now() < taker.end();
    retry_with(TROUBLE, call, |error, pause| {
        is_worth_it(error).then_some(pause)
    })
    .await
}

async fn from_own_node(core: &Core, wanted: Vec<Member>, taker: &dyn Taker) {
    let each = stream::iter(wanted).map(|one| from_container(core, one, taker));
    each.buffer_unordered(AT_ONCE).collect::<()>().await;
}

async fn from_container(core: &Core, one: Member, taker: &dyn Taker) {
    let Some(id) = one.container.as_deref() else {
        return;
    };
    match patiently(taker, || core.swarm.archive(id, RESULTS_TARGET)).await {
        Ok(tar) => {
            let tar = tar.map_err(io::Error::other).boxed();
            // The taker records the outcome.
            let _ = taker.take(one.source, tar).await;
        }
        Err(error) => taker.note(one.source, error.to_string()),
    }
}
