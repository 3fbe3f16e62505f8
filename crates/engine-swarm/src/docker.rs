//! The real Swarm, over the Docker API.
//!
//! bollard makes the calls, except for these, which use the same address:
//!
//! * The list of Swarm tasks: bollard's Swarm task has no addresses.
//! * The log of a Swarm task: bollard treats a line as complete at its `\n`, and searches the whole buffer again for
//!   each new chunk. A program that draws its progress on a terminal writes one endless line, which would take
//!   unbounded memory and quadratic time. bollard also returns a frame with an error of Docker's, of type 3, as
//!   terminal text with its header, split wherever the length contains a byte that equals `\n`.
//! * Archives and statistics of a container: bollard returns a stream that borrows its client, and whose first item
//!   must be inspected to detect a refusal.
//!
//! bollard logs whole requests, passwords included, at level `debug`: the Director's logging limits it to `info`.

mod address;
mod archive;
mod client;
mod error;
mod logs;
mod registry;
mod request;
mod response;

use self::address::Address;
use self::client::{Call, Client, connection_error};
use self::response::TaskResponse;
use crate::error::SwarmError;
use crate::plan::{Labels, NetworkPlan, ServicePlan};
use crate::port::{
    ApiVersion, Container, ContainerUsage, Manager, Network, Node, Object, Service, Swarm,
    SwarmTask, with_tag,
};
use crate::registry::Credentials;
use async_trait::async_trait;
use atq_engine::{ImageDigests, JoinTokens, LogLine, LogQuery};
use atq_node_protocol::stats::ContainerStats;
use bollard::Docker;
use bollard::errors::Error;
use bollard::query_parameters::{
    CreateImageOptionsBuilder, KillContainerOptionsBuilder, ListContainersOptionsBuilder,
    ListServicesOptionsBuilder, ListVolumesOptionsBuilder, RemoveVolumeOptions,
    UpdateServiceOptionsBuilder,
};
use futures_util::stream::{BoxStream, TryStreamExt};
use serde_json::json;
use std::collections::HashMap;
use std::fmt;
use std::future::{Future, ready};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::bytes::Bytes;

/// Timeout of [`Swarm::manager`], which checks whether Docker answers.
const MANAGER_TIMEOUT: Duration = Duration::from_secs(2);
/// Timeout of a pull.
const PULL_TIMEOUT: Duration = Duration::from_secs(15 * 60);

/// A Docker Engine that is a manager of a Swarm.
#[derive(Clone)]
pub struct DockerSwarm {
    client: Arc<Client>,
    registries: Arc<Credentials>,
}

impl fmt::Debug for DockerSwarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DockerSwarm").finish_non_exhaustive()
    }
}

impl DockerSwarm {
    /// A client for the Engine at `host` (`unix://`, `tcp://`, `http://`, `https://`), else at `DOCKER_HOST`, else at
    /// the local socket. `DOCKER_TLS_VERIFY` and `DOCKER_CERT_PATH` have the same meaning as for the docker command.
    /// Nothing is sent: Docker need not be up. Images are requested without credentials.
    ///
    /// # Errors
    /// [`SwarmError::Unavailable`] when the address or the certificates are invalid.
    pub fn connect(host: Option<&str>) -> Result<Self, SwarmError> {
        Ok(Self {
            client: Arc::new(Client::new(Address::find(host)?)),
            registries: Arc::new(Credentials::none()),
        })
    }

    /// Adds credentials for image registries.
    pub fn with_credentials(self, credentials: Credentials) -> Self {
        Self {
            registries: Arc::new(credentials),
            ..self
        }
    }

    async fn read<T, F>(&self, object: &str, request: impl Fn(Docker) -> F) -> Result<T, SwarmError>
    where
        F: Future<Output = Result<T, Error>>,
    {
        self.client.send(&Call::read(object), request).await
    }

