//! Sampling on nodes other than the manager's: one carrier on each of them that has containers of the run.

use crate::core::Core;
use crate::node_url;
use crate::plan::{CarrierPlan, Errand, LABEL_ROLE, RunPlan, Scale, ServicePlan, socket_mount};
use crate::port::Manager;
use crate::services::{create_or_find, of_run};
use atq_engine::{Facts, Role, Targets};
use atq_node_protocol::order::{Order, Watch};
use atq_retry::{Pauses, retry_with};
use atq_task::spec::TaskSpec;
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;

/// Pauses between attempts to start the carriers.
const PAUSES: Pauses = Pauses {
    first: Duration::from_millis(500),
    longest: Duration::from_secs(15),
};
/// Sample interval in seconds.
const SAMPLE_SECONDS: u64 = 2;
/// The roles of the containers that are sampled. The sidecar is removed when the test starts.
const ROLES: [Role; 4] = [Role::Worker, Role::Master, Role::Readiness, Role::Wait];
/// Interval between two searches for nodes that have no carrier yet.
const SEARCH_INTERVAL: Duration = Duration::from_secs(2);

/// The carriers of one run that sample resource usage.
#[derive(Clone)]
pub(super) struct NodeWatchers {
    spec: Arc<TaskSpec>,
    run: String,
    secret: String,
    /// Docker's ids of their services.
    services: Arc<Mutex<Vec<String>>>,
}

impl NodeWatchers {
    pub(super) fn new(run: Facts<'_>, secret: String) -> Self {
        Self {
            spec: Arc::new(run.spec.clone()),
            run: run.state.run.clone(),
            secret,
            services: Arc::default(),
        }
    }

    /// Starts a carrier on each node with targets, as soon as it has some, until it is cancelled. The master and the wait
    /// command may run on nodes without workers.
    pub(super) async fn follow(&self, core: &Core, manager: &Manager, targets: &Targets) {
        let mut watched = BTreeSet::from([manager.node_id.clone()]);
        loop {
            let busy = targets.lock().iter().map(|one| one.node.clone()).collect();
            let new: BTreeSet<String> = &busy - &watched;
            if !new.is_empty() && self.start(core, manager, &new).await {
                watched.extend(new);
            }
            sleep(SEARCH_INTERVAL).await;
        }
    }

    /// Starts carriers on these nodes, and tries again until Docker accepts them.
    async fn start(&self, core: &Core, manager: &Manager, nodes: &BTreeSet<String>) -> bool {
        let create = || self.create(core, manager, nodes);
        let started = retry_with(PAUSES, create, |error, pause| {
            let task = &self.spec.name;
            tracing::debug!(%task, error, "cannot sample the resource usage of other nodes yet; trying again");
            Some(pause)
        });
        let created = started.await.ok();
        let is_created = created.is_some();
        self.services.lock().extend(created);
        is_created
    }

    /// Creates a service of carriers. Those of before a restart are removed first: their order may have another port or
    /// certificate.
    async fn create(
        &self,
        core: &Core,
        manager: &Manager,
        wanted: &BTreeSet<String>,
    ) -> Result<String, String> {
        let url = node_url::open(core, manager, false).await?.url;
        let nodes = core.swarm.nodes().await.map_err(|e| e.to_string())?;
        // Constraints cannot express "one of these nodes", only "none of those".
        let others = nodes.iter().filter(|node| !wanted.contains(&node.id));
        let constraints = others.map(|node| format!("node.id!={}", node.id)).collect();
        let plan = self.plan(core, &url, constraints);
        let created = create_or_find(&*core.swarm, &plan, &plan.labels).await;
        let created = created.map_err(|error| error.to_string())?;
        if created.existed {
            self.remove_earlier(core, &plan).await?;
            return Err("those of before the restart are removed first".to_owned());
        }
        Ok(created.id)
    }

    /// Removes all services of the run's carriers that another process has created.
    async fn remove_earlier(&self, core: &Core, plan: &ServicePlan) -> Result<(), String> {
        let mut labels = of_run(&plan.labels);
        labels.insert(LABEL_ROLE.to_owned(), Role::Watcher.to_string());
        let services = core.swarm.services(&labels).await;
        for service in services.map_err(|error| error.to_string())? {
            if !self.services.lock().contains(&service.id) {
                let removed = core.remove_service(&service.id).await;
                removed.map_err(|error| error.to_string())?;
            }
        }
        Ok(())
    }

    /// Removes the carriers; clean-up does so if this fails.
    pub(super) async fn stop(&self, core: &Core) {
        let services = std::mem::take(&mut *self.services.lock());
        for service in services {
            if let Err(error) = core.remove_service(&service).await {
                tracing::debug!(task = %self.spec.name, %error, "cannot remove the watchers; clean-up will remove them");
            }
        }
    }

    /// The number of the next service of carriers, from 1.
    fn next_number(&self) -> u32 {
        u32::try_from(self.services.lock().len() + 1).unwrap_or(u32::MAX)
    }

    fn plan(&self, core: &Core, url: &str, constraints: Vec<String>) -> ServicePlan {
        let settings = &core.settings;
        let plan = CarrierPlan {
            role: Role::Watcher,
            number: self.next_number(),
            image: &settings.carrier_image,
            order: Order::Watch(Watch {
                url: url.to_owned(),
                certificate: Some(core.node_door.certificate().to_owned()),
                run: self.run.clone(),
                seconds: SAMPLE_SECONDS,
                roles: ROLES.map(|role| role.to_string()).to_vec(),
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
