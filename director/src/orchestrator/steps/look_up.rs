//! Questions to the sidecar, one after the other, beside the look at Swarm.

use super::{discovery, judge, of_service};
use crate::discovery::DiscoveryError;
use crate::orchestrator::image_reason::explain;
use crate::orchestrator::run::Run;
use crate::orchestrator::wait::{Deadline, StepError};
use crate::plan::DISCOVERY_PORT;
use crate::swarm::{SwarmTask, TaskState};
use crate::task::spec::WORKERS_NAME;
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
pub struct Sidecar {
    questions: Option<Questions>,
    seen: String,
    lost_sight: LostSight,
}

/// Since when the sidecar cannot be found: Docker forgets the ports of containers that run when a
/// manager restarts (ARCHITECTURE.md, How Docker Swarm behaves), or somebody has removed the service.
#[derive(Debug, Default)]
pub struct LostSight {
    since: Option<Instant>,
    replaced: bool,
}

impl LostSight {
    /// It is there.
    pub fn no(&mut self) {
        self.since = None;
    }

    /// It is not; after a while another one takes its place, once. Gives whether that was so now.
    ///
    /// # Errors
    /// When Docker takes no other one.
    pub async fn yes(&mut self, run: &mut Run, deadline: Deadline) -> Result<bool, StepError> {
        let since = *self.since.get_or_insert_with(Instant::now);
        if self.replaced || since.elapsed() < OUT_OF_SIGHT {
            return Ok(false);
        }
        self.replaced = true;
        discovery::replace(run, deadline).await?;
        Ok(true)
    }
}

struct Questions {
    answers: watch::Receiver<LookedUp>,
    _asking: AbortOnDropHandle<()>,
}

/// What the sidecar said last.
#[derive(Debug, Clone, Default)]
pub struct LookedUp {
    /// The addresses of the last good answer, ascending.
    pub addresses: Vec<Ipv4Addr>,
    /// Whether it has answered anything.
    pub answered: bool,
    /// Why there was no answer since then.
    pub error: Option<DiscoveryError>,
}

impl Sidecar {
    /// A sidecar that has not been seen yet.
    pub fn new() -> Self {
        Self {
            questions: None,
            seen: "no Swarm task yet".to_owned(),
            lost_sight: LostSight::default(),
        }
    }

    /// Begins to ask the sidecar as soon as it runs.
    ///
    /// # Errors
    /// When it did not start, or has ended.
    pub async fn look(
        &mut self,
        run: &mut Run,
        tasks: &[SwarmTask],
        deadline: Deadline,
    ) -> Result<(), StepError> {
        let Some(task) = sidecar_of(run, tasks) else {
            self.seen = "its service is gone".to_owned();
            return self.out_of_sight(run, deadline).await;
        };
        self.seen = judge::reason(&task);
        if judge::is_gone(&task) {
            return Err(ended(run, &self.seen).await);
        }
        if self.questions.is_some() {
            self.lost_sight.no();
            return Ok(());
        }
        let endpoints = endpoints(run, &task, deadline).await?;
        if !endpoints.is_empty() {
            self.questions = Some(Questions::start(run, endpoints));
        } else if task.is_alive() {
            self.seen = "it runs, but Docker does not tell its port".to_owned();
            return self.out_of_sight(run, deadline).await;
        }
        Ok(())
    }

    async fn out_of_sight(&mut self, run: &mut Run, deadline: Deadline) -> Result<(), StepError> {
        if self.lost_sight.yes(run, deadline).await? {
            self.questions = None;
        }
        Ok(())
    }

    /// What it said last.
    pub fn said(&mut self) -> LookedUp {
        match &mut self.questions {
            Some(questions) => questions.answers.borrow_and_update().clone(),
            None => LookedUp::default(),
        }
    }

    /// Returns when it has said something new.
    pub async fn answered(&mut self) {
        let told = match &mut self.questions {
            Some(questions) => questions.answers.changed().await.is_ok(),
            None => false,
        };
        if !told {
            std::future::pending::<()>().await;
        }
    }

    /// Docker's word for a sidecar that is not asked yet; `None` when it is.
    pub fn not_ready(&self) -> Option<&str> {
        self.questions.is_none().then_some(self.seen.as_str())
    }
}

impl Questions {
    /// `endpoints` are not empty; one of them is the sidecar's.
    fn start(run: &Run, endpoints: Vec<String>) -> Self {
        let (sender, answers) = watch::channel(LookedUp::default());
        let discovery = Arc::clone(&run.shared.discovery);
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
                        sender.send_modify(|last| last.error = Some(error.clone()));
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
pub fn sidecar_of(run: &Run, tasks: &[SwarmTask]) -> Option<SwarmTask> {
    let own = of_service(tasks, run.state.discovery.as_deref());
    own.into_iter()
        .find(|task| task.desired != TaskState::Remove)
}

/// The failure that a sidecar which has ended means.
pub async fn ended(run: &Run, seen: &str) -> StepError {
    let image = &run.shared.settings.discovery_image;
    let hint = match seen.contains("No such image") {
        true => format!(
            "is the image `{image}` on the node, or can it be pulled? `discoveryImage` names another one"
        ),
        false => String::new(),
    };
    let message = format!("the sidecar does not run: {seen}");
    run.sidecar_failed(explain(run, image, message).await, hint)
}

/// Base URLs under which a sidecar that runs may be: on this node the loopback, else the node's
/// address. There are several when Docker has published its port under one number for IPv4 and
/// another one for IPv6: it tells both, but not which is which.
pub async fn endpoints(
    run: &mut Run,
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
    let host = host(run, task, deadline).await?;
    let urls = host.map(|host| {
        ports
            .iter()
            .map(|port| format!("http://{host}:{port}"))
            .collect()
    });
    Ok(urls.unwrap_or_default())
}

async fn host(
    run: &mut Run,
    task: &SwarmTask,
    deadline: Deadline,
) -> Result<Option<String>, StepError> {
    if let Some(host) = &run.shared.settings.discovery_host {
        return Ok(Some(host.clone()));
    }
    let swarm = Arc::clone(&run.shared.swarm);
    let manager = run.docker(deadline, || swarm.manager()).await?;
    if task.node_id.as_ref() == Some(&manager.node_id) {
        return Ok(Some("127.0.0.1".to_owned()));
    }
    let nodes = run.docker(deadline, || swarm.nodes()).await?;
    let node = nodes
        .into_iter()
        .find(|node| Some(&node.id) == task.node_id.as_ref());
    Ok(node.map(|node| node.address))
}
