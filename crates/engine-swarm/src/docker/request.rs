//! Request bodies for Docker, made from plans. They are bollard's types, so that keys cannot be misspelt: Docker
//! ignores unknown keys.

use crate::plan::{
    self, Endpoint, Labels, MountSource, NetworkJoin, NetworkPlan, Scale, ServicePlan,
};
use atq_task::spec::{Resources, ServiceSpec as Defined, parameters};
use bollard::models::{
    EndpointPortConfig, EndpointPortConfigProtocolEnum, EndpointPortConfigPublishModeEnum,
    EndpointSpec, EndpointSpecModeEnum, Ipam, IpamConfig, Limit, Mount, MountType,
    MountVolumeOptions, NetworkAttachmentConfig, NetworkCreateRequest, ResourceObject,
    ResourcesUlimits, ServiceSpec, ServiceSpecMode, ServiceSpecModeReplicated,
    ServiceSpecUpdateConfig, ServiceSpecUpdateConfigOrderEnum, TaskSpec, TaskSpecContainerSpec,
    TaskSpecPlacement, TaskSpecResources, TaskSpecRestartPolicy,
    TaskSpecRestartPolicyConditionEnum,
};
use std::collections::HashMap;
use std::time::Duration;

pub(super) fn network(plan: &NetworkPlan) -> NetworkCreateRequest {
    NetworkCreateRequest {
        name: plan.name.clone(),
        driver: Some("overlay".into()),
        attachable: Some(true),
        ipam: Some(Ipam {
            driver: Some("default".into()),
            config: Some(vec![IpamConfig {
                subnet: Some(plan.subnet.to_string()),
                ..Default::default()
            }]),
            ..Default::default()
        }),
        labels: Some(labels(&plan.labels)),
        ..Default::default()
    }
}

pub(super) fn service(plan: &ServicePlan) -> ServiceSpec {
    ServiceSpec {
        name: Some(plan.name.clone()),
        labels: Some(labels(&plan.labels)),
        task_template: Some(TaskSpec {
            container_spec: Some(container(plan)),
            // A load generator that ends is not restarted: its part of the test is lost.
            restart_policy: Some(TaskSpecRestartPolicy {
                condition: Some(TaskSpecRestartPolicyConditionEnum::NONE),
                max_attempts: Some(0),
                ..Default::default()
            }),
            placement: Some(TaskSpecPlacement {
                constraints: Some(plan.constraints.clone()),
                max_replicas: plan.max_replicas_per_node.map(Into::into),
                ..Default::default()
            }),
            resources: resources(&plan.resources, plan.pids),
            networks: Some(plan.networks.iter().map(join).collect()),
            ..Default::default()
        }),
        mode: Some(mode(plan.scale)),
        endpoint_spec: Some(endpoint(plan)),
        ..Default::default()
    }
}

fn mode(scale: Scale) -> ServiceSpecMode {
    match scale {
        Scale::Replicas(replicas) => ServiceSpecMode {
            replicated: Some(ServiceSpecModeReplicated {
                replicas: Some(replicas.into()),
            }),
            ..Default::default()
        },
        // Swarm's job modes are not used: Docker never removes their tasks and containers (moby#42789).
        Scale::EveryNode => ServiceSpecMode {
            global: Some(HashMap::new()),
            ..Default::default()
        },
    }
}

/// No node has this id, so that a task with this constraint never runs. Services of earlier versions contain it, so it
/// never changes.
pub(super) const NO_NODE: &str = "node.id==ended";

/// The same service with a constraint that no node satisfies: Swarm stops the running containers, all at once, and
/// keeps their tasks listed.
pub(super) fn stopped(mut spec: ServiceSpec) -> ServiceSpec {
    let template = spec.task_template.get_or_insert_default();
    let placement = template.placement.get_or_insert_default();
    let constraints = placement.constraints.get_or_insert_default();
    if !constraints.iter().any(|one| one == NO_NODE) {
        constraints.push(NO_NODE.to_owned());
    }
    spec.update_config = Some(ServiceSpecUpdateConfig {
        parallelism: Some(0),
        order: Some(ServiceSpecUpdateConfigOrderEnum::STOP_FIRST),
        ..Default::default()
    });
    spec
}

fn resources(wanted: &Resources, pids: Option<u64>) -> Option<TaskSpecResources> {
    let number = |number: Option<u64>| number.and_then(|number| i64::try_from(number).ok());
    let limits = &wanted.limits;
    let reserved = &wanted.reservations;
    (*wanted != Resources::default() || pids.is_some()).then(|| TaskSpecResources {
        limits: Some(Limit {
            nano_cpus: number(limits.nano_cpus),
            memory_bytes: number(limits.memory),
            pids: number(pids),
        }),
        reservations: Some(ResourceObject {
            nano_cpus: number(reserved.nano_cpus),
            memory_bytes: number(reserved.memory),
            ..Default::default()
        }),
        ..Default::default()
    })
}

fn container(plan: &ServicePlan) -> TaskSpecContainerSpec {
    let defined = plan.defined.as_deref();
    TaskSpecContainerSpec {
        image: Some(plan.image.clone()),
        labels: Some(labels(&plan.labels)),
        command: plan.entrypoint.clone(),
        args: Some(plan.args.clone()),
        env: Some(plan.environment.clone()),
        mounts: Some(plan.mounts.iter().map(mount).collect()),
        user: defined.and_then(|service| service.user.clone()),
        ulimits: defined.and_then(ulimits),
        sysctls: defined.and_then(sysctls),
        tty: Some(plan.tty),
        // Without an init process, most programs ignore SIGTERM, and every stop takes the whole grace period.
        init: Some(true),
        stop_grace_period: Some(nanoseconds(plan.stop_grace)),
        ..Default::default()
    }
}

