//! The contract suite of engines: [`run_suite`] executes small runs with all operations and checks each result.

use crate::{
    Deadline, Engine, Facts, LogQuery, Member, Part, ResultsReceiver, RunContext, Source,
    StepError, StepResult, Stop, Tar,
};
use async_trait::async_trait;
use atq_task::event::{Event, Record};
use atq_task::machine::{self, Action};
use atq_task::spec::{Fault, Surroundings, TaskSpec};
use atq_task::state::{Desired, State, Step};
use atq_task::timestamp::Timestamp;
use futures_util::future::{BoxFuture, pending};
use futures_util::{FutureExt, StreamExt};
use parking_lot::Mutex;
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Timeout of every wait.
const TIMEOUT: Duration = Duration::from_secs(60);
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// An engine and definitions for it. The first line of a worker contains `ready`; workers run until they are stopped.
/// The last line of the master contains `done`; it writes a result file and exits with 0.
pub struct Fixture {
    /// The engine.
    pub engine: Arc<dyn Engine>,
    /// Two workers and a master.
    pub spec: TaskSpec,
    /// As `spec`, with a missing image for the workers.
    pub without_image: TaskSpec,
    /// As `spec`, with a missing network.
    pub without_network: TaskSpec,
}

impl Fixture {
    /// Definitions with these images.
    ///
    /// # Errors
    /// When the images or the definitions are invalid.
    pub fn new(
        engine: Arc<dyn Engine>,
        worker: &str,
        master: &str,
        surroundings: &dyn Surroundings,
    ) -> Result<Self, Vec<Fault>> {
        let spec = |image: &str, networks: &[&str]| {
            let payload = json!({
                "name": "contract",
                "worker": {"alias": "w", "image": image, "args": ["worker"], "replicas": 2, "networks": networks},
                "master": {"alias": "m", "image": master, "args": ["master"]},
            });
            TaskSpec::parse(&payload, surroundings)
        };
        Ok(Self {
            engine,
            spec: spec(worker, &[])?,
            without_image: spec("atq-contract-nowhere:1", &[])?,
            without_network: spec(worker, &["atq-contract-nowhere"])?,
        })
    }
}

/// A run driven by the suite.
struct TestRun {
    spec: TaskSpec,
    state: State,
    history: Vec<Record>,
}

impl TestRun {
    fn new(spec: &TaskSpec, run: &str) -> Self {
        let queued = Record {
            seq: 1,
            at: Timestamp(1),
            by: None,
            event: Event::Queued {
                run: run.to_owned(),
                token: format!("token-of-{run}"),
                terms: Default::default(),
            },
        };
        let history = vec![queued];
        Self {
            spec: spec.clone(),
            state: machine::fold(&history).unwrap_or_else(|bad| panic!("{bad:?}")),
            history,
        }
    }

    fn record(&mut self, event: Event) {
        let record = Record {
            seq: self.state.seq + 1,
            at: Timestamp(1),
            by: None,
            event,
        };
        self.state = machine::next(self.state.clone(), &record)
            .unwrap_or_else(|bad| panic!("{bad} after {:#?}", self.history));
        self.history.push(record);
    }

    /// Drives the run until the step `until` is next.
    async fn drive_until(&mut self, engine: &dyn Engine, until: Step) -> Result<(), StepError> {
        loop {
            match machine::decide(&self.state, &self.spec, Desired::Run) {
                Action::Rest => return Ok(()),
                Action::Record(event) => self.record(event),
                Action::Perform(step) if step == until => return Ok(()),
                Action::Perform(step) => {
                    let event = self.perform(engine, step).await?;
                    self.record(event);
                }
            }
        }
    }