    async fn list_services(&self, filter: &Filter) -> Result<Vec<Service>, SwarmError> {
        let options = ListServicesOptionsBuilder::default().filters(filter);
        let options = Some(options.build());
        let list = async |docker: Docker| docker.list_services(options.clone()).await;
        Ok(convert(self.read("the list of services", list).await?))
    }

    async fn list_containers(&self, filter: &Filter) -> Result<Vec<Container>, SwarmError> {
        let options = ListContainersOptionsBuilder::default().all(true);
        let options = Some(options.filters(filter).build());
        let list = async |docker: Docker| docker.list_containers(options.clone()).await;
        Ok(convert(self.read("the list of containers", list).await?))
    }

    async fn list_volumes(&self, filter: &Filter) -> Result<Vec<Object>, SwarmError> {
        let options = ListVolumesOptionsBuilder::default().filters(filter);
        let options = Some(options.build());
        let list = async |docker: Docker| docker.list_volumes(options.clone()).await;
        let volumes = self.read("the list of volumes", list).await?.volumes;
        Ok(convert(volumes.unwrap_or_default()))
    }
}

/// Runs a change to completion, even if the caller is cancelled: a task that is stopped while its service is being
/// created must find that service afterwards.
async fn to_completion<T: Send + 'static>(
    change: impl Future<Output = Result<T, SwarmError>> + Send + 'static,
) -> Result<T, SwarmError> {
    let ended = tokio::spawn(change).await;
    ended.unwrap_or_else(|error| {
        Err(SwarmError::Internal {
            what: "a change".to_owned(),
            reason: error.to_string(),
        })
    })
}

/// Docker's filter for lists.
type Filter = HashMap<&'static str, Vec<String>>;

/// Docker's filter for objects with all of `labels`.
fn with_labels(labels: &Labels) -> Filter {
    let pairs = labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
    HashMap::from([("label", pairs)])
}

/// Converts a list to types of the port.
fn convert<A, T: From<A>>(answers: Vec<A>) -> Vec<T> {
    answers.into_iter().map(T::from).collect()
}

/// Attempts to stop a service whose version changes between the inspection and the update.
const STOP_ATTEMPTS: u32 = 5;

async fn stop_once(docker: &Docker, id: &str) -> Result<(), bollard::errors::Error> {
    let service = docker.inspect_service(id, None).await?;
    let version = service.version.and_then(|version| version.index);
    let options = UpdateServiceOptionsBuilder::default()
        .version(i32::try_from(version.unwrap_or_default()).unwrap_or_default());
    let spec = request::stopped(service.spec.unwrap_or_default());
    docker
        .update_service(id, spec, options.build(), None)
        .await
        .map(drop)
}

/// Docker's text for an update with an outdated version.
fn is_out_of_sequence(error: &bollard::errors::Error) -> bool {
    error.to_string().contains("update out of sequence")
}

#[async_trait]
impl Swarm for DockerSwarm {
    async fn manager(&self) -> Result<Manager, SwarmError> {
        let call = Call::read("whether it is a manager").with_timeout(MANAGER_TIMEOUT);
        let info = async |docker: Docker| docker.info().await;
        response::manager(self.client.send(&call, info).await?)
    }

    async fn api_version(&self) -> Result<ApiVersion, SwarmError> {
        let version = async |docker: Docker| Ok(docker.client_version());
        let version = self.read("its version", version).await?;
        Ok(ApiVersion {
            major: version.major_version,
            minor: version.minor_version,
        })
    }

    async fn join_tokens(&self) -> Result<JoinTokens, SwarmError> {
        let inspect = async |docker: Docker| docker.inspect_swarm().await;
        let swarm = self.read("the join tokens", inspect).await?;
        Ok(response::join_tokens(swarm.join_tokens.unwrap_or_default()))
    }

    async fn nodes(&self) -> Result<Vec<Node>, SwarmError> {
        let list = async |docker: Docker| docker.list_nodes(None).await;
        Ok(convert(self.read("the list of nodes", list).await?))
    }

