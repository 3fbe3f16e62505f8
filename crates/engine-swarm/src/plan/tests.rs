#![allow(clippy::unwrap_used)]
//! Tests of the plans.

mod readiness_command;

use crate::plan::{
    LABEL_DIRECTOR, LABEL_RUN, MountSource, NetworkJoin, Role, RunPlan, Scale, ServicePlan,
    free_subnet, prefix_for, shared_bundle,
};
use atq_definition::examples::{BUNDLE, spec};
use atq_task::spec::{Amounts, PROBED_ADDRESS, READINESS_COMMAND, Resources, TaskSpec};
use insta::assert_snapshot;
use ipnet::Ipv4Net;
use serde_json::json;
use std::fmt::Write;
use std::net::Ipv4Addr;
use std::time::Duration;

fn net(text: &str) -> Ipv4Net {
    text.parse().unwrap()
}

fn addresses() -> Vec<Ipv4Addr> {
    ["10.224.0.10", "10.224.0.9", "10.224.0.100"]
        .map(|text| text.parse().unwrap())
        .to_vec()
}

fn full() -> TaskSpec {
    spec(&[
        ("/name", json!("Load_1")),
        ("/worker/args", json!(["-n", "5"])),
        (
            "/worker/environment",
            json!(["PASSWORD=a{{b", "{{.Node.ID}}=x"]),
        ),
        ("/worker/fileid", json!(BUNDLE)),
        ("/worker/replicas", json!(3)),
        ("/worker/tty", json!(true)),
        ("/worker/networks", json!(["target"])),
        ("/master/tty", json!(true)),
    ])
}

fn plan(spec: &TaskSpec) -> RunPlan<'_> {
    RunPlan {
        spec,
        run: "a1b2c3",
        director: "director-1",
        place: "here",
        networks_tried: 1,
    }
}

/// A complete plan, unlike its `Debug` output, which omits the environment.
fn show(plan: &ServicePlan) -> String {
    let mut text = String::new();
    let mut line = |key: &str, value: String| writeln!(text, "{key}: {value}").unwrap();
    line("name", plan.name.clone());
    line("role", plan.role.to_string());
    line("labels", format!("{:?}", plan.labels));
    line("image", plan.image.clone());
    line("command", format!("{:?} {:?}", plan.entrypoint, plan.args));
    for variable in &plan.environment {
        line("environment", variable.clone());
    }
    for mount in &plan.mounts {
        line(
            "mount",
            format!("{} -> {}", mounted(&mount.source), mount.target),
        );
    }
    for NetworkJoin { network, aliases } in &plan.networks {
        line("network", format!("{network} {aliases:?}"));
    }
    line(
        "replicas",
        format!("{} tty {}", containers(plan.scale), plan.tty),
    );
    line(
        "endpoint",
        format!("{:?} port {:?}", plan.endpoint, plan.host_port),
    );
    line(
        "stop",
        format!("{:?} {:?}", plan.stop_grace, plan.constraints),
    );
    text
}