    async fn perform(&mut self, engine: &dyn Engine, step: Step) -> StepResult {
        let deadline = Deadline::after(TIMEOUT);
        match step {
            Step::Queued => Ok(Event::StepStarted {
                step: machine::following(step, &self.spec),
            }),
            Step::Network => engine.prepare(self).await,
            Step::Discovery => engine.start_discovery(self).await,
            Step::Workers => {
                let service = engine.start(self, Part::Workers, deadline).await?;
                Ok(Event::WorkersCreated { service })
            }
            Step::Resolve => self.resolve(engine, deadline).await,
            Step::Master if self.state.master.is_none() => {
                let service = engine.start(self, Part::Master, deadline).await?;
                Ok(Event::MasterCreated { service })
            }
            Step::Master => Ok(Event::MasterStarted),
            Step::Running => {
                let master = self.state.master.clone();
                let ended = self.wait_for(engine, master, Member::has_ended, 1).await;
                Ok(Event::MasterEnded {
                    exit_code: ended.first().and_then(|master| master.exit_code),
                    memory_limit: None,
                })
            }
            other => panic!("the contract has no step {other:?}"),
        }
    }

    /// Waits until all workers run and their name resolves to their addresses.
    async fn resolve(&mut self, engine: &dyn Engine, deadline: Deadline) -> StepResult {
        let mut resolver = engine.resolver();
        loop {
            if let Some(members) = resolver.observe(self, deadline).await? {
                let mut alive: Vec<_> = members
                    .iter()
                    .filter(|member| member.is_alive())
                    .filter_map(|member| member.address)
                    .collect();
                alive.sort_unstable();
                let is_resolved = resolver.resolution().addresses == alive;
                if alive.len() == self.spec.worker.replicas as usize && is_resolved {
                    return Ok(Event::WorkersReady {
                        addresses: alive,
                        start_skew: None,
                    });
                }
                resolver.poll(self, deadline).await?;
            }
            assert!(
                !deadline.passed(),
                "the workers are not ready: {members:?}",
                members = engine.observe(self.facts()).await
            );
            sleep(POLL_INTERVAL).await;
        }
    }

    /// Waits until `count` members of a group satisfy the condition.
    async fn wait_for(
        &self,
        engine: &dyn Engine,
        group: Option<String>,
        condition: impl Fn(&Member) -> bool,
        count: usize,
    ) -> Vec<Member> {
        let started = Instant::now();
        loop {
            let mut members = engine.observe(self.facts()).await.unwrap_or_default();
            members.retain(|member| Some(&member.group) == group.as_ref());
            if members.len() == count && members.iter().all(&condition) {
                return members;
            }
            assert!(started.elapsed() < TIMEOUT, "still {members:#?}");
            sleep(POLL_INTERVAL).await;
        }
    }

    async fn log(&self, engine: &dyn Engine, source: &str) -> Vec<String> {
        let logged = engine.logged(self.facts()).await;
        let logged = logged.unwrap_or_else(|error| panic!("{error}"));
        let member = logged.iter().find(|one| one.source.to_string() == source);
        let member = member.unwrap_or_else(|| panic!("no {source} among {logged:#?}"));
        let lines = engine.logs(&member.id, member.tty, LogQuery::default());
        let lines = lines.await.unwrap_or_else(|error| panic!("{error}"));
        let texts = lines.map(|line| line.map(|line| line.text).unwrap_or_default());
        texts.collect().await
    }

    async fn is_ready(&self, engine: &dyn Engine, source: &str) -> bool {
        let log = self.log(engine, source).await;
        log.first().is_some_and(|line| line.contains("ready"))
    }

    /// Releases the run twice and checks that nothing is left.
    async fn release(&self, engine: &dyn Engine) {
        until_nothing_is_left(async || engine.release(self.facts()).await).await;
        assert_eq!(engine.release(self.facts()).await, Vec::<String>::new());
        assert_eq!(self.owned(engine).await, 0);
    }

    async fn owned(&self, engine: &dyn Engine) -> usize {
        let owned = engine.owned().await;
        let owned = owned.unwrap_or_else(|error| panic!("{error}")).into_iter();
        let key = (self.spec.name.to_string(), self.state.run.clone());
        owned.filter(|one| one.run.as_ref() == Some(&key)).count()
    }
}

