//! Where the stories are played.

use crate::clock::Clock;
use crate::health::Health;
use crate::queue::Queue;
use crate::submit::{SubmitContext, SubmitError, Submitted};
use crate::{Orchestrator, Settings, Shared, View};
use atq_bundle_store::{self as bundle, BundleStore};
use atq_engine::{Engine, Role};
use atq_engine_swarm::discovery::fake::FakeDiscovery;
use atq_engine_swarm::fake::{FakeSwarm, Leftovers};
use atq_engine_swarm::carrier_endpoint::CarrierEndpoint;
use atq_engine_swarm::self_check::fake::FakeSelfCheck;
use atq_engine_swarm::{self as swarm, Ports, SharedLists, SwarmEngine, SwarmSettings};
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
/// Nothing that a story waits for takes longer than this.
const PATIENCE: Duration = Duration::from_secs(3600);

/// A Swarm, a data directory, and Directors on them, one after the other.
pub struct Stage {
    dir: tempfile::TempDir,
    pub fake: FakeSwarm,
    pub discovery: FakeDiscovery,
    pub reach: FakeSelfCheck,
    pub settings: Settings,
    pub swarm: SwarmSettings,
    /// The clock of the first Director and where the last one stopped it.
    time: Cell<Option<(Clock, Instant)>>,
}

impl Stage {
    /// A Swarm that knows the images of [`task`]: the test takes 3 s and ends well.
    pub fn new() -> Self {
        let fake = FakeSwarm::new();
        fake.image(SIDECAR);
        fake.image(CARRIER).exits(0);
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
            reach: FakeSelfCheck::new("director-1"),
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
        let mut stage = Self::new();
        if let Some(id) = task["worker"]["fileid"].as_str() {
            stage.fake.add_node("node-2");
            stage.fake.add_node("node-3");
            stage.swarm.advertise_url = Some("http://director:8080".into());
            stage.add_bundle(id);
        }
        stage
    }

    /// One life of a Director: it starts, takes up what there is, and is gone in an instant when the
    /// story ends, whatever it was doing.
    pub fn life<T, F, Fut>(&self, story: F) -> T
    where
        F: FnOnce(Director) -> Fut,
        Fut: Future<Output = T>,
    {
        self.life_from_the_start(|director| async move {
            director.it.recover().await.unwrap();
            story(director).await
        })
    }

    /// The same, but the story begins when the Director already answers and has not looked at what
    /// there is yet.
    pub fn life_from_the_start<T, F, Fut>(&self, story: F) -> T
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
            let told = story(director).await;
            let clock = self.time.get().unwrap().0;
            self.time.set(Some((clock, Instant::now())));
            told
        })
    }

    /// No Director runs for this time.
    pub fn away(&self, time: Duration) {
        let (clock, stopped) = self.time.get().unwrap();
        self.time.set(Some((clock, stopped + time)));
    }

    async fn start(&self) -> Director {
        let clock = match self.time.get() {
            None => Clock::tokio(Timestamp(1_750_000_000_000)),
            Some((clock, stopped)) => {
                tokio::time::advance(stopped.saturating_duration_since(Instant::now())).await;
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
            self_check: Arc::new(self.reach.clone()),
            bundles: Arc::clone(&bundles) as _,
        };
        let engine = SwarmEngine::new(self.swarm.clone(), ports, &data);
        let inbound = engine.carrier_endpoint();
        let engine: Arc<dyn Engine> = Arc::new(engine);
        Director {
            it: Orchestrator::new(Shared {
                settings: self.settings.clone(),
                store: reopen(&data.join("state")),
                health: Health::watch(Arc::clone(&engine)),
                engine,
                bundles,
                evidence: Evidence::new(&data),
                clock,
                queue: Queue::new(self.settings.max_concurrent_tasks),
            }),
            inbound,
            fake: self.fake.clone(),
        }
    }

    /// A directory that stands for the bundle `id`.
    pub fn add_bundle(&self, id: &str) -> std::path::PathBuf {
        let path = self.dir.path().join("bundles").join(id);
        std::fs::create_dir_all(&path).unwrap();
        std::fs::write(path.join("users.csv"), "name\na\nb\nc\n").unwrap();
        let zips = self.dir.path().join("bundles/.zips");
        std::fs::create_dir_all(&zips).unwrap();
        std::fs::write(zips.join(format!("{id}.zip")), "a zip").unwrap();
        path
    }

    /// The Directors' data directory.
    pub fn data(&self) -> std::path::PathBuf {
        self.dir.path().join("data")
    }

    /// The evidence directory of the task.
    pub fn evidence(&self, task: &str) -> std::path::PathBuf {
        self.dir.path().join("data/evidence").join(task)
    }
}