#[test]
fn the_network() {
    let spec = full();
    assert_snapshot!(format!("{:#?}", plan(&spec).network(net("10.224.0.0/24"))), @r#"
    NetworkPlan {
        name: "Load_1-a1b2c3-net",
        subnet: 10.224.0.0/24,
        labels: {
            "com.atq.director": "director-1",
            "com.atq.place": "here",
            "com.atq.role": "network",
            "com.atq.run": "a1b2c3",
            "com.atq.task": "Load_1",
        },
    }
    "#);
    let second = RunPlan {
        place: "here",
        networks_tried: 2,
        ..plan(&spec)
    };
    assert_eq!(second.network_name(), "Load_1-a1b2c3-net-2");
}

#[test]
fn the_sidecar() {
    let spec = full();
    assert_snapshot!(show(&plan(&spec).discovery("sidecar:1", "token", Some("node-1"))), @r#"
    name: Load_1-a1b2c3-discovery
    role: discovery
    labels: {"com.atq.director": "director-1", "com.atq.place": "here", "com.atq.role": "discovery", "com.atq.run": "a1b2c3", "com.atq.task": "Load_1"}
    image: sidecar:1
    command: None []
    environment: ATQ_DISCOVERY_TOKEN=token
    network: Load_1-a1b2c3-net []
    replicas: 1 tty false
    endpoint: DnsRoundRobin port Some(9090)
    stop: 1s ["node.id==node-1"]
    "#);
    assert!(
        plan(&spec)
            .discovery("sidecar:1", "token", None)
            .constraints
            .is_empty()
    );
}

#[test]
fn the_workers() {
    let spec = full();
    let workers = plan(&spec).workers(
        net("10.224.0.0/24"),
        vec![shared_bundle("/bundles/x".into())],
    );
    assert_snapshot!(show(&workers), @r#"
    name: Load_1-a1b2c3-worker
    role: worker
    labels: {"com.atq.director": "director-1", "com.atq.place": "here", "com.atq.role": "worker", "com.atq.run": "a1b2c3", "com.atq.task": "Load_1"}
    image: tool:1
    command: None ["-n", "5"]
    environment: ATQ_TASK=Load_1
    environment: ATQ_ROLE=worker
    environment: ATQ_REPLICA={{.Task.Slot}}
    environment: ATQ_SUBNET=10.224.0.0/24
    environment: ATQ_RESULTS=/atq/results
    environment: PASSWORD=a{{"{{"}}b
    environment: {{"{{"}}.Node.ID}}=x
    mount: /bundles/x -> /atq/data
    mount: volume atq-results-a1b2c3-<task> of worker -> /atq/results
    network: Load_1-a1b2c3-net ["w", "atq-workers"]
    network: target []
    replicas: 3 tty true
    endpoint: DnsRoundRobin port None
    stop: 10s []
    "#);
}

#[test]
fn an_attempt_of_the_wait_command() {
    let spec = full();
    let wait = plan(&spec).wait(
        "test -f x",
        2,
        net("10.224.0.0/24"),
        Vec::new(),
        &addresses(),
    );
    assert_snapshot!(show(&wait), @r#"
    name: Load_1-a1b2c3-wait-2
    role: wait
    labels: {"com.atq.director": "director-1", "com.atq.place": "here", "com.atq.role": "wait", "com.atq.run": "a1b2c3", "com.atq.task": "Load_1"}
    image: tool:1
    command: Some(["/bin/sh", "-c"]) ["test -f x"]
    environment: ATQ_TASK=Load_1
    environment: ATQ_ROLE=wait
    environment: ATQ_REPLICA={{.Task.Slot}}
    environment: ATQ_SUBNET=10.224.0.0/24
    environment: PASSWORD=a{{"{{"}}b
    environment: {{"{{"}}.Node.ID}}=x
    environment: WORKER_CSV_VIPS=10.224.0.9,10.224.0.10,10.224.0.100
    network: Load_1-a1b2c3-net []
    replicas: 1 tty false
    endpoint: VirtualIp port None
    stop: 10s []
    "#);
}

