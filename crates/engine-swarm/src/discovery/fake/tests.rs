#![allow(clippy::unwrap_used)]
use super::*;
use crate::plan::{Role, RunPlan};
use crate::port::Swarm;
use atq_task::spec::{Surroundings, TaskSpec};
use serde_json::json;

const FIRST: Ipv4Addr = Ipv4Addr::new(10, 224, 0, 2);
const SECOND: Ipv4Addr = Ipv4Addr::new(10, 224, 0, 3);
const SECONDS: Duration = Duration::from_secs(5);

struct Anything;

impl Surroundings for Anything {
    fn max_replicas(&self) -> u64 {
        10
    }

    fn has_bundle(&self, _: &str) -> bool {
        true
    }

    fn required_variables(&self, _: &str) -> Result<Vec<String>, String> {
        Ok(Vec::new())
    }
}

/// A running sidecar and its endpoint.
async fn sidecar() -> (FakeDiscovery, String) {
    let definition = json!({
        "name": "load",
        "worker": {"alias": "w", "image": "tool:1"},
        "master": {"alias": "m", "image": "tool:1"},
    });
    let plan = RunPlan {
        spec: &TaskSpec::parse(&definition, &Anything).unwrap(),
        run: "a1b2c3",
        director: "director-1",
        place: "here",
        networks_tried: 1,
    };
    let swarm = FakeSwarm::new();
    swarm.image("sidecar:1");
    let network = plan.network("10.224.0.0/24".parse().unwrap());
    swarm.create_network(&network).await.unwrap();
    let service = plan.discovery("sidecar:1", "s3cret", None);
    swarm.create_service(&service).await.unwrap();
    loop {
        let tasks = swarm.tasks(&plan.labels(Role::Discovery)).await.unwrap();
        // Docker lists two ports; only one of them is the port of the sidecar.
        let mut ports = tasks.iter().flat_map(|task| &task.ports);
        if let Some((_, port)) = ports.find(|(_, port)| swarm.listener(*port).is_some()) {
            let endpoint = format!("http://127.0.0.1:{port}");
            return (FakeDiscovery::new(swarm), endpoint);
        }
        sleep(POLL_INTERVAL).await;
    }
}

/// The reasons why the first and the second address are not ready.
async fn probe(discovery: &FakeDiscovery, endpoint: &str) -> Vec<Option<String>> {
    let addresses = [FIRST, SECOND];
    let response = discovery.probe(endpoint, "s3cret", &addresses, &Probe::Tcp(1), SECONDS);
    let probed = response.await.unwrap();
    assert!(addresses.iter().eq(probed.iter().map(|one| &one.address)));
    probed.into_iter().map(|one| one.reason).collect()
}

#[tokio::test(start_paused = true)]
async fn all_addresses_are_ready_by_default() {
    let (discovery, endpoint) = sidecar().await;
    let before = Instant::now();
    assert_eq!(probe(&discovery, &endpoint).await, [None, None]);
    assert_eq!(before.elapsed(), Duration::ZERO);
    assert_eq!(discovery.probed(), [(Probe::Tcp(1), vec![FIRST, SECOND])]);
}

#[tokio::test(start_paused = true)]
async fn unready_addresses_have_a_reason_and_take_the_whole_timeout() {
    let (discovery, endpoint) = sidecar().await;
    discovery.unready(&[(SECOND, "answered 503; expected 200")]);
    let before = Instant::now();
    let reason = Some("answered 503; expected 200".to_owned());
    assert_eq!(probe(&discovery, &endpoint).await, [None, reason]);
    assert_eq!(before.elapsed(), SECONDS);
    discovery.unready(&[]);
    assert_eq!(probe(&discovery, &endpoint).await, [None, None]);
}

#[tokio::test(start_paused = true)]
async fn a_probe_in_progress_ends_when_all_become_ready() {
    let (discovery, endpoint) = sidecar().await;
    discovery.unready(&[(FIRST, "connection refused")]);
    let before = Instant::now();
    let change = async {
        sleep(SECONDS / 5).await;
        discovery.unready(&[]);
    };
    let (answer, ()) = tokio::join!(probe(&discovery, &endpoint), change);
    assert_eq!(answer, [None, None]);
    assert!(before.elapsed() < SECONDS);
}

#[tokio::test(start_paused = true)]
async fn workers_warm_up_for_a_number_of_probes() {
    let (discovery, endpoint) = sidecar().await;
    discovery.warm_up(2);
    let refused = Some("connection refused".to_owned());
    for _ in 0..2 {
        assert_eq!(
            probe(&discovery, &endpoint).await,
            [refused.clone(), refused.clone()]
        );
    }
    assert_eq!(probe(&discovery, &endpoint).await, [None, None]);
}

#[tokio::test(start_paused = true)]
async fn unreachable_sidecars_and_those_of_another_run_refuse_probes() {
    let (discovery, endpoint) = sidecar().await;
    let other = discovery.probe(&endpoint, "other", &[FIRST], &Probe::Tcp(1), SECONDS);
    assert!(other.await.unwrap_err().reason.contains("401"));
    discovery.set_unreachable(true);
    let unreachable = discovery.probe(&endpoint, "s3cret", &[FIRST], &Probe::Tcp(1), SECONDS);
    assert!(unreachable.await.unwrap_err().reason.contains("refused"));
    assert!(discovery.probed().is_empty());
}
