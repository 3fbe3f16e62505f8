//! The port to the simulated Swarm.

use super::FakeSwarm;
use super::cluster::Cluster;
use super::task_lifecycle::FakeTask;
use crate::error::SwarmError;
use crate::plan::{Labels, NetworkPlan, RESULTS_TARGET, ServicePlan};
use crate::port::{
    ApiVersion, Container, ContainerUsage, CpuUsage, Kind, Manager, Network, Node, Object, Service,
    Swarm, SwarmTask, TaskState,
};
use crate::registry_problem::RegistryProblem;
use async_trait::async_trait;
use atq_engine::{ImageDigests, JoinTokens, LogLine, LogQuery, ResourceUsage};
use futures_util::FutureExt;
use futures_util::stream::{self, BoxStream, StreamExt};
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::bytes::Bytes;

/// CPUs of a node.
const CPUS: u32 = 4;

/// Whether `labels` has all of `wanted`.
fn carries(labels: &Labels, wanted: &Labels) -> bool {
    wanted
        .iter()
        .all(|(key, value)| labels.get(key) == Some(value))
}

#[async_trait]
impl Swarm for FakeSwarm {
    async fn manager(&self) -> Result<Manager, SwarmError> {
        self.call("manager", "", |cluster, _| {
            let node = cluster.nodes.first().map(|n| n.node.clone());
            let node = node.ok_or(SwarmError::NotASwarm)?;
            Ok(Manager {
                node_id: node.id,
                node_address: node.address,
                engine_version: "20.10.24".to_owned(),
            })
        })
        .await
    }

    async fn api_version(&self) -> Result<ApiVersion, SwarmError> {
        self.call("api_version", "", |cluster, _| Ok(cluster.api_version))
            .await
    }

    async fn join_tokens(&self) -> Result<JoinTokens, SwarmError> {
        self.call("join_tokens", "", |_, _| {
            Ok(JoinTokens {
                manager: "SWMTKN-1-fake-manager".to_owned(),
                worker: "SWMTKN-1-fake-worker".to_owned(),
            })
        })
        .await
    }

    async fn nodes(&self) -> Result<Vec<Node>, SwarmError> {
        self.call("nodes", "", |cluster, _| {
            Ok(cluster.nodes.iter().map(|n| n.node.clone()).collect())
        })
        .await
    }

    async fn networks(&self) -> Result<Vec<Network>, SwarmError> {
        self.call("networks", "", |cluster, now| {
            Ok(cluster.networks.iter().map(|n| n.observe(now)).collect())
        })
        .await
    }

    async fn create_network(&self, plan: &NetworkPlan) -> Result<String, SwarmError> {
        self.call("create_network", &plan.name, |cluster, _| {
            cluster.create_network(plan)
        })
        .await
    }

    async fn remove_network(&self, id: &str) -> Result<(), SwarmError> {
        self.call("remove_network", id, |cluster, now| {
            cluster.remove_network(id, now)
        })
        .await
    }

    async fn services(&self, labels: &Labels) -> Result<Vec<Service>, SwarmError> {
        self.call("services", "", |cluster, _| {
            let found = cluster
                .services
                .iter()
                .filter(|s| carries(&s.plan.labels, labels));
            Ok(found
                .map(|s| Service {
                    id: s.id.clone(),
                    name: s.plan.name.clone(),
                    labels: s.plan.labels.clone(),
                })
                .collect())
        })
        .await
    }

    async fn create_service(&self, plan: &ServicePlan) -> Result<String, SwarmError> {
        self.call("create_service", &plan.name, |cluster, now| {
            cluster.create_service(plan, now)
        })
        .await
    }

    async fn end_service(&self, id: &str) -> Result<(), SwarmError> {
        self.call("end_service", id, |cluster, now| {
            cluster.end_service(id, now)
        })
        .await
    }

    async fn remove_service(&self, id: &str) -> Result<(), SwarmError> {
        self.call("remove_service", id, |cluster, now| {
            cluster.remove_service(id, now)
        })
        .await
    }

    async fn tasks(&self, labels: &Labels) -> Result<Vec<SwarmTask>, SwarmError> {
        self.call("tasks", "", |cluster, now| {
            let listed = cluster.listed(now);
            let found = listed.filter(|t| carries(&t.service.plan.labels, labels));
            Ok(found.map(|task| task.observe(now)).collect())
        })
        .await
    }

    async fn containers(&self, labels: &Labels) -> Result<Vec<Container>, SwarmError> {
        self.call("containers", "", |cluster, now| {
            let all = cluster.containers(now);
            Ok(all.filter(|c| carries(&c.labels, labels)).collect())
        })
        .await
    }

