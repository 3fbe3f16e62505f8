//! Questions to the sidecar, one after the other, beside the look at Swarm.

use crate::core::Core;
use crate::discovery::DiscoveryError;
use crate::members::{self, is_gone, of_service, of_tools, tasks_of_run};
use crate::plan::DISCOVERY_PORT;
use crate::port::{SwarmTask, TaskState};
use crate::sidecar::{ended, failed, replace};
use async_trait::async_trait;
use atq_engine::{Asking, Course, Deadline, Facts, LookedUp, Lookout, Member, StepError};
use atq_node_protocol::probe::Probe;
use atq_task::spec::{ReadinessProbe, WORKERS_NAME};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

/// Longest single question.
const LONG_POLL: Duration = Duration::from_secs(5);
/// Pause between two questions: an answer may come at once and still settle nothing.
const PAUSE: Duration = Duration::from_millis(100);
/// Pause before the next endpoint is tried, or the only one again.
const NEXT_ENDPOINT: Duration = Duration::from_millis(30);

/// How long a sidecar may be out of sight before another one takes its place.
const OUT_OF_SIGHT: Duration = Duration::from_secs(3);

/// The sidecar of a run: not there yet, or asked all the time.
pub(crate) struct Sidecar {
    core: Arc<Core>,
    /// The last list of Swarm tasks.
    tasks: Vec<SwarmTask>,
    questions: Option<Questions>,
    seen: String,
    lost_sight: LostSight,
}

/// Since when the sidecar cannot be found: Docker forgets the ports of containers that run when a
/// manager restarts (ARCHITECTURE.md, How Docker Swarm behaves), or somebody has removed the service.
#[derive(Debug, Default)]
struct LostSight {
    since: Option<Instant>,
    replaced: bool,
}

impl LostSight {
    /// It is there.
    fn no(&mut self) {
        self.since = None;
    }

    /// It is not; after a while another one takes its place, once. Gives whether that was so now.
    ///
    /// # Errors
    /// When Docker takes no other one.
    async fn yes(
        &mut self,
        core: &Core,
        run: &mut dyn Course,
        deadline: Deadline,
    ) -> Result<bool, StepError> {
        let since = *self.since.get_or_insert_with(Instant::now);
        if self.replaced || since.elapsed() < OUT_OF_SIGHT {
            return Ok(false);
        }
        self.replaced = true;
        replace(core, run, deadline).await?;
        Ok(true)
    }
}

struct Questions {
    answers: watch::Receiver<LookedUp>,
    _asking: AbortOnDropHandle<()>,
}

impl Sidecar {
    /// A sidecar that has not been seen yet.
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self {
            core,
            tasks: Vec::new(),
            questions: None,
            seen: "no Swarm task yet".to_owned(),
            lost_sight: LostSight::default(),
        }
    }

    async fn out_of_sight(
        &mut self,
        run: &mut dyn Course,
        deadline: Deadline,
    ) -> Result<(), StepError> {
        if self.lost_sight.yes(&self.core, run, deadline).await? {
            self.questions = None;
        }
        Ok(())
    }
}

#[async_trait]
impl Lookout for Sidecar {
    async fn observe(
        &mut self,
        run: &mut dyn Course,
        deadline: Deadline,
    ) -> Result<Option<Vec<Member>>, StepError> {
        let Some(tasks) = tasks_of_run(&self.core, run.facts(), deadline).await? else {
            return Ok(None);
        };
        self.tasks = tasks;
        Ok(Some(of_tools(&self.tasks, run.facts())))
    }

    async fn look(&mut self, run: &mut dyn Course, deadline: Deadline) -> Result<(), StepError> {
        let Some(task) = sidecar_of(run.facts(), &self.tasks) else {
            self.seen = "its service is gone".to_owned();
            return self.out_of_sight(run, deadline).await;
        };
        self.seen = members::reason(&task);
        if is_gone(&task) {
            return Err(ended(&self.core, run.facts(), &self.seen).await);
        }
        if self.questions.is_some() {
            self.lost_sight.no();
            return Ok(());
        }
        let endpoints = endpoints(&self.core, run, &task, deadline).await?;
        if !endpoints.is_empty() {
            let questions = Questions::start(&self.core, run.facts(), endpoints);
            self.questions = Some(questions);
        } else if task.is_alive() {
            self.seen = "it runs, but Docker does not tell its port".to_owned();
            return self.out_of_sight(run, deadline).await;
        }
        Ok(())
    }

    fn looked_up(&mut self) -> LookedUp {
        match &mut self.questions {
            Some(questions) => questions.answers.borrow_and_update().clone(),
            None => LookedUp::default(),
        }
    }

    async fn answered(&mut self) {
        let told = match &mut self.questions {
            Some(questions) => questions.answers.changed().await.is_ok(),
            None => false,
        };
        if !told {
            std::future::pending::<()>().await;
        }
    }

    fn not_ready(&self) -> Option<String> {
        self.questions.is_none().then(|| self.seen.clone())
    }

