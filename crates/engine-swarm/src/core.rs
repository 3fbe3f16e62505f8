//! State shared by all operations of the engine.

use crate::admission::Admissions;
use crate::discovery::Discovery;
use crate::error::SwarmError;
use crate::inbound::Arrivals;
use crate::ledger::Ledger;
use crate::plan::{LABEL_DIRECTOR, LABEL_RUN, Labels, RunPlan};
use crate::port::Swarm;
use crate::reach::Reach;
use crate::subnets::Subnets;
use atq_engine::{Bundles, Facts};
use ipnet::Ipv4Net;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// The part of the configuration that is about Docker Swarm.
#[derive(Debug, Clone)]
pub struct SwarmSettings {
    /// Id of this Director, in the labels of everything that it makes.
    pub director_id: String,
    /// Where this Director lives, in the labels too: no other can be there at the same time.
    pub place: String,
    /// Where the subnets of tasks are taken from.
    pub subnet_pool: Ipv4Net,
    /// Image of the sidecar.
    pub discovery_image: String,
    /// Host under which sidecars are reached; `None`: found.
    pub discovery_host: Option<String>,
    /// What every container of a task is bound to.
    pub bounds: Bounds,
    /// Where the Director listens.
    pub listen: SocketAddr,
    /// URL under which the nodes reach the Director, without a slash at its end; `None`: found.
    pub advertise_url: Option<String>,
    /// Image of the carrier.
    pub carrier_image: String,
    /// Docker's socket on the nodes.
    pub node_docker_socket: PathBuf,
}

/// What every container of a task is bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// The most processes and threads; `None`: not limited.
    pub pids: Option<u64>,
    /// The longest time between SIGTERM and SIGKILL.
    pub stop_grace: Duration,
}

/// State shared by all operations of the engine.
pub struct Core {
    pub(crate) settings: SwarmSettings,
    pub(crate) swarm: Arc<dyn Swarm>,
    pub(crate) discovery: Arc<dyn Discovery>,
    pub(crate) reach: Arc<dyn Reach>,
    pub(crate) bundles: Arc<dyn Bundles>,
    pub(crate) admissions: Arc<Admissions>,
    pub(crate) arrivals: Arc<Arrivals>,
    pub(crate) ledger: Ledger,
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

    /// Labels that all objects of this run carry, and no others.
    pub(crate) fn labels(&self, run: Facts<'_>) -> Labels {
        self.labels_with([(LABEL_RUN, run.state.run.as_str())])
    }

    /// These labels and that of the Director.
    pub(crate) fn labels_with<const N: usize>(&self, labels: [(&str, &str); N]) -> Labels {
        labels
            .into_iter()
            .chain([(LABEL_DIRECTOR, self.settings.director_id.as_str())])
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect()
    }

    /// Removes a service; one that is gone already is no error.
    pub(crate) async fn remove_service(&self, id: &str) -> Result<(), SwarmError> {
        gone(self.swarm.remove_service(id).await)
    }
}

/// What is not there any more has been removed.
pub(crate) fn gone(removed: Result<(), SwarmError>) -> Result<(), SwarmError> {
    match removed {
        Err(SwarmError::NotFound { .. }) => Ok(()),
        other => other,
    }
}