/// In memory where that is to be had: a thousand runs are played here, and what survives on a disk is
/// the matter of the store's own tests.
fn directory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap())
}

/// The store of a life that was cut off is let go by a thread of sled's, a moment later.
fn reopen(dir: &std::path::Path) -> Store {
    let patience = std::time::Instant::now() + Duration::from_secs(30);
    loop {
        match Store::open(dir) {
            Err(StoreError::Locked { .. }) if std::time::Instant::now() < patience => {
                std::thread::yield_now();
            }
            opened => return opened.unwrap(),
        }
    }
}

/// A Director in one of its lives.
#[derive(Clone)]
pub struct Director {
    pub it: Orchestrator,
    pub inbound: CarrierEndpoint,
    pub fake: FakeSwarm,
}

impl Director {
    /// The names of all tasks that can be read, newest first.
    pub async fn listed(&self) -> Vec<TaskName> {
        let listed = self.it.list(|_, _| true).await.unwrap();
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
        self.it.shared().health.wait_for_check().await;
        let known = SubmitContext {
            max_replicas: 1000,
            max_stop_grace: 3600,
            bundles: &self.it.shared().bundles,
            delivery: Delivery::Push,
            images: &|_| Ok(Vec::new()),
        };
        self.it.submit(payload, &known, terms).await
    }

    pub async fn accepted(&self, payload: &Value) -> TaskName {
        match self.submit(payload).await.unwrap() {
            Submitted::Accepted(view) => view.spec.name,
            Submitted::Existing(view) => panic!("`{}` is there already", view.spec.name),
        }
    }

    pub fn view(&self, name: &TaskName) -> View {
        let stored = self.it.shared.store.load(name).unwrap();
        self.it.view(stored.unwrap())
    }

    pub fn state(&self, name: &TaskName) -> State {
        self.view(name).state
    }

    /// Waits until the state is as wanted.
    pub async fn until(&self, name: &TaskName, wanted: impl Fn(&State) -> bool) -> State {
        let begun = Instant::now();
        loop {
            let state = self.state(name);
            if wanted(&state) {
                return state;
            }
            assert!(begun.elapsed() < PATIENCE, "still {state:#?}");
            // Closely at first, so that no step is missed.
            let closely = begun.elapsed() < Duration::from_secs(60);
            sleep(Duration::from_millis(if closely { 10 } else { 1000 })).await;
        }
    }

    pub async fn until_step(&self, name: &TaskName, step: Step) -> State {
        self.until(name, |state| state.step >= step).await
    }

    /// Waits for the end and looks at everything that holds for every end.
    pub async fn ended(&self, name: &TaskName) -> State {
        let begun = Instant::now();
        while !self.state(name).is_done() {
            assert!(begun.elapsed() < PATIENCE, "still {:#?}", self.state(name));
            sleep(Duration::from_millis(500)).await;
        }
        let state = self.state(name);
        let history = self.history(name);
        check_end(&state, &history);
        assert_eq!(self.fake.leftovers(), Leftovers::default(), "{history:#?}");
        state
    }

    /// The code of the failure and its message.
    pub async fn failed(&self, name: &TaskName) -> String {
        let state = self.ended(name).await;
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
        self.it.shared.store.history(name).unwrap()
    }

    pub fn events(&self, name: &TaskName) -> Vec<Event> {
        let history = self.history(name);
        history.into_iter().map(|record| record.event).collect()
    }
}

/// What must hold at every end (DESIGN, section 6: 3, 5 and the message of a failure).
pub fn check_end(state: &State, history: &[Record]) {
    assert_eq!(&machine::fold(history).unwrap(), state);
    assert!(state.is_done());
    let outcome = state.outcome.expect("an end has an outcome");
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

/// A bundle of [`Stage::for_task`].
pub const BUNDLE: &str = "0123456789abcdef0123456789abcdef";

/// A task whose workers and master have the bundle, and whose workers get a part of a file each.
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
    /// Waits for the end of one task while others still run.
    pub async fn ended_by_itself(&self, name: &TaskName) -> State {
        let state = self.until(name, State::is_done).await;
        check_end(&state, &self.history(name));
        state
    }
}
