//! A simulated Swarm with Directors, and helpers for tests.

use crate::clock::Clock;
use crate::health::Health;
use crate::queue::Queue;
use crate::submit::{SubmitContext, SubmitError, Submitted};
use crate::{Orchestrator, Settings, Shared, View};
use atq_bundle_store::{self as bundle, BundleStore};
use atq_engine::growing::{Growing, GrowingFiles};
use atq_engine::{Engine, Role};
use atq_engine_swarm::carrier_endpoint::CarrierEndpoint;
use atq_engine_swarm::discovery::fake::FakeDiscovery;
use atq_engine_swarm::fake::{FakeSwarm, Leftovers};
use atq_engine_swarm::node_door::fake::FakeDoor;
use atq_engine_swarm::self_check::fake::FakeSelfCheck;
use atq_engine_swarm::{
    self as swarm, AdvertisedUrl, Ports, SharedLists, SwarmEngine, SwarmSettings,
};
use atq_evidence::Evidence;
use atq_store::{Store, StoreError};
use atq_task::event::{Event, Record};
use atq_task::machine;
use atq_task::spec::{Delivery, TaskName};
use atq_task::state::{Outcome, State, Step};
use atq_task::terms::Terms;
use atq_task::timestamp::Timestamp;
use serde_json::{Value, json};
use std::cell::Cell;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};

pub const SIDECAR: &str = "atq-discovery:test";
pub const CARRIER: &str = "atq-carrier:test";
/// Timeout of every wait in a test.
const WAIT_TIMEOUT: Duration = Duration::from_secs(3600);

/// A Swarm and a data directory, with Directors that run one after the other.
pub struct Simulation {
    dir: tempfile::TempDir,
    pub fake: FakeSwarm,
    pub discovery: FakeDiscovery,
    pub self_check: FakeSelfCheck,
    pub door: FakeDoor,
    /// If present, the result files that containers write while they run.
    pub files: Option<GrowingFiles>,
    pub settings: Settings,
    pub swarm: SwarmSettings,
    /// The clock of the first Director, and the time at which the last one ended.
    time: Cell<Option<(Clock, Instant)>>,
}

impl Simulation {
    /// A Swarm with the images of [`task`]: the test takes 3 s and succeeds.
    pub fn new() -> Self {
        let fake = FakeSwarm::new();
        fake.image(SIDECAR);
        fake.image(CARRIER).exits(0).in_role(Role::Tail);
        fake.image("tool:1")
            .prints(&["ready"])
            .in_role(Role::Wait)
            .prints(&["ok"])
            .exits(0)
            .in_role(Role::Readiness)
            .exits(0);
        fake.image("boss:1")
            .prints(&["hello", "bye"])
            .exits(0)
            .after(Duration::from_secs(3));
        Self {
            dir: directory(),
            discovery: FakeDiscovery::new(fake.clone()),
            fake,
            self_check: FakeSelfCheck::new("director-1"),
            door: FakeDoor::default(),
            files: None,
            settings: Settings {
                director_id: "director-1".into(),
                max_concurrent_tasks: 4,
                orchestration_timeout: None,
                max_duration: Duration::from_secs(24 * 3600),
                engine_timeout: Duration::from_secs(300),
                subnet_pool: "10.224.0.0/12".into(),
                discovery_image: SIDECAR.into(),
                results: atq_evidence::results::ResultsLimits {
                    bytes: 1 << 20,
                    files: 1000,
                },
            },
            swarm: swarm::fake::settings(),
            time: Cell::new(None),
        }
    }

    /// A Swarm of three nodes, with the bundle that `task` needs, if it needs one.
    pub fn for_task(task: &Value) -> Self {
        let mut simulation = Self::new();
        if let Some(id) = task["worker"]["fileid"].as_str() {
            simulation.fake.add_node("node-2");
            simulation.fake.add_node("node-3");
            simulation.advertise("director");
            simulation.add_bundle(id);
        }
        simulation
    }

    /// Sets the host of `advertiseUrl`.
    pub fn advertise(&mut self, host: &str) {
        let host = host.to_owned();
        self.swarm.advertised = Some(AdvertisedUrl { host, port: None });
    }

    /// Runs a Director: it starts, resumes earlier tasks, and is killed when the scenario ends.
    pub fn run<T, F, Fut>(&self, scenario: F) -> T
    where
        F: FnOnce(Director) -> Fut,
        Fut: Future<Output = T>,
    {
        self.run_without_recovery(|director| async move {
            director.orchestrator.recover().await.unwrap();
            scenario(director).await
        })
    }