    async fn probes(
        &mut self,
        run: &mut dyn Course,
        addresses: &[Ipv4Addr],
        probe: &ReadinessProbe,
        (shortest, longest): (Duration, Duration),
        deadline: Deadline,
    ) -> Result<Result<Vec<Asking>, String>, StepError> {
        let Some(probe) = of_definition(probe) else {
            return Ok(Err("the sidecar runs no commands".to_owned()));
        };
        let Some(task) = sidecar_of(run.facts(), &self.tasks) else {
            self.lost_sight.yes(&self.core, run, deadline).await?;
            return Ok(Err("the sidecar is gone".to_owned()));
        };
        if is_gone(&task) {
            return Err(ended(&self.core, run.facts(), &members::reason(&task)).await);
        }
        let endpoints = endpoints(&self.core, run, &task, deadline).await?;
        match endpoints.is_empty() && task.is_alive() {
            true => self
                .lost_sight
                .yes(&self.core, run, deadline)
                .await
                .map(drop)?,
            false => self.lost_sight.no(),
        }
        if endpoints.is_empty() {
            return Ok(Err("the sidecar's port is not known".to_owned()));
        }
        let token = &run.facts().state.token;
        let asking = endpoints.into_iter().map(|endpoint| {
            let (discovery, token) = (Arc::clone(&self.core.discovery), token.clone());
            let (addresses, probe) = (addresses.to_vec(), probe.clone());
            let asking: Asking = Box::pin(async move {
                let patience = deadline.left().clamp(shortest, longest);
                let asked = discovery.probe(&endpoint, &token, &addresses, &probe, patience);
                asked.await.map_err(|silence| silence.to_string())
            });
            asking
        });
        Ok(Ok(asking.collect()))
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

/// The question of a definition, if it is one for the sidecar.
fn of_definition(probe: &ReadinessProbe) -> Option<Probe> {
    match probe.clone() {
        ReadinessProbe::Tcp(port) => Some(Probe::Tcp(port)),
        ReadinessProbe::Http { port, path, status } => Some(Probe::Http { port, path, status }),
        ReadinessProbe::Exec(_) => None,
    }
}

impl Questions {
    /// `endpoints` are not empty; one of them is the sidecar's.
    fn start(core: &Core, run: Facts<'_>, endpoints: Vec<String>) -> Self {
        let (sender, answers) = watch::channel(LookedUp::default());
        let discovery = Arc::clone(&core.discovery);
        let token = run.state.token.clone();
        let replicas = run.spec.worker.replicas;
        let asking = tokio::spawn(async move {
            for endpoint in endpoints.iter().cycle() {
                // A long poll may outlast the deadline. This answer comes at once.
                if discovery.health(endpoint).await.is_ok() {
                    sender.send_modify(|last| {
                        last.answered = true;
                        last.error = None;
                    });
                }
                // One that answers is asked for as long as it does.
                while let Ok(addresses) = discovery
                    .addresses(endpoint, &token, WORKERS_NAME, replicas, LONG_POLL)
                    .await
                    // The error stays beside the addresses of the last good answer: one bad one
                    // proves nothing.
                    .inspect_err(|error| {
                        sender.send_modify(|last| {
                            last.error = Some(DiscoveryError::to_string(error))
                        });
                    })
                {
                    sender.send_replace(LookedUp {
                        addresses,
                        answered: true,
                        error: None,
                    });
                    tokio::time::sleep(PAUSE).await;
                }
                tokio::time::sleep(NEXT_ENDPOINT).await;
            }
        });
        Self {
            answers,
            _asking: AbortOnDropHandle::new(asking),
        }
    }
}

/// The Swarm task of the sidecar. That of one whose service was removed stays listed for a while.
fn sidecar_of(run: Facts<'_>, tasks: &[SwarmTask]) -> Option<SwarmTask> {
    let own = of_service(tasks, run.state.discovery.as_deref());
    own.into_iter()
        .find(|task| task.desired != TaskState::Remove)
}

/// Base URLs under which a sidecar that runs may be: on this node the loopback, else the node's
/// address. There are several when Docker has published its port under one number for IPv4 and
/// another one for IPv6: it tells both, but not which is which.
async fn endpoints(
    core: &Core,
    run: &mut dyn Course,
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
    run: &mut dyn Course,
    task: &SwarmTask,
    deadline: Deadline,
) -> Result<Option<String>, StepError> {
    if let Some(host) = &core.settings.discovery_host {
        return Ok(Some(host.clone()));
    }
    let manager = run.patiently(deadline, || core.swarm.manager()).await?;
    if task.node_id.as_ref() == Some(&manager.node_id) {
        return Ok(Some("127.0.0.1".to_owned()));
    }
    let nodes = run.patiently(deadline, || core.swarm.nodes()).await?;
    let node = nodes
        .into_iter()
        .find(|node| Some(&node.id) == task.node_id.as_ref());
    Ok(node.map(|node| node.address))
}
