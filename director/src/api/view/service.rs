//! The services of a task. What the definition left out is left out here too.

use crate::task::spec::{
    Amounts, Placement, ReadinessProbe, ReadinessSpec, Resources, ServiceSpec, SplitFile,
};
use atq_api_spec::service::{self as wire, Cpus, HttpQuestion, Memory, WorkerReadiness};
use atq_api_spec::task::TaskService;
use serde_json::Number;

const BILLION: u64 = 1_000_000_000;

pub(super) fn service(spec: &ServiceSpec, id: Option<&str>) -> TaskService {
    TaskService {
        id: id.unwrap_or_default().to_owned(),
        alias: spec.alias.clone(),
        file_id: spec.fileid.clone().unwrap_or_default(),
        image: spec.image.clone(),
        replicas: spec.replicas,
        tty: spec.tty,
        args: spec.args.clone(),
        networks: spec.networks.clone(),
        resources: resources(&spec.resources),
        placement: placement(&spec.placement),
        labels: spec.labels.clone(),
        stop_grace_period: spec.stop_grace_period,
        readiness: None,
        split: spec.split.iter().map(split_file).collect(),
        user: spec.user.clone(),
    }
}

fn split_file(file: &SplitFile) -> wire::SplitFile {
    wire::SplitFile {
        path: file.path.clone(),
        header: file.header,
    }
}

pub(super) fn readiness(spec: &ReadinessSpec) -> WorkerReadiness {
    let (mut tcp, mut http, mut exec) = (None, None, None);
    match spec.probe.clone() {
        ReadinessProbe::Tcp(port) => tcp = Some(port),
        ReadinessProbe::Http { port, path, status } => {
            http = Some(HttpQuestion { port, path, status });
        }
        ReadinessProbe::Exec(command) => exec = Some(command),
    }
    WorkerReadiness {
        tcp,
        http,
        exec,
        timeout: spec.timeout,
    }
}

fn resources(spec: &Resources) -> Option<wire::Resources> {
    (*spec != Resources::default()).then(|| wire::Resources {
        limits: amounts(&spec.limits),
        reservations: amounts(&spec.reservations),
    })
}

fn amounts(spec: &Amounts) -> Option<wire::Amounts> {
    (*spec != Amounts::default()).then(|| wire::Amounts {
        cpus: spec.nano_cpus.and_then(cpus).map(Cpus::Number),
        memory: spec.memory.map(Memory::Bytes),
    })
}

/// Whole processors without a point.
fn cpus(nano: u64) -> Option<Number> {
    match nano % BILLION {
        0 => Some((nano / BILLION).into()),
        _ => Number::from_f64(nano as f64 / BILLION as f64),
    }
}

fn placement(spec: &Placement) -> Option<wire::Placement> {
    (*spec != Placement::default()).then(|| wire::Placement {
        constraints: spec.constraints.clone(),
        max_replicas_per_node: spec.max_replicas_per_node,
    })
}
