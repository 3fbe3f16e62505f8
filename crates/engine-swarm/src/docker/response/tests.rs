#![allow(clippy::unwrap_used)]
use super::*;
use serde_json::{Value, json};

fn task(response: Value) -> SwarmTask {
    let response: TaskResponse = serde_json::from_value(response).unwrap();
    response.into()
}

/// Shortened from a response of Engine 20.10.
fn running() -> Value {
    json!({
        "ID": "t1", "ServiceID": "s1", "Slot": 2, "NodeID": "n1", "DesiredState": "running",
        "Spec": {"ContainerSpec": {"Env": ["PASSWORD=x"]}},
        "Status": {
            "State": "running", "Message": "started",
            "ContainerStatus": {"ContainerID": "c1", "PID": 17, "ExitCode": 0},
            "PortStatus": {"Ports": [
                {"Protocol": "tcp", "TargetPort": 9090, "PublishedPort": 32768, "PublishMode": "host"},
                {"Protocol": "tcp", "TargetPort": 9090, "PublishedPort": 32768, "PublishMode": "host"}
            ]}
        },
        "NetworksAttachments": [
            {"Network": {"ID": "net1"}, "Addresses": ["10.200.0.3/24"]},
            {"Network": {"ID": "net2"}, "Addresses": null}
        ]
    })
}

#[test]
fn a_running_task_has_addresses_and_ports_but_no_exit_code() {
    let task = task(running());
    assert!(task.is_alive());
    assert_eq!(task.address_in("net1"), Some(Ipv4Addr::new(10, 200, 0, 3)));
    assert_eq!(task.address_in("net2"), None);
    assert_eq!(task.ports, [(9090, 32768)]);
    assert_eq!((task.slot, task.exit_code), (2, None));
}

#[test]
fn a_stopped_task_whose_network_another_one_removed_has_not_failed() {
    let mut response = running();
    response["DesiredState"] = json!("shutdown");
    response["Status"]["State"] = json!("failed");
    response["Status"]["Err"] = json!("error while removing network: unknown network net id net1");
    let stopped = task(response.clone());
    assert_eq!(stopped.state, TaskState::Shutdown);
    assert_eq!((stopped.error, stopped.exit_code), (None, Some(0)));
    response["Status"]["ContainerStatus"]["ExitCode"] = json!(143);
    assert_eq!(task(response.clone()).exit_code, Some(143));
    response["Status"]["Err"] = json!("error creating network: no more addresses");
    assert_eq!(task(response).state, TaskState::Failed);
}

/// The constraint of the first version, written out: services of a Director from before an upgrade carry it.
#[test]
fn the_replacement_of_a_stopped_task_is_recognized_after_an_upgrade() {
    let placeholder = |constraint: &str| {
        let mut response = running();
        response["Spec"]["Placement"] = json!({"Constraints": ["node.role==worker", constraint]});
        let response: TaskResponse = serde_json::from_value(response).unwrap();
        response.is_placeholder()
    };
    assert!(placeholder("node.id==ended"));
    assert!(!placeholder("node.id==n1"));
}

#[test]
fn another_port_for_ipv6_is_kept_beside_the_one_for_ipv4() {
    let mut response = running();
    let ports = &mut response["Status"]["PortStatus"]["Ports"];
    ports[0]["PublishedPort"] = json!(32770);
    assert_eq!(task(response).ports, [(9090, 32770), (9090, 32768)]);
}

#[test]
fn only_ended_processes_have_an_exit_code() {
    let with = |state: &str, container: Value| {
        let mut response = running();
        response["Status"]["State"] = json!(state);
        response["Status"]["ContainerStatus"] = container;
        task(response).exit_code
    };
    let exited = |code: i64| json!({"ContainerID": "c1", "ExitCode": code});
    assert_eq!(with("complete", exited(0)), Some(0));
    assert_eq!(with("failed", exited(3)), Some(3));
    assert_eq!(with("shutdown", exited(143)), Some(143));
    assert_eq!(with("failed", exited(0)), None);
    assert_eq!(with("rejected", Value::Null), None);
    assert_eq!(with("orphaned", exited(0)), None);
    assert_eq!(
        with("shutdown", json!({"ContainerID": "", "ExitCode": 0})),
        None
    );
}

#[test]
fn a_task_without_a_node_is_parsed() {
    let task = task(json!({
        "ID": "t1", "ServiceID": "s1", "Slot": 1, "DesiredState": "running",
        "Status": {"State": "pending", "Err": "no suitable node", "PortStatus": {}}
    }));
    assert_eq!((task.node_id, task.container_id), (None, None));
    assert_eq!(task.error.as_deref(), Some("no suitable node"));
}

#[test]
fn an_unknown_state_is_an_error_with_its_name() {
    let mut response = running();
    response["DesiredState"] = json!("dreaming");
    let error = serde_json::from_value::<TaskResponse>(response)
        .err()
        .unwrap();
    assert!(error.to_string().contains("`dreaming`"), "{error}");
}

fn manager(swarm: Value) -> Result<Manager, SwarmError> {
    let info = json!({"ServerVersion": "28.2.2", "Swarm": swarm});
    super::manager(serde_json::from_value(info).unwrap())
}

#[test]
fn only_an_active_manager_with_a_leader_is_accepted() {
    let swarm = |state: &str, control: bool, error: &str| {
        json!({"NodeID": "n1", "NodeAddr": "10.0.0.1", "LocalNodeState": state,
               "ControlAvailable": control, "Error": error})
    };
    assert_eq!(manager(swarm("active", true, "")).unwrap().node_id, "n1");
    assert_eq!(
        manager(swarm("active", false, "")),
        Err(SwarmError::NotManager)
    );
    assert_eq!(
        manager(swarm("inactive", false, "")),
        Err(SwarmError::NotASwarm)
    );
    assert_eq!(manager(Value::Null), Err(SwarmError::NotASwarm));
    for unhealthy in [
        swarm("active", true, "no leader"),
        swarm("locked", false, "locked"),
        swarm("pending", false, ""),
    ] {
        assert!(matches!(
            manager(unhealthy),
            Err(SwarmError::NoLeader { .. })
        ));
    }
}

#[test]
fn only_overlays_that_services_can_join_count_as_overlay() {
    let network = |driver: &str, scope: &str, ingress: bool| {
        let response = json!({"Id": "x", "Name": "x", "Driver": driver, "Scope": scope, "Ingress": ingress,
            "IPAM": {"Config": [{"Subnet": "10.0.0.0/24"}, {"Subnet": "fd00::/64"}]}, "Labels": null});
        Network::from(serde_json::from_value::<models::Network>(response).unwrap())
    };
    assert!(network("overlay", "swarm", false).overlay);
    assert!(!network("overlay", "swarm", true).overlay);
    assert!(!network("overlay", "local", false).overlay);
    assert!(!network("bridge", "local", false).overlay);
    assert_eq!(
        network("overlay", "swarm", false).subnets,
        ["10.0.0.0/24".parse().unwrap()]
    );
}
