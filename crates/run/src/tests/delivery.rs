//! Delivery of bundles to the nodes, and their removal.

use super::simulation::{BUNDLE, CARRIER, Director, Simulation, name, simple, with_bundle};
use crate::bundles::RemoveError;
use atq_engine_swarm::fake::FakeSwarm;
use atq_engine_swarm::plan::{MountSource, Role, ServicePlan};
use atq_task::event::{Event, NodeDelivery};
use atq_task::state::{Outcome, Step};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::sleep;

const NODES: [&str; 3] = ["node-1", "node-2", "node-3"];

/// The bundle for workers and master without split: one volume.
fn plain() -> Value {
    let mut task = with_bundle();
    task["worker"]["split"] = json!([]);
    task
}

async fn delivered(director: &Director, task: &Value) -> Vec<NodeDelivery> {
    let name = director.accepted(task).await;
    let state = director.wait_done(&name).await;
    assert_eq!(state.outcome, Some(Outcome::Finished), "{state:?}");
    let events = director.events(&name);
    let mut all = events.into_iter().filter_map(|event| match event {
        Event::BundlesDelivered { nodes } => Some(nodes),
        _ => None,
    });
    let nodes = all.next().unwrap();
    assert!(all.next().is_none());
    nodes
}

fn volumes(plan: &ServicePlan) -> Vec<(String, String, bool)> {
    let bundles = plan.mounts.iter().filter_map(|mount| match &mount.source {
        MountSource::Volume { name, .. } => {
            Some((name.clone(), mount.target.clone(), mount.read_only))
        }
        _ => None,
    });
    bundles.collect()
}

fn of_role(fake: &FakeSwarm, role: Role) -> Vec<ServicePlan> {
    let plans = fake.plans().into_iter();
    plans.filter(|plan| plan.role == role).collect()
}

#[test]
fn every_node_gets_the_bundle_once_and_containers_read_it() {
    let task = plain();
    let simulation = Simulation::for_task(&task);
    let volume = format!("atq-bundle-director-{BUNDLE}");
    simulation.run(|director| async move {
        let nodes = delivered(&director, &task).await;
        let ids: Vec<_> = nodes.iter().map(|node| node.node.as_str()).collect();
        assert_eq!(ids, NODES);
        assert!(nodes.iter().all(|node| node.fetched && node.bytes > 0));
        for node in NODES {
            assert_eq!(
                director.fake.volumes_on(node),
                std::slice::from_ref(&volume)
            );
        }
        let mut again = task.clone();
        again["name"] = json!("again");
        let name = director.accepted(&again).await;
        director.wait_for_step(&name, Step::Running).await;
        for role in [Role::Worker, Role::Master] {
            let plans = of_role(&director.fake, role);
            assert_eq!(
                volumes(&plans[0]),
                [(volume.clone(), "/atq/data".to_owned(), true)]
            );
        }
        director.wait_done(&name).await;
        let nodes = director.state(&name).delivered;
        assert!(
            nodes.iter().all(|node| !node.fetched && node.bytes == 0),
            "{nodes:?}"
        );
    });
}

#[test]
fn parts_have_volumes_of_their_own() {
    let task = with_bundle();
    let simulation = Simulation::for_task(&task);
    simulation.run(|director| async move {
        let name = director.accepted(&task).await;
        director.wait_for_step(&name, Step::Running).await;
        let worker = volumes(&of_role(&director.fake, Role::Worker)[0]);
        let master = volumes(&of_role(&director.fake, Role::Master)[0]);
        assert_eq!(worker.len(), 2);
        assert_ne!(worker[0].0, master[0].0, "the master has the whole file");
        assert_eq!(worker[1].1, "/atq/part");
        assert!(worker[1].0.ends_with("-{{.Task.Slot}}"), "{worker:?}");
        director.wait_done(&name).await;
        for node in NODES {
            // The master's, the worker's, and three parts.
            assert_eq!(director.fake.volumes_on(node).len(), 5);
        }
        director
            .orchestrator
            .remove_bundle(&BUNDLE.parse().unwrap())
            .await
            .unwrap();
        for node in NODES {
            assert_eq!(
                director.fake.volumes_on(node),
                Vec::<String>::new(),
                "{node}"
            );
        }
    });
}

#[test]
fn a_node_that_fails_is_named() {
    let task = plain();
    let simulation = Simulation::for_task(&task);
    simulation
        .fake
        .image(CARRIER)
        .fails_on("node-3", "no space left on the device");
    simulation.run(|director| async move {
        let name = director.accepted(&task).await;
        let failure = director.wait_failed(&name).await;
        assert_eq!(
            failure,
            "delivery: DeliveryFailed: 2 of 3 nodes have the bundle; node `host-node-3` (node-3): no space left on the device"
        );
        let hint = director.state(&name).failure.unwrap().hint;
        assert!(hint.contains("free disk space"), "{hint}");
    });
}