    async fn networks(&self) -> Result<Vec<Network>, SwarmError> {
        let list = async |docker: Docker| docker.list_networks(None).await;
        Ok(convert(self.read("the list of networks", list).await?))
    }

    async fn create_network(&self, plan: &NetworkPlan) -> Result<String, SwarmError> {
        let call = Call::create(format!("network `{}`", plan.name));
        let (client, body) = (self.client.clone(), request::network(plan));
        to_completion(async move {
            let create = async |docker: Docker| docker.create_network(body.clone()).await;
            Ok(client.send(&call, create).await?.id)
        })
        .await
    }

    async fn remove_network(&self, id: &str) -> Result<(), SwarmError> {
        let (client, id) = (self.client.clone(), id.to_owned());
        to_completion(async move {
            let call = Call::remove(format!("network `{id}`"));
            let remove = async |docker: Docker| docker.remove_network(&id).await;
            client.send(&call, remove).await
        })
        .await
    }

    async fn services(&self, labels: &Labels) -> Result<Vec<Service>, SwarmError> {
        self.list_services(&with_labels(labels)).await
    }

    async fn create_service(&self, plan: &ServicePlan) -> Result<String, SwarmError> {
        let call = Call::create(format!("service `{}`", plan.name));
        let (docker, image) = (self.clone(), plan.image.clone());
        let body = request::service(plan);
        to_completion(async move {
            let credentials = docker.credentials(&image).await;
            let create = async |docker: Docker| {
                docker
                    .create_service(body.clone(), credentials.clone())
                    .await
            };
            let id = docker.client.send(&call, create).await?.id;
            id.ok_or_else(|| call.failed("the answer has no id".to_owned()))
        })
        .await
    }

    async fn end_service(&self, id: &str) -> Result<(), SwarmError> {
        let (client, id) = (self.client.clone(), id.to_owned());
        to_completion(async move {
            let call = Call::end(format!("service `{id}`"));
            let end = async |docker: Docker| {
                let mut attempts = 1;
                loop {
                    match stop_once(&docker, &id).await {
                        // Swarm itself updates a service that has just been created.
                        Err(error) if attempts < STOP_ATTEMPTS && is_out_of_sequence(&error) => {
                            attempts += 1
                        }
                        ended => return ended,
                    }
                }
            };
            client.send(&call, end).await
        })
        .await
    }

    async fn remove_service(&self, id: &str) -> Result<(), SwarmError> {
        let (client, id) = (self.client.clone(), id.to_owned());
        to_completion(async move {
            let call = Call::remove(format!("service `{id}`"));
            let remove = async |docker: Docker| docker.delete_service(&id).await;
            client.send(&call, remove).await
        })
        .await
    }

    async fn tasks(&self, labels: &Labels) -> Result<Vec<SwarmTask>, SwarmError> {
        let query = [("filters", json!(with_labels(labels)).to_string())];
        let list = async |docker: Docker| {
            let response = self.client.get(docker, "/tasks", &query).await?;
            let body = response.bytes().await.map_err(connection_error)?;
            Ok(serde_json::from_slice::<Vec<TaskResponse>>(&body)?)
        };
        let mut tasks = self.read("the list of Swarm tasks", list).await?;
        tasks.retain(|task| !task.is_placeholder());
        Ok(convert(tasks))
    }

    async fn containers(&self, labels: &Labels) -> Result<Vec<Container>, SwarmError> {
        self.list_containers(&with_labels(labels)).await
    }

    async fn kill_container(&self, id: &str) -> Result<(), SwarmError> {
        let (client, id) = (self.client.clone(), id.to_owned());
        to_completion(async move {
            let call = Call::end(format!("container `{id}`"));
            let options = KillContainerOptionsBuilder::default().signal("SIGKILL");
            let options = Some(options.build());
            let kill = async |docker: Docker| {
                match docker.kill_container(&id, options.clone()).await {
                    // The container does not run.
                    Err(Error::DockerResponseServerError {
                        status_code: 409, ..
                    }) => Ok(()),
                    killed => killed,
                }
            };
            client.send(&call, kill).await
        })
        .await
    }

