//! Lists of Docker objects, shared by all runs: concurrent requests of several runs get the same answer. The number
//! of calls depends on time, not on the number of runs.
//!
//! An answer is never older than the request: only callers that requested it before the call began share it. The call
//! is a separate task, because a caller may be suspended for long, for example while a client reads a log slowly.

use crate::error::SwarmError;
use crate::plan::{LABEL_DIRECTOR, Labels, NetworkPlan, ServicePlan};
use crate::port::{
    ApiVersion, Container, ContainerUsage, Manager, Network, Node, Object, Service, Swarm,
    SwarmTask,
};
use async_trait::async_trait;
use atq_engine::{ImageDigests, JoinTokens, LogLine, LogQuery};
use futures_util::stream::BoxStream;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_util::bytes::Bytes;

/// Minimum interval between calls under continuous load.
const MIN_INTERVAL: Duration = Duration::from_millis(50);
/// Number of calls that may come earlier, for a driver that lists twice in a step.
const BURST: f64 = 10.0;
/// A slow call is made less often: calls take at most a quarter of the time.
const DURATION_FACTOR: u32 = 4;
/// Upper bound of the interval: at least two calls per second.
const MAX_INTERVAL: Duration = Duration::from_millis(500);

type Answer<T> = Result<Arc<T>, SwarmError>;
type PendingAnswer<T> = watch::Receiver<Option<Answer<T>>>;

/// One list that all callers share. Cheap to clone.
struct SharedList<T> {
    /// The call that has not started yet.
    next: Arc<Mutex<Option<PendingAnswer<T>>>>,
    /// Locked by the call in progress.
    pace: Arc<tokio::sync::Mutex<Pace>>,
}

impl<T> Clone for SharedList<T> {
    fn clone(&self) -> Self {
        Self {
            next: Arc::clone(&self.next),
            pace: Arc::clone(&self.pace),
        }
    }
}

impl<T: Send + Sync + 'static> SharedList<T> {
    fn new() -> Self {
        Self {
            next: Arc::default(),
            pace: Arc::new(tokio::sync::Mutex::new(Pace::new())),
        }
    }

    /// The answer of a call that starts now or later.
    async fn get<F>(&self, list: F) -> Answer<T>
    where
        F: Future<Output = Result<T, SwarmError>> + Send + 'static,
    {
        let mut pending = self.join(list);
        let answer = pending.wait_for(Option::is_some).await;
        answer
            .ok()
            .and_then(|answer| answer.clone())
            .unwrap_or_else(|| {
                Err(SwarmError::Internal {
                    what: "a list".to_owned(),
                    reason: "the call was cancelled".to_owned(),
                })
            })
    }

    /// Joins the next call, or starts it.
    fn join<F>(&self, list: F) -> PendingAnswer<T>
    where
        F: Future<Output = Result<T, SwarmError>> + Send + 'static,
    {
        let mut next = self.next();
        if let Some(pending) = &*next {
            return pending.clone();
        }
        let (answer, pending) = watch::channel(None);
        *next = Some(pending.clone());
        let this = self.clone();
        tokio::spawn(async move {
            let mut pace = this.pace.lock().await;
            sleep_until(pace.earliest()).await;
            let started = Instant::now();
            *this.next() = None;
            let listed = list.await;
            pace.record(started);
            answer.send_replace(Some(listed.map(Arc::new)));
        });
        pending
    }

    fn next(&self) -> MutexGuard<'_, Option<PendingAnswer<T>>> {
        self.next.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Rate limit of the calls: a token bucket. Its unit is a call, so that a change of the interval keeps the credit.
struct Pace {
    /// Number of calls that may be made at once, at the time `updated`.
    credit: f64,
    updated: Instant,
    interval: Duration,
}

impl Pace {
    fn new() -> Self {
        Self {
            credit: BURST,
            updated: Instant::now(),
            interval: MIN_INTERVAL,
        }
    }

    fn earliest(&self) -> Instant {
        let missing = (1.0 - self.credit).max(0.0);
        self.updated + self.interval.mul_f64(missing)
    }

    /// Records the end of a call that started at `started`.
    fn record(&mut self, started: Instant) {
        let since = started.duration_since(self.updated);
        let earned = since.div_duration_f64(self.interval);
        self.credit = (self.credit + earned).min(BURST) - 1.0;
        self.updated = started;
        let interval = started.elapsed() * DURATION_FACTOR;
        self.interval = interval.clamp(MIN_INTERVAL, MAX_INTERVAL);
    }
}

/// A Swarm with shared lists.
pub struct SharedLists {
    swarm: Arc<dyn Swarm>,
    director: String,
    nodes: SharedList<Vec<Node>>,
    networks: SharedList<Vec<Network>>,
    services: SharedList<Vec<Service>>,
    tasks: SharedList<Vec<SwarmTask>>,
    containers: SharedList<Vec<Container>>,
}

impl SharedLists {
    /// Shares the lists of the objects of the Director with this id.
    pub fn new(swarm: Arc<dyn Swarm>, director: &str) -> Self {
        Self {
            swarm,
            director: director.to_owned(),
            nodes: SharedList::new(),
            networks: SharedList::new(),
            services: SharedList::new(),
            tasks: SharedList::new(),
            containers: SharedList::new(),
        }
    }

