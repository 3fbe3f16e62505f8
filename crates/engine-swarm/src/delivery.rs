//! Delivery of bundles to the nodes: a carrier on each node that may run containers of the task downloads them from
//! the Director into volumes, which outlive the run.

mod url;

use crate::core::Core;
use crate::error::SwarmError;
use crate::node_job::{self, NodeOutcome};
use crate::plan::volumes::{BundleDelivery, is_bundle};
use crate::plan::{CarrierPlan, Errand, Scale, ServicePlan};
use crate::port::Node;
use atq_engine::{Deadline, Facts, Role, RunContext, StepError, StepResult};
use atq_node_protocol::order::{ArchiveLimits, Fetch, Order};
use atq_task::event::{Event, FailureCode, NodeDelivery};
use futures_util::future::join_all;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::time::Instant;

/// A delivery may take one second for this many bytes of the zips, in addition to the timeout of all preparation
/// steps.
const BYTES_PER_SECOND: u64 = 5_000_000;
/// Waiting time for nodes: after a restart of the manager, all nodes are unknown for some seconds.
const NODES_TIMEOUT: Duration = Duration::from_secs(15);
const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// Delivers the bundles to every node that may run the task's containers.
pub(crate) async fn distribute(core: &Core, run: &mut dyn RunContext) -> StepResult {
    let deliveries = core.plan(run.facts()).deliveries();
    let bytes = zip_bytes(core, run.facts(), &deliveries).await?;
    wait_for_removals(core, run).await?;
    let allowance = Duration::from_secs(bytes / BYTES_PER_SECOND);
    let deadline = Deadline::after(run.orchestration_timeout(1) + allowance);
    let nodes = nodes_for(core, run, deadline, &deliveries).await?;
    let url = url::find(core, run, deadline, &nodes).await?;
    index_volumes(core, run.facts(), &deliveries, &nodes).await?;
    let plans = plans(core, run.facts(), &deliveries, &url, deadline);
    let outcomes = run_carriers(core, run, &deliveries, plans, deadline).await?;
    // Nodes that have joined meanwhile have the bundle, too.
    for (delivery, outcomes) in deliveries.iter().zip(&outcomes) {
        let placed = outcomes.iter().filter(|one| !one.node.is_empty());
        let nodes = placed.map(|one| (one.node.clone(), one.host.clone()));
        index_one(core, run.facts(), delivery, nodes.collect()).await?;
    }
    evaluate(core, run.facts(), &outcomes)
}

/// Waits for a removal in progress. The names of the volumes are the same for every run, so the removal could otherwise
/// delete them after the carriers have ended and before the first container starts. A later removal detects that the
/// bundle is in use.
async fn wait_for_removals(core: &Core, run: &mut dyn RunContext) -> Result<(), StepError> {
    tokio::select! {
        biased;
        () = run.interruption() => Err(StepError::Interrupted),
        removing = core.volume_index.removing.lock() => {
            drop(removing);
            Ok(())
        }
    }
}

/// Total size of the zips in bytes. Fails when a zip is missing.
async fn zip_bytes(
    core: &Core,
    run: Facts<'_>,
    deliveries: &[BundleDelivery],
) -> Result<u64, StepError> {
    let mut bytes = 0;
    for delivery in deliveries {
        let id = &delivery.volumes.bundle;
        let missing = |reason: String| {
            let message = format!("the bundle `{id}` cannot be delivered to the nodes: {reason}");
            run.failed(FailureCode::BundleMissing, &message, "upload it again")
        };
        match core.bundles.zip(id).await {
            Ok(Some((_, size))) => bytes += size,
            Ok(None) => return Err(missing("its zip is missing in `glusterpath`".to_owned())),
            Err(error) => return Err(missing(error)),
        }
    }
    Ok(bytes)
}

/// The nodes that need a bundle: at least one for each delivery.
async fn nodes_for(
    core: &Core,
    run: &mut dyn RunContext,
    deadline: Deadline,
    deliveries: &[BundleDelivery],
) -> Result<Vec<Node>, StepError> {
    let started = Instant::now();
    loop {
        let mut nodes = run.retry(deadline, || core.swarm.nodes()).await?;
        let unplaceable = deliveries
            .iter()
            .find(|delivery| !nodes.iter().any(|node| node.may_run(&delivery.constraints)));
        let Some(unplaceable) = unplaceable else {
            let needs = |node: &Node| deliveries.iter().any(|e| node.may_run(&e.constraints));
            nodes.retain(needs);
            return Ok(nodes);
        };
        let may_return = nodes
            .iter()
            .any(|node| !node.ready && node.satisfies(&unplaceable.constraints));
        if !may_return || started.elapsed() >= NODES_TIMEOUT || deadline.passed() {
            let message = format!(
                "none of the {} nodes can run the containers that need the bundle `{}`: {}",
                nodes.len(),
                unplaceable.volumes.bundle,
                describe_unsuitable(&nodes, &unplaceable.constraints)
            );
            let hint = "`docker node ls` lists the nodes; `placement.constraints` selects them";
            return Err(run.failed(FailureCode::DeliveryFailed, &message, hint));
        }
        run.pause(POLL_INTERVAL).await?;
    }
}