    /// As [`Simulation::run`], but the scenario begins before the Director resumes earlier tasks.
    pub fn run_without_recovery<T, F, Fut>(&self, scenario: F) -> T
    where
        F: FnOnce(Director) -> Fut,
        Fut: Future<Output = T>,
    {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let director = self.start().await;
            let result = scenario(director).await;
            let clock = self.time.get().unwrap().0;
            self.time.set(Some((clock, Instant::now())));
            result
        })
    }

    /// Lets this time pass without a Director.
    pub fn downtime(&self, time: Duration) {
        let (clock, ended) = self.time.get().unwrap();
        self.time.set(Some((clock, ended + time)));
    }

    async fn start(&self) -> Director {
        let clock = match self.time.get() {
            None => Clock::tokio(Timestamp(1_750_000_000_000)),
            Some((clock, ended)) => {
                tokio::time::advance(ended.saturating_duration_since(Instant::now())).await;
                clock
            }
        };
        self.time.set(Some((clock, Instant::now())));
        let (data, bundles) = (
            self.dir.path().join("data"),
            self.dir.path().join("bundles"),
        );
        let bundles = BundleStore::open(&bundles, bundle::Limits::default()).unwrap();
        let bundles = Arc::new(bundles);
        let director = &self.settings.director_id;
        let ports = Ports {
            swarm: Arc::new(SharedLists::new(Arc::new(self.fake.clone()), director)),
            discovery: Arc::new(self.discovery.clone()),
            self_check: Arc::new(self.self_check.clone()),
            node_door: Arc::new(self.door.clone()),
            bundles: Arc::clone(&bundles) as _,
        };
        let engine = SwarmEngine::new(self.swarm.clone(), ports, &data);
        let carrier_endpoint = engine.carrier_endpoint();
        let engine: Arc<dyn Engine> = Arc::new(engine);
        let engine = match &self.files {
            Some(files) => Arc::new(Growing::new(engine, files.clone())),
            None => engine,
        };
        Director {
            orchestrator: Orchestrator::new(Shared {
                settings: self.settings.clone(),
                store: reopen(&data.join("state")),
                health: Health::watch(Arc::clone(&engine)),
                engine,
                bundles,
                evidence: Evidence::new(&data),
                clock,
                queue: Queue::new(self.settings.max_concurrent_tasks),
            }),
            carrier_endpoint,
            fake: self.fake.clone(),
        }
    }

    /// Creates the bundle `id`.
    pub fn add_bundle(&self, id: &str) -> std::path::PathBuf {
        let path = self.dir.path().join("bundles").join(id);
        std::fs::create_dir_all(&path).unwrap();
        std::fs::write(path.join("users.csv"), "name\na\nb\nc\n").unwrap();
        let zips = self.dir.path().join("bundles/.zips");
        std::fs::create_dir_all(&zips).unwrap();
        std::fs::write(zips.join(format!("{id}.zip")), "a zip").unwrap();
        path
    }

    /// The data directory of the Directors.
    pub fn data(&self) -> std::path::PathBuf {
        self.dir.path().join("data")
    }

    /// The evidence directory of the task.
    pub fn evidence(&self, task: &str) -> std::path::PathBuf {
        self.dir.path().join("data/evidence").join(task)
    }
}

/// A directory in memory if possible: the tests make thousands of runs, and durability is tested by the store.
fn directory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap())
}

/// Opens the store. A thread of sled releases the store of a killed Director a moment later.
fn reopen(dir: &std::path::Path) -> Store {
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    loop {
        match Store::open(dir) {
            Err(StoreError::Locked { .. }) if std::time::Instant::now() < deadline => {
                std::thread::yield_now();
            }
            opened => return opened.unwrap(),
        }
    }
}

/// A running Director.
#[derive(Clone)]
pub struct Director {
    pub orchestrator: Orchestrator,
    pub carrier_endpoint: CarrierEndpoint,
    pub fake: FakeSwarm,
}

impl Director {
    /// The names of all readable tasks, newest first.
    pub async fn listed(&self) -> Vec<TaskName> {
        let listed = self.orchestrator.list(|_, _| true).await.unwrap();
        listed.into_iter().map(|task| task.name).collect()
    }

    pub async fn submit(&self, payload: &Value) -> Result<Submitted, SubmitError> {
        self.submit_with(payload, Terms::default()).await
    }

    pub async fn submit_with(
        &self,
        payload: &Value,
        terms: Terms,
    ) -> Result<Submitted, SubmitError> {
        self.orchestrator.shared().health.wait_for_check().await;
        let context = SubmitContext {
            max_replicas: 1000,
            max_stop_grace: 3600,
            bundles: &self.orchestrator.shared().bundles,
            delivery: Delivery::Push,
            images: &|_| Ok(Vec::new()),
        };
        self.orchestrator.submit(payload, &context, terms).await
    }

