//! Records the data that is needed to repeat a test while it is available: images change and nodes are removed later.
//! Best effort: it never fails the run, and delays it by at most [`TIMEOUT`].

use super::run::Run;
use atq_bundle_store::BundleId;
use atq_engine::{EngineError, Member, RunContext};
use atq_evidence::{
    Observed, ObservedBundle, ObservedContainer, ObservedImage, ObservedNode, ObservedSettings,
};
use std::time::Duration;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

const TIMEOUT: Duration = Duration::from_secs(5);

/// Records the environment of the run with the evidence. Earlier observations stay if they cannot be repeated.
pub async fn observe(run: &Run) {
    let Some(before) = recorded(run).await else {
        return;
    };
    let mut seen = before.clone();
    match timeout(TIMEOUT, observe_all(run, &mut seen)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::debug!(task = %run.spec.name, %error, "the manifest may be incomplete");
        }
        Err(_) => tracing::debug!(task = %run.spec.name, "the manifest may be incomplete"),
    }
    record(run, &before, seen).await;
}

/// Records the final state of `containers`, after all of them were stopped.
pub async fn record_end(run: &Run, containers: &[Member]) {
    let Some(before) = recorded(run).await else {
        return;
    };
    let mut seen = before.clone();
    for member in containers {
        let container = observed(member);
        let known = seen.containers.entry(member.source.to_string());
        known
            .and_modify(|known| {
                known.state.clone_from(&container.state);
                known.exit_code = container.exit_code;
            })
            .or_insert(container);
    }
    record(run, &before, seen).await;
}

/// The earlier observations.
async fn recorded(run: &Run) -> Option<Observed> {
    let (evidence, name, id) = location(run);
    spawn_blocking(move || evidence.observed(&name, &id))
        .await
        .ok()
}

/// Writes the observations if they differ from the earlier ones.
async fn record(run: &Run, before: &Observed, seen: Observed) {
    if seen == *before {
        return;
    }
    let (evidence, name, id) = location(run);
    let kept = spawn_blocking(move || evidence.keep_observed(&name, &id, &seen)).await;
    if let Ok(Err(error)) = kept {
        tracing::warn!(task = %run.spec.name, %error, "the manifest cannot be stored");
    }
}

fn location(run: &Run) -> (atq_evidence::Evidence, atq_task::spec::TaskName, String) {
    let evidence = run.shared.evidence.clone();
    (evidence, run.spec.name.clone(), run.state.run.clone())
}

async fn observe_all(run: &Run, seen: &mut Observed) -> Result<(), EngineError> {
    observe_director(run, seen);
    observe_bundles(run, seen).await;
    observe_images(run, seen).await?;
    observe_containers(run, seen).await
}

fn observe_director(run: &Run, seen: &mut Observed) {
    let settings = &run.shared.settings;
    seen.director = settings.director_id.clone();
    seen.version = env!("CARGO_PKG_VERSION").to_owned();
    seen.settings = ObservedSettings {
        orchestration_timeout: settings.orchestration_timeout.map(|time| time.as_secs()),
        max_duration: settings.max_duration.as_secs(),
        subnet_pool: settings.subnet_pool.clone(),
        discovery_image: settings.discovery_image.clone(),
    };
}

async fn observe_bundles(run: &Run, seen: &mut Observed) {
    let named = [&run.spec.master.fileid, &run.spec.worker.fileid];
    for id in named.into_iter().flatten() {
        if seen.bundles.contains_key(id) {
            continue;
        }
        let Ok(known) = id.parse::<BundleId>() else {
            continue;
        };
        let Ok(Some(content)) = run.shared.bundles.get(&known).await else {
            continue;
        };
        let files = content.entries.into_iter();
        let bundle = ObservedBundle {
            file_name: content.info.file_name,
            zip_bytes: content.info.zip_bytes,
            unpacked_bytes: content.info.unpacked_bytes,
            files: files.map(|entry| (entry.path, entry.size)).collect(),
        };
        seen.bundles.insert(id.clone(), bundle);
    }
}

/// Observes each image once: an image pulled later under the same name is not the one that the test uses.
async fn observe_images(run: &Run, seen: &mut Observed) -> Result<(), EngineError> {
    let engine = &run.shared.engine;
    let of_tools = [run.spec.worker.image.clone(), run.spec.master.image.clone()];
    for image in of_tools.into_iter().chain(engine.own_images()) {
        let known = seen.images.get(&image);
        if known.is_some_and(|known| known.digests.is_some()) {
            continue;
        }
        let digests = engine.image_digests(&image).await?;
        seen.images.insert(image, ObservedImage { digests });
    }
    Ok(())
}

async fn observe_containers(run: &Run, seen: &mut Observed) -> Result<(), EngineError> {
    let engine = &run.shared.engine;
    for member in engine.logged(run.facts()).await? {
        seen.containers
            .insert(member.source.to_string(), observed(&member));
    }
    if seen.manager.is_empty() {
        seen.manager = engine.status().await?.node_id;
    }
    let used = |id: &String| {
        let mut containers = seen.containers.values();
        *id == seen.manager || containers.any(|container| container.node.as_ref() == Some(id))
    };
    for node in engine.nodes().await? {
        if used(&node.id) {
            let known = ObservedNode {
                hostname: node.hostname,
                address: node.address,
                machine: node.machine,
            };
            seen.nodes.insert(node.id, known);
        }
    }
    Ok(())
}

fn observed(member: &Member) -> ObservedContainer {
    ObservedContainer {
        address: member.address.map(|address| address.to_string()),
        state: member.state.to_owned(),
        node: member.node.clone(),
        container: member.container.clone(),
        exit_code: member.exit_code,
    }
}