#[test]
fn the_master_gets_the_addresses_in_ascending_order_in_two_variables() {
    let spec = full();
    let master = plan(&spec).master(net("10.224.0.0/24"), Vec::new(), &addresses());
    assert_snapshot!(show(&master), @r#"
    name: Load_1-a1b2c3-master
    role: master
    labels: {"com.atq.director": "director-1", "com.atq.place": "here", "com.atq.role": "master", "com.atq.run": "a1b2c3", "com.atq.task": "Load_1"}
    image: boss:1
    command: None []
    environment: ATQ_TASK=Load_1
    environment: ATQ_ROLE=master
    environment: ATQ_REPLICA={{.Task.Slot}}
    environment: ATQ_SUBNET=10.224.0.0/24
    environment: ATQ_RESULTS=/atq/results
    environment: REMOTES=10.224.0.9,10.224.0.10,10.224.0.100
    environment: WORKER_CSV_VIPS=10.224.0.9,10.224.0.10,10.224.0.100
    mount: volume atq-results-a1b2c3-<task> of master -> /atq/results
    network: Load_1-a1b2c3-net ["m"]
    replicas: 1 tty true
    endpoint: VirtualIp port None
    stop: 10s []
    "#);
}

/// A definition that sets every field of its services.
fn full_services() -> TaskSpec {
    spec(&[
        ("/worker/environment", json!(["PASSWORD=a{{b"])),
        ("/worker/replicas", json!(3)),
        ("/worker/tty", json!(true)),
        ("/worker/networks", json!(["target"])),
        ("/worker/stopGracePeriod", json!(30)),
        ("/worker/labels", json!({"team": "a", "zone": "b"})),
        (
            "/worker/resources",
            json!({"limits": {"cpus": "0.5", "memory": "512m"}, "reservations": {"cpus": 0.25}}),
        ),
        (
            "/worker/placement",
            json!({"constraints": ["node.role==worker"], "maxReplicasPerNode": 2}),
        ),
        ("/master/stopGracePeriod", json!(0)),
    ])
}

#[test]
fn services_have_the_properties_of_their_definition() {
    let spec = full_services();
    let plan = plan(&spec);
    let worker = plan.workers(net("10.224.0.0/24"), Vec::new());
    let amounts = |nano_cpus, memory| Amounts { nano_cpus, memory };
    assert_eq!(
        worker.resources,
        Resources {
            limits: amounts(Some(500_000_000), Some(512 << 20)),
            reservations: amounts(Some(250_000_000), None),
        }
    );
    assert_eq!(worker.constraints, ["node.role==worker"]);
    assert_eq!(worker.max_replicas_per_node, Some(2));
    assert_eq!(worker.stop_grace, Duration::from_secs(30));
    assert_eq!(
        format!("{:?}", worker.labels),
        r#"{"com.atq.director": "director-1", "com.atq.place": "here", "com.atq.role": "worker", "com.atq.run": "a1b2c3", "com.atq.task": "load", "team": "a", "zone": "b"}"#
    );
    // The other service is unaffected.
    let master = plan.master(net("10.224.0.0/24"), Vec::new(), &addresses());
    assert_eq!(master.stop_grace, Duration::ZERO);
    assert_eq!(master.resources, Resources::default());
    assert!(master.constraints.is_empty() && master.max_replicas_per_node.is_none());
    assert_eq!(master.labels, plan.labels(Role::Master));
}

/// The definition refuses such labels; a plan does not rely on that.
#[test]
fn labels_of_the_user_never_replace_the_directors() {
    let mut spec = full_services();
    for label in [LABEL_RUN, LABEL_DIRECTOR] {
        let mine = (label.to_owned(), "mine".to_owned());
        spec.worker.labels.extend([mine]);
    }
    let labels = plan(&spec).workers(net("10.224.0.0/24"), Vec::new()).labels;
    assert_eq!(
        (labels[LABEL_RUN].as_str(), labels[LABEL_DIRECTOR].as_str()),
        ("a1b2c3", "director-1")
    );
    assert_eq!(labels["team"], "a");
}

/// Like a worker, but a single container with a shell, on the task's network only and without the workers' alias.
#[test]
fn the_readiness_command() {
    let spec = full_services();
    let readiness = plan(&spec).readiness(
        "curl -f http://$ATQ_WORKER_ADDRESS/{{x}}",
        60,
        net("10.224.0.0/24"),
        Vec::new(),
        &addresses(),
    );
    assert_eq!(readiness.args.len(), 1);
    assert!(readiness.args[0].contains(PROBED_ADDRESS));
    assert!(readiness.args[0].contains(READINESS_COMMAND));
    assert_eq!(readiness.max_replicas_per_node, None);
    assert_eq!(readiness.resources, Resources::default());
    let plan = ServicePlan {
        args: vec!["SCRIPT".into()],
        ..readiness
    };
    assert_snapshot!(show(&plan), @r#"
    name: load-a1b2c3-readiness
    role: readiness
    labels: {"com.atq.director": "director-1", "com.atq.place": "here", "com.atq.role": "readiness", "com.atq.run": "a1b2c3", "com.atq.task": "load", "team": "a", "zone": "b"}
    image: tool:1
    command: Some(["/bin/sh", "-c"]) ["SCRIPT"]
    environment: ATQ_TASK=load
    environment: ATQ_ROLE=readiness
    environment: ATQ_REPLICA={{.Task.Slot}}
    environment: ATQ_SUBNET=10.224.0.0/24
    environment: PASSWORD=a{{"{{"}}b
    environment: ATQ_READINESS_COMMAND=curl -f http://$ATQ_WORKER_ADDRESS/{{"{{"}}x}}
    environment: ATQ_READINESS_SECONDS=60
    environment: WORKER_CSV_VIPS=10.224.0.9,10.224.0.10,10.224.0.100
    network: load-a1b2c3-net []
    replicas: 1 tty false
    endpoint: VirtualIp port None
    stop: 30s ["node.role==worker"]
    "#);
}

#[test]
fn remotes_set_by_the_user_are_kept() {
    let spec = spec(&[("/master/environment", json!(["REMOTES=mine"]))]);
    let environment = plan(&spec)
        .master(net("10.224.0.0/24"), Vec::new(), &addresses())
        .environment;
    let remotes: Vec<_> = environment
        .iter()
        .filter(|v| v.starts_with("REMOTES="))
        .collect();
    assert_eq!(remotes, ["REMOTES=mine"]);
    assert!(
        environment.contains(&"WORKER_CSV_VIPS=10.224.0.9,10.224.0.10,10.224.0.100".to_owned())
    );
}

#[test]
fn names_have_at_most_63_characters_and_are_unique() {
    let spec = spec(&[("/name", json!("n".repeat(45)))]);
    let plan = RunPlan {
        place: "here",
        networks_tried: 9,
        ..plan(&spec)
    };
    let mut names = vec![plan.network_name(), plan.wait_name(99_999)];
    names.extend([Role::Discovery, Role::Worker, Role::Master].map(|role| plan.service_name(role)));
    assert!(names.iter().all(|name| name.len() <= 63), "{names:?}");
    let count = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), count);
}