    async fn volumes(&self, labels: &Labels) -> Result<Vec<String>, SwarmError> {
        let volumes = self.list_volumes(&with_labels(labels)).await?;
        Ok(volumes.into_iter().map(|volume| volume.name).collect())
    }

    async fn labelled(&self, key: &str) -> Result<Vec<Object>, SwarmError> {
        let filter = HashMap::from([("label", vec![key.to_owned()])]);
        let mut objects: Vec<Object> = convert(self.list_services(&filter).await?);
        objects.extend(convert::<_, Object>(self.list_containers(&filter).await?));
        let volumes = self.list_volumes(&filter).await?;
        let mut networks = self.networks().await?;
        networks.retain(|network| network.labels.contains_key(key));
        objects.extend(convert::<_, Object>(networks));
        objects.extend(volumes);
        Ok(objects)
    }

    async fn remove_volume(&self, name: &str) -> Result<(), SwarmError> {
        let (client, name) = (self.client.clone(), name.to_owned());
        to_completion(async move {
            let call = Call::remove(format!("volume `{name}`"));
            let options = None::<RemoveVolumeOptions>;
            let remove = async |docker: Docker| docker.remove_volume(&name, options.clone()).await;
            client.send(&call, remove).await
        })
        .await
    }

    async fn task_logs(
        &self,
        task_id: &str,
        tty: bool,
        query: LogQuery,
    ) -> Result<BoxStream<'static, Result<LogLine, SwarmError>>, SwarmError> {
        logs::open(self.client.clone(), task_id, tty, query).await
    }

    async fn archive(
        &self,
        container_id: &str,
        path: &str,
    ) -> Result<BoxStream<'static, Result<Bytes, SwarmError>>, SwarmError> {
        archive::open(self.client.clone(), container_id, path).await
    }

    async fn stats(&self, container_id: &str) -> Result<ContainerUsage, SwarmError> {
        let path = format!("/containers/{container_id}/stats");
        let query = [
            ("stream", "false".to_owned()),
            ("one-shot", "true".to_owned()),
        ];
        let ask = async |docker: Docker| {
            let response = self.client.get(docker, &path, &query).await?;
            let body = response.bytes().await.map_err(connection_error)?;
            Ok(serde_json::from_slice::<ContainerStats>(&body)?)
        };
        let what = format!("the statistics of container `{container_id}`");
        Ok(self.read(&what, ask).await?.into())
    }

    /// Unlike other changes, a pull is cancelled with its caller: layers that are already pulled are kept.
    async fn pull_image(&self, image: &str) -> Result<(), SwarmError> {
        if self.image_digests(image).await?.is_some() {
            return Ok(());
        }
        let call = Call::pull(format!("image `{image}`")).with_timeout(PULL_TIMEOUT);
        let options = CreateImageOptionsBuilder::default().from_image(&with_tag(image));
        let options = Some(options.build());
        let credentials = self.credentials(image).await;
        let pull = async |docker: Docker| {
            let progress = docker.create_image(options.clone(), None, credentials.clone());
            progress.try_for_each(|_| ready(Ok(()))).await
        };
        self.client.send(&call, pull).await
    }

    async fn image_digests(&self, image: &str) -> Result<Option<ImageDigests>, SwarmError> {
        let inspect = async |docker: Docker| docker.inspect_image(image).await;
        match self.read(&format!("image `{image}`"), inspect).await {
            Ok(found) => Ok(Some(ImageDigests {
                id: found.id.unwrap_or_default(),
                repo_digests: found.repo_digests.unwrap_or_default(),
            })),
            Err(SwarmError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn image_problem(&self, image: &str) -> Option<String> {
        self.check_registry(image).await
    }
}
