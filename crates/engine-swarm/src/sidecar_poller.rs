//! Polls the sidecar for the addresses of the workers, while the driver lists Swarm tasks.

use crate::core::Core;
use crate::discovery::DiscoveryError;
use crate::members::{self, is_gone, of_service, of_tools, tasks_of_run};
use crate::plan::DISCOVERY_PORT;
use crate::port::{SwarmTask, TaskState};
use crate::sidecar::{ended, failed, replace};
use async_trait::async_trait;
use atq_engine::{
    Deadline, Facts, Member, ProbeRequest, Resolution, Resolver, RunContext, StepError,
};
use atq_node_protocol::probe::Probe;
use atq_task::spec::{ReadinessProbe, WORKERS_NAME};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

/// Longest single request.
const LONG_POLL: Duration = Duration::from_secs(5);
/// Pause between two requests: a response may come at once and still be incomplete.
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// Pause before the next endpoint is tried, or the only one again.
const ENDPOINT_RETRY_PAUSE: Duration = Duration::from_millis(30);

/// A sidecar that is missing for this long is replaced.
const REPLACE_AFTER: Duration = Duration::from_secs(3);

/// Client of a run's sidecar. Polling starts once its endpoints are known.
pub(crate) struct SidecarPoller {
    core: Arc<Core>,
    /// The last list of Swarm tasks.
    tasks: Vec<SwarmTask>,
    poll_task: Option<PollTask>,
    last_state: String,
    absence: Absence,
}

/// The time since which the sidecar is missing. Docker drops the ports of running containers when a manager restarts
/// (ARCHITECTURE.md, How Docker Swarm behaves), or the service was removed by another client.
#[derive(Debug, Default)]
struct Absence {
    since: Option<Instant>,
    replaced: bool,
}

impl Absence {
    /// The sidecar was found.
    fn reset(&mut self) {
        self.since = None;
    }

    /// The sidecar was not found. Replaces it after [`REPLACE_AFTER`], once; returns whether it was replaced now.
    ///
    /// # Errors
    /// When the new sidecar cannot be created.
    async fn note_missing(
        &mut self,
        core: &Core,
        run: &mut dyn RunContext,
        deadline: Deadline,
    ) -> Result<bool, StepError> {
        let since = *self.since.get_or_insert_with(Instant::now);
        if self.replaced || since.elapsed() < REPLACE_AFTER {
            return Ok(false);
        }
        self.replaced = true;
        replace(core, run, deadline).await?;
        Ok(true)
    }
}

struct PollTask {
    answers: watch::Receiver<Resolution>,
    _task: AbortOnDropHandle<()>,
}

impl SidecarPoller {
    /// A client for a sidecar that has not been found yet.
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self {
            core,
            tasks: Vec::new(),
            poll_task: None,
            last_state: "no Swarm task yet".to_owned(),
            absence: Absence::default(),
        }
    }

    async fn handle_absence(
        &mut self,
        run: &mut dyn RunContext,
        deadline: Deadline,
    ) -> Result<(), StepError> {
        if self.absence.note_missing(&self.core, run, deadline).await? {
            self.poll_task = None;
        }
        Ok(())
    }
}

#[async_trait]
impl Resolver for SidecarPoller {
    async fn observe(
        &mut self,
        run: &mut dyn RunContext,
        deadline: Deadline,
    ) -> Result<Option<Vec<Member>>, StepError> {
        let Some(tasks) = tasks_of_run(&self.core, run.facts(), deadline).await? else {
            return Ok(None);
        };
        self.tasks = tasks;
        Ok(Some(of_tools(&self.tasks, run.facts())))
    }

    async fn poll(
        &mut self,
        run: &mut dyn RunContext,
        deadline: Deadline,
    ) -> Result<(), StepError> {
        let Some(task) = sidecar_of(run.facts(), &self.tasks) else {
            self.last_state = "its service was removed".to_owned();
            return self.handle_absence(run, deadline).await;
        };
        self.last_state = members::reason(&task);
        if is_gone(&task) {
            return Err(ended(&self.core, run.facts(), &self.last_state).await);
        }
        if self.poll_task.is_some() {
            self.absence.reset();
            return Ok(());
        }
        let endpoints = endpoints(&self.core, run, &task, deadline).await?;
        if !endpoints.is_empty() {
            let poll_task = PollTask::start(&self.core, run.facts(), endpoints);
            self.poll_task = Some(poll_task);
        } else if task.is_alive() {
            self.last_state = "it runs, but Docker does not list its port".to_owned();
            return self.handle_absence(run, deadline).await;
        }
        Ok(())
    }

    fn resolution(&mut self) -> Resolution {
        match &mut self.poll_task {
            Some(poll_task) => poll_task.answers.borrow_and_update().clone(),
            None => Resolution::default(),
        }
    }

    async fn answered(&mut self) {
        let changed = match &mut self.poll_task {
            Some(poll_task) => poll_task.answers.changed().await.is_ok(),
            None => false,
        };
        if !changed {
            std::future::pending::<()>().await;
        }
    }

    fn not_ready(&self) -> Option<String> {
        self.poll_task.is_none().then(|| self.last_state.clone())
    }

