//! The port, as the fake Swarm answers it.

use super::FakeSwarm;
use crate::swarm::problem::{Problem, Sent};
use crate::swarm::{
    Container, ImageDigests, JoinTokens, Kind, LogLine, LogQuery, Manager, Network, Node, Object,
    Service, Swarm, SwarmError, SwarmTask,
};
use crate::task::plan::{Labels, NetworkPlan, ServicePlan};
use async_trait::async_trait;
use futures_util::stream::BoxStream;
use std::time::Duration;

/// Whether `labels` has all of `wanted`.
fn carries(labels: &Labels, wanted: &Labels) -> bool {
    wanted
        .iter()
        .all(|(key, value)| labels.get(key) == Some(value))
}

#[async_trait]
impl Swarm for FakeSwarm {
    async fn manager(&self) -> Result<Manager, SwarmError> {
        self.call("manager", "", |world, _| {
            let node = world.nodes.first().map(|n| n.node.clone());
            let node = node.ok_or(SwarmError::NotASwarm)?;
            Ok(Manager {
                node_id: node.id,
                node_address: node.address,
                engine_version: "20.10.24".to_owned(),
            })
        })
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
        self.call("nodes", "", |world, _| {
            Ok(world.nodes.iter().map(|n| n.node.clone()).collect())
        })
        .await
    }

    async fn networks(&self) -> Result<Vec<Network>, SwarmError> {
        self.call("networks", "", |world, now| {
            Ok(world.networks.iter().map(|n| n.observe(now)).collect())
        })
        .await
    }

    async fn create_network(&self, plan: &NetworkPlan) -> Result<String, SwarmError> {
        self.call("create_network", &plan.name, |world, _| {
            world.create_network(plan)
        })
        .await
    }

    async fn remove_network(&self, id: &str) -> Result<(), SwarmError> {
        self.call("remove_network", id, |world, now| {
            world.remove_network(id, now)
        })
        .await
    }

    async fn services(&self, labels: &Labels) -> Result<Vec<Service>, SwarmError> {
        self.call("services", "", |world, _| {
            let found = world
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
        self.call("create_service", &plan.name, |world, now| {
            world.create_service(plan, now)
        })
        .await
    }

    async fn end_service(&self, id: &str) -> Result<(), SwarmError> {
        self.call("end_service", id, |world, now| world.end_service(id, now))
            .await
    }

    async fn remove_service(&self, id: &str) -> Result<(), SwarmError> {
        self.call("remove_service", id, |world, now| {
            world.remove_service(id, now)
        })
        .await
    }

    async fn tasks(&self, labels: &Labels) -> Result<Vec<SwarmTask>, SwarmError> {
        self.call("tasks", "", |world, now| {
            let listed = world.listed(now);
            let found = listed.filter(|t| carries(&t.service.plan.labels, labels));
            Ok(found.map(|task| task.observe(now)).collect())
        })
        .await
    }

    async fn containers(&self, labels: &Labels) -> Result<Vec<Container>, SwarmError> {
        self.call("containers", "", |world, now| {
            let all = world.containers(now);
            Ok(all.filter(|c| carries(&c.labels, labels)).collect())
        })
        .await
    }

    async fn volumes(&self, labels: &Labels) -> Result<Vec<String>, SwarmError> {
        self.call("volumes", "", |world, _| {
            let found = world.volumes.iter().filter(|(_, own)| carries(own, labels));
            Ok(found.map(|(name, _)| name.clone()).collect())
        })
        .await
    }

    async fn labelled(&self, key: &str) -> Result<Vec<Object>, SwarmError> {
        self.call("labelled", key, |world, now| {
            let services = world.services.iter().map(|s| Object {
                kind: Kind::Service,
                name: s.plan.name.clone(),
                labels: s.plan.labels.clone(),
            });
            let volumes = world.volumes.iter().map(|(name, labels)| Object {
                kind: Kind::Volume,
                name: name.clone(),
                labels: labels.clone(),
            });
            let all = services
                .chain(world.containers(now).map(Object::from))
                .chain(world.networks.iter().map(|n| n.observe(now).into()))
                .chain(volumes);
            Ok(all.filter(|o| o.labels.contains_key(key)).collect())
        })
        .await
    }

    async fn remove_volume(&self, name: &str) -> Result<(), SwarmError> {
        self.call("remove_volume", name, |world, _| {
            match world.volumes.remove(name) {
                Some(_) => Ok(()),
                None => Err(SwarmError::NotFound {
                    what: format!("volume `{name}`"),
                }),
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

    async fn pull_image(&self, image: &str) -> Result<(), SwarmError> {
        self.call("pull_image", image, |world, _| {
            match world.scripts.contains_key(&(image.to_owned(), None)) {
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
        self.call("image_digests", image, |world, _| {
            let is_known = world.scripts.contains_key(&(image.to_owned(), None));
            Ok(is_known.then(|| ImageDigests {
                id: format!("sha256:{image}"),
                repo_digests: Vec::new(),
            }))
        })
        .await
    }

    /// The fake's machine reaches no registry but those whose refusal is described.
    async fn image_problem(&self, image: &str) -> Option<String> {
        let asked = self.call("image_problem", image, |world, _| {
            let unreached = || ("dial tcp: connection refused".to_owned(), Duration::ZERO);
            Ok(world.refusals.get(image).cloned().unwrap_or_else(unreached))
        });
        let (said, after) = asked.await.ok()?;
        tokio::time::sleep(after).await;
        let said = Some(said);
        let sent = Sent::Nothing;
        Some(Problem { image, said, sent }.to_string())
    }
}
