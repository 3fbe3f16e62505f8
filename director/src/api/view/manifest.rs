//! Converts manifests.

use super::verdict;
use atq_api_spec::bundle::BundleFile;
use atq_api_spec::manifest::{
    BundleUsed, ContainerUsed, DirectorUsed, EnvironmentValue, ImageUsed, Manifest, NetworkUsed,
    NodeUsed,
};
use atq_evidence::{Observed, ObservedBundle, ObservedContainer, ObservedImage, ObservedNode};
use atq_run::View;
use atq_task::state::State;
use std::collections::BTreeMap;

/// The manifest of a run, from its record and from observations of Docker.
pub fn manifest(view: &View, observed: Observed, environment: Vec<EnvironmentValue>) -> Manifest {
    let (spec, state) = (&view.spec, &view.state);
    let mut timings = super::timings(state, view.now);
    let start_skew = timings.remove(super::START_SKEW);
    Manifest {
        task: spec.name.to_string(),
        run: state.run.clone(),
        status: super::status(view),
        definition: spec.without_values(),
        environment,
        director: director(&observed),
        images: map(observed.images, image),
        bundles: map(observed.bundles, bundle),
        nodes: map(observed.nodes, node),
        manager: observed.manager,
        containers: map(observed.containers, container),
        network: network(state),
        worker_addresses: state.addresses.iter().map(ToString::to_string).collect(),
        timings,
        start_skew,
        clock_offsets: state.clocks_at_delivery(),
        created_at: state.created_at.to_string(),
        created_by: state.terms.created_by.clone(),
        started_at: state.started_at.map(|at| at.to_string()),
        finished_at: state.finished_at.map(|at| at.to_string()),
        exit_code: state.exit_code,
        failure: state
            .failure
            .as_ref()
            .map(|failed| super::failure(failed, &view.spec.name, &state.last_lines)),
        judgement: state.judgement.as_ref().map(verdict::judgement),
    }
}

fn map<A, B>(of: BTreeMap<String, A>, to: impl Fn(A) -> B) -> BTreeMap<String, B> {
    of.into_iter()
        .map(|(key, value)| (key, to(value)))
        .collect()
}

fn director(observed: &Observed) -> DirectorUsed {
    DirectorUsed {
        id: observed.director.clone(),
        version: observed.version.clone(),
        orchestration_timeout: observed.settings.orchestration_timeout,
        max_duration: observed.settings.max_duration,
        subnet_pool: observed.settings.subnet_pool.clone(),
        discovery_image: observed.settings.discovery_image.clone(),
    }
}

fn image(observed: ObservedImage) -> ImageUsed {
    let (id, repo_digests) = match observed.digests {
        Some(digests) => (Some(digests.id), digests.repo_digests),
        None => (None, Vec::new()),
    };
    ImageUsed { id, repo_digests }
}

fn bundle(observed: ObservedBundle) -> BundleUsed {
    let files = observed.files.into_iter();
    BundleUsed {
        file_name: observed.file_name,
        bytes: observed.zip_bytes,
        unpacked_bytes: observed.unpacked_bytes,
        files: files
            .map(|(path, bytes)| BundleFile { path, bytes })
            .collect(),
    }
}

fn node(observed: ObservedNode) -> NodeUsed {
    let machine = observed.machine;
    NodeUsed {
        hostname: observed.hostname,
        address: observed.address,
        engine_version: machine.engine_version,
        platform: format!("{}/{}", machine.os, machine.architecture),
        cpus: machine.nano_cpus as f64 / 1e9,
        memory: machine.memory,
    }
}

fn container(observed: ObservedContainer) -> ContainerUsed {
    ContainerUsed {
        node: observed.node,
        address: observed.address,
        container: observed.container,
        state: observed.state,
        exit_code: observed.exit_code,
    }
}

fn network(state: &State) -> Option<NetworkUsed> {
    Some(NetworkUsed {
        id: state.network.clone(),
        subnet: state.subnet?.to_string(),
    })
}