fn describe_unsuitable(nodes: &[Node], constraints: &[String]) -> String {
    let each = nodes.iter().map(|node| {
        let reason = match (node.ready, node.active) {
            (false, _) => "is down",
            (true, false) => "accepts no new containers",
            (true, true) => "does not satisfy the constraints",
        };
        format!("`{}` {reason}", node.hostname)
    });
    let each: Vec<String> = each.collect();
    match constraints.is_empty() {
        true => each.join(", "),
        false => format!("{} ({})", each.join(", "), constraints.join(", ")),
    }
}

/// Adds the volumes to the index before they are created.
async fn index_volumes(
    core: &Core,
    run: Facts<'_>,
    deliveries: &[BundleDelivery],
    nodes: &[Node],
) -> Result<(), StepError> {
    for delivery in deliveries {
        let eligible = nodes
            .iter()
            .filter(|node| node.may_run(&delivery.constraints))
            .map(|node| (node.id.clone(), node.hostname.clone()));
        index_one(core, run, delivery, eligible.collect()).await?;
    }
    Ok(())
}

async fn index_one(
    core: &Core,
    run: Facts<'_>,
    delivery: &BundleDelivery,
    nodes: Vec<(String, String)>,
) -> Result<(), StepError> {
    let (index, volumes) = (&core.volume_index, &delivery.volumes);
    let added = index.add(&volumes.bundle, volumes.names(), nodes);
    added.await.map_err(|error| {
        let message = format!("cannot record the volumes of the bundle in `datadir`: {error}");
        run.failed(FailureCode::DeliveryFailed, &message, "is its disk full?")
    })
}

fn plans(
    core: &Core,
    run: Facts<'_>,
    deliveries: &[BundleDelivery],
    url: &str,
    deadline: Deadline,
) -> Vec<ServicePlan> {
    let limits = core.bundles.limits();
    let numbered = deliveries.iter().zip(1..);
    let secret = core.carrier_secret(run);
    let plans = numbered.map(|(delivery, number)| {
        let order = Fetch {
            url: url.to_owned(),
            certificate: Some(core.node_door.certificate().to_owned()),
            run: run.state.run.clone(),
            bundle: delivery.volumes.bundle.clone(),
            limits: ArchiveLimits {
                upload_bytes: limits.upload_bytes,
                unpacked_bytes: limits.unpacked_bytes,
                entries: limits.entries,
            },
            split: delivery.volumes.split.clone(),
            seconds: deadline.seconds(),
        };
        let plan = CarrierPlan {
            role: Role::Delivery,
            number,
            image: &core.settings.carrier_image,
            order: Order::Fetch(order),
            errand: Some(Errand::Fetch {
                bundle: &delivery.volumes.bundle,
            }),
            mounts: delivery.volumes.carrier_mounts(),
            scale: Scale::EveryNode,
            constraints: delivery.constraints.clone(),
        };
        core.plan(run).carrier(plan, &secret)
    });
    plans.collect()
}

/// Runs all deliveries concurrently. A stop does not wait for them and leaves them to clean-up.
async fn run_carriers(
    core: &Core,
    run: &mut dyn RunContext,
    deliveries: &[BundleDelivery],
    plans: Vec<ServicePlan>,
    deadline: Deadline,
) -> Result<Vec<Vec<NodeOutcome>>, StepError> {
    let bundles = deliveries.iter().map(|one| one.volumes.bundle.clone());
    let auth = &core.node_auth;
    let _grant = auth.grant_bundles(&run.facts().state.run, bundles);
    let jobs = plans
        .iter()
        .map(|plan| node_job::run(&*core.swarm, plan, deadline));
    let outcomes = tokio::select! {
        biased;
        () = run.interruption() => return Err(StepError::Interrupted),
        outcomes = join_all(jobs) => outcomes,
    };
    let outcomes: Result<Vec<_>, SwarmError> = outcomes.into_iter().collect();
    outcomes.map_err(|error| run.engine_failed(&error.into()))
}

