#![allow(clippy::unwrap_used)]

use super::*;
use crate::discovery::fake::FakeDiscovery;
use crate::fake::{FakeSwarm, Leftovers, NoBundles, settings};
use crate::node_door::fake::FakeDoor;
use crate::self_check::fake::FakeSelfCheck;
use crate::{Ports, Swarm, SwarmEngine};
use async_trait::async_trait;
use atq_definition::examples::spec;
use atq_engine::{Engine, Facts, Part, Role};
use atq_task::event::Event;
use atq_task::spec::TaskSpec;
use atq_task::state::State;
use futures_util::future::{BoxFuture, pending};
use serde_json::json;
use std::sync::Arc;
use tempfile::TempDir;

const CARRIER: &str = "atq-carrier:test";
/// More than the time to start containers, and more than that to remove them.
const LONG: Duration = Duration::from_secs(15);

/// A run of three workers and a master.
struct TestRun {
    spec: TaskSpec,
    state: State,
}

#[async_trait]
impl RunContext for TestRun {
    fn facts(&self) -> Facts<'_> {
        Facts {
            spec: &self.spec,
            state: &self.state,
        }
    }

    fn orchestration_timeout(&self, _: u32) -> Duration {
        LONG
    }

    async fn note(&mut self, event: Event) -> Result<(), StepError> {
        panic!("{event:?}");
    }

    async fn pause(&mut self, length: Duration) -> Result<(), StepError> {
        sleep(length).await;
        Ok(())
    }

    fn interruption(&self) -> BoxFuture<'static, ()> {
        Box::pin(pending())
    }
}

/// A Swarm of three nodes, of which `node-1` is the manager's.
struct Fixture {
    fake: FakeSwarm,
    home: TempDir,
    run: TestRun,
    /// Constraints of the carriers that removed volumes.
    removals: Arc<Mutex<Vec<Vec<String>>>>,
}

impl Fixture {
    async fn new(constraints: &[&str]) -> Self {
        let fake = FakeSwarm::new();
        fake.add_node("node-2");
        fake.add_node("node-3");
        fake.image("tool:1");
        fake.image("boss:1");
        fake.image(CARRIER).exits(0);
        let removals: Arc<Mutex<Vec<Vec<String>>>> = Arc::default();
        let (inside, seen) = (fake.clone(), Arc::clone(&removals));
        fake.on_call(move |_, call| {
            if call.method == "create_service" && call.object.starts_with("atq-removal-") {
                let plans = inside.plans().into_iter();
                let created = plans.filter(|plan| plan.name == call.object);
                seen.lock().extend(created.map(|plan| plan.constraints));
            }
        });
        let spec = spec(&[
            ("/worker/replicas", json!(3)),
            ("/worker/placement", json!({ "constraints": constraints })),
            (
                "/master/placement",
                json!({ "constraints": ["node.id==node-1"] }),
            ),
        ]);
        let state = State {
            run: "a1b2c3".to_owned(),
            token: "token".to_owned(),
            subnet: Some("10.224.0.0/24".parse().unwrap()),
            subnets_tried: 1,
            ..State::default()
        };
        let fixture = Self {
            fake,
            home: tempfile::tempdir().unwrap(),
            run: TestRun { spec, state },
            removals,
        };
        let network = core(&fixture.engine())
            .plan(fixture.run.facts())
            .network(fixture.run.state.subnet.unwrap());
        fixture.fake.create_network(&network).await.unwrap();
        fixture
    }

    /// The engine after a start of the Director.
    fn engine(&self) -> SwarmEngine {
        let ports = Ports {
            swarm: Arc::new(self.fake.clone()),
            discovery: Arc::new(FakeDiscovery::new(self.fake.clone())),
            self_check: Arc::new(FakeSelfCheck::new("director-1")),
            node_door: Arc::new(FakeDoor::default()),
            bundles: Arc::new(NoBundles),
        };
        SwarmEngine::new(settings(), ports, self.home.path())
    }

    /// Starts workers and master, and returns once they run.
    async fn start(&mut self, engine: &SwarmEngine) {
        for part in [Part::Workers, Part::Master] {
            let started = engine.start(&mut self.run, part, Deadline::after(LONG));
            started.await.unwrap();
        }
        sleep(LONG).await;
    }

    /// Removes the run, and returns once only volumes on unavailable nodes are left.
    async fn release(&self, engine: &SwarmEngine) {
        release(async || engine.release(self.run.facts()).await).await;
    }

    fn volumes(&self) -> [usize; 3] {
        ["node-1", "node-2", "node-3"].map(|node| self.fake.volumes_on(node).len())
    }

    async fn indexed(&self, engine: &SwarmEngine) -> Vec<String> {
        let index = &core(engine).run_volumes;
        let keys = index.index.keys().await.unwrap();
        let entries = index.entries(&keys).await.unwrap();
        let nodes = entries
            .into_values()
            .flat_map(|entry| entry.nodes.into_keys());
        nodes.collect()
    }
}