/// Retries a removal until nothing is left.
async fn until_nothing_is_left(release: impl AsyncFn() -> Vec<String>) {
    let started = Instant::now();
    loop {
        let left = release().await;
        if left.is_empty() {
            return;
        }
        assert!(started.elapsed() < TIMEOUT, "still {left:#?}");
        sleep(POLL_INTERVAL).await;
    }
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
        TIMEOUT
    }

    async fn note(&mut self, event: Event) -> Result<(), StepError> {
        self.record(event);
        Ok(())
    }

    async fn pause(&mut self, length: Duration) -> Result<(), StepError> {
        sleep(length).await;
        Ok(())
    }

    fn interruption(&self) -> BoxFuture<'static, ()> {
        pending().boxed()
    }
}

/// Counts the bytes of results.
struct ByteCounter {
    deadline: Instant,
    results: Mutex<Vec<(Source, Result<usize, String>)>>,
}

impl ByteCounter {
    fn add(&self, source: Source, result: Result<usize, String>) {
        self.results.lock().push((source, result));
    }
}

#[async_trait]
impl ResultsReceiver for ByteCounter {
    fn expects(&self, _: Source) -> bool {
        true
    }

    fn end(&self) -> Instant {
        self.deadline
    }

    fn too_late(&self) -> String {
        "too late".to_owned()
    }

    fn note(&self, source: Source, problem: String) {
        self.add(source, Err(problem));
    }

    async fn take(&self, source: Source, mut tar: Tar) -> Result<Option<Stop>, String> {
        let mut bytes = 0;
        while let Some(chunk) = tar.next().await {
            bytes += chunk.map_err(|error| error.to_string())?.len();
        }
        self.add(source, Ok(bytes));
        Ok(None)
    }
}

/// Runs all scenarios. Panics if the engine violates the contract.
pub async fn run_suite(fixture: &Fixture) {
    release_earlier(fixture).await;
    a_run_completes_and_leaves_nothing(fixture).await;
    a_killed_run_leaves_nothing(fixture).await;
    an_orphaned_run_is_found_and_released(fixture).await;
    a_worker_that_does_not_start_has_a_reason(fixture).await;
    faults_detected_by_the_engine_are_reported(fixture).await;
    a_usable_engine_lists_its_node(fixture).await;
}

/// Removes the leftovers of an earlier, interrupted execution of the suite: its runs have the same ids.
async fn release_earlier(fixture: &Fixture) {
    let engine = &*fixture.engine;
    let owned = engine.owned().await;
    let owned = owned.unwrap_or_else(|error| panic!("{error}"));
    let runs: BTreeSet<_> = owned.into_iter().filter_map(|one| one.run).collect();
    for (task, run) in runs
        .iter()
        .filter(|(task, _)| task == fixture.spec.name.as_str())
    {
        until_nothing_is_left(async || engine.release_owned(task, run).await).await;
    }
}

async fn a_run_completes_and_leaves_nothing(fixture: &Fixture) {
    let engine = &*fixture.engine;
    let mut run = TestRun::new(&fixture.spec, "c0ffe1");
    let guard = engine.adopt(run.facts());
    run.drive_until(engine, Step::Master)
        .await
        .unwrap_or_else(|error| panic!("{error:?}"));
    let again = engine.start(&mut run, Part::Workers, Deadline::after(TIMEOUT));
    assert_eq!(
        again.await.ok(),
        run.state.worker,
        "a part was started twice"
    );
    run.drive_until(engine, Step::Collect)
        .await
        .unwrap_or_else(|error| panic!("{error:?}"));
    assert_eq!(run.state.exit_code, Some(0), "{:#?}", run.state);
    assert_eq!(engine.end_discovery(run.facts()).await, Ok(()));
    assert_eq!(engine.end_discovery(run.facts()).await, Ok(()));
    for source in ["worker.1", "worker.2"] {
        assert!(run.is_ready(engine, source).await);
    }
    let log = run.log(engine, "master.1").await;
    assert!(
        log.last().is_some_and(|line| line.contains("done")),
        "{log:?}"
    );
    let workers = run.state.worker.clone();
    for _ in 0..2 {
        let group = workers.as_deref().unwrap_or_default();
        assert_eq!(engine.stop(group).await, Ok(()));
    }
    let ended = run.wait_for(engine, workers, Member::has_ended, 2).await;
    assert!(ended.iter().all(|worker| worker.began), "{ended:#?}");
    assert!(
        run.is_ready(engine, "worker.2").await,
        "a log was removed with its container"
    );
    results_are_received(engine, &run).await;
    run.release(engine).await;
    drop(guard);
}

