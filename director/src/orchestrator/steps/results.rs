//! What the containers left in `/atq/results`, fetched before anything is removed: from the manager's
//! node through Docker's own door, from others by [`collectors`]. What cannot be had is named, and never holds up the end.

use super::collectors;
use crate::evidence::Source;
use crate::evidence::results::KeptResults;
use crate::orchestrator::containers::Logged;
use crate::orchestrator::intake::Intake;
use crate::orchestrator::run::Run;
use crate::orchestrator::steering::Steering;
use crate::plan::{RESULTS_TARGET, keeps_results};
use crate::swarm::{EngineError, Manager};
use crate::task::event::ResultsSeen;
use crate::task::state::Step;
use futures_util::{StreamExt, TryStreamExt, stream};
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How many containers of the manager's node are read at once.
const AT_ONCE: usize = 8;
/// Pause before Docker is asked again.
const PAUSE: Duration = Duration::from_millis(500);

/// What came of a look.
#[derive(Debug, Default)]
pub struct Fetched {
    /// What is kept of the run by now.
    pub results: Vec<ResultsSeen>,
    /// What is not, in words.
    pub missing: Vec<String>,
}

/// Fetches the results of those `containers` that have ended and whose results are not kept yet; in
/// the step `report` of all, since nothing comes after it.
pub async fn fetch(run: &Run, containers: &[Logged]) -> Fetched {
    let kept = kept(run).await;
    let (lost, wanted): (Vec<Logged>, Vec<Logged>) = containers
        .iter()
        .filter(|one| keeps_results(one.source.role) && !is_kept(&kept, one.source))
        .filter(|one| one.lost || one.task.state.is_terminal() || run.state.step > Step::Collect)
        .cloned()
        .partition(|one| one.lost);
    let lost = lost.iter();
    let mut missing: Vec<String> = lost
        .map(|one| unread(one.source, "its node was lost"))
        .collect();
    if !wanted.is_empty() && !run.desired().is_deleted() {
        let sources = wanted.iter().map(|one| one.source).collect();
        let intake = Intake::new(run.shared.settings.results, &kept, sources);
        missing.extend(look(run, wanted, Arc::new(intake)).await);
    }
    let evidence = &run.shared.evidence;
    evidence
        .forget_incoming(&run.spec.name, &run.state.run)
        .await;
    Fetched {
        results: self::kept(run).await.into_iter().filter_map(seen).collect(),
        missing,
    }
}

/// A look that ends when the task is to be deleted: then nobody wants to know.
async fn look(run: &Run, wanted: Vec<Logged>, intake: Arc<Intake>) -> Vec<String> {
    let mut wishes = run.wishes.clone();
    let (arrivals, suffix) = (&run.shared.arrivals, &run.state.run);
    arrivals.open_intake(suffix, Arc::clone(&intake));
    let all = by_node(run, wanted, &intake);
    let missing = tokio::select! {
        missing = all => missing,
        Ok(_) = wishes.wait_for(Steering::is_deleted) => Vec::new(),
    };
    arrivals.close_intake(suffix);
    missing
}

/// Every node's containers, all nodes at once.
async fn by_node(run: &Run, wanted: Vec<Logged>, intake: &Arc<Intake>) -> Vec<String> {
    let manager = match managers_node(run, intake).await {
        Ok(manager) => manager,
        Err(error) => {
            let each = wanted.iter();
            return each
                .map(|one| unread(one.source, &error.to_string()))
                .collect();
        }
    };
    let mut nodes: BTreeMap<String, Vec<Logged>> = BTreeMap::new();
    for one in wanted {
        let node = one.task.node_id.clone().unwrap_or_default();
        nodes.entry(node).or_default().push(one);
    }
    let own = nodes.remove(&manager.node_id).unwrap_or_default();
    let (mut missing, others) = tokio::join!(
        from_own_node(run, own, intake),
        collectors::fetch(run, &manager, nodes, intake)
    );
    missing.extend(others);
    missing
}

async fn managers_node(run: &Run, intake: &Intake) -> Result<Manager, EngineError> {
    loop {
        match run.shared.swarm.manager().await {
            Ok(manager) => return Ok(manager),
            Err(error) if error.is_temporary() && Instant::now() < intake.end() => {
                tokio::time::sleep(PAUSE).await;
            }
            Err(error) => return Err(error),
        }
    }
}

async fn from_own_node(run: &Run, wanted: Vec<Logged>, intake: &Arc<Intake>) -> Vec<String> {
    let each = stream::iter(wanted).map(|one| from_container(run, one, intake));
    let missing = each.buffer_unordered(AT_ONCE).collect::<Vec<_>>().await;
    missing.into_iter().flatten().collect()
}

/// What is missing of one container.
async fn from_container(run: &Run, one: Logged, intake: &Arc<Intake>) -> Option<String> {
    let id = one.task.container_id.as_deref()?;
    let source = one.source;
    loop {
        let tar = match run.shared.swarm.archive(id, RESULTS_TARGET).await {
            Ok(tar) => tar.map_err(io::Error::other),
            Err(error) if error.is_temporary() && Instant::now() < intake.end() => {
                tracing::debug!(task = %run.spec.name, %error, "cannot read results; trying again");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
            Err(error) => return Some(unread(source, &error.to_string())),
        };
        let evidence = &run.shared.evidence;
        let tar = intake.bounded(tar);
        let (task, suffix) = (&run.spec.name, &run.state.run);
        let kept = evidence.keep_results(task, suffix, source, tar, intake.budget());
        return match kept.await {
            Ok((kept, _)) => what_is_missing(&kept),
            Err(error) => Some(error),
        };
    }
}

/// What is kept of the run by now.
pub async fn kept(run: &Run) -> Vec<KeptResults> {
    let kept = run.shared.evidence.results(&run.spec.name, &run.state.run);
    kept.await.unwrap_or_else(|error| {
        tracing::warn!(task = %run.spec.name, %error, "cannot read which results are kept");
        Vec::new()
    })
}

fn is_kept(kept: &[KeptResults], source: Source) -> bool {
    kept.iter()
        .any(|kept| kept.source == source && kept.problem.is_none())
}

fn seen(kept: KeptResults) -> Option<ResultsSeen> {
    (kept.files > 0).then(|| ResultsSeen {
        source: kept.source.to_string(),
        files: kept.files,
        bytes: kept.bytes,
    })
}

/// What is said of results that cannot be had.
pub fn unread(source: Source, reason: &str) -> String {
    format!("the results of {source} could not be read: {reason}")
}

/// What is said of results that were kept, but not all of them.
pub fn what_is_missing(kept: &KeptResults) -> Option<String> {
    let source = kept.source;
    match (&kept.problem, kept.left_out) {
        (Some(problem), _) => Some(format!("the results of {source} are incomplete: {problem}")),
        (None, 0) => None,
        (None, 1) => Some(format!(
            "one entry in the results of {source} is neither file nor directory, and is not kept"
        )),
        (None, many) => Some(format!(
            "{many} entries in the results of {source} are neither files nor directories, and are not kept"
        )),
    }
}
