//! An engine in memory for tests: one node, and containers that follow a script.

use crate::{
    Deadline, Engine, EngineError, Facts, Fetched, ImageDigests, JoinTokens, LogLine, LogLines,
    LogQuery, LogStream, Machine, Member, Node, Owned, Part, Phase, Resolution, Resolver,
    ResourceGuard, ResultsReceiver, Role, RunContext, Source, Status, StepError, StepResult,
    Targets, UsageSink, UsageWatch,
};
use async_trait::async_trait;
use atq_task::event::{Event, FailureCode};
use atq_task::spec::{Fault, ReadinessProbe, TaskName, TaskSpec};
use atq_task::state::Step;
use futures_util::{StreamExt, stream};
use parking_lot::{Mutex, MutexGuard};
use std::collections::BTreeMap;
use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use tokio_util::bytes::Bytes;

/// Id and name of the only node.
const NODE: &str = "node-1";
/// Time from the start of a part until its processes run.
const START_DELAY: Duration = Duration::from_millis(200);

/// The behaviour of the containers of an image.
#[derive(Debug, Clone, Default)]
pub struct Script {
    /// Lines on standard output.
    pub lines: Vec<String>,
    /// Duration and exit code of the process; `None`: it runs until it is stopped.
    pub ends: Option<(Duration, i64)>,
    /// Content of its results.
    pub results: Vec<u8>,
}

#[derive(Debug, Clone)]
struct Group {
    run: (String, String),
    role: Role,
    replicas: u32,
    script: Option<Script>,
    started: Instant,
    stopped: Option<Instant>,
}

impl Group {
    fn ended(&self) -> Option<(Instant, Option<i64>)> {
        let by_itself = match &self.script {
            None => Some((self.started, None)),
            Some(script) => {
                let ends = script.ends;
                ends.map(|(after, code)| (self.started + START_DELAY + after, Some(code)))
            }
        };
        let stopped = self.stopped.map(|at| (at, Some(0)));
        let first = by_itself
            .into_iter()
            .chain(stopped)
            .min_by_key(|(at, _)| *at)?;
        (first.0 <= Instant::now()).then_some(first)
    }

    fn member(&self, id: &str, replica: u32) -> Member {
        let ended = self.ended();
        let (phase, state) = match (&ended, &self.script) {
            (Some(_), None) => (Phase::Ended, "rejected"),
            (Some(_), _) => (Phase::Ended, "ended"),
            (None, _) if self.started.elapsed() < START_DELAY => (Phase::Waiting, "waiting"),
            (None, _) => (Phase::Running, "running"),
        };
        let error = self.script.is_none().then(|| "no such image".to_owned());
        let [a, b, c] = [10, 0, self.role as u8];
        Member {
            id: format!("{id}/{replica}"),
            group: id.to_owned(),
            source: Source::new(self.role, replica),
            tty: false,
            node: Some(NODE.to_owned()),
            lost: false,
            phase,
            state,
            leaving: ended.is_some(),
            began: self.script.is_some() && phase >= Phase::Running,
            failed: self.script.is_none(),
            unplaceable_after: None,
            since: None,
            reason: error.clone().unwrap_or_else(|| state.to_owned()),
            error,
            exit_code: ended.and_then(|(_, code)| code),
            container: self.script.is_some().then(|| format!("{id}-{replica}")),
            address: Some(Ipv4Addr::new(a, b, c, replica as u8)),
        }
    }
}

#[derive(Default)]
struct ModelState {
    scripts: BTreeMap<String, Script>,
    groups: BTreeMap<String, Group>,
}

/// The engine in memory. Clones share its state.
#[derive(Clone, Default)]
pub struct Model(Arc<Mutex<ModelState>>);

impl Model {
    /// Adds an image.
    pub fn image(&self, name: &str, script: Script) {
        self.lock().scripts.insert(name.to_owned(), script);
    }

    fn lock(&self) -> MutexGuard<'_, ModelState> {
        self.0.lock()
    }

    fn members(&self, run: Facts<'_>) -> Vec<Member> {
        let key = (run.spec.name.to_string(), run.state.run.clone());
        let state = self.lock();
        let own = state.groups.iter().filter(|(_, group)| group.run == key);
        own.flat_map(|(id, group)| (1..=group.replicas).map(|replica| group.member(id, replica)))
            .filter(|member| member.source.role != Role::Discovery)
            .collect()
    }

    fn start_group(
        &self,
        run: Facts<'_>,
        role: Role,
        suffix: &str,
        replicas: u32,
        image: Option<&str>,
    ) -> String {
        let id = format!("{}-{}-{suffix}", run.spec.name, run.state.run);
        let mut state = self.lock();
        let script = match image {
            Some(image) => state.scripts.get(image).cloned(),
            None => Some(Script::default()),
        };
        state.groups.entry(id.clone()).or_insert_with(|| Group {
            run: (run.spec.name.to_string(), run.state.run.clone()),
            role,
            replicas,
            script,
            started: Instant::now(),
            stopped: None,
        });
        id
    }

    fn remove(&self, wanted: impl Fn(&Group) -> bool) -> Vec<String> {
        self.lock().groups.retain(|_, group| !wanted(group));
        Vec::new()
    }
}