fn evaluate(core: &Core, run: Facts<'_>, outcomes: &[Vec<NodeOutcome>]) -> StepResult {
    let all = || outcomes.iter().flatten();
    let nodes_of = |wanted: fn(&NodeOutcome) -> bool| -> BTreeSet<&str> {
        let wanted = all().filter(|one| wanted(one));
        wanted.map(|one| one.node.as_str()).collect()
    };
    let unavailable = nodes_of(NodeOutcome::is_unavailable);
    for one in all().filter(|one| one.is_unavailable()) {
        tracing::warn!(task = %run.spec.name, node = %one.host, "the node became unavailable before it had the bundle; excluded from this task");
    }
    let mut nodes: BTreeMap<&str, NodeDelivery> = BTreeMap::new();
    for one in all().filter(|one| !unavailable.contains(one.node.as_str())) {
        let Ok(report) = &one.report else { continue };
        tracing::info!(
            task = %run.spec.name, node = %one.host, done = report.done, fetched = report.fetched,
            bytes = report.bytes, millis = report.millis, "carrier finished"
        );
        let node = nodes.entry(&one.node).or_insert_with(|| NodeDelivery {
            node: one.node.clone(),
            fetched: false,
            bytes: 0,
            millis: 0,
            clock_offset: None,
        });
        node.fetched |= report.fetched;
        node.bytes += report.bytes;
        node.millis = node.millis.max(report.millis);
        node.clock_offset = node.clock_offset.or(report.clock_offset_ms);
    }
    let problems: Vec<String> = all()
        .filter(|one| !one.is_unavailable())
        .filter_map(NodeOutcome::describe_problem)
        .collect();
    if problems.is_empty() && !nodes.is_empty() {
        let nodes = nodes.into_values().collect();
        return Ok(Event::BundlesDelivered { nodes });
    }
    let available = nodes_of(|one| !one.is_unavailable());
    let failed = nodes_of(|one| one.problem().is_some());
    let have = available.difference(&failed).count();
    let problems = match problems.is_empty() {
        true => "all went down or no longer accept containers".to_owned(),
        false => problems.join("; "),
    };
    let all = available.len();
    let message = format!("{have} of {all} nodes have the bundle; {problems}");
    let hint = hint(&core.settings.carrier_image, &message);
    Err(run.failed(FailureCode::DeliveryFailed, &message, &hint))
}

fn hint(image: &str, message: &str) -> String {
    let has = |part: &str| message.contains(part);
    let hint = if has("No such image") {
        return format!(
            "is the image `{image}` on every node, or can every node pull it? `carrierImage` selects another image"
        );
    } else if has("needs CA certificates") || has("UnknownIssuer") {
        return format!(
            "the image `{image}` on that node is of an earlier version: provide the one that belongs to this Director"
        );
    } else if has("cannot reach the Director") {
        "a firewall may block `nodePort`; `advertiseUrl` sets the URL under which nodes reach it"
    } else if has("no space left") {
        "free disk space on the node, or exclude it with `placement.constraints`"
    } else if has("rows for") {
        "reduce `replicas`, or add rows to the file: each replica needs at least one"
    } else if has("is listed in `split`") {
        "correct the path in `split`; GET /databind/{id} lists the files of a bundle"
    } else if has("not done after") {
        "the timeout depends on `orchestrationTimeout` and on the size of the bundle"
    } else {
        "fix the node, or exclude it with `placement.constraints`"
    };
    hint.to_owned()
}

/// Excludes nodes without the bundle from the plan: those that have joined or returned since the delivery. Their
/// volume would be empty. They receive the bundle before the next task.
pub(crate) async fn exclude_nodes_without_bundle(
    core: &Core,
    run: &mut dyn RunContext,
    deadline: Deadline,
    mut plan: ServicePlan,
) -> Result<ServicePlan, StepError> {
    if !plan.mounts.iter().any(is_bundle) {
        return Ok(plan);
    }
    let nodes = run.retry(deadline, || core.swarm.nodes()).await?;
    let facts = run.facts();
    let has_bundle = |node: &Node| facts.state.delivered.iter().any(|one| one.node == node.id);
    for node in nodes.iter().filter(|node| !has_bundle(node)) {
        // Includes nodes that are down or drained now: they may return before the containers are placed.
        if node.satisfies(&plan.constraints) {
            tracing::debug!(task = %facts.spec.name, node = %node.hostname, "node excluded: it joined after the delivery");
            plan.constraints.push(format!("node.id!={}", node.id));
        }
    }
    Ok(plan)
}

#[cfg(test)]
mod tests {
    use super::hint;

    #[test]
    fn hints_for_a_split_do_not_blame_the_node() {
        let hint = |problem: &str| hint("atq-carrier:dev", problem);
        let too_few = hint("node `vm`: `data/users.csv` has 4 rows for 6 replicas");
        assert!(too_few.starts_with("reduce `replicas`"), "{too_few}");
        let missing =
            hint("node `vm`: `u.csv` is listed in `split` but is not a file of the bundle");
        assert!(missing.starts_with("correct the path"), "{missing}");
        assert!(hint("exit code 1").starts_with("fix the node"));
    }
}