    pub async fn accepted(&self, payload: &Value) -> TaskName {
        match self.submit(payload).await.unwrap() {
            Submitted::Accepted(view) => view.spec.name,
            Submitted::Existing(view) => panic!("`{}` already exists", view.spec.name),
        }
    }

    pub fn view(&self, name: &TaskName) -> View {
        let stored = self.orchestrator.shared.store.load(name).unwrap();
        self.orchestrator.view(stored.unwrap())
    }

    pub fn state(&self, name: &TaskName) -> State {
        self.view(name).state
    }

    /// Waits until the state satisfies the condition.
    pub async fn wait_until(&self, name: &TaskName, condition: impl Fn(&State) -> bool) -> State {
        let begun = Instant::now();
        loop {
            let state = self.state(name);
            if condition(&state) {
                return state;
            }
            assert!(begun.elapsed() < WAIT_TIMEOUT, "still {state:#?}");
            // Short intervals at first, so that no step is missed.
            let is_early = begun.elapsed() < Duration::from_secs(60);
            sleep(Duration::from_millis(if is_early { 10 } else { 1000 })).await;
        }
    }

    pub async fn wait_for_step(&self, name: &TaskName, step: Step) -> State {
        self.wait_until(name, |state| state.step >= step).await
    }

    /// Waits until the run is complete, and checks the conditions for every complete run.
    pub async fn wait_done(&self, name: &TaskName) -> State {
        let begun = Instant::now();
        while !self.state(name).is_done() {
            assert!(
                begun.elapsed() < WAIT_TIMEOUT,
                "still {:#?}",
                self.state(name)
            );
            sleep(Duration::from_millis(500)).await;
        }
        let state = self.state(name);
        let history = self.history(name);
        check_end(&state, &history);
        assert_eq!(self.fake.leftovers(), Leftovers::default(), "{history:#?}");
        state
    }

    /// Waits for a failed run; returns step, code and message of the failure.
    pub async fn wait_failed(&self, name: &TaskName) -> String {
        let state = self.wait_done(name).await;
        assert_eq!(state.outcome, Some(Outcome::Errored), "{state:#?}");
        let failure = state.failure.unwrap();
        format!(
            "{}: {:?}: {}",
            failure.step.as_str(),
            failure.code,
            failure.message
        )
    }

    pub fn history(&self, name: &TaskName) -> Vec<Record> {
        self.orchestrator.shared.store.history(name).unwrap()
    }

    pub fn events(&self, name: &TaskName) -> Vec<Event> {
        let history = self.history(name);
        history.into_iter().map(|record| record.event).collect()
    }
}

/// Checks the conditions for every complete run (ARCHITECTURE.md, Invariants: 3, 5, and the message of a failure).
pub fn check_end(state: &State, history: &[Record]) {
    assert_eq!(&machine::fold(history).unwrap(), state);
    assert!(state.is_done());
    let outcome = state.outcome.expect("a complete run has an outcome");
    assert_eq!(
        outcome == Outcome::Errored,
        state.failure.is_some(),
        "{history:#?}"
    );
    if let Some(failure) = &state.failure {
        assert!(!failure.message.is_empty());
    }
    assert!(state.cleanups >= 1, "clean-up was not tried: {history:#?}");
    assert_eq!(state.leftovers, Vec::<String>::new(), "{history:#?}");
}

/// Three workers, a master, a wait command and a delay.
pub fn task() -> Value {
    json!({
        "name": "load",
        "worker": {"alias": "w", "image": "tool:1", "replicas": 3},
        "master": {"alias": "m", "image": "boss:1"},
        "waitCommand": {"command": "check", "expectedResult": "ok", "timeout": 10},
        "delay": 2,
    })
}

/// A bundle of [`Simulation::for_task`].
pub const BUNDLE: &str = "0123456789abcdef0123456789abcdef";

/// A task with a bundle for workers and master; each worker gets a part of a file.
pub fn with_bundle() -> Value {
    let mut task = simple("load");
    task["worker"]["fileid"] = json!(BUNDLE);
    task["worker"]["split"] = json!([{"path": "users.csv", "header": true}]);
    task["master"]["fileid"] = json!(BUNDLE);
    task
}

/// [`task`] with another name and without wait command and delay.
pub fn simple(name: &str) -> Value {
    let mut task = task();
    task["name"] = json!(name);
    task["delay"] = json!(0);
    task["waitCommand"] = Value::Null;
    task
}

pub fn name(text: &str) -> TaskName {
    TaskName::parse(text).unwrap()
}

impl Director {
    /// As [`Director::wait_done`], while other tasks still run.
    pub async fn wait_done_with_others(&self, name: &TaskName) -> State {
        let state = self.wait_until(name, State::is_done).await;
        check_end(&state, &self.history(name));
        state
    }
}
