//! Docker Swarm as an [`Engine`].

use crate::carrier_endpoint::CarrierEndpoint;
use crate::core::{Core, SwarmSettings, ignore_missing};
use crate::discovery::Discovery;
use crate::error::SwarmError;
use crate::node_auth::{NodeAuth, RunAuthGuard};
use crate::node_door::NodeDoor;
use crate::plan::LABEL_TASK;
use crate::port::Swarm;
use crate::run_volumes::{self, RunVolumes};
use crate::self_check::SelfCheck;
use crate::sidecar_poller::SidecarPoller;
use crate::subnets::Subnets;
use crate::volume_index::VolumeIndex;
use crate::{
    bundle_volumes, check, delivery, follow, hints, image_reason, kill, members, network, node_url,
    owned, removal, results, routes, sidecar, start, usage,
};
use async_trait::async_trait;
use atq_engine::{
    Bundles, Deadline, Engine, EngineError, Facts, Fetched, ImageDigests, JoinTokens, LogLines,
    LogQuery, Member, Node, Owned, Part, Resolver, ResourceGuard, ResultsFollow, ResultsReceiver,
    ResultsSink, RunContext, Status, StepError, StepResult, Targets, UsageSink, UsageWatch,
};
use atq_task::event::FailureCode;
use atq_task::spec::{Fault, TaskName, TaskSpec};
use futures_util::{StreamExt, TryStreamExt};
use std::io;
use std::path::Path;
use std::sync::Arc;

/// External services that the engine uses.
pub struct Ports {
    /// Docker.
    pub swarm: Arc<dyn Swarm>,
    /// The sidecars.
    pub discovery: Arc<dyn Discovery>,
    /// Access to the Director itself from outside.
    pub self_check: Arc<dyn SelfCheck>,
    /// The port for carriers.
    pub node_door: Arc<dyn NodeDoor>,
    /// The uploaded bundles.
    pub bundles: Arc<dyn Bundles>,
}

/// Docker Swarm as an engine. Cheap to clone.
#[derive(Clone)]
pub struct SwarmEngine(Arc<Core>);

impl SwarmEngine {
    /// An engine that stores its indexes of volumes below `datadir`. Does not access the disk.
    pub fn new(settings: SwarmSettings, ports: Ports, datadir: &Path) -> Self {
        Self(Arc::new(Core {
            settings,
            swarm: ports.swarm,
            discovery: ports.discovery,
            self_check: ports.self_check,
            node_door: ports.node_door,
            bundles: ports.bundles,
            node_auth: Arc::new(NodeAuth::default()),
            ingest: Arc::default(),
            volume_index: VolumeIndex::of_bundles(datadir),
            run_volumes: RunVolumes::new(datadir),
            subnets: Subnets::default(),
        }))
    }

    /// The routes for carriers, below `/carrier`, for the port of [`NodeDoor`]. A response to an unauthorized request has
    /// a [`RefusedRequest`](atq_engine::RefusedRequest) as an extension.
    pub fn router(&self) -> axum::Router {
        let bundles = Arc::clone(&self.0.bundles);
        routes::router(
            self.carrier_endpoint(),
            bundles,
            &self.0.settings.director_id,
        )
    }

    /// The shared state.
    #[cfg(test)]
    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.0
    }

    /// The endpoint behind [`SwarmEngine::router`].
    pub fn carrier_endpoint(&self) -> CarrierEndpoint {
        CarrierEndpoint {
            node_auth: Arc::clone(&self.0.node_auth),
            ingest: Arc::clone(&self.0.ingest),
        }
    }
}

/// Keeps the subnets of a run reserved and its carriers authorized.
struct Adopted {
    core: Arc<Core>,
    holder: String,
    _auth: RunAuthGuard,
}

impl Drop for Adopted {
    fn drop(&mut self) {
        self.core.subnets.release(&self.holder);
    }
}

