#![allow(clippy::unwrap_used)]

use super::*;
use crate::discovery::fake::FakeDiscovery;
use crate::fake::{FakeSwarm, Leftovers, NoBundles, settings};
use crate::node_door::fake::FakeDoor;
use crate::plan::{LABEL_RUN, carrier_token};
use crate::self_check::fake::FakeSelfCheck;
use crate::{Ports, Swarm, SwarmEngine, SwarmSettings};
use atq_definition::examples::spec;
use atq_engine::{Append, Appended, Engine, Renames, UpToDate};
use atq_task::state::State;
use insta::assert_snapshot;
use parking_lot::Mutex;
use serde_json::json;

const CARRIER: &str = "atq-carrier:test";
/// Address of the Director.
const ADDRESS: &str = "10.77.0.1";
const SECOND: Duration = Duration::from_secs(1);

#[derive(Default)]
struct Recorder(Mutex<Vec<String>>);

#[async_trait]
impl ResultsSink for Recorder {
    async fn append(&self, _: Appended) -> Result<Append, String> {
        Ok(Append::Accepted)
    }

    async fn rename(&self, _: Renames) -> Result<(), String> {
        Ok(())
    }

    fn up_to_date(&self, _: &[UpToDate]) {}

    fn problem(&self, sources: &[Source], problem: ReadProblem) {
        let (ReadProblem::Unread(problem) | ReadProblem::Incomplete(problem)) = problem;
        let sources: Vec<String> = sources.iter().map(ToString::to_string).collect();
        self.0
            .lock()
            .push(format!("{}: {problem}", sources.join(", ")));
    }
}

/// A run with workers on two nodes and the master.
struct Fixture {
    fake: FakeSwarm,
    engine: SwarmEngine,
    spec: TaskSpec,
    state: State,
    recorder: Arc<Recorder>,
}

/// The engine after a start of the Director, which other nodes reach at this address.
fn engine(fake: &FakeSwarm, address: &str) -> SwarmEngine {
    let ports = Ports {
        swarm: Arc::new(fake.clone()),
        discovery: Arc::new(FakeDiscovery::new(fake.clone())),
        self_check: Arc::new(FakeSelfCheck::new("director-1")),
        node_door: Arc::new(FakeDoor::default()),
        bundles: Arc::new(NoBundles),
    };
    let settings = SwarmSettings {
        node_bind: Some(address.parse().unwrap()),
        ..settings()
    };
    SwarmEngine::new(settings, ports, std::path::Path::new("/nonexistent"))
}

impl Fixture {
    async fn new() -> Self {
        let fake = FakeSwarm::new();
        fake.add_node("node-2");
        fake.image("tool:1");
        fake.image("boss:1");
        fake.image(CARRIER).exits(0).in_role(Role::Tail);
        let spec = spec(&[("/worker/replicas", json!(3))]);
        let state = State {
            run: "a1b2c3".to_owned(),
            token: "token".to_owned(),
            subnets_tried: 1,
            ..State::default()
        };
        let fixture = Self {
            engine: engine(&fake, ADDRESS),
            fake,
            spec,
            state,
            recorder: Arc::default(),
        };
        let subnet = "10.224.0.0/24".parse().unwrap();
        let plan = fixture.core().plan(fixture.facts());
        fixture
            .fake
            .create_network(&plan.network(subnet))
            .await
            .unwrap();
        for plan in [
            plan.workers(subnet, vec![]),
            plan.master(subnet, vec![], &[]),
        ] {
            fixture.fake.create_service(&plan).await.unwrap();
        }
        fixture
    }

    fn core(&self) -> &Arc<Core> {
        self.engine.core()
    }