struct ModelResolver {
    engine: Model,
    polled: bool,
    addresses: Vec<Ipv4Addr>,
}

#[async_trait]
impl Resolver for ModelResolver {
    async fn observe(
        &mut self,
        run: &mut dyn RunContext,
        _: Deadline,
    ) -> Result<Option<Vec<Member>>, StepError> {
        Ok(Some(self.engine.members(run.facts())))
    }

    async fn poll(&mut self, run: &mut dyn RunContext, _: Deadline) -> Result<(), StepError> {
        let workers = self.engine.members(run.facts()).into_iter();
        let alive = workers.filter(|one| one.source.role == Role::Worker && one.is_alive());
        self.addresses = alive.filter_map(|one| one.address).collect();
        self.polled = true;
        Ok(())
    }

    fn resolution(&mut self) -> Resolution {
        Resolution {
            addresses: self.addresses.clone(),
            answered: self.polled,
            error: None,
        }
    }

    async fn answered(&mut self) {
        sleep(START_DELAY).await;
    }

    fn not_ready(&self) -> Option<String> {
        (!self.polled).then(|| "not polled yet".to_owned())
    }

    async fn probes(
        &mut self,
        _: &mut dyn RunContext,
        _: &[Ipv4Addr],
        _: &ReadinessProbe,
        _: (Duration, Duration),
        _: Deadline,
    ) -> Result<Result<Vec<crate::ProbeRequest>, String>, StepError> {
        Ok(Err("the model has no probes".to_owned()))
    }

    fn noun(&self) -> &'static str {
        "the resolver"
    }

    fn failed(&self, run: Facts<'_>, message: String, hint: &str) -> StepError {
        run.failed_in(Step::Discovery, FailureCode::DiscoveryFailed, message, hint)
    }

    fn unreached_hint(&self) -> &'static str {
        ""
    }
}

struct NoSampling;

#[async_trait]
impl UsageWatch for NoSampling {
    async fn end(&self) {}
}

