//! Notifies an [`EngineObserver`] of every call of Docker: its method, its result and its duration.

use crate::error::SwarmError;
use crate::plan::{Labels, NetworkPlan, ServicePlan};
use crate::port::{
    ApiVersion, Container, ContainerUsage, Manager, Network, Node, Object, Service, Swarm,
    SwarmTask,
};
use async_trait::async_trait;
use atq_engine::observer::{CANCELLED, OK};
use atq_engine::{EngineObserver, ImageDigests, JoinTokens, LogLine, LogQuery};
use futures_util::stream::BoxStream;
use std::future::Future;
use std::sync::Arc;
use tokio::time::Instant;
use tokio_util::bytes::Bytes;

/// A Swarm whose calls are observed. The calls are named after the methods of [`Swarm`].
pub struct ObservedCalls {
    swarm: Arc<dyn Swarm>,
    observer: Arc<dyn EngineObserver>,
}

impl ObservedCalls {
    /// Notifies `observer` of the calls to `swarm`.
    pub fn new(swarm: Arc<dyn Swarm>, observer: Arc<dyn EngineObserver>) -> Self {
        Self { swarm, observer }
    }

    /// Makes a call and notifies the observer of its end.
    async fn observed<T>(
        &self,
        call: &'static str,
        work: impl Future<Output = Result<T, SwarmError>>,
    ) -> Result<T, SwarmError> {
        let pending = self.begin(call);
        let result = work.await;
        pending.end(result.as_ref().map_or_else(SwarmError::code, |_| OK));
        result
    }

    fn begin(&self, call: &'static str) -> Pending<'_> {
        Pending {
            observer: &*self.observer,
            call,
            result: CANCELLED,
            started: Instant::now(),
        }
    }
}

/// A call in progress. Dropped without a result, it was cancelled.
struct Pending<'a> {
    observer: &'a dyn EngineObserver,
    call: &'static str,
    result: &'static str,
    started: Instant,
}

impl Pending<'_> {
    fn end(mut self, result: &'static str) {
        self.result = result;
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        let duration = self.started.elapsed();
        self.observer.called(self.call, self.result, duration);
    }
}

#[async_trait]
impl Swarm for ObservedCalls {
    async fn manager(&self) -> Result<Manager, SwarmError> {
        self.observed("manager", self.swarm.manager()).await
    }

    async fn api_version(&self) -> Result<ApiVersion, SwarmError> {
        self.observed("api_version", self.swarm.api_version()).await
    }

    async fn join_tokens(&self) -> Result<JoinTokens, SwarmError> {
        self.observed("join_tokens", self.swarm.join_tokens()).await
    }

    async fn nodes(&self) -> Result<Vec<Node>, SwarmError> {
        let nodes = self.observed("nodes", self.swarm.nodes()).await?;
        let listed: Vec<atq_engine::Node> = nodes.iter().cloned().map(Into::into).collect();
        self.observer.listed(&listed);
        Ok(nodes)
    }

    async fn networks(&self) -> Result<Vec<Network>, SwarmError> {
        self.observed("networks", self.swarm.networks()).await
    }

    async fn create_network(&self, plan: &NetworkPlan) -> Result<String, SwarmError> {
        self.observed("create_network", self.swarm.create_network(plan))
            .await
    }

    async fn remove_network(&self, id: &str) -> Result<(), SwarmError> {
        self.observed("remove_network", self.swarm.remove_network(id))
            .await
    }

    async fn services(&self, labels: &Labels) -> Result<Vec<Service>, SwarmError> {
        self.observed("services", self.swarm.services(labels)).await
    }

    async fn create_service(&self, plan: &ServicePlan) -> Result<String, SwarmError> {
        self.observed("create_service", self.swarm.create_service(plan))
            .await
    }

    async fn end_service(&self, id: &str) -> Result<(), SwarmError> {
        self.observed("end_service", self.swarm.end_service(id))
            .await
    }

    async fn remove_service(&self, id: &str) -> Result<(), SwarmError> {
        self.observed("remove_service", self.swarm.remove_service(id))
            .await
    }

    async fn tasks(&self, labels: &Labels) -> Result<Vec<SwarmTask>, SwarmError> {
        self.observed("tasks", self.swarm.tasks(labels)).await
    }

    async fn containers(&self, labels: &Labels) -> Result<Vec<Container>, SwarmError> {
        self.observed("containers", self.swarm.containers(labels))
            .await
    }

    async fn kill_container(&self, id: &str) -> Result<(), SwarmError> {
        self.observed("kill_container", self.swarm.kill_container(id))
            .await
    }

    async fn volumes(&self, labels: &Labels) -> Result<Vec<String>, SwarmError> {
        self.observed("volumes", self.swarm.volumes(labels)).await
    }

    async fn labelled(&self, key: &str) -> Result<Vec<Object>, SwarmError> {
        self.observed("labelled", self.swarm.labelled(key)).await
    }

    async fn remove_volume(&self, name: &str) -> Result<(), SwarmError> {
        self.observed("remove_volume", self.swarm.remove_volume(name))
            .await
    }

    async fn task_logs(
        &self,
        task_id: &str,
        tty: bool,
        query: LogQuery,
    ) -> Result<BoxStream<'static, Result<LogLine, SwarmError>>, SwarmError> {
        self.observed("task_logs", self.swarm.task_logs(task_id, tty, query))
            .await
    }

    async fn archive(
        &self,
        container_id: &str,
        path: &str,
    ) -> Result<BoxStream<'static, Result<Bytes, SwarmError>>, SwarmError> {
        self.observed("archive", self.swarm.archive(container_id, path))
            .await
    }

    async fn stats(&self, container_id: &str) -> Result<ContainerUsage, SwarmError> {
        self.observed("stats", self.swarm.stats(container_id)).await
    }

    async fn pull_image(&self, image: &str) -> Result<(), SwarmError> {
        self.observed("pull_image", self.swarm.pull_image(image))
            .await
    }

    async fn image_digests(&self, image: &str) -> Result<Option<ImageDigests>, SwarmError> {
        self.observed("image_digests", self.swarm.image_digests(image))
            .await
    }

    async fn image_problem(&self, image: &str) -> Option<String> {
        let pending = self.begin("image_problem");
        let problem = self.swarm.image_problem(image).await;
        pending.end(OK);
        problem
    }
}

#[cfg(test)]
mod tests;
