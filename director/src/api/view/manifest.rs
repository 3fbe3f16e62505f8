//! The manifest.

use super::judgement;
use atq_api_spec::bundle::BundleFile;
use atq_api_spec::manifest::{
    BundleUsed, ContainerUsed, DirectorUsed, EnvironmentValue, ImageUsed, Manifest, NetworkUsed,
    NodeUsed,
};
use atq_evidence::{Observed, SeenBundle, SeenContainer, SeenImage, SeenNode};
use atq_run::View;
use atq_task::state::State;
use std::collections::BTreeMap;

/// What is known of a run: what its record has, and what was seen of Docker.
pub fn manifest(view: &View, seen: Observed, environment: Vec<EnvironmentValue>) -> Manifest {
    let (spec, state) = (&view.spec, &view.state);
    let mut timings = super::timings(state, view.now);
    let start_skew = timings.remove(super::START_SKEW);
    Manifest {
        task: spec.name.to_string(),
        run: state.run.clone(),
        status: super::status(view),
        definition: spec.without_values(),
        environment,
        director: director(&seen),
        images: map(seen.images, image),
        bundles: map(seen.bundles, bundle),
        nodes: map(seen.nodes, node),
        manager: seen.manager,
        containers: map(seen.containers, container),
        network: network(state),
        worker_addresses: state.addresses.iter().map(ToString::to_string).collect(),
        timings,
        start_skew,
        clock_offsets: state.clocks_at_delivery(),
        created_at: state.created_at.to_string(),
        started_at: state.started_at.map(|at| at.to_string()),
        finished_at: state.finished_at.map(|at| at.to_string()),
        exit_code: state.exit_code,
        failure: state
            .failure
            .as_ref()
            .map(|failed| super::failure(failed, &view.spec.name, &state.last_lines)),
        judgement: state.judgement.as_ref().map(judgement::judgement),
    }
}

fn map<A, B>(of: BTreeMap<String, A>, to: impl Fn(A) -> B) -> BTreeMap<String, B> {
    of.into_iter()
        .map(|(key, value)| (key, to(value)))
        .collect()
}

fn director(seen: &Observed) -> DirectorUsed {
    DirectorUsed {
        id: seen.director.clone(),
        version: seen.version.clone(),
        orchestration_timeout: seen.settings.orchestration_timeout,
        max_duration: seen.settings.max_duration,
        subnet_pool: seen.settings.subnet_pool.clone(),
        discovery_image: seen.settings.discovery_image.clone(),
    }
}

fn image(seen: SeenImage) -> ImageUsed {
    let (id, repo_digests) = match seen.digests {
        Some(digests) => (Some(digests.id), digests.repo_digests),
        None => (None, Vec::new()),
    };
    ImageUsed { id, repo_digests }
}

fn bundle(seen: SeenBundle) -> BundleUsed {
    let files = seen.files.into_iter();
    BundleUsed {
        file_name: seen.file_name,
        bytes: seen.zip_bytes,
        unpacked_bytes: seen.unpacked_bytes,
        files: files
            .map(|(path, bytes)| BundleFile { path, bytes })
            .collect(),
    }
}

fn node(seen: SeenNode) -> NodeUsed {
    let machine = seen.machine;
    NodeUsed {
        hostname: seen.hostname,
        address: seen.address,
        engine_version: machine.engine_version,
        platform: format!("{}/{}", machine.os, machine.architecture),
        cpus: machine.nano_cpus as f64 / 1e9,
        memory: machine.memory,
    }
}

fn container(seen: SeenContainer) -> ContainerUsed {
    ContainerUsed {
        node: seen.node,
        address: seen.address,
        container: seen.container,
        state: seen.state,
        exit_code: seen.exit_code,
    }
}

fn network(state: &State) -> Option<NetworkUsed> {
    Some(NetworkUsed {
        id: state.network.clone(),
        subnet: state.subnet?.to_string(),
    })
}