    async fn kill_container(&self, id: &str) -> Result<(), SwarmError> {
        self.call("kill_container", id, |cluster, now| {
            on_the_manager(cluster, now, id)?;
            cluster.kill(now, |task| task.container_id() == id);
            Ok(())
        })
        .await
    }

    async fn volumes(&self, labels: &Labels) -> Result<Vec<String>, SwarmError> {
        self.call("volumes", "", |cluster, _| {
            let found = cluster
                .volumes
                .iter()
                .filter(|(_, own)| carries(own, labels));
            Ok(found.map(|(name, _)| name.clone()).collect())
        })
        .await
    }

    async fn labelled(&self, key: &str) -> Result<Vec<Object>, SwarmError> {
        self.call("labelled", key, |cluster, now| {
            let services = cluster.services.iter().map(|s| Object {
                kind: Kind::Service,
                name: s.plan.name.clone(),
                labels: s.plan.labels.clone(),
            });
            let volumes = cluster.volumes.iter().map(|(name, labels)| Object {
                kind: Kind::Volume,
                name: name.clone(),
                labels: labels.clone(),
            });
            let all = services
                .chain(cluster.containers(now).map(Object::from))
                .chain(cluster.networks.iter().map(|n| n.observe(now).into()))
                .chain(volumes);
            Ok(all.filter(|o| o.labels.contains_key(key)).collect())
        })
        .await
    }

    async fn remove_volume(&self, name: &str) -> Result<(), SwarmError> {
        self.call("remove_volume", name, |cluster, now| {
            let what = format!("volume `{name}`");
            if cluster.is_used(name, now) {
                let reason = format!("remove {name}: volume is in use");
                return Err(SwarmError::InUse { what, reason });
            }
            match cluster.volumes.remove(name) {
                Some(_) => Ok(()),
                None => Err(SwarmError::NotFound { what }),
            }
        })
        .await
    }

    async fn task_logs(
        &self,
        task_id: &str,
        tty: bool,
        query: LogQuery,
    ) -> Result<BoxStream<'static, Result<LogLine, SwarmError>>, SwarmError> {
        self.log(task_id, tty, query).await
    }

    async fn archive(
        &self,
        container_id: &str,
        path: &str,
    ) -> Result<BoxStream<'static, Result<Bytes, SwarmError>>, SwarmError> {
        let (tar, hangs) = self
            .call("archive", container_id, |cluster, now| {
                let task = on_the_manager(cluster, now, container_id)?;
                let tar = tar_of_results(task, now, path)?;
                Ok((tar, task.service.script.results_hang))
            })
            .await?;
        // Splits the tar into arbitrary pieces, as received from a socket.
        let pieces: Vec<_> = tar.chunks(1000).map(Bytes::copy_from_slice).collect();
        let pieces = stream::iter(pieces).map(Ok);
        Ok(match hangs {
            true => pieces.chain(stream::pending()).boxed(),
            false => pieces.boxed(),
        })
    }

    async fn stats(&self, container_id: &str) -> Result<ContainerUsage, SwarmError> {
        self.call("stats", container_id, |cluster, now| {
            let task = on_the_manager(cluster, now, container_id)?;
            Ok(usage_of(task, now))
        })
        .await
    }

    async fn pull_image(&self, image: &str) -> Result<(), SwarmError> {
        self.call("pull_image", image, |cluster, _| {
            match cluster.scripts.contains_key(&(image.to_owned(), None)) {
                true => Ok(()),
                false => Err(SwarmError::Rejected {
                    what: format!("the pull of image `{image}`"),
                    reason: format!("pull access denied for {image}, repository does not exist"),
                }),
            }
        })
        .await
    }

    async fn image_digests(&self, image: &str) -> Result<Option<ImageDigests>, SwarmError> {
        self.call("image_digests", image, |cluster, _| {
            let is_known = cluster.scripts.contains_key(&(image.to_owned(), None));
            Ok(is_known.then(|| ImageDigests {
                id: format!("sha256:{image}"),
                repo_digests: Vec::new(),
            }))
        })
        .await
    }

    /// The configured refusal; registries without one are unreachable.
    async fn image_problem(&self, image: &str) -> Option<String> {
        let refusal = self.call("image_problem", image, |cluster, _| {
            let unreached = || ("dial tcp: connection refused".to_owned(), Duration::ZERO);
            Ok(cluster
                .refusals
                .get(image)
                .cloned()
                .unwrap_or_else(unreached))
        });
        let (reason, after) = refusal.await.ok()?;
        tokio::time::sleep(after).await;
        let problem = RegistryProblem {
            image,
            reason: Some(reason),
            sent: &Ok(None),
        };
        Some(problem.to_string())
    }
}