fn ulimits(service: &Defined) -> Option<Vec<ResourcesUlimits>> {
    let number = |limit: u64| i64::try_from(limit).ok();
    let limits = service
        .ulimits
        .iter()
        .map(|(name, limit)| ResourcesUlimits {
            name: Some(name.as_str().to_owned()),
            soft: number(limit.soft()),
            hard: number(limit.hard()),
        });
    (!service.ulimits.is_empty()).then(|| limits.collect())
}

fn sysctls(service: &Defined) -> Option<HashMap<String, String>> {
    let parameters = parameters(&service.sysctls);
    (!parameters.is_empty()).then(|| parameters.into_iter().collect())
}

fn endpoint(plan: &ServicePlan) -> EndpointSpec {
    EndpointSpec {
        mode: Some(match plan.endpoint {
            Endpoint::DnsRoundRobin => EndpointSpecModeEnum::DNSRR,
            Endpoint::VirtualIp => EndpointSpecModeEnum::VIP,
        }),
        ports: plan.host_port.map(|port| {
            // No published port is set: the node chooses one.
            vec![EndpointPortConfig {
                protocol: Some(EndpointPortConfigProtocolEnum::TCP),
                target_port: Some(port.into()),
                publish_mode: Some(EndpointPortConfigPublishModeEnum::HOST),
                ..Default::default()
            }]
        }),
    }
}

fn join(join: &NetworkJoin) -> NetworkAttachmentConfig {
    NetworkAttachmentConfig {
        target: Some(join.network.clone()),
        aliases: Some(join.aliases.clone()),
        ..Default::default()
    }
}

fn mount(plan: &plan::Mount) -> Mount {
    let (typ, source, options) = match &plan.source {
        MountSource::Path(path) => {
            let path = path.to_string_lossy().into_owned();
            (MountType::BIND, Some(path), None)
        }
        MountSource::Volume { name, labels } => volume(name.clone(), labels),
        // Swarm expands the template.
        MountSource::VolumePerTask { prefix, labels } => {
            volume(format!("{prefix}{{{{.Task.ID}}}}"), labels)
        }
    };
    Mount {
        typ: Some(typ),
        source,
        target: Some(plan.target.clone()),
        read_only: Some(plan.read_only),
        volume_options: options,
        ..Default::default()
    }
}

fn volume(name: String, own: &Labels) -> (MountType, Option<String>, Option<MountVolumeOptions>) {
    let options = MountVolumeOptions {
        labels: Some(labels(own)),
        ..Default::default()
    };
    (MountType::VOLUME, Some(name), Some(options))
}

fn labels(labels: &Labels) -> HashMap<String, String> {
    labels.clone().into_iter().collect()
}

fn nanoseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::plan::RunPlan;
    use atq_definition::examples::spec;
    use serde_json::{Value, json};

    /// What Docker gets for the containers of a worker, a readiness command, a master and a sidecar.
    fn containers(changes: &[(&str, Value)]) -> [Value; 4] {
        let spec = spec(changes);
        let plan = RunPlan {
            spec: &spec,
            run: "a1b2c3",
            director: "director-1",
            place: "here",
            networks_tried: 1,
        };
        let net = "10.224.0.0/24".parse().unwrap();
        [
            plan.workers(net, Vec::new()),
            plan.readiness("true", 1, net, Vec::new(), &[]),
            plan.master(net, Vec::new(), &[]),
            plan.discovery("sidecar:1", "token", None),
        ]
        .map(|plan| serde_json::to_value(container(&plan)).unwrap())
    }

    #[test]
    fn limits_and_settings_are_those_of_the_service() {
        let all = containers(&[
            (
                "/worker/ulimits",
                json!({"nofile": 65536, "stack": {"soft": 131_072, "hard": 262_144}}),
            ),
            (
                "/worker/sysctls",
                json!({"net.ipv4.ip_local_port_range": "1024 65535", "net.ipv4.tcp_tw_reuse": 1}),
            ),
            ("/master/ulimits", json!({"core": 0})),
        ]);
        let [worker, readiness, master, sidecar] = all;
        let ulimit =
            |name: &str, soft: u64, hard: u64| json!({"Name": name, "Soft": soft, "Hard": hard});
        let limits = json!([
            ulimit("nofile", 65536, 65536),
            ulimit("stack", 131_072, 262_144)
        ]);
        let settings =
            json!({"net.ipv4.ip_local_port_range": "1024 65535", "net.ipv4.tcp_tw_reuse": "1"});
        for of_tool in [worker, readiness] {
            assert_eq!(of_tool["Ulimits"], limits);
            assert_eq!(of_tool["Sysctls"], settings);
        }
        assert_eq!(master["Ulimits"], json!([ulimit("core", 0, 0)]));
        assert_eq!(master.get("Sysctls"), None);
        assert_eq!(
            (sidecar.get("Ulimits"), sidecar.get("Sysctls")),
            (None, None)
        );
    }

    #[test]
    fn without_limits_and_settings_docker_gets_none() {
        for container in containers(&[("/worker/ulimits", json!({}))]) {
            assert_eq!(
                (container.get("Ulimits"), container.get("Sysctls")),
                (None, None)
            );
        }
    }
}
