//! Networks, their addresses, and ports.

use crate::fixture::{self, Fixture, Program};
use atq_engine_swarm::plan::{Endpoint, NetworkJoin};
use atq_engine_swarm::{SwarmError, TaskState};
use std::collections::BTreeSet;

pub async fn a_network_is_created_once_listed_and_removed(fixture: &Fixture) {
    let plan = fixture.network_plan("net").await;
    let id = fixture.swarm.create_network(&plan).await.unwrap();
    // The network is listed at once, but its subnet only a moment later.
    let all = fixture
        .wait("a subnet", async || {
            let all = fixture.swarm.networks().await.unwrap();
            let network = all.iter().find(|n| n.id == id).unwrap();
            match network.subnets.is_empty() {
                true => Err(format!("{network:?}")),
                false => Ok(all),
            }
        })
        .await;
    let network = all.iter().find(|n| n.id == id).unwrap();
    assert_eq!(network.name, plan.name);
    assert_eq!(network.subnets, [plan.subnet]);
    assert_eq!(network.labels, plan.labels);
    assert!(network.overlay);
    let bridge = all.iter().find(|n| n.name == "bridge").unwrap();
    assert!(!bridge.overlay && !bridge.subnets.is_empty());

    let again = fixture.swarm.create_network(&plan).await.unwrap_err();
    assert!(matches!(again, SwarmError::Conflict { .. }), "{again:?}");
    fixture.swarm.remove_network(&id).await.unwrap();
    let gone = fixture.swarm.remove_network(&id).await.unwrap_err();
    assert!(matches!(gone, SwarmError::NotFound { .. }), "{gone:?}");
}

pub async fn an_unknown_network_is_refused(fixture: &Fixture) {
    let mut plan = fixture.service("worker", Program::Sleep, None);
    plan.networks = vec![NetworkJoin {
        network: "atq-no-such-network".to_owned(),
        aliases: Vec::new(),
    }];
    let error = fixture.swarm.create_service(&plan).await.unwrap_err();
    let SwarmError::Rejected { reason, .. } = &error else {
        panic!("{error:?}");
    };
    assert_eq!(reason, "network atq-no-such-network not found");
}

pub async fn a_network_is_in_use_while_a_service_is_on_it(fixture: &Fixture) {
    let network = fixture.network("net").await;
    let plan = fixture.service("worker", Program::Sleep, Some(&network));
    let id = fixture.swarm.create_service(&plan).await.unwrap();
    fixture.running(1).await;
    let error = fixture.swarm.remove_network(&network.id).await.unwrap_err();
    let SwarmError::InUse { reason, .. } = &error else {
        panic!("{error:?}");
    };
    assert!(reason.contains(&id), "{reason}");
    fixture.swarm.remove_service(&id).await.unwrap();
    fixture.wait_until_nothing_runs().await;
    fixture.swarm.remove_network(&network.id).await.unwrap();
}

pub async fn an_overlapping_subnet_is_accepted_and_assigns_no_addresses(fixture: &Fixture) {
    let first = fixture.network("first").await;
    let mut plan = fixture.network_plan("second").await;
    plan.subnet = first.subnet;
    let id = fixture.swarm.create_network(&plan).await.unwrap();
    let second = fixture::TestNetwork {
        id,
        name: plan.name,
        subnet: plan.subnet,
    };
    let stuck = fixture.service("stuck", Program::Sleep, Some(&second));
    let stuck = fixture.swarm.create_service(&stuck).await.unwrap();
    let fine = fixture.service("fine", Program::Sleep, Some(&first));
    fixture.swarm.create_service(&fine).await.unwrap();
    // A service that is created later runs, while the first one makes no progress.
    fixture.running(1).await;
    let task = &fixture.tasks_of(&stuck).await[0];
    assert_eq!((task.state, &task.error), (TaskState::New, &None));
    assert_eq!(task.address_in(&second.id), None);
}

pub async fn each_port_of_the_node_is_listed_once(fixture: &Fixture) {
    let network = fixture.network("net").await;
    let mut plan = fixture.service("discovery", Program::Sleep, Some(&network));
    plan.endpoint = Endpoint::DnsRoundRobin;
    plan.host_port = Some(9090);
    fixture.swarm.create_service(&plan).await.unwrap();
    let ports = &fixture.running(1).await[0].ports;
    // One number, or a different one for IPv6.
    let numbers: BTreeSet<u16> = ports.iter().map(|(_, outside)| *outside).collect();
    assert!((1..=2).contains(&ports.len()), "{ports:?}");
    assert_eq!(numbers.len(), ports.len(), "{ports:?}");
    assert!(
        ports
            .iter()
            .all(|(inside, outside)| *inside == 9090 && *outside >= 1024),
        "{ports:?}"
    );
}
