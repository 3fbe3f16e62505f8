//! The delivery of bundles to the nodes: a carrier on each node that may run containers of the task
//! fetches them from here, into volumes that outlive the run.

mod url;

use crate::core::Core;
use crate::errand::{self, Carried};
use crate::error::SwarmError;
use crate::plan::volumes::{Errand, is_bundle};
use crate::plan::{CarrierPlan, Scale, ServicePlan};
use crate::port::Node;
use atq_engine::{Course, Deadline, Facts, Role, StepError, StepResult};
use atq_node_protocol::order::{ArchiveLimits, Fetch, Order};
use atq_task::event::{Event, FailureCode, NodeDelivery};
use futures_util::future::join_all;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// What a delivery may take besides the time for all parts of the preparation: a second for so many
/// bytes of the zips.
const BYTES_A_SECOND: u64 = 5_000_000;
/// After a restart of the manager all nodes are unknown to it for some seconds.
const NODES_PATIENCE: Duration = Duration::from_secs(15);
const PAUSE: Duration = Duration::from_millis(500);

/// Brings the bundles to every node that may run the task's containers.
pub(crate) async fn distribute(core: &Core, run: &mut dyn Course) -> StepResult {
    let errands = core.plan(run.facts()).errands();
    let bytes = zip_bytes(core, run.facts(), &errands).await?;
    until_nothing_is_removed(core, run).await?;
    let allowance = Duration::from_secs(bytes / BYTES_A_SECOND);
    let deadline = Deadline::after(run.patience(1) + allowance);
    let nodes = nodes_for(core, run, deadline, &errands).await?;
    let url = url::find(core, run, deadline, &nodes).await?;
    note(core, run.facts(), &errands, &nodes).await?;
    let plans = plans(core, run.facts(), &errands, &url, deadline);
    let carried = carry(core, run, &errands, plans, deadline).await?;
    let late = late(&carried);
    // A node that has come meanwhile has it, too.
    note_late(core, run.facts(), &errands, &late).await?;
    judge(core, run.facts(), &carried)
}

/// A removal that is under way might take the volumes between the carriers' end and the first container:
/// their names are the same for every run. One that begins later sees the task, or the bundle.
async fn until_nothing_is_removed(core: &Core, run: &mut dyn Course) -> Result<(), StepError> {
    tokio::select! {
        biased;
        () = run.interruption() => Err(StepError::Interrupted),
        removing = core.ledger.removing.lock() => {
            drop(removing);
            Ok(())
        }
    }
}

/// Bytes of the zips, all of which must be there.
async fn zip_bytes(core: &Core, run: Facts<'_>, errands: &[Errand]) -> Result<u64, StepError> {
    let mut bytes = 0;
    for errand in errands {
        let id = &errand.volumes.bundle;
        let missing = |why: String| {
            let message = format!("the bundle `{id}` cannot be brought to the nodes: {why}");
            run.failed(FailureCode::BundleMissing, message, "upload it again")
        };
        match core.bundles.zip(id).await {
            Ok(Some((_, size))) => bytes += size,
            Ok(None) => return Err(missing("its zip is gone from `glusterpath`".to_owned())),
            Err(error) => return Err(missing(error)),
        }
    }
    Ok(bytes)
}

/// The nodes that need a bundle, which are at least one for each errand.
async fn nodes_for(
    core: &Core,
    run: &mut dyn Course,
    deadline: Deadline,
    errands: &[Errand],
) -> Result<Vec<Node>, StepError> {
    let begun = Instant::now();
    loop {
        let mut nodes = run.patiently(deadline, || core.swarm.nodes()).await?;
        let homeless = errands
            .iter()
            .find(|errand| !nodes.iter().any(|node| node.may_run(&errand.constraints)));
        let Some(homeless) = homeless else {
            let needs = |node: &Node| errands.iter().any(|e| node.may_run(&e.constraints));
            nodes.retain(needs);
            return Ok(nodes);
        };
        let may_come = nodes
            .iter()
            .any(|node| !node.ready && node.satisfies(&homeless.constraints));
        if !may_come || begun.elapsed() >= NODES_PATIENCE || deadline.passed() {
            let message = format!(
                "none of the {} nodes may run what needs the bundle `{}`: {}",
                nodes.len(),
                homeless.volumes.bundle,
                why_not(&nodes, &homeless.constraints)
            );
            let hint =
                "`docker node ls` shows the nodes; `placement.constraints` say which may be used";
            return Err(run.failed(FailureCode::DeliveryFailed, message, hint));
        }
        run.pause(PAUSE).await?;
    }
}