/// Removes a run. The network outlives its containers, and on a lost node it stays.
async fn release(attempt: impl AsyncFn() -> Vec<String>) {
    for _ in 0..2 {
        let left = attempt().await;
        let is_network = |one: &String| one.starts_with("network");
        assert!(left.iter().all(is_network), "{left:?}");
        sleep(Duration::from_secs(4)).await;
    }
}

fn core(engine: &SwarmEngine) -> &Arc<Core> {
    engine.core()
}

#[tokio::test(start_paused = true)]
async fn each_worker_and_master_has_a_labelled_volume_that_is_removed_on_every_node() {
    let mut fixture = Fixture::new(&[]).await;
    let engine = fixture.engine();
    fixture.start(&engine).await;
    // A worker on each node, and the master.
    assert_eq!(fixture.volumes(), [2, 1, 1]);
    assert_eq!(fixture.indexed(&engine).await, ["node-2", "node-3"]);
    let labels = core(&engine).plan(fixture.run.facts()).labels(Role::Worker);
    let found = fixture.fake.volumes(&labels).await.unwrap();
    assert!(
        found
            .iter()
            .all(|name| name.starts_with("atq-results-a1b2c3-task"))
    );
    assert_eq!(found.len(), 1);

    fixture.release(&engine).await;
    assert_eq!(fixture.volumes(), [0, 0, 0]);
    assert_eq!(fixture.fake.leftovers(), Leftovers::default());
    assert_eq!(fixture.indexed(&engine).await, [] as [&str; 0]);
    assert_eq!(*fixture.removals.lock(), [["node.id!=node-1"]]);
}

#[tokio::test(start_paused = true)]
async fn a_run_on_the_managers_node_only_needs_neither_index_nor_carrier() {
    let mut fixture = Fixture::new(&["node.id==node-1"]).await;
    let engine = fixture.engine();
    fixture.start(&engine).await;
    assert_eq!(fixture.volumes(), [4, 0, 0]);
    assert!(!fixture.home.path().join("run-volumes").exists());
    fixture.release(&engine).await;
    assert_eq!(fixture.volumes(), [0, 0, 0]);
    assert_eq!(*fixture.removals.lock(), [] as [Vec<String>; 0]);
}

#[tokio::test(start_paused = true)]
async fn nodes_without_a_container_of_the_run_get_no_carrier() {
    let mut fixture = Fixture::new(&[]).await;
    fixture.run.spec.worker.replicas = 2;
    let engine = fixture.engine();
    fixture.start(&engine).await;
    assert_eq!(fixture.volumes(), [2, 1, 0]);
    assert_eq!(fixture.indexed(&engine).await, ["node-2", "node-3"]);
    fixture.release(&engine).await;
    assert_eq!(fixture.volumes(), [0, 0, 0]);
    assert_eq!(
        *fixture.removals.lock(),
        [["node.id!=node-1", "node.id!=node-3"]]
    );
}

#[tokio::test(start_paused = true)]
async fn the_volume_on_a_lost_node_is_removed_after_its_return() {
    let mut fixture = Fixture::new(&[]).await;
    let engine = fixture.engine();
    fixture.start(&engine).await;
    fixture.fake.lose_node("node-3");
    sleep(LONG).await;
    fixture.release(&engine).await;
    assert_eq!(fixture.volumes(), [0, 0, 1]);
    assert_eq!(fixture.indexed(&engine).await, ["node-3"]);
    sleep(10 * SWEEP_INTERVAL).await;
    assert_eq!(
        fixture.removals.lock().len(),
        1,
        "no carrier without a node"
    );
    fixture.fake.return_node("node-3");
    sleep(2 * SWEEP_INTERVAL).await;
    assert_eq!(fixture.volumes(), [0, 0, 0]);
    assert_eq!(fixture.indexed(&engine).await, [] as [&str; 0]);
    assert_eq!(fixture.fake.leftovers().volumes, 0);
}

#[tokio::test(start_paused = true)]
async fn a_pending_removal_survives_a_restart() {
    let mut fixture = Fixture::new(&[]).await;
    let engine = fixture.engine();
    fixture.start(&engine).await;
    fixture.fake.set_active("node-2", false);
    fixture.release(&engine).await;
    assert_eq!(fixture.volumes(), [0, 1, 0]);
    drop(engine);
    fixture.fake.set_active("node-2", true);
    let engine = fixture.engine();
    engine.reconnect().await;
    sleep(2 * SWEEP_INTERVAL).await;
    assert_eq!(fixture.volumes(), [0, 0, 0]);
    assert_eq!(fixture.indexed(&engine).await, [] as [&str; 0]);
}

