//! Docker Swarm passes the suite for all engines: on the simulated Swarm, and with `ATQ_TEST_SWARM=1` on the real one
//! of this machine, with the images `atq-testload:dev`, `atq-discovery:dev` and `atq-carrier:dev`.
#![allow(clippy::unwrap_used)]

use atq_definition::examples::TestSurroundings;
use atq_engine::contract::{Fixture, run_suite};
use atq_engine_swarm::discovery::HttpDiscovery;
use atq_engine_swarm::docker::DockerSwarm;
use atq_engine_swarm::fake::{FakeSwarm, Leftovers, NoBundles, engine, settings};
use atq_engine_swarm::node_door::fake::FakeDoor;
use atq_engine_swarm::self_check::HttpSelfCheck;
use atq_engine_swarm::{Ports, SharedLists, SwarmEngine, SwarmSettings};
use std::sync::Arc;
use std::time::Duration;

const SURROUNDINGS: TestSurroundings = TestSurroundings { max_replicas: 10 };

#[tokio::test(start_paused = true)]
async fn the_model_of_a_swarm_passes_the_contract() {
    let fake = FakeSwarm::new();
    fake.image("atq-discovery:test");
    fake.image("tool:1").prints(&["worker ready"]);
    fake.image("boss:1")
        .prints(&["master done"])
        .writes_result("results.csv", b"a,b\n")
        .exits(0)
        .after(Duration::from_secs(3));
    let engine = Arc::new(engine(&fake));
    run_suite(&Fixture::new(engine, "tool:1", "boss:1", &SURROUNDINGS).unwrap()).await;
    assert_eq!(fake.leftovers(), Leftovers::default());
}

#[tokio::test]
async fn a_real_swarm_passes_the_contract() {
    if std::env::var("ATQ_TEST_SWARM").as_deref() != Ok("1") {
        return;
    }
    // An error means that a provider is already installed.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let director = "contract-suite";
    let settings = SwarmSettings {
        director_id: director.to_owned(),
        subnet_pool: "10.231.0.0/16".parse().unwrap(),
        discovery_image: "atq-discovery:dev".to_owned(),
        carrier_image: "atq-carrier:dev".to_owned(),
        ..settings()
    };
    let docker = DockerSwarm::connect(None).unwrap();
    let notes = tempfile::tempdir().unwrap();
    let ports = Ports {
        swarm: Arc::new(SharedLists::new(Arc::new(docker), director)),
        discovery: Arc::new(HttpDiscovery::new().unwrap()),
        self_check: Arc::new(HttpSelfCheck),
        node_door: Arc::new(FakeDoor::default()),
        bundles: Arc::new(NoBundles),
    };
    let engine = Arc::new(SwarmEngine::new(settings, ports, notes.path()));
    let image = "atq-testload:dev";
    run_suite(&Fixture::new(engine, image, image, &SURROUNDINGS).unwrap()).await;
}