fn why_not(nodes: &[Node], constraints: &[String]) -> String {
    let each = nodes.iter().map(|node| {
        let reason = match (node.ready, node.active) {
            (false, _) => "is down",
            (true, false) => "takes no new containers",
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

/// Notes the volumes before they can come to be.
async fn note(
    core: &Core,
    run: Facts<'_>,
    errands: &[Errand],
    nodes: &[Node],
) -> Result<(), StepError> {
    for errand in errands {
        let held = nodes
            .iter()
            .filter(|node| node.may_run(&errand.constraints))
            .map(|node| (node.id.clone(), node.hostname.clone()));
        note_one(core, run, errand, held.collect()).await?;
    }
    Ok(())
}

async fn note_late(
    core: &Core,
    run: Facts<'_>,
    errands: &[Errand],
    late: &[(usize, (String, String))],
) -> Result<(), StepError> {
    for (at, errand) in errands.iter().enumerate() {
        let own = late.iter().filter(|(of, _)| *of == at);
        note_one(
            core,
            run,
            errand,
            own.map(|(_, node)| node.clone()).collect(),
        )
        .await?;
    }
    Ok(())
}

async fn note_one(
    core: &Core,
    run: Facts<'_>,
    errand: &Errand,
    nodes: Vec<(String, String)>,
) -> Result<(), StepError> {
    let names = errand.volumes.names();
    let noted = core.ledger.note(&errand.volumes.bundle, names, nodes);
    noted.await.map_err(|error| {
        let message = format!("the volumes of the bundle cannot be noted in `datadir`: {error}");
        run.failed(FailureCode::DeliveryFailed, message, "is its disk full?")
    })
}

fn late(carried: &[Vec<Carried>]) -> Vec<(usize, (String, String))> {
    let all = carried.iter().enumerate();
    all.flat_map(|(at, carried)| {
        let placed = carried.iter().filter(|one| !one.node.is_empty());
        placed.map(move |one| (at, (one.node.clone(), one.host.clone())))
    })
    .collect()
}

fn plans(
    core: &Core,
    run: Facts<'_>,
    errands: &[Errand],
    url: &str,
    deadline: Deadline,
) -> Vec<ServicePlan> {
    let limits = core.bundles.limits();
    let numbered = errands.iter().zip(1..);
    let plans = numbered.map(|(errand, number)| {
        let order = Fetch {
            url: url.to_owned(),
            run: run.state.run.clone(),
            bundle: errand.volumes.bundle.clone(),
            limits: ArchiveLimits {
                upload_bytes: limits.upload_bytes,
                unpacked_bytes: limits.unpacked_bytes,
                entries: limits.entries,
            },
            split: errand.volumes.split.clone(),
            seconds: deadline.seconds(),
        };
        let plan = CarrierPlan {
            role: Role::Delivery,
            number,
            image: &core.settings.carrier_image,
            order: Order::Fetch(order),
            mounts: errand.volumes.carrier_mounts(),
            scale: Scale::EveryNode,
            constraints: errand.constraints.clone(),
        };
        core.plan(run).carrier(plan, &run.state.token)
    });
    plans.collect()
}

/// All errands at once; a stop does not wait for them, and leaves them to clean-up.
async fn carry(
    core: &Core,
    run: &mut dyn Course,
    errands: &[Errand],
    plans: Vec<ServicePlan>,
    deadline: Deadline,
) -> Result<Vec<Vec<Carried>>, StepError> {
    let bundles = errands.iter().map(|errand| errand.volumes.bundle.clone());
    let _opening = core.admissions.open(&run.facts().state.run, bundles);
    let all = join_all(
        plans
            .iter()
            .map(|plan| errand::carry(&*core.swarm, plan, deadline)),
    );
    let carried = tokio::select! {
        biased;
        () = run.interruption() => return Err(StepError::Interrupted),
        carried = all => carried,
    };
    let carried: Result<Vec<_>, SwarmError> = carried.into_iter().collect();
    carried.map_err(|error| run.facts().engine_failed(&error.into()))
}

fn judge(core: &Core, run: Facts<'_>, carried: &[Vec<Carried>]) -> StepResult {
    let all = || carried.iter().flatten();
    let away: Vec<&str> = all()
        .filter(|one| one.is_away())
        .map(|one| one.node.as_str())
        .collect();
    for one in all().filter(|one| one.is_away()) {
        tracing::warn!(task = %run.spec.name, node = %one.host, "the node went away before it had the bundle; it gets no containers of this task");
    }
    let mut nodes: BTreeMap<&str, NodeDelivery> = BTreeMap::new();
    for one in all().filter(|one| !away.contains(&one.node.as_str())) {
        let Ok(words) = &one.words else { continue };
        tracing::info!(
            task = %run.spec.name, node = %one.host, done = words.done, fetched = words.fetched,
            bytes = words.bytes, millis = words.millis, "a carrier has ended"
        );
        let seen = nodes.entry(&one.node).or_insert_with(|| NodeDelivery {
            node: one.node.clone(),
            fetched: false,
            bytes: 0,
            millis: 0,
            clock_offset: None,
        });
        seen.fetched |= words.fetched;
        seen.bytes += words.bytes;
        seen.millis = seen.millis.max(words.millis);
        seen.clock_offset = seen.clock_offset.or(words.clock_offset_ms);
    }
    let problems: Vec<String> = all()
        .filter(|one| !one.is_away())
        .filter_map(Carried::told)
        .collect();
    if problems.is_empty() && !nodes.is_empty() {
        let nodes = nodes.into_values().collect();
        return Ok(Event::BundlesDelivered { nodes });
    }
    let ids = |good: bool| {
        let wanted = all().filter(|one| !one.is_away() && (!good || one.problem().is_none()));
        let ids: std::collections::BTreeSet<&str> = wanted.map(|one| one.node.as_str()).collect();
        ids
    };
    let failed: std::collections::BTreeSet<&str> = all()
        .filter(|one| one.problem().is_some())
        .map(|one| one.node.as_str())
        .collect();
    let have = ids(true).difference(&failed).count();
    let problems = match problems.is_empty() {
        true => "all went down or take no containers any more".to_owned(),
        false => problems.join("; "),
    };
    let message = format!(
        "{have} of {} nodes have the bundle; {problems}",
        ids(false).len()
    );
    let hint = hint(core, &message);
    Err(run.failed(FailureCode::DeliveryFailed, message, hint))
}

fn hint(core: &Core, message: &str) -> String {
    let image = &core.settings.carrier_image;
    let hints = [
        (
            "No such image",
            format!(
                "is the image `{image}` on every node, or can every node pull it? `carrierImage` names another one"
            ),
        ),
        (
            "cannot reach the Director",
            "`advertiseUrl` says where the nodes find the Director; a firewall may be in between"
                .to_owned(),
        ),
        (
            "no space left",
            "make room on the node, or leave it out with `placement.constraints`".to_owned(),
        ),
        (
            "not done after",
            "`orchestrationTimeout` and the size of the bundle set how long is waited".to_owned(),
        ),
    ];
    let found = hints.into_iter().find(|(part, _)| message.contains(part));
    found.map_or_else(
        || "leave the node out with `placement.constraints`, or put it right".to_owned(),
        |(_, hint)| hint,
    )
}

/// The plan, but not for nodes that do not have the bundle: those that have come, or come back, since
/// the delivery. Their volume would be empty. They get it before the next task.
pub(crate) async fn where_it_is(
    core: &Core,
    run: &mut dyn Course,
    deadline: Deadline,
    mut plan: ServicePlan,
) -> Result<ServicePlan, StepError> {
    if !plan.mounts.iter().any(is_bundle) {
        return Ok(plan);
    }
    let nodes = run.patiently(deadline, || core.swarm.nodes()).await?;
    let facts = run.facts();
    let has_it = |node: &Node| facts.state.delivered.iter().any(|one| one.node == node.id);
    for node in nodes.iter().filter(|node| !has_it(node)) {
        // Also those that are down or drained now: they may come before the containers are placed.
        if node.satisfies(&plan.constraints) {
            tracing::debug!(task = %facts.spec.name, node = %node.hostname, "not used: it came after the delivery");
            plan.constraints.push(format!("node.id!={}", node.id));
        }
    }
    Ok(plan)
}