#[tokio::test(start_paused = true)]
async fn volumes_are_removed_although_the_services_are_gone() {
    let mut fixture = Fixture::new(&[]).await;
    let engine = fixture.engine();
    fixture.start(&engine).await;
    for service in fixture.fake.services(&Labels::new()).await.unwrap() {
        fixture.fake.remove_service(&service.id).await.unwrap();
    }
    sleep(LONG).await;
    assert_eq!(fixture.volumes(), [2, 1, 1]);
    fixture.release(&engine).await;
    assert_eq!(fixture.volumes(), [0, 0, 0]);
    assert_eq!(fixture.indexed(&engine).await, [] as [&str; 0]);
}

#[tokio::test(start_paused = true)]
async fn volumes_of_containers_that_are_placed_during_the_removal_are_removed() {
    for millis in (0..700).step_by(25) {
        let mut fixture = Fixture::new(&[]).await;
        let engine = fixture.engine();
        let started = engine.start(&mut fixture.run, Part::Workers, Deadline::after(LONG));
        started.await.unwrap();
        sleep(Duration::from_millis(millis)).await;
        fixture.release(&engine).await;
        assert_eq!(fixture.volumes(), [0, 0, 0], "{millis}");
        assert_eq!(fixture.indexed(&engine).await, [] as [&str; 0], "{millis}");
    }
}

#[tokio::test(start_paused = true)]
async fn without_the_index_the_swarm_tasks_lead_to_the_volumes_and_are_noted_before_their_removal()
{
    let mut fixture = Fixture::new(&[]).await;
    fixture.start(&fixture.engine()).await;
    fixture.home = tempfile::tempdir().unwrap();
    fixture.fake.lose_node("node-3");
    sleep(LONG).await;
    let engine = fixture.engine();
    release(async || engine.release_owned("load", "a1b2c3").await).await;
    assert_eq!(fixture.volumes(), [0, 0, 1]);
    assert_eq!(fixture.indexed(&engine).await, ["node-3"]);
    fixture.fake.return_node("node-3");
    sleep(2 * SWEEP_INTERVAL).await;
    assert_eq!(fixture.volumes(), [0, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_damaged_task_leaves_no_volume() {
    let mut fixture = Fixture::new(&[]).await;
    let engine = fixture.engine();
    fixture.start(&engine).await;
    let name = fixture.run.spec.name.clone();
    release(async || engine.release_task(&name, true).await).await;
    assert_eq!(fixture.volumes(), [0, 0, 0]);
    assert_eq!(fixture.indexed(&engine).await, [] as [&str; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_node_on_which_the_carrier_fails_stays_in_the_index() {
    let mut fixture = Fixture::new(&[]).await;
    fixture.fake.image(CARRIER).fails_on("node-2", "no socket");
    let engine = fixture.engine();
    fixture.start(&engine).await;
    fixture.release(&engine).await;
    assert_eq!(fixture.volumes(), [0, 1, 0]);
    assert_eq!(fixture.indexed(&engine).await, ["node-2"]);
}

#[tokio::test(start_paused = true)]
async fn no_volume_is_left_whichever_call_of_docker_fails() {
    let unavailable = || SwarmError::Unavailable {
        host: "unix:///fake.sock".to_owned(),
        reason: "connection refused".to_owned(),
    };
    for is_answer_lost in [false, true] {
        for call in 1.. {
            let mut fixture = Fixture::new(&[]).await;
            let engine = fixture.engine();
            fixture.start(&engine).await;
            let number = fixture.fake.calls().len() + call;
            match is_answer_lost {
                true => fixture.fake.lose_answer_at(number, unavailable()),
                false => fixture.fake.fail_at(number, unavailable()),
            }
            while !engine.release(fixture.run.facts()).await.is_empty() {
                sleep(Duration::from_secs(4)).await;
            }
            let is_last = fixture.fake.calls().len() < number;
            sleep(2 * SWEEP_INTERVAL).await;
            assert_eq!(fixture.volumes(), [0, 0, 0], "call {call}");
            assert_eq!(fixture.indexed(&engine).await, [] as [&str; 0], "{call}");
            assert_eq!(fixture.fake.leftovers().services, 0, "call {call}");
            if is_last {
                assert!(call > 20, "{call} calls");
                break;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn nodes_that_have_left_the_swarm_are_forgotten() {
    let mut fixture = Fixture::new(&[]).await;
    let engine = fixture.engine();
    fixture.start(&engine).await;
    fixture.fake.lose_node("node-3");
    sleep(LONG).await;
    fixture.release(&engine).await;
    assert_eq!(fixture.indexed(&engine).await, ["node-3"]);
    let index = &core(&engine).run_volumes.index;
    let rename = |entry: &mut IndexedVolumes| {
        let host = entry.nodes.remove("node-3").unwrap();
        entry.nodes.insert("node-9".to_owned(), host);
    };
    index.change("a1b2c3-load", rename).await.unwrap();
    sleep(2 * SWEEP_INTERVAL).await;
    assert_eq!(fixture.indexed(&engine).await, [] as [&str; 0]);
}