    async fn probes(
        &mut self,
        run: &mut dyn RunContext,
        addresses: &[Ipv4Addr],
        probe: &ReadinessProbe,
        (shortest, longest): (Duration, Duration),
        deadline: Deadline,
    ) -> Result<Result<Vec<ProbeRequest>, String>, StepError> {
        let Some(probe) = of_definition(probe) else {
            return Ok(Err("the sidecar cannot run commands".to_owned()));
        };
        let Some(task) = sidecar_of(run.facts(), &self.tasks) else {
            self.absence.note_missing(&self.core, run, deadline).await?;
            return Ok(Err("the sidecar was removed".to_owned()));
        };
        if is_gone(&task) {
            return Err(ended(&self.core, run.facts(), &members::reason(&task)).await);
        }
        let endpoints = endpoints(&self.core, run, &task, deadline).await?;
        match endpoints.is_empty() && task.is_alive() {
            true => self
                .absence
                .note_missing(&self.core, run, deadline)
                .await
                .map(drop)?,
            false => self.absence.reset(),
        }
        if endpoints.is_empty() {
            return Ok(Err("the sidecar's port is unknown".to_owned()));
        }
        let token = &run.facts().state.token;
        let requests = endpoints.into_iter().map(|endpoint| {
            let (discovery, token) = (Arc::clone(&self.core.discovery), token.clone());
            let (addresses, probe) = (addresses.to_vec(), probe.clone());
            let request: ProbeRequest = Box::pin(async move {
                let timeout = deadline.left().clamp(shortest, longest);
                let response = discovery.probe(&endpoint, &token, &addresses, &probe, timeout);
                response.await.map_err(|error| error.to_string())
            });
            request
        });
        Ok(Ok(requests.collect()))
    }

    fn noun(&self) -> &'static str {
        "the sidecar"
    }

    fn failed(&self, run: Facts<'_>, message: String, hint: &str) -> StepError {
        failed(run, message, hint)
    }

    fn unreached_hint(&self) -> &'static str {
        "when the Director runs in a container, it must be on the `host` network; \
         `discoveryHost` names another address"
    }
}

/// The probe of a definition, if the sidecar can perform it.
fn of_definition(probe: &ReadinessProbe) -> Option<Probe> {
    match probe.clone() {
        ReadinessProbe::Tcp(port) => Some(Probe::Tcp(port)),
        ReadinessProbe::Http { port, path, status } => Some(Probe::Http { port, path, status }),
        ReadinessProbe::Exec(_) => None,
    }
}

impl PollTask {
    /// Polls `endpoints` in turn; one of them is the sidecar's. Must not be empty.
    fn start(core: &Core, run: Facts<'_>, endpoints: Vec<String>) -> Self {
        let (sender, answers) = watch::channel(Resolution::default());
        let discovery = Arc::clone(&core.discovery);
        let token = run.state.token.clone();
        let replicas = run.spec.worker.replicas;
        let task = tokio::spawn(async move {
            for endpoint in endpoints.iter().cycle() {
                // A long poll may outlast the deadline; a health check returns at once.
                if discovery.health(endpoint).await.is_ok() {
                    sender.send_modify(|last| {
                        last.answered = true;
                        last.error = None;
                    });
                }
                // An endpoint that responds is polled until it fails.
                while let Ok(addresses) = discovery
                    .addresses(endpoint, &token, WORKERS_NAME, replicas, LONG_POLL)
                    .await
                    // The addresses of the last good response are kept beside the error: one failure proves nothing.
                    .inspect_err(|error| {
                        sender.send_modify(|last| {
                            last.error = Some(DiscoveryError::to_string(error))
                        });
                    })
                {
                    sender.send_replace(Resolution {
                        addresses,
                        answered: true,
                        error: None,
                    });
                    tokio::time::sleep(POLL_INTERVAL).await;
                }
                tokio::time::sleep(ENDPOINT_RETRY_PAUSE).await;
            }
        });
        Self {
            answers,
            _task: AbortOnDropHandle::new(task),
        }
    }
}

/// The Swarm task of the sidecar. The task of a removed service stays listed for a while.
fn sidecar_of(run: Facts<'_>, tasks: &[SwarmTask]) -> Option<SwarmTask> {
    let own = of_service(tasks, run.state.discovery.as_deref());
    own.into_iter()
        .find(|task| task.desired != TaskState::Remove)
}

/// Base URLs under which a running sidecar may be reached: the loopback address if it is on this node, else the node's
/// address. There are several when Docker has published the port under different numbers for IPv4 and IPv6: Docker
/// lists both and does not distinguish them.
async fn endpoints(
    core: &Core,
    run: &mut dyn RunContext,
    task: &SwarmTask,
    deadline: Deadline,
) -> Result<Vec<String>, StepError> {
    let ports: Vec<u16> = task
        .ports
        .iter()
        .filter(|(target, _)| *target == DISCOVERY_PORT)
        .map(|(_, port)| *port)
        .collect();
    if !task.is_alive() || ports.is_empty() {
        return Ok(Vec::new());
    }
    let host = host(core, run, task, deadline).await?;
    let urls = host.map(|host| {
        ports
            .iter()
            .map(|port| format!("http://{host}:{port}"))
            .collect()
    });
    Ok(urls.unwrap_or_default())
}

async fn host(
    core: &Core,
    run: &mut dyn RunContext,
    task: &SwarmTask,
    deadline: Deadline,
) -> Result<Option<String>, StepError> {
    if let Some(host) = &core.settings.discovery_host {
        return Ok(Some(host.clone()));
    }
    let manager = run.retry(deadline, || core.swarm.manager()).await?;
    if task.node_id.as_ref() == Some(&manager.node_id) {
        return Ok(Some("127.0.0.1".to_owned()));
    }
    let nodes = run.retry(deadline, || core.swarm.nodes()).await?;
    let node = nodes
        .into_iter()
        .find(|node| Some(&node.id) == task.node_id.as_ref());
    Ok(node.map(|node| node.address))
}