    /// The label of this Director's objects, if `labels` select only such objects.
    fn own(&self, labels: &Labels) -> Option<Labels> {
        let is_own = labels.get(LABEL_DIRECTOR) == Some(&self.director);
        is_own.then(|| Labels::from([(LABEL_DIRECTOR.to_owned(), self.director.clone())]))
    }
}

/// The elements of `all` whose labels include all of `wanted`.
fn with<T: Clone>(all: &[T], labels: impl Fn(&T) -> &Labels, wanted: &Labels) -> Vec<T> {
    let carries = |one: &&T| {
        wanted
            .iter()
            .all(|(key, value)| labels(one).get(key) == Some(value))
    };
    all.iter().filter(carries).cloned().collect()
}

#[async_trait]
impl Swarm for SharedLists {
    async fn nodes(&self) -> Result<Vec<Node>, SwarmError> {
        let swarm = Arc::clone(&self.swarm);
        let nodes = self.nodes.get(async move { swarm.nodes().await }).await?;
        Ok(nodes.to_vec())
    }

    async fn networks(&self) -> Result<Vec<Network>, SwarmError> {
        let swarm = Arc::clone(&self.swarm);
        let networks = self
            .networks
            .get(async move { swarm.networks().await })
            .await?;
        Ok(networks.to_vec())
    }

    async fn services(&self, labels: &Labels) -> Result<Vec<Service>, SwarmError> {
        let Some(own) = self.own(labels) else {
            return self.swarm.services(labels).await;
        };
        let swarm = Arc::clone(&self.swarm);
        let services = self
            .services
            .get(async move { swarm.services(&own).await })
            .await?;
        Ok(with(&services, |service| &service.labels, labels))
    }

    async fn tasks(&self, labels: &Labels) -> Result<Vec<SwarmTask>, SwarmError> {
        let Some(own) = self.own(labels) else {
            return self.swarm.tasks(labels).await;
        };
        let swarm = Arc::clone(&self.swarm);
        let tasks = self
            .tasks
            .get(async move { swarm.tasks(&own).await })
            .await?;
        Ok(with(&tasks, |task| &task.labels, labels))
    }

    async fn containers(&self, labels: &Labels) -> Result<Vec<Container>, SwarmError> {
        let Some(own) = self.own(labels) else {
            return self.swarm.containers(labels).await;
        };
        let swarm = Arc::clone(&self.swarm);
        let containers = self
            .containers
            .get(async move { swarm.containers(&own).await })
            .await?;
        Ok(with(&containers, |container| &container.labels, labels))
    }

    async fn manager(&self) -> Result<Manager, SwarmError> {
        self.swarm.manager().await
    }

    async fn api_version(&self) -> Result<ApiVersion, SwarmError> {
        self.swarm.api_version().await
    }

    async fn join_tokens(&self) -> Result<JoinTokens, SwarmError> {
        self.swarm.join_tokens().await
    }

    async fn create_network(&self, plan: &NetworkPlan) -> Result<String, SwarmError> {
        self.swarm.create_network(plan).await
    }

    async fn remove_network(&self, id: &str) -> Result<(), SwarmError> {
        self.swarm.remove_network(id).await
    }

    async fn create_service(&self, plan: &ServicePlan) -> Result<String, SwarmError> {
        self.swarm.create_service(plan).await
    }

    async fn end_service(&self, id: &str) -> Result<(), SwarmError> {
        self.swarm.end_service(id).await
    }

    async fn remove_service(&self, id: &str) -> Result<(), SwarmError> {
        self.swarm.remove_service(id).await
    }

    async fn kill_container(&self, id: &str) -> Result<(), SwarmError> {
        self.swarm.kill_container(id).await
    }

    async fn volumes(&self, labels: &Labels) -> Result<Vec<String>, SwarmError> {
        self.swarm.volumes(labels).await
    }

    async fn labelled(&self, key: &str) -> Result<Vec<Object>, SwarmError> {
        self.swarm.labelled(key).await
    }

    async fn remove_volume(&self, name: &str) -> Result<(), SwarmError> {
        self.swarm.remove_volume(name).await
    }

    async fn task_logs(
        &self,
        task_id: &str,
        tty: bool,
        query: LogQuery,
    ) -> Result<BoxStream<'static, Result<LogLine, SwarmError>>, SwarmError> {
        self.swarm.task_logs(task_id, tty, query).await
    }

    async fn archive(
        &self,
        container_id: &str,
        path: &str,
    ) -> Result<BoxStream<'static, Result<Bytes, SwarmError>>, SwarmError> {
        self.swarm.archive(container_id, path).await
    }

    async fn stats(&self, container_id: &str) -> Result<ContainerUsage, SwarmError> {
        self.swarm.stats(container_id).await
    }

    async fn pull_image(&self, image: &str) -> Result<(), SwarmError> {
        self.swarm.pull_image(image).await
    }

    async fn image_digests(&self, image: &str) -> Result<Option<ImageDigests>, SwarmError> {
        self.swarm.image_digests(image).await
    }

    async fn image_problem(&self, image: &str) -> Option<String> {
        self.swarm.image_problem(image).await
    }
}

#[cfg(test)]
mod tests;
