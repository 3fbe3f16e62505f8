//! The real Swarm, over the Docker API.
//!
//! One HTTP client with kept-alive connections makes all calls. The bodies that are sent are
//! bollard's types; bollard's own client is not used: its list of Swarm tasks has no addresses, its
//! reader of logs takes frames with errors for text, it opens a connection for each call over TCP,
//! and it writes whole requests, passwords included, to the debug log.

mod address;
mod answer;
mod body;
mod client;
mod error;
mod logs;

use self::address::Address;
use self::answer::{
    ContainerAnswer, Created, Info, NetworkAnswer, NodeAnswer, ServiceAnswer, SwarmAnswer,
    TaskAnswer, VolumesAnswer,
};
use self::client::{Call, Client};
use super::{
    Container, JoinTokens, LogLine, LogQuery, Manager, Network, Node, Service, Swarm, SwarmError,
    SwarmTask, with_tag,
};
use crate::task::plan::{Labels, NetworkPlan, ServicePlan};
use async_trait::async_trait;
use futures_util::stream::{BoxStream, StreamExt};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

/// Deadline of [`Swarm::manager`], which answers whether Docker is there at all.
const PROBE: Duration = Duration::from_secs(2);
/// Deadline of a whole pull.
const PULL: Duration = Duration::from_secs(15 * 60);

/// A Docker Engine that is a manager of a Swarm.
#[derive(Clone)]
pub struct DockerSwarm {
    client: Arc<Client>,
}

impl fmt::Debug for DockerSwarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DockerSwarm").finish_non_exhaustive()
    }
}

impl DockerSwarm {
    /// A client for the Engine at `host` (`unix://`, `tcp://`, `http://`, `https://`), else at
    /// `DOCKER_HOST`, else at the local socket. `DOCKER_TLS_VERIFY` and `DOCKER_CERT_PATH` mean what
    /// they mean to the docker command. Nothing is sent: Docker need not be up.
    ///
    /// # Errors
    /// [`SwarmError::Unavailable`] when the address or the certificates cannot be understood.
    pub fn connect(host: Option<&str>) -> Result<Self, SwarmError> {
        let client = Arc::new(Client::new(Address::find(host)?));
        Ok(Self { client })
    }

    /// Runs a change to its end, also when the caller goes away: a task that is stopped while its
    /// service is being created must be able to find that service afterwards.
    async fn change<T, F>(
        &self,
        what: &str,
        work: impl FnOnce(Arc<Client>) -> F,
    ) -> Result<T, SwarmError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, SwarmError>> + Send + 'static,
    {
        let handle = tokio::spawn(work(self.client.clone()));
        handle.await.unwrap_or_else(|error| {
            Err(SwarmError::Internal {
                what: what.to_owned(),
                reason: error.to_string(),
            })
        })
    }

    async fn create(&self, call: Call) -> Result<String, SwarmError> {
        let created = |client: Arc<Client>| async move { client.json::<Created>(call).await };
        Ok(self.change("a creation", created).await?.id)
    }

    async fn remove(&self, path: String, object: String) -> Result<(), SwarmError> {
        let call = Call::remove(path, object);
        let removed = |client: Arc<Client>| async move { client.done(call).await };
        self.change("a removal", removed).await
    }

    /// The list that `call` asks for, in our words.
    async fn list<A: DeserializeOwned, T: From<A>>(
        &self,
        call: Call,
    ) -> Result<Vec<T>, SwarmError> {
        let answers: Vec<A> = self.client.json(call).await?;
        Ok(answers.into_iter().map(T::from).collect())
    }