impl FakeSwarm {
    /// The resource usage of a container on any node, for a carrier there; `None` when there is no such container.
    pub fn usage_of(&self, container_id: &str) -> Option<ContainerUsage> {
        let usage = self.apply(|cluster, now| {
            let own = |task: &&FakeTask| task.container_id() == container_id;
            let task = cluster.tasks.iter().find(own);
            Ok(task.map(|task| usage_of(task, now)))
        });
        usage.ok().flatten()
    }

    /// The content of `/atq/results` for a carrier on the container's node.
    ///
    /// # Errors
    /// [`SwarmError::NotFound`] when there is no such container.
    pub fn results_of(&self, container_id: &str) -> Result<Vec<u8>, SwarmError> {
        self.apply(|cluster, now| {
            let own = |task: &&FakeTask| task.container_id() == container_id;
            let task = cluster.tasks.iter().find(own);
            let task = task.ok_or_else(|| SwarmError::NotFound {
                what: format!("container `{container_id}`"),
            })?;
            tar_of_results(task, now, RESULTS_TARGET)
        })
    }
}

/// The resource usage of a container; nothing once it has ended.
fn usage_of(task: &FakeTask, now: Instant) -> ContainerUsage {
    if task.state(now) != TaskState::Running {
        let cpu = CpuUsage {
            used: 0,
            elapsed: 0,
            processors: 0,
        };
        let usage = ResourceUsage::default();
        return ContainerUsage { cpu, usage };
    }
    let (script, age) = (
        &task.service.script,
        now.saturating_duration_since(task.service.created),
    );
    let nanos = |processors: f64| age.mul_f64(processors).as_nanos() as u64;
    let moved = |at: usize| Some(script.traffic?[at] * age.as_secs());
    ContainerUsage {
        cpu: CpuUsage {
            used: nanos(script.cpus_used),
            elapsed: nanos(CPUS.into()),
            processors: CPUS,
        },
        usage: ResourceUsage {
            memory: Some(script.memory.0),
            memory_limit: Some(script.memory.1),
            received: moved(0),
            sent: moved(1),
            read: moved(2),
            written: moved(3),
        },
    }
}

/// The Swarm task of a container on the manager's node.
fn on_the_manager<'w>(
    cluster: &'w Cluster,
    now: Instant,
    container_id: &str,
) -> Result<&'w FakeTask, SwarmError> {
    let manager = cluster.nodes.first().map(|node| node.node.id.as_str());
    let own = |task: &&FakeTask| {
        task.container_id() == container_id
            && task.node.as_deref() == manager
            && task.has_container(now)
    };
    let task = cluster.tasks.iter().find(own);
    task.ok_or_else(|| SwarmError::NotFound {
        what: format!("container `{container_id}`"),
    })
}

/// The tar of `path`. Only `/atq/results` has content. It exists only if something is mounted there.
fn tar_of_results(task: &FakeTask, now: Instant, path: &str) -> Result<Vec<u8>, SwarmError> {
    let what = format!("`{path}` of container `{}`", task.container_id());
    let failed = |error: std::io::Error| SwarmError::Internal {
        what: what.clone(),
        reason: error.to_string(),
    };
    if !task.service.plan.mounts.iter().any(|m| m.target == path) {
        return Err(SwarmError::NotFound { what });
    }
    let script = &task.service.script;
    let last = script.last_results.iter();
    let last = last.filter(|_| task.ended_on_sigterm(now));
    let files = script.results.iter().chain(last);
    let root = path.rsplit('/').next().unwrap_or(path);
    // Writes to memory, so that it never waits.
    pack(root, files)
        .now_or_never()
        .unwrap_or_else(|| Ok(Vec::new()))
        .map_err(failed)
}

async fn pack(
    root: &str,
    files: impl Iterator<Item = &(String, Vec<u8>)>,
) -> std::io::Result<Vec<u8>> {
    let mut tar = tokio_tar::Builder::new(Vec::new());
    let mut dir = tokio_tar::Header::new_gnu();
    dir.set_entry_type(tokio_tar::EntryType::Directory);
    dir.set_size(0);
    tar.append_data(&mut dir, format!("{root}/"), &b""[..])
        .await?;
    for (name, content) in files {
        let mut file = tokio_tar::Header::new_gnu();
        file.set_size(content.len() as u64);
        tar.append_data(&mut file, format!("{root}/{name}"), content.as_slice())
            .await?;
    }
    tar.into_inner().await
}