async fn results_are_received(engine: &dyn Engine, run: &TestRun) {
    let logged = engine.logged(run.facts()).await.unwrap_or_default();
    let counter = Arc::new(ByteCounter {
        deadline: Instant::now() + TIMEOUT,
        results: Mutex::default(),
    });
    let receiver: Arc<dyn ResultsReceiver> = Arc::clone(&counter) as _;
    let masters = logged
        .into_iter()
        .filter(|one| Some(&one.group) == run.state.master.as_ref());
    let fetched = engine
        .results(run.facts(), masters.collect(), receiver)
        .await;
    assert!(fetched.is_ok(), "{:?}", fetched.err());
    let results = counter.results.lock();
    let bytes: Vec<_> = results.iter().map(|(_, bytes)| bytes.clone()).collect();
    assert!(matches!(bytes[..], [Ok(1..)]), "{bytes:?}");
}

async fn a_killed_run_leaves_nothing(fixture: &Fixture) {
    let engine = &*fixture.engine;
    let mut run = TestRun::new(&fixture.spec, "c0ffe2");
    let _guard = engine.adopt(run.facts());
    run.drive_until(engine, Step::Master)
        .await
        .unwrap_or_else(|error| panic!("{error:?}"));
    engine.kill(run.facts()).await;
    run.wait_for(engine, run.state.worker.clone(), Member::is_gone, 2)
        .await;
    run.release(engine).await;
}

async fn an_orphaned_run_is_found_and_released(fixture: &Fixture) {
    let engine = &*fixture.engine;
    let mut run = TestRun::new(&fixture.spec, "c0ffe3");
    let _guard = engine.adopt(run.facts());
    run.drive_until(engine, Step::Resolve)
        .await
        .unwrap_or_else(|error| panic!("{error:?}"));
    assert!(run.owned(engine).await > 0);
    let name = run.spec.name.to_string();
    until_nothing_is_left(async || engine.release_owned(&name, "c0ffe3").await).await;
    assert_eq!(run.owned(engine).await, 0);
}

async fn a_worker_that_does_not_start_has_a_reason(fixture: &Fixture) {
    let engine = &*fixture.engine;
    let mut run = TestRun::new(&fixture.without_image, "c0ffe4");
    let _guard = engine.adopt(run.facts());
    run.drive_until(engine, Step::Resolve)
        .await
        .unwrap_or_else(|error| panic!("{error:?}"));
    let workers = run
        .wait_for(engine, run.state.worker.clone(), Member::has_ended, 2)
        .await;
    for worker in workers {
        assert!(
            worker.failed && !worker.began && !worker.reason.is_empty(),
            "{worker:#?}"
        );
    }
    run.release(engine).await;
}

async fn faults_detected_by_the_engine_are_reported(fixture: &Fixture) {
    assert_eq!(fixture.engine.check(&fixture.spec).await, Ok(Vec::new()));
    let faults = fixture.engine.check(&fixture.without_network).await;
    let fields: Vec<_> = faults
        .into_iter()
        .flatten()
        .map(|fault| fault.field)
        .collect();
    assert_eq!(fields, ["worker.networks[0]"]);
}

async fn a_usable_engine_lists_its_node(fixture: &Fixture) {
    let status = fixture
        .engine
        .status()
        .await
        .unwrap_or_else(|error| panic!("{error}"));
    let nodes = fixture
        .engine
        .nodes()
        .await
        .unwrap_or_else(|error| panic!("{error}"));
    assert!(
        nodes
            .iter()
            .any(|node| node.id == status.node_id && node.ready),
        "{nodes:?}"
    );
}
