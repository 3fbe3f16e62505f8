//! Sampling on nodes other than the manager's: one carrier on each of them that has load generators.

use crate::core::Core;
use crate::node_url;
use crate::plan::{CarrierPlan, Errand, RunPlan, Scale, ServicePlan, socket_mount};
use crate::port::Manager;
use crate::services::create_or_find;
use atq_engine::{Facts, Role, Targets};
use atq_node_protocol::order::{Order, Watch};
use atq_retry::{Pauses, retry_with};
use atq_task::spec::TaskSpec;
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// Pauses between attempts to start the carriers.
const PAUSES: Pauses = Pauses {
    first: Duration::from_millis(500),
    longest: Duration::from_secs(15),
};
/// Sample interval in seconds.
const SAMPLE_SECONDS: u64 = 2;

/// The carriers of one run that sample CPU usage.
#[derive(Clone)]
pub(super) struct NodeWatchers {
    spec: Arc<TaskSpec>,
    run: String,
    secret: String,
    /// Docker's id of their service, once it is created.
    service: Arc<Mutex<Option<String>>>,
}

impl NodeWatchers {
    pub(super) fn new(run: Facts<'_>, secret: String) -> Self {
        Self {
            spec: Arc::new(run.spec.clone()),
            run: run.state.run.clone(),
            secret,
            service: Arc::default(),
        }
    }

    /// Starts the carriers if a node needs one, and tries again until Docker accepts them.
    pub(super) async fn start(&self, core: &Core, manager: &Manager, targets: &Targets) {
        let targets = targets.lock().clone().into_iter();
        let busy: BTreeSet<String> = targets.map(|target| target.node).collect();
        if busy.iter().all(|node| *node == manager.node_id) {
            return;
        }
        let create = || self.create(core, manager, &busy);
        let started = retry_with(PAUSES, create, |error, pause| {
            let task = &self.spec.name;
            tracing::debug!(%task, error, "cannot sample the CPU usage of other nodes yet; trying again");
            Some(pause)
        });
        if let Ok(service) = started.await {
            *self.service.lock() = Some(service);
        }
    }

    /// Creates the carriers. Those of before a restart are removed first: their order may have another port or certificate.
    async fn create(
        &self,
        core: &Core,
        manager: &Manager,
        busy: &BTreeSet<String>,
    ) -> Result<String, String> {
        let url = node_url::open(core, manager, false).await?.url;
        let nodes = core.swarm.nodes().await.map_err(|e| e.to_string())?;
        // Constraints cannot express "one of these nodes", only "none of those".
        let idle = nodes
            .iter()
            .filter(|node| node.id == manager.node_id || !busy.contains(&node.id));
        let constraints = idle.map(|node| format!("node.id!={}", node.id)).collect();
        let plan = self.plan(core, &url, constraints);
        let created = create_or_find(&*core.swarm, &plan, &plan.labels).await;
        let created = created.map_err(|error| error.to_string())?;
        if created.existed {
            let removed = core.remove_service(&created.id).await;
            removed.map_err(|error| error.to_string())?;
            return Err("those of before the restart are removed first".to_owned());
        }
        Ok(created.id)
    }

    /// Removes the carriers; clean-up does so if this fails.
    pub(super) async fn stop(&self, core: &Core) {
        let service = self.service.lock().take();
        if let Some(service) = service
            && let Err(error) = core.remove_service(&service).await
        {
            tracing::debug!(task = %self.spec.name, %error, "cannot remove the watchers; clean-up will remove them");
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
                certificate: Some(core.node_door.certificate().to_owned()),
                run: self.run.clone(),
                seconds: SAMPLE_SECONDS,
            }),
            errand: Some(Errand::Watch),
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
        run.carrier(plan, &self.secret)
    }
}