#[async_trait]
impl Engine for Model {
    fn name(&self) -> &'static str {
        "the model"
    }

    fn unanswered(&self) -> EngineError {
        EngineError {
            code: "unanswered",
            temporary: true,
            message: "the model has not responded yet".to_owned(),
        }
    }

    async fn status(&self) -> Result<Status, EngineError> {
        Ok(Status {
            node_id: NODE.to_owned(),
            node_address: "127.0.0.1".to_owned(),
            engine_version: "model".to_owned(),
        })
    }

    async fn nodes(&self) -> Result<Vec<Node>, EngineError> {
        Ok(vec![Node {
            id: NODE.to_owned(),
            hostname: NODE.to_owned(),
            address: "127.0.0.1".to_owned(),
            machine: Machine::default(),
            ready: true,
            active: true,
        }])
    }

    async fn join_tokens(&self) -> Result<JoinTokens, EngineError> {
        Ok(JoinTokens {
            manager: "manager".to_owned(),
            worker: "worker".to_owned(),
        })
    }

    async fn pull_image(&self, _: &str) -> Result<(), EngineError> {
        Ok(())
    }

    async fn image_digests(&self, _: &str) -> Result<Option<ImageDigests>, EngineError> {
        Ok(None)
    }

    fn own_images(&self) -> Vec<String> {
        Vec::new()
    }

    async fn check(&self, spec: &TaskSpec) -> Result<Vec<Fault>, EngineError> {
        let services = [("master", &spec.master), ("worker", &spec.worker)].into_iter();
        let faults = services.flat_map(|(role, service)| {
            (0..service.networks.len()).map(move |index| Fault {
                field: format!("{role}.networks[{index}]"),
                message: "the model has no networks".to_owned(),
            })
        });
        Ok(faults.collect())
    }

    fn adopt(&self, _: Facts<'_>) -> ResourceGuard {
        Box::new(())
    }

    async fn distribute(&self, _: &mut dyn RunContext) -> StepResult {
        Ok(Event::BundlesDelivered { nodes: Vec::new() })
    }

    async fn prepare(&self, run: &mut dyn RunContext) -> StepResult {
        let subnet = ipnet::Ipv4Net::new_assert(Ipv4Addr::new(10, 0, 0, 0), 16);
        run.note(Event::SubnetChosen { subnet }).await?;
        let id = format!("{}-net", run.facts().state.run);
        Ok(Event::NetworkCreated { id })
    }

    async fn start_discovery(&self, run: &mut dyn RunContext) -> StepResult {
        let service = self.start_group(run.facts(), Role::Discovery, "discovery", 1, None);
        Ok(Event::DiscoveryPlaced { service })
    }

    async fn end_discovery(&self, run: Facts<'_>) -> Result<(), EngineError> {
        match &run.state.discovery {
            Some(group) => self.dismiss(group).await,
            None => Ok(()),
        }
    }

    fn resolver(&self) -> Box<dyn Resolver> {
        Box::new(ModelResolver {
            engine: self.clone(),
            polled: false,
            addresses: Vec::new(),
        })
    }

    async fn start(
        &self,
        run: &mut dyn RunContext,
        part: Part<'_>,
        _: Deadline,
    ) -> Result<String, StepError> {
        let facts = run.facts();
        let (suffix, service, replicas) = match part {
            Part::Workers => (
                "worker".to_owned(),
                &facts.spec.worker,
                facts.spec.worker.replicas,
            ),
            Part::Master => (
                "master".to_owned(),
                &facts.spec.master,
                facts.spec.master.replicas,
            ),
            Part::Readiness { .. } => ("readiness".to_owned(), &facts.spec.worker, 1),
            Part::Wait { attempt, .. } => (format!("wait-{attempt}"), &facts.spec.worker, 1),
        };
        Ok(self.start_group(facts, part.role(), &suffix, replicas, Some(&service.image)))
    }

    async fn observe(&self, run: Facts<'_>) -> Result<Vec<Member>, EngineError> {
        Ok(self.members(run))
    }

    async fn logged(&self, run: Facts<'_>) -> Result<Vec<Member>, EngineError> {
        let mut members = self.members(run);
        members.retain(|member| member.container.is_some());
        Ok(members)
    }

    async fn logs(&self, id: &str, _: bool, _: LogQuery) -> Result<LogLines, EngineError> {
        let (group, _) = id.rsplit_once('/').unwrap_or((id, ""));
        let state = self.lock();
        let script = state
            .groups
            .get(group)
            .and_then(|group| group.script.clone());
        let script = script.ok_or_else(|| EngineError {
            code: "group_gone",
            temporary: false,
            message: format!("the log of `{id}` does not exist"),
        })?;
        let lines = script.lines.into_iter().map(|text| {
            Ok(LogLine {
                at: String::new(),
                stream: LogStream::Stdout,
                text,
            })
        });
        Ok(stream::iter(lines).boxed())
    }

    async fn results(
        &self,
        _: Facts<'_>,
        wanted: Vec<Member>,
        receiver: Arc<dyn ResultsReceiver>,
    ) -> Result<Fetched, EngineError> {
        for member in wanted {
            let group = self.lock().groups.get(&member.group).cloned();
            let bytes = group
                .and_then(|group| group.script)
                .unwrap_or_default()
                .results;
            let tar = stream::iter([Ok(Bytes::from(bytes))]).boxed();
            // The receiver records the result.
            let _ = receiver.take(member.source, tar).await;
        }
        Ok(Fetched::default())
    }

    fn watch(&self, _: Facts<'_>, _: Targets, _: Arc<dyn UsageSink>) -> Box<dyn UsageWatch> {
        Box::new(NoSampling)
    }

    async fn stop(&self, group: &str) -> Result<(), EngineError> {
        if let Some(group) = self.lock().groups.get_mut(group) {
            group.stopped.get_or_insert_with(Instant::now);
        }
        Ok(())
    }

    async fn kill(&self, run: Facts<'_>) {
        let groups: Vec<String> = self.members(run).into_iter().map(|one| one.group).collect();
        for group in groups {
            // It cannot fail.
            let _ = self.stop(&group).await;
        }
    }

    async fn dismiss(&self, group: &str) -> Result<(), EngineError> {
        self.lock().groups.remove(group);
        Ok(())
    }

    async fn release(&self, run: Facts<'_>) -> Vec<String> {
        self.release_owned(run.spec.name.as_str(), &run.state.run)
            .await
    }

    async fn release_task(&self, task: &TaskName, _: bool) -> Vec<String> {
        self.remove(|group| group.run.0 == task.as_str())
    }

    async fn owned(&self) -> Result<Vec<Owned>, EngineError> {
        let state = self.lock();
        let owned = state.groups.iter().map(|(id, group)| Owned {
            kind: "group",
            name: id.clone(),
            director: "director-1".to_owned(),
            is_here: true,
            run: Some(group.run.clone()),
        });
        Ok(owned.collect())
    }

    async fn release_owned(&self, task: &str, run: &str) -> Vec<String> {
        self.remove(|group| group.run.0 == task && group.run.1 == run)
    }

    fn removal_commands(&self, _: &[(&'static str, String)]) -> String {
        String::new()
    }

    async fn hold_bundles(&self) -> ResourceGuard {
        Box::new(())
    }

    async fn forget_bundle(&self, _: &str) -> io::Result<bool> {
        Ok(false)
    }

    async fn clear_bundle(&self, _: &str) -> io::Result<Vec<String>> {
        Ok(Vec::new())
    }

    async fn forgotten_bundles(&self) -> io::Result<Vec<String>> {
        Ok(Vec::new())
    }

    async fn explain(&self, _: &str, message: String) -> String {
        message
    }

    fn advice(&self, _: FailureCode, _: &str, _: &TaskSpec) -> String {
        String::new()
    }
}