    fn facts(&self) -> Facts<'_> {
        Facts {
            spec: &self.spec,
            state: &self.state,
        }
    }

    async fn follow(&self) -> Box<dyn ResultsFollow> {
        let members = self.engine.observe(self.facts()).await.unwrap();
        self.engine
            .follow_results(self.facts(), members, Arc::clone(&self.recorder) as _)
    }

    /// The plans of the carriers, ordered by node.
    fn tails(&self) -> Vec<ServicePlan> {
        let mut plans = self.fake.plans();
        plans.retain(|plan| plan.role == Role::Tail);
        plans.sort_by_key(|plan| plan.constraints.clone());
        plans
    }

    fn names(&self) -> Vec<String> {
        self.tails().into_iter().map(|plan| plan.name).collect()
    }

    fn problems(&self) -> Vec<String> {
        std::mem::take(&mut *self.recorder.0.lock())
    }
}

#[tokio::test(start_paused = true)]
async fn each_node_with_containers_has_one_carrier_that_reads_their_results() {
    let fixture = Fixture::new().await;
    sleep(SECOND).await;
    let follow = fixture.follow().await;
    sleep(SECOND).await;
    let tails = fixture.tails();
    assert_eq!(tails.len(), 2);
    let first = &tails[0];
    assert_eq!(first.args, ["tail"]);
    assert_eq!(first.constraints, ["node.id==node-1"]);
    assert_eq!(first.scale, Scale::Replicas(1));
    assert_eq!(first.networks[0].network, "host");
    assert_eq!(first.stop_grace, SECOND);
    assert_eq!(first.labels[LABEL_RUN], "a1b2c3");
    let environment = first.environment.join("\n").replace("\\n", "");
    let token = carrier_token("token", "a1b2c3", Errand::Tail { node: "node-1" });
    assert_snapshot!(environment.replace(&token, "(token)"), @r#"
    ATQ_CARRIER_ORDER={"url":"https://10.77.0.1:8081","certificate":"-----BEGIN CERTIFICATE-----fake-----END CERTIFICATE-----","run":"a1b2c3","sources":["worker.1","worker.3","master.1"],"intervalMs":500}
    ATQ_CARRIER_NODE={{.Node.ID}}
    ATQ_CARRIER_TOKEN=(token)
    "#);
    let mounts: Vec<String> = first
        .mounts
        .iter()
        .map(|mount| {
            let MountSource::Volume { name, labels } = &mount.source else {
                panic!("{mount:?}");
            };
            assert!(name.starts_with("atq-results-a1b2c3-task"), "{name}");
            let role = &labels[LABEL_ROLE];
            format!("{role} at {}, read-only: {}", mount.target, mount.read_only)
        })
        .collect();
    assert_snapshot!(mounts.join("\n"), @"
    worker at /results/worker.1, read-only: true
    worker at /results/worker.3, read-only: true
    master at /results/master.1, read-only: true
    ");
    // They exist.
    for mount in &first.mounts {
        if let MountSource::Volume { name, .. } = &mount.source {
            assert!(fixture.fake.volumes_on("node-1").contains(name));
        }
    }
    assert_eq!(fixture.problems(), [] as [&str; 0]);
    follow.end().await;
    assert_eq!(fixture.names(), [] as [&str; 0]);
}

#[tokio::test(start_paused = true)]
async fn containers_that_have_not_started_are_skipped_and_told() {
    let fixture = Fixture::new().await;
    let follow = fixture.follow().await;
    let problems = fixture.problems();
    assert_eq!(problems.len(), 4);
    assert_eq!(
        problems[0],
        "worker.1: its files are not followed: it had not started when the test began"
    );
    sleep(SECOND).await;
    assert_eq!(fixture.names(), [] as [&str; 0]);
    follow.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_carrier_that_ends_is_told_and_created_again() {
    let fixture = Fixture::new().await;
    sleep(SECOND).await;
    let _follow = fixture.follow().await;
    sleep(2 * SECOND).await;
    let name = fixture.names().remove(1);
    fixture.fake.kill(&name, 1, 9);
    sleep(10 * SECOND).await;
    let problems = fixture.problems();
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(
        problems[0].starts_with(
            "worker.2: its files are not followed at the moment: the carrier ended with exit code 9"
        ),
        "{problems:?}"
    );
    assert_eq!(fixture.names().len(), 2);
    assert!(!fixture.names().contains(&name));
}

#[tokio::test(start_paused = true)]
async fn a_missing_image_is_told_and_tried_again_with_growing_pauses() {
    let fixture = Fixture::new().await;
    let carrier = fixture.fake.image(CARRIER).in_role(Role::Tail);
    carrier.never_starts("No such image");
    sleep(SECOND).await;
    let follow = fixture.follow().await;
    sleep(3600 * SECOND).await;
    let problems = fixture.problems();
    assert!(problems[0].contains("No such image"), "{problems:?}");
    assert_eq!(problems.len(), 2, "once for each node: {problems:?}");
    let created = fixture.fake.calls().into_iter();
    let created =
        created.filter(|call| call.method == "create_service" && call.object.contains("-tail"));
    let count = created.count();
    assert!((60..200).contains(&count), "{count}");
    follow.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_lost_node_is_told_and_affects_no_other() {
    let fixture = Fixture::new().await;
    sleep(SECOND).await;
    let _follow = fixture.follow().await;
    sleep(5 * SECOND).await;
    fixture.fake.lose_node("node-2");
    sleep(20 * SECOND).await;
    assert_eq!(
        fixture.problems(),
        ["worker.2: its files are not followed at the moment: its node was lost or drained"]
    );
    assert_eq!(fixture.names().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_restarted_director_continues_with_the_same_carriers() {
    let mut fixture = Fixture::new().await;
    sleep(SECOND).await;
    let follow = fixture.follow().await;
    sleep(3 * SECOND).await;
    let before = fixture.names();
    // The Director ends without a word.
    drop(follow);
    sleep(SECOND).await;
    assert_eq!(fixture.names(), before);
    fixture.engine = engine(&fixture.fake, ADDRESS);
    let follow = fixture.follow().await;
    sleep(5 * SECOND).await;
    assert_eq!(fixture.names(), before);
    assert_eq!(fixture.problems(), [] as [&str; 0]);
    follow.end().await;
    assert_eq!(fixture.names(), [] as [&str; 0]);
}

#[tokio::test(start_paused = true)]
async fn carriers_with_another_order_are_replaced_after_a_restart() {
    let fixture = Fixture::new().await;
    sleep(SECOND).await;
    drop(fixture.follow().await);
    let members = fixture.engine.observe(fixture.facts()).await.unwrap();
    let all = fixture.engine.follow_results(
        fixture.facts(),
        members.clone(),
        Arc::clone(&fixture.recorder) as _,
    );
    sleep(3 * SECOND).await;
    let before = fixture.names();
    drop(all);
    let fewer = members
        .into_iter()
        .filter(|member| member.source != Source::new(Role::Worker, 1));
    let _fewer = fixture.engine.follow_results(
        fixture.facts(),
        fewer.collect(),
        Arc::clone(&fixture.recorder) as _,
    );
    sleep(3 * SECOND).await;
    let after = fixture.names();
    assert_eq!(after.len(), 2);
    assert_ne!(after[0], before[0], "another order");
    assert_eq!(after[1], before[1], "the same order");
}

#[tokio::test(start_paused = true)]
async fn clean_up_removes_the_carriers_of_a_run_that_was_not_ended() {
    let fixture = Fixture::new().await;
    sleep(SECOND).await;
    let follow = fixture.follow().await;
    sleep(3 * SECOND).await;
    drop(follow);
    fixture.engine.release(fixture.facts()).await;
    assert_eq!(fixture.names(), [] as [&str; 0]);
    sleep(10 * SECOND).await;
    assert_eq!(
        fixture.fake.leftovers().services,
        Leftovers::default().services
    );
}

#[tokio::test(start_paused = true)]
async fn the_managers_node_is_followed_although_no_other_reaches_the_director() {
    let mut fixture = Fixture::new().await;
    fixture.engine = engine(&fixture.fake, "127.0.0.1");
    sleep(SECOND).await;
    let _follow = fixture.follow().await;
    sleep(3 * SECOND).await;
    assert_eq!(fixture.tails()[0].constraints, ["node.id==node-1"]);
    assert_eq!(
        fixture.problems(),
        [
            "worker.2: its files are not followed at the moment: the Director listens for carriers on 127.0.0.1 only (`nodeBind`)"
        ]
    );
}