#[test]
fn a_missing_carrier_image_is_reported() {
    let task = plain();
    let mut simulation = Simulation::for_task(&task);
    simulation.swarm.carrier_image = "nowhere:1".into();
    simulation.run(|director| async move {
        let name = director.accepted(&task).await;
        let failure = director.wait_failed(&name).await;
        assert!(
            failure.contains("0 of 3 nodes have the bundle"),
            "{failure}"
        );
        assert!(failure.contains("No such image: nowhere:1"), "{failure}");
        let hint = director.state(&name).failure.unwrap().hint;
        assert!(hint.contains("`carrierImage`"), "{hint}");
    });
}

#[test]
fn a_node_added_after_the_delivery_gets_no_containers() {
    let task = plain();
    let simulation = Simulation::for_task(&task);
    simulation.run(|director| async move {
        let name = director.accepted(&task).await;
        director.wait_for_step(&name, Step::Network).await;
        director.fake.add_node("node-4");
        director.wait_for_step(&name, Step::Running).await;
        for role in [Role::Worker, Role::Master] {
            let plan = &of_role(&director.fake, role)[0];
            assert_eq!(plan.constraints, ["node.id!=node-4"], "{role}");
        }
        director.wait_done(&name).await;
        let mut next = task.clone();
        next["name"] = json!("next");
        let nodes = delivered(&director, &next).await;
        assert_eq!(nodes.len(), 4);
        assert!(nodes[3].fetched && !nodes[0].fetched, "{nodes:?}");
    });
}

#[test]
fn a_node_lost_during_the_delivery_is_skipped() {
    let task = plain();
    let simulation = Simulation::for_task(&task);
    simulation
        .fake
        .image(CARRIER)
        .after(Duration::from_secs(20));
    simulation.run(|director| async move {
        let name = director.accepted(&task).await;
        director.wait_for_step(&name, Step::Delivery).await;
        director.fake.lose_node("node-2");
        let state = director.wait_for_step(&name, Step::Running).await;
        let nodes: Vec<_> = state
            .delivered
            .iter()
            .map(|node| node.node.as_str())
            .collect();
        assert_eq!(nodes, ["node-1", "node-3"]);
        director.fake.return_node("node-2");
        director.wait_done(&name).await;
    });
}

#[test]
fn a_restart_during_the_delivery_continues_it() {
    let task = plain();
    let simulation = Simulation::for_task(&task);
    simulation
        .fake
        .image(CARRIER)
        .after(Duration::from_secs(20));
    simulation.run(|director| async move {
        let name = director.accepted(&task).await;
        director.wait_for_step(&name, Step::Delivery).await;
        sleep(Duration::from_secs(5)).await;
    });
    simulation.run(|director| async move {
        let state = director.wait_done(&name("load")).await;
        assert_eq!(state.outcome, Some(Outcome::Finished));
        let created =
            director.fake.calls().into_iter().filter(|call| {
                call.method == "create_service" && call.object.ends_with("-delivery")
            });
        // The second attempt found the service of the first.
        assert_eq!(created.count(), 2);
        assert!(state.delivered.iter().all(|node| node.fetched));
    });
}

#[test]
fn a_stop_does_not_wait_for_the_delivery() {
    let task = plain();
    let simulation = Simulation::for_task(&task);
    simulation
        .fake
        .image(CARRIER)
        .after(Duration::from_secs(3600));
    simulation.run(|director| async move {
        let name = director.accepted(&task).await;
        director.wait_for_step(&name, Step::Delivery).await;
        sleep(Duration::from_secs(2)).await;
        director.orchestrator.stop(&name).await.unwrap();
        let state = director.wait_done(&name).await;
        assert_eq!(state.outcome, Some(Outcome::Stopped));
        let took = state.finished_at.unwrap().since(state.created_at);
        assert!(took < Duration::from_secs(5), "{took:?}");
    });
}

#[test]
fn the_url_of_the_director_is_checked_before_use() {
    let task = plain();
    let simulation = Simulation::for_task(&task);
    let task = &task;
    for (answer, expected) in [
        (
            Err("does not answer: connection refused".to_owned()),
            "but that URL does not answer: connection refused",
        ),
        (
            Ok("somebody".to_owned()),
            "belongs to another Director: its id is `somebody`",
        ),
    ] {
        simulation.self_check.set_outcome(answer);
        simulation.run(|director| async move {
            let name = director.accepted(task).await;
            let failure = director.wait_failed(&name).await;
            assert!(
                failure.contains("`https://director:8081` (`advertiseUrl`)"),
                "{failure}"
            );
            assert!(failure.contains(expected), "{failure}");
            director.orchestrator.delete(&name).await.unwrap();
        });
    }
    assert_eq!(simulation.self_check.checked_urls().len(), 2);
}

