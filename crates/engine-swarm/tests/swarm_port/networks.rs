//! Networks, their addresses, and ports.

use crate::stage::{self, Does, Stage};
use atq_engine_swarm::plan::{Endpoint, NetworkJoin};
use atq_engine_swarm::{SwarmError, TaskState};
use std::collections::BTreeSet;

pub async fn a_network_is_made_once_listed_and_removed(stage: &Stage) {
    let plan = stage.network_plan("net").await;
    let id = stage.swarm.create_network(&plan).await.unwrap();
    // Listed at once, but Swarm takes a moment to note the subnet.
    let all = stage
        .wait("a subnet", async || {
            let all = stage.swarm.networks().await.unwrap();
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

    let again = stage.swarm.create_network(&plan).await.unwrap_err();
    assert!(matches!(again, SwarmError::Conflict { .. }), "{again:?}");
    stage.swarm.remove_network(&id).await.unwrap();
    let gone = stage.swarm.remove_network(&id).await.unwrap_err();
    assert!(matches!(gone, SwarmError::NotFound { .. }), "{gone:?}");
}

pub async fn an_unknown_network_is_refused(stage: &Stage) {
    let mut plan = stage.service("worker", Does::Sleep, None);
    plan.networks = vec![NetworkJoin {
        network: "atq-no-such-network".to_owned(),
        aliases: Vec::new(),
    }];
    let error = stage.swarm.create_service(&plan).await.unwrap_err();
    let SwarmError::Rejected { reason, .. } = &error else {
        panic!("{error:?}");
    };
    assert_eq!(reason, "network atq-no-such-network not found");
}

pub async fn a_network_is_in_use_while_a_service_is_on_it(stage: &Stage) {
    let network = stage.network("net").await;
    let plan = stage.service("worker", Does::Sleep, Some(&network));
    let id = stage.swarm.create_service(&plan).await.unwrap();
    stage.running(1).await;
    let error = stage.swarm.remove_network(&network.id).await.unwrap_err();
    let SwarmError::InUse { reason, .. } = &error else {
        panic!("{error:?}");
    };
    assert!(reason.contains(&id), "{reason}");
    stage.swarm.remove_service(&id).await.unwrap();
    stage.nothing_runs().await;
    stage.swarm.remove_network(&network.id).await.unwrap();
}

pub async fn an_overlapping_subnet_is_accepted_and_gives_no_addresses(stage: &Stage) {
    let first = stage.network("first").await;
    let mut plan = stage.network_plan("second").await;
    plan.subnet = first.subnet;
    let id = stage.swarm.create_network(&plan).await.unwrap();
    let second = stage::TestNetwork {
        id,
        name: plan.name,
        subnet: plan.subnet,
    };
    let stuck = stage.service("stuck", Does::Sleep, Some(&second));
    let stuck = stage.swarm.create_service(&stuck).await.unwrap();
    let fine = stage.service("fine", Does::Sleep, Some(&first));
    stage.swarm.create_service(&fine).await.unwrap();
    // By the time that one made later runs, the other has not got anywhere.
    stage.running(1).await;
    let task = &stage.tasks_of(&stuck).await[0];
    assert_eq!((task.state, &task.error), (TaskState::New, &None));
    assert_eq!(task.address_in(&second.id), None);
}

pub async fn each_port_of_the_node_is_given_once(stage: &Stage) {
    let network = stage.network("net").await;
    let mut plan = stage.service("discovery", Does::Sleep, Some(&network));
    plan.endpoint = Endpoint::DnsRoundRobin;
    plan.host_port = Some(9090);
    stage.swarm.create_service(&plan).await.unwrap();
    let ports = &stage.running(1).await[0].ports;
    // One number, or another one for IPv6.
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
