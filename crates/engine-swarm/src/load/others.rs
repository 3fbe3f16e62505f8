//! The watch over other nodes than the manager's: one carrier on each of them that has generators.

use crate::core::Core;
use crate::node_url::url_for_nodes;
use crate::plan::{CarrierPlan, RunPlan, Scale, ServicePlan, socket_mount};
use crate::port::Manager;
use crate::services::create_or_find;
use atq_engine::{Facts, Role, Targets};
use atq_node_protocol::order::{Order, Watch};
use atq_task::spec::TaskSpec;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

/// Seconds between two samples.
const SECONDS: u64 = 2;

/// The carriers of one run.
#[derive(Clone)]
pub(super) struct Others {
    spec: Arc<TaskSpec>,
    run: String,
    token: String,
    /// Docker's id of their service, once there is one.
    service: Arc<Mutex<Option<String>>>,
}

impl Others {
    pub(super) fn of(run: Facts<'_>) -> Self {
        Self {
            spec: Arc::new(run.spec.clone()),
            run: run.state.run.clone(),
            token: run.state.token.clone(),
            service: Arc::default(),
        }
    }

    /// Starts them, if any node needs one.
    pub(super) async fn begin(&self, core: &Core, manager: &Manager, targets: &Targets) {
        let busy: BTreeSet<String> = {
            let targets = targets.lock().unwrap_or_else(PoisonError::into_inner);
            targets.iter().map(|target| target.node.clone()).collect()
        };
        if busy.iter().all(|node| *node == manager.node_id) {
            return;
        }
        let begun = async {
            let url = url_for_nodes(&core.settings, manager)?;
            let nodes = core.swarm.nodes().await.map_err(|e| e.to_string())?;
            // Constraints cannot say "one of these", only "none of those".
            let idle = nodes
                .iter()
                .filter(|node| node.id == manager.node_id || !busy.contains(&node.id));
            let constraints = idle.map(|node| format!("node.id!={}", node.id)).collect();
            let plan = self.plan(core, &url, constraints);
            let created = create_or_find(&*core.swarm, &plan, &plan.labels).await;
            created.map_err(|error| error.to_string())
        };
        match begun.await {
            Ok(made) => {
                *self.service.lock().unwrap_or_else(PoisonError::into_inner) = Some(made.id);
            }
            Err(error) => {
                tracing::warn!(task = %self.spec.name, error, "nobody watches how busy the other nodes are");
            }
        }
    }

    /// Ends them; clean-up does so if this fails.
    pub(super) async fn end(&self, core: &Core) {
        let service = self.service.lock();
        let service = service.unwrap_or_else(PoisonError::into_inner).take();
        let Some(service) = service else {
            return;
        };
        if let Err(error) = core.remove_service(&service).await {
            tracing::debug!(task = %self.spec.name, %error, "the watchers are removed later");
        }
    }

    fn plan(&self, core: &Core, url: &str, constraints: Vec<String>) -> ServicePlan {
        let settings = &core.settings;
        let plan = CarrierPlan {
            role: Role::Watcher,
            number: 1,
            image: &settings.carrier_image,
            order: Order::Watch(Watch {
                url: url.to_owned(),
                run: self.run.clone(),
                seconds: SECONDS,
            }),
            mounts: vec![socket_mount(&settings.node_docker_socket)],
            scale: Scale::EveryNode,
            constraints,
        };
        let run = RunPlan {
            spec: &self.spec,
            run: &self.run,
            director: &settings.director_id,
            place: &settings.place,
            networks_tried: 1,
        };
        run.carrier(plan, &self.token)
    }
}