#[async_trait]
impl Engine for SwarmEngine {
    fn name(&self) -> &'static str {
        "Docker"
    }

    fn unanswered(&self) -> EngineError {
        SwarmError::NotAnsweredYet.into()
    }

    async fn status(&self) -> Result<Status, EngineError> {
        Ok(self.0.swarm.manager().await?)
    }

    async fn nodes(&self) -> Result<Vec<Node>, EngineError> {
        let nodes = self.0.swarm.nodes().await?;
        Ok(nodes.into_iter().map(Node::from).collect())
    }

    async fn reconnect(&self) {
        run_volumes::sweep_in_background(&self.0);
        node_url::reopen(&self.0).await;
    }

    async fn join_tokens(&self) -> Result<JoinTokens, EngineError> {
        Ok(self.0.swarm.join_tokens().await?)
    }

    async fn pull_image(&self, image: &str) -> Result<(), EngineError> {
        Ok(self.0.swarm.pull_image(image).await?)
    }

    async fn image_digests(&self, image: &str) -> Result<Option<ImageDigests>, EngineError> {
        Ok(self.0.swarm.image_digests(image).await?)
    }

    fn own_images(&self) -> Vec<String> {
        vec![self.0.settings.discovery_image.clone()]
    }

    async fn check(&self, spec: &TaskSpec) -> Result<Vec<Fault>, EngineError> {
        Ok(check::check(&self.0, spec).await?)
    }

    fn adopt(&self, run: Facts<'_>) -> ResourceGuard {
        let state = run.state;
        if let Some(subnet) = state.subnet {
            self.0.subnets.reserve(&network::holder(run), subnet);
        }
        Box::new(Adopted {
            core: Arc::clone(&self.0),
            holder: network::holder(run),
            _auth: self
                .0
                .node_auth
                .register(&state.run, &self.0.carrier_secret(run)),
        })
    }

    async fn distribute(&self, run: &mut dyn RunContext) -> StepResult {
        delivery::distribute(&self.0, run).await
    }

    async fn prepare(&self, run: &mut dyn RunContext) -> StepResult {
        network::prepare(&self.0, run).await
    }

    async fn start_discovery(&self, run: &mut dyn RunContext) -> StepResult {
        sidecar::start(&self.0, run).await
    }

    async fn end_discovery(&self, run: Facts<'_>) -> Result<(), EngineError> {
        match &run.state.discovery {
            Some(service) => Ok(self.0.remove_service(service).await?),
            None => Ok(()),
        }
    }

    fn resolver(&self) -> Box<dyn Resolver> {
        Box::new(SidecarPoller::new(Arc::clone(&self.0)))
    }

    async fn start(
        &self,
        run: &mut dyn RunContext,
        part: Part<'_>,
        deadline: Deadline,
    ) -> Result<String, StepError> {
        start::start(&self.0, run, part, deadline).await
    }

    async fn observe(&self, run: Facts<'_>) -> Result<Vec<Member>, EngineError> {
        Ok(members::observe(&self.0, run).await?)
    }

    async fn logged(&self, run: Facts<'_>) -> Result<Vec<Member>, EngineError> {
        Ok(members::logged(&self.0, run).await?)
    }

    async fn logs(&self, id: &str, tty: bool, query: LogQuery) -> Result<LogLines, EngineError> {
        let lines = self.0.swarm.task_logs(id, tty, query).await?;
        Ok(lines.map_err(EngineError::from).boxed())
    }

    async fn results(
        &self,
        run: Facts<'_>,
        wanted: Vec<Member>,
        receiver: Arc<dyn ResultsReceiver>,
    ) -> Result<Fetched, EngineError> {
        Ok(results::pass_to(&self.0, run, wanted, receiver).await?)
    }

    fn follow_results(
        &self,
        run: Facts<'_>,
        members: Vec<Member>,
        sink: Arc<dyn ResultsSink>,
    ) -> Box<dyn ResultsFollow> {
        follow::follow(&self.0, run, members, sink)
    }

    fn watch(
        &self,
        run: Facts<'_>,
        targets: Targets,
        sink: Arc<dyn UsageSink>,
    ) -> Box<dyn UsageWatch> {
        usage::watch(&self.0, run, targets, sink)
    }

    async fn stop(&self, group: &str) -> Result<(), EngineError> {
        Ok(ignore_missing(self.0.swarm.end_service(group).await)?)
    }

    async fn kill(&self, run: Facts<'_>) {
        kill::on_all_nodes(&self.0, run).await;
    }

    async fn dismiss(&self, group: &str) -> Result<(), EngineError> {
        Ok(self.0.remove_service(group).await?)
    }

    async fn release(&self, run: Facts<'_>) -> Vec<String> {
        removal::of_run(&self.0, run).await
    }

    async fn release_task(&self, task: &TaskName, force: bool) -> Vec<String> {
        if force {
            // The nodes of the containers are unknown without the history.
            let labels = self.0.labels_with([(LABEL_TASK, task.as_str())]);
            kill::on_this_node(&*self.0.swarm, &labels).await;
        }
        removal::of_task(&self.0, task.as_str()).await
    }

    async fn owned(&self) -> Result<Vec<Owned>, EngineError> {
        Ok(owned::list(&self.0).await?)
    }

    async fn release_owned(&self, task: &str, run: &str) -> Vec<String> {
        removal::of_orphan(&self.0, task, run).await
    }

    fn removal_commands(&self, owned: &[(&'static str, String)]) -> String {
        owned::removal_commands(owned)
    }

    async fn hold_bundles(&self) -> ResourceGuard {
        Box::new(Arc::clone(&self.0.volume_index.removing).lock_owned().await)
    }

    async fn forget_bundle(&self, bundle: &str) -> io::Result<bool> {
        bundle_volumes::forget(&self.0, bundle).await
    }

    async fn clear_bundle(&self, bundle: &str) -> io::Result<Vec<String>> {
        bundle_volumes::clear(&self.0, bundle).await
    }

    async fn forgotten_bundles(&self) -> io::Result<Vec<String>> {
        bundle_volumes::forgotten(&self.0).await
    }

    async fn explain(&self, image: &str, message: String) -> String {
        image_reason::explain(&self.0, image, message).await
    }

    fn advice(&self, code: FailureCode, message: &str, spec: &TaskSpec) -> String {
        hints::hint_for(code, message, spec)
    }
}