#[test]
fn every_object_carries_run_and_director() {
    let spec = full();
    let plan = plan(&spec);
    for role in [
        Role::Network,
        Role::Discovery,
        Role::Worker,
        Role::Wait,
        Role::Master,
    ] {
        let labels = plan.labels(role);
        assert_eq!(
            (labels[LABEL_RUN].as_str(), labels[LABEL_DIRECTOR].as_str()),
            ("a1b2c3", "director-1")
        );
        assert!(crate::role_of(&labels) == Some(role));
    }
}

#[test]
fn the_debug_output_of_a_plan_has_no_environment() {
    let spec = full();
    let debug = format!(
        "{:?}",
        plan(&spec).workers(net("10.224.0.0/24"), Vec::new())
    );
    assert!(!debug.contains("PASSWORD"), "{debug}");
}

#[test]
fn a_network_is_large_enough_for_its_containers() {
    for (replicas, nodes, prefix) in [
        (1, 1, 24),
        (200, 1, 24),
        (237, 1, 24),
        (238, 1, 23),
        (1000, 3, 22),
        (2426, 1, 20),
        (70_000, 1, 15),
        (u32::MAX, u32::MAX, 8),
    ] {
        assert_eq!(prefix_for(replicas, nodes), prefix, "{replicas} on {nodes}");
    }
}

#[test]
fn a_free_subnet_overlaps_with_no_existing_one() {
    let pool = net("10.224.0.0/14");
    assert_eq!(free_subnet(pool, 24, &[], 0), Some(net("10.224.0.0/24")));
    assert_eq!(free_subnet(pool, 24, &[], 3), Some(net("10.224.3.0/24")));
    assert_eq!(
        free_subnet(pool, 24, &[net("10.224.0.128/25")], 0),
        Some(net("10.224.1.0/24"))
    );
    assert_eq!(
        free_subnet(pool, 24, &[net("10.224.0.0/15")], 0),
        Some(net("10.226.0.0/24"))
    );
    assert_eq!(free_subnet(pool, 24, &[net("0.0.0.0/0")], 7), None);
    // Wraps around: the last subnets are taken, an early one is free.
    let small = net("10.224.0.0/22");
    let taken = [net("10.224.1.0/24"), net("10.224.2.0/23")];
    assert_eq!(
        free_subnet(small, 24, &taken, 2),
        Some(net("10.224.0.0/24"))
    );
    assert_eq!(free_subnet(small, 22, &[], 5), Some(small));
    // A pool that is too small for such a network has no free subnet.
    assert_eq!(free_subnet(net("10.224.0.0/24"), 21, &[], 0), None);
}

fn mounted(source: &MountSource) -> String {
    match source {
        MountSource::Path(path) => path.display().to_string(),
        MountSource::Volume { name, .. } => format!("volume {name}"),
        MountSource::VolumePerTask { prefix, labels } => {
            format!("volume {prefix}<task> of {}", labels["com.atq.role"])
        }
    }
}

fn containers(scale: Scale) -> String {
    match scale {
        Scale::Replicas(replicas) => replicas.to_string(),
        Scale::EveryNode => "one on every node".to_owned(),
    }
}