    async fn has_image(&self, image: &str) -> Result<bool, SwarmError> {
        let call = Call::read(format!("/images/{image}/json"), format!("image `{image}`"));
        match self.client.open(&call).await {
            Ok(_) => Ok(true),
            Err(SwarmError::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Docker's filter for objects that carry all of `labels`.
fn carrying(labels: &Labels) -> String {
    let pairs: Vec<_> = labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
    json!({ "label": pairs }).to_string()
}

#[async_trait]
impl Swarm for DockerSwarm {
    async fn manager(&self) -> Result<Manager, SwarmError> {
        let call = Call::read("/info", "whether it is a manager").within(PROBE);
        self.client.json::<Info>(call).await?.manager()
    }

    async fn join_tokens(&self) -> Result<JoinTokens, SwarmError> {
        let call = Call::read("/swarm", "the join tokens");
        Ok(self.client.json::<SwarmAnswer>(call).await?.into())
    }

    async fn nodes(&self) -> Result<Vec<Node>, SwarmError> {
        let call = Call::read("/nodes", "the list of nodes");
        self.list::<NodeAnswer, _>(call).await
    }

    async fn networks(&self) -> Result<Vec<Network>, SwarmError> {
        let call = Call::read("/networks", "the list of networks");
        self.list::<NetworkAnswer, _>(call).await
    }

    async fn create_network(&self, plan: &NetworkPlan) -> Result<String, SwarmError> {
        let object = format!("network `{}`", plan.name);
        self.create(Call::create(
            "/networks/create",
            object,
            &body::network(plan),
        )?)
        .await
    }

    async fn remove_network(&self, id: &str) -> Result<(), SwarmError> {
        self.remove(format!("/networks/{id}"), format!("network `{id}`"))
            .await
    }

    async fn services(&self, labels: &Labels) -> Result<Vec<Service>, SwarmError> {
        let call =
            Call::read("/services", "the list of services").with("filters", carrying(labels));
        self.list::<ServiceAnswer, _>(call).await
    }

    async fn create_service(&self, plan: &ServicePlan) -> Result<String, SwarmError> {
        let object = format!("service `{}`", plan.name);
        self.create(Call::create(
            "/services/create",
            object,
            &body::service(plan),
        )?)
        .await
    }

    async fn remove_service(&self, id: &str) -> Result<(), SwarmError> {
        self.remove(format!("/services/{id}"), format!("service `{id}`"))
            .await
    }

    async fn tasks(&self, labels: &Labels) -> Result<Vec<SwarmTask>, SwarmError> {
        let what = "the list of Swarm tasks";
        let call = Call::read("/tasks", what).with("filters", carrying(labels));
        let answers: Vec<TaskAnswer> = self.client.json(call).await?;
        let tasks: Result<_, _> = answers.into_iter().map(TaskAnswer::into_task).collect();
        tasks.map_err(|reason| SwarmError::Internal {
            what: what.to_owned(),
            reason,
        })
    }

    async fn containers(&self, labels: &Labels) -> Result<Vec<Container>, SwarmError> {
        let call = Call::read("/containers/json", "the list of containers")
            .with("all", "true")
            .with("filters", carrying(labels));
        self.list::<ContainerAnswer, _>(call).await
    }

    async fn volumes(&self, labels: &Labels) -> Result<Vec<String>, SwarmError> {
        let call = Call::read("/volumes", "the list of volumes").with("filters", carrying(labels));
        Ok(self.client.json::<VolumesAnswer>(call).await?.names())
    }

    async fn remove_volume(&self, name: &str) -> Result<(), SwarmError> {
        self.remove(format!("/volumes/{name}"), format!("volume `{name}`"))
            .await
    }

    async fn task_logs(
        &self,
        task_id: &str,
        tty: bool,
        query: LogQuery,
    ) -> Result<BoxStream<'static, Result<LogLine, SwarmError>>, SwarmError> {
        let object = format!("the log of Swarm task `{task_id}`");
        let tail = query.tail.map_or("all".to_owned(), |n| n.to_string());
        let call = Call::read(format!("/tasks/{task_id}/logs"), object)
            .with("stdout", "true")
            .with("stderr", "true")
            .with("timestamps", "true")
            .with("tail", tail);
        logs::open(self.client.clone(), call, tty).await
    }

    /// Unlike other changes, a pull ends when the caller goes away: what it has pulled is kept.
    async fn pull_image(&self, image: &str) -> Result<(), SwarmError> {
        if self.has_image(image).await? {
            return Ok(());
        }
        let call = Call::pull(format!("image `{image}`"))
            .with("fromImage", with_tag(image))
            .within(PULL);
        pull(&self.client, &call).await
    }
}

/// One message about the progress of a pull; a failure comes as the last one, under status 200.
#[derive(Deserialize)]
struct Progress {
    error: Option<String>,
}

async fn pull(client: &Client, call: &Call) -> Result<(), SwarmError> {
    let response = client.open(call).await?;
    let mut body = response.bytes_stream();
    let mut last = Vec::new();
    let read = async {
        while let Some(part) = body.next().await {
            last.extend_from_slice(&part.map_err(|e| client.lost(call, &e))?);
            // Progress is not reported: only the message that is not complete yet is kept.
            let complete = last
                .iter()
                .rposition(|b| *b == b'\n')
                .map_or(0, |at| at + 1);
            let messages: Vec<u8> = last.drain(..complete).collect();
            refuse_error(call, &messages)?;
        }
        refuse_error(call, &last)
    };
    tokio::time::timeout(PULL, read)
        .await
        .unwrap_or_else(|_| Err(call.timed_out()))
}

fn refuse_error(call: &Call, messages: &[u8]) -> Result<(), SwarmError> {
    let parsed = messages
        .split(|b| *b == b'\n')
        .filter_map(|line| serde_json::from_slice::<Progress>(line).ok());
    match parsed.filter_map(|progress| progress.error).next() {
        Some(reason) => Err(call.refused(reason)),
        None => Ok(()),
    }
}