#[test]
fn a_run_fails_when_the_nodes_cannot_reach_the_port_for_carriers() {
    let task = plain();
    let mut simulation = Simulation::for_task(&task);
    simulation.swarm.advertised = None;
    let taken = "cannot listen for carriers on 10.0.0.1:8081 (`nodePort` and `nodeBind` of the configuration): Address already in use";
    simulation.door.refuse(Some(taken));
    let task = &task;
    for (bind, expected) in [
        ("10.0.0.1", taken),
        (
            "127.0.0.1",
            "the Director listens for carriers on 127.0.0.1 only (`nodeBind`)",
        ),
        (
            "",
            "the manager's address in the Swarm, `127.0.0.1`, is none that other nodes reach",
        ),
    ] {
        simulation.swarm.node_bind = bind.parse().ok();
        simulation.run(|director| async move {
            let name = director.accepted(task).await;
            let failure = director.wait_failed(&name).await;
            let expected =
                format!("`host-node-2`, `host-node-3` cannot reach the Director: {expected}");
            assert!(failure.contains(&expected), "{failure}");
            let hint = director.state(&name).failure.unwrap().hint;
            for way in [
                "`nodeBind`",
                "`nodePort`",
                "`advertiseUrl`",
                "`delivery: shared`",
            ] {
                assert!(hint.contains(way), "{hint}");
            }
            director.orchestrator.delete(&name).await.unwrap();
        });
    }
    assert_eq!(simulation.self_check.checked_urls().len(), 0);
}

#[test]
fn the_port_for_carriers_is_opened_at_the_start_when_the_swarm_has_other_nodes() {
    let mut simulation = Simulation::new();
    let address: std::net::IpAddr = [10, 77, 0, 9].into();
    simulation.swarm.node_bind = Some(address);
    simulation.run(|director| async move {
        director.orchestrator.shared().engine.reconnect().await;
    });
    assert!(simulation.door.opened().is_empty());
    simulation.fake.add_node("node-2");
    simulation.run(|director| async move {
        director.orchestrator.shared().engine.reconnect().await;
    });
    assert_eq!(simulation.door.opened(), [address]);
}

#[test]
fn a_single_node_needs_no_configuration() {
    let task = plain();
    let simulation = Simulation::new();
    simulation.add_bundle(BUNDLE);
    simulation.run(|director| async move {
        assert_eq!(delivered(&director, &task).await.len(), 1);
    });
    assert_eq!(
        simulation.self_check.checked_urls(),
        ["https://127.0.0.1:8081"]
    );
    assert_eq!(
        simulation.door.opened(),
        ["127.0.0.1".parse::<std::net::IpAddr>().unwrap()]
    );
}

#[test]
fn a_bundle_without_its_zip_must_be_uploaded_again() {
    let task = plain();
    let simulation = Simulation::for_task(&task);
    let path = simulation.add_bundle(BUNDLE);
    std::fs::remove_file(path.parent().unwrap().join(format!(".zips/{BUNDLE}.zip"))).unwrap();
    simulation.run(|director| async move {
        let name = director.accepted(&task).await;
        let failure = director.wait_failed(&name).await;
        assert!(
            failure.starts_with("delivery: BundleMissing: "),
            "{failure}"
        );
        assert_eq!(
            director.state(&name).failure.unwrap().hint,
            "upload it again"
        );
    });
}

#[test]
fn tasks_without_bundles_have_no_delivery() {
    let simulation = Simulation::new();
    simulation.run(|director| async move {
        let name = director.accepted(&simple("plain")).await;
        director.wait_done(&name).await;
        let calls = director.fake.calls();
        assert!(!calls.iter().any(|call| call.object.contains("delivery")));
    });
}

