//! State shared by all operations of the engine.

use crate::carrier_endpoint::IngestRegistry;
use crate::discovery::Discovery;
use crate::error::SwarmError;
use crate::node_auth::NodeAuth;
use crate::node_door::NodeDoor;
use crate::node_url::AdvertisedUrl;
use crate::plan::{LABEL_DIRECTOR, LABEL_RUN, Labels, RunPlan, labels_of};
use crate::port::Swarm;
use crate::run_volumes::RunVolumes;
use crate::self_check::SelfCheck;
use crate::subnets::Subnets;
use crate::volume_index::VolumeIndex;
use atq_engine::{Bundles, Facts};
use ipnet::Ipv4Net;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// The part of the configuration that concerns Docker Swarm.
#[derive(Debug, Clone)]
pub struct SwarmSettings {
    /// Id of this Director, in the labels of everything that it creates.
    pub director_id: String,
    /// Identifies this Director's host, data directory and port; also in the labels. No two running Directors have the
    /// same value.
    pub place: String,
    /// Pool of the subnets of tasks.
    pub subnet_pool: Ipv4Net,
    /// Image of the sidecar.
    pub discovery_image: String,
    /// Host under which sidecars are reached; `None`: determined from the node.
    pub discovery_host: Option<String>,
    /// Limits of every container of a task.
    pub bounds: Bounds,
    /// Configured address to listen on for carriers; `None`: loopback, and the manager's address once other nodes need
    /// it.
    pub node_bind: Option<IpAddr>,
    /// Configured URL under which the nodes reach the port for carriers; `None`: derived from its address.
    pub advertised: Option<AdvertisedUrl>,
    /// Image of the carrier.
    pub carrier_image: String,
    /// Docker's socket on the nodes.
    pub node_docker_socket: PathBuf,
}

/// Limits of every container of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Maximum number of processes and threads; `None`: unlimited.
    pub pids: Option<u64>,
    /// Maximum time between SIGTERM and SIGKILL.
    pub stop_grace: Duration,
}

/// State shared by all operations of the engine.
pub struct Core {
    pub(crate) settings: SwarmSettings,
    pub(crate) swarm: Arc<dyn Swarm>,
    pub(crate) discovery: Arc<dyn Discovery>,
    pub(crate) self_check: Arc<dyn SelfCheck>,
    pub(crate) node_door: Arc<dyn NodeDoor>,
    pub(crate) bundles: Arc<dyn Bundles>,
    pub(crate) node_auth: Arc<NodeAuth>,
    pub(crate) ingest: Arc<IngestRegistry>,
    /// The volumes of bundles.
    pub(crate) volume_index: VolumeIndex,
    /// The result volumes of runs.
    pub(crate) run_volumes: RunVolumes,
    pub(crate) subnets: Subnets,
}

impl Core {
    /// Names, labels and descriptions of the run's objects.
    pub(crate) fn plan<'a>(&'a self, run: Facts<'a>) -> RunPlan<'a> {
        RunPlan {
            spec: run.spec,
            run: &run.state.run,
            director: &self.settings.director_id,
            place: &self.settings.place,
            networks_tried: run.state.subnets_tried,
        }
    }

    /// The secret from which the tokens of the run's carriers are derived.
    pub(crate) fn carrier_secret(&self, run: Facts<'_>) -> String {
        self.node_door.run_secret(&run.state.token)
    }

    /// Labels that identify the objects of this run.
    pub(crate) fn labels(&self, run: Facts<'_>) -> Labels {
        self.labels_with([(LABEL_RUN, run.state.run.as_str())])
    }

    /// The given labels plus the label of the Director.
    pub(crate) fn labels_with<const N: usize>(&self, labels: [(&str, &str); N]) -> Labels {
        let mut labels = labels_of(labels);
        labels.extend(labels_of([(LABEL_DIRECTOR, &self.settings.director_id)]));
        labels
    }

    /// Removes a service; succeeds if it does not exist.
    pub(crate) async fn remove_service(&self, id: &str) -> Result<(), SwarmError> {
        ignore_missing(self.swarm.remove_service(id).await)
    }
}

/// Treats a missing object as removed.
pub(crate) fn ignore_missing(removed: Result<(), SwarmError>) -> Result<(), SwarmError> {
    match removed {
        Err(SwarmError::NotFound { .. }) => Ok(()),
        other => other,
    }
}