#[test]
fn a_bundle_is_removed_from_all_nodes_even_after_they_reconnect() {
    let task = plain();
    let simulation = Simulation::for_task(&task);
    let id = BUNDLE.parse().unwrap();
    let volume = vec![format!("atq-bundle-director-{BUNDLE}")];
    simulation.run(|director| async move {
        let name = director.accepted(&task).await;
        director.wait_for_step(&name, Step::Running).await;
        let used = director.orchestrator.remove_bundle(&id).await.unwrap_err();
        assert!(matches!(used, RemoveError::InUse { .. }), "{used}");
        director.wait_done(&name).await;

        director.fake.lose_node("node-2");
        sleep(Duration::from_secs(15)).await;
        director.fake.set_active("node-3", false);
        let left = director
            .orchestrator
            .remove_bundle(&id)
            .await
            .unwrap_err()
            .to_string();
        assert!(left.contains("node `host-node-2` is down"), "{left}");
        assert!(
            left.contains("node `host-node-3` is drained or paused"),
            "{left}"
        );
        assert_eq!(director.fake.volumes_on("node-1"), Vec::<String>::new());
        assert_eq!(director.fake.volumes_on("node-3"), volume);
        director.fake.set_active("node-3", true);
        let left = director
            .orchestrator
            .remove_bundle(&id)
            .await
            .unwrap_err()
            .to_string();
        assert!(
            !left.contains("host-node-3"),
            "a repeated call removes the rest: {left}"
        );
        assert_eq!(director.fake.volumes_on("node-3"), Vec::<String>::new());
    });
    // The pending removal survives a restart.
    simulation.run(|director| async move {
        director.fake.return_node("node-2");
        sleep(Duration::from_secs(5)).await;
        assert_eq!(director.fake.volumes_on("node-2").len(), 1);
        director.orchestrator.sweep_volumes_once().await;
        assert_eq!(director.fake.volumes_on("node-2"), Vec::<String>::new());
        let gone = director
            .orchestrator
            .remove_bundle(&BUNDLE.parse().unwrap())
            .await
            .unwrap_err();
        assert!(matches!(gone, RemoveError::NotFound { .. }), "{gone}");
    });
    let noted = std::fs::read_dir(simulation.data().join("volumes")).unwrap();
    assert_eq!(noted.count(), 0);
}

#[test]
fn different_constraints_need_separate_deliveries() {
    let mut task = plain();
    task["worker"]["placement"] = json!({"constraints": ["node.id!=node-1"]});
    task["master"]["placement"] = json!({"constraints": ["node.role==manager"]});
    let simulation = Simulation::for_task(&task);
    simulation.run(|director| async move {
        assert_eq!(delivered(&director, &task).await.len(), 3);
        let created: Vec<String> = director
            .fake
            .calls()
            .into_iter()
            .filter(|call| call.method == "create_service" && call.object.contains("-deliver"))
            .map(|call| call.object.split('-').skip(2).collect::<Vec<_>>().join("-"))
            .collect();
        assert_eq!(created, ["delivery", "deliver-2"]);
        // All nodes of the master are nodes of the worker: one delivery is enough.
        task["name"] = json!("again");
        task["worker"]["placement"] = Value::Null;
        let name = director.accepted(&task).await;
        director.wait_done(&name).await;
        let again = director.fake.calls().into_iter().filter(|call| {
            call.method == "create_service"
                && call.object.starts_with("again-")
                && call.object.contains("-deliver")
        });
        assert_eq!(again.count(), 1);
    });
}

#[test]
fn unsatisfiable_constraints_fail_at_once() {
    let mut task = plain();
    task["worker"]["placement"] = json!({"constraints": ["node.labels.zone==a"]});
    task["master"]["fileid"] = Value::Null;
    let simulation = Simulation::for_task(&task);
    simulation.run(|director| async move {
        let name = director.accepted(&task).await;
        let failure = director.wait_failed(&name).await;
        assert!(failure.contains("none of the 3 nodes can run"), "{failure}");
        assert!(
            failure.contains("`host-node-1` does not satisfy the constraints"),
            "{failure}"
        );
        assert!(failure.contains("(node.labels.zone==a)"), "{failure}");
    });
}

#[test]
fn an_undelivered_bundle_is_removed_without_docker() {
    let simulation = Simulation::for_task(&plain());
    simulation.run(|director| async move {
        director.fake.down(true);
        director
            .orchestrator
            .remove_bundle(&BUNDLE.parse().unwrap())
            .await
            .unwrap();
        director.fake.down(false);
    });
}

#[test]
fn an_unknown_bundle_is_refused_without_a_call_to_docker() {
    let simulation = Simulation::new();
    simulation.run(|director| async move {
        let asked = |director: &Director| {
            let calls = director.fake.calls();
            calls.iter().filter(|call| call.method == "volumes").count()
        };
        let unknown = director
            .orchestrator
            .remove_bundle(&BUNDLE.parse().unwrap())
            .await;
        assert!(matches!(unknown, Err(RemoveError::NotFound { .. })));
        assert_eq!(asked(&director), 0);
    });
}
