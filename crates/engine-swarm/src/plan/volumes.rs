//! The volumes that deliver bundles to the nodes: their names, labels and mounts. Pure. The name depends on the
//! content only: the same bundle with the same split is in the same volume for every run.

use super::{
    BUNDLE_TARGET, LABEL_DIRECTOR, LABEL_PLACE, Labels, Mount, MountSource, RunPlan, labels_of,
};
use atq_node_protocol::order::{Split, SplitFile};
use atq_task::spec::{self, ServiceSpec};
use sha2::{Digest, Sha256};

/// Label with the id of the bundle that a volume holds.
pub const LABEL_BUNDLE: &str = "com.atq.bundle";
/// Mount point of a replica's part of the split files; the bundle links to it.
pub const PART_TARGET: &str = "/atq/part";
/// Mount points of the volumes in a carrier.
const CARRIER_BUNDLE: &str = "/bundle";
const CARRIER_PARTS: &str = "/part";
/// Number of digits of the Director's id in volume names.
const DIRECTOR_DIGITS: usize = 8;

/// The volumes of a bundle for one service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BundleVolumes {
    /// The bundle.
    pub bundle: String,
    /// The files that are split among the replicas.
    pub split: Option<Split>,
    director: String,
    place: String,
}

/// A bundle to deliver to all nodes that satisfy some constraints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BundleDelivery {
    /// The volumes to fill.
    pub volumes: BundleVolumes,
    /// Placement constraints of the nodes.
    pub constraints: Vec<String>,
}

impl RunPlan<'_> {
    /// The volumes of the bundle of one of the run's services, if it has one.
    pub fn volumes(&self, service: &ServiceSpec) -> Option<BundleVolumes> {
        Some(BundleVolumes {
            bundle: service.fileid.clone()?,
            split: (!service.split.is_empty()).then(|| Split {
                replicas: service.replicas,
                files: service.split.iter().map(split_file).collect(),
            }),
            director: self.director.to_owned(),
            place: self.place.to_owned(),
        })
    }

    /// The deliveries that must be complete before the run's containers start.
    pub fn deliveries(&self) -> Vec<BundleDelivery> {
        let of_service = |service: &ServiceSpec| {
            Some(BundleDelivery {
                volumes: self.volumes(service)?,
                constraints: service.placement.constraints.clone(),
            })
        };
        let worker = of_service(&self.spec.worker);
        let master = of_service(&self.spec.master);
        match (worker, master) {
            (Some(worker), Some(master)) if worker.covers(&master) => vec![worker],
            (Some(worker), Some(master)) if master.covers(&worker) => vec![master],
            (worker, master) => worker.into_iter().chain(master).collect(),
        }
    }
}

impl BundleDelivery {
    /// Whether this delivery includes the other: the same volumes, and no additional constraints.
    fn covers(&self, other: &Self) -> bool {
        let mut constraints = self.constraints.iter();
        self.volumes == other.volumes && constraints.all(|own| other.constraints.contains(own))
    }
}

impl BundleVolumes {
    /// The name of the bundle's own volume.
    pub fn name(&self) -> String {
        let director = self.director_digits();
        let name = format!("atq-bundle-{director}-{}", self.bundle);
        match &self.split {
            None => name,
            Some(split) => format!("{name}-{}", split.key()),
        }
    }

    /// The name of the volume with the part of a slot; Swarm expands a template.
    fn part(&self, slot: &str) -> Option<String> {
        let split = serde_json::to_string(self.split.as_ref()?).unwrap_or_default();
        let key = digits(&format!("{}:{split}", self.bundle), 16);
        let director = self.director_digits();
        Some(format!("atq-part-{director}-{key}-{slot}"))
    }

    /// The names of all volumes.
    pub fn names(&self) -> Vec<String> {
        let parts = self.slots().filter_map(|slot| self.part(&slot));
        std::iter::once(self.name()).chain(parts).collect()
    }

    fn slots(&self) -> impl Iterator<Item = String> + use<> {
        let replicas = self.split.as_ref().map_or(0, |split| split.replicas);
        (1..=replicas).map(|slot| slot.to_string())
    }

    fn director_digits(&self) -> String {
        self.director.chars().take(DIRECTOR_DIGITS).collect()
    }

    /// Labels without task and run, because the volumes outlive the run.
    fn labels(&self) -> Labels {
        labels_of([
            (LABEL_DIRECTOR, self.director.as_str()),
            (LABEL_PLACE, self.place.as_str()),
            (LABEL_BUNDLE, self.bundle.as_str()),
        ])
    }

    fn mount(&self, name: String, target: String, read_only: bool) -> Mount {
        Mount {
            source: MountSource::Volume {
                name,
                labels: self.labels(),
            },
            target,
            read_only,
        }
    }

    /// The mounts of a container that reads the bundle. Containers of commands have slot 1 and the part of the first
    /// worker.
    pub fn mounts(&self) -> Vec<Mount> {
        let bundle = self.mount(self.name(), BUNDLE_TARGET.to_owned(), true);
        let part = self.part("{{.Task.Slot}}");
        let part = part.map(|name| self.mount(name, PART_TARGET.to_owned(), true));
        std::iter::once(bundle).chain(part).collect()
    }

    /// The mounts of a carrier that delivers the bundle.
    pub fn carrier_mounts(&self) -> Vec<Mount> {
        let bundle = self.mount(self.name(), CARRIER_BUNDLE.to_owned(), false);
        let parts = self.slots().filter_map(|slot| {
            let name = self.part(&slot)?;
            Some(self.mount(name, format!("{CARRIER_PARTS}/{slot}"), false))
        });
        std::iter::once(bundle).chain(parts).collect()
    }
}

/// Whether this mount is a delivered bundle.
pub fn is_bundle(mount: &Mount) -> bool {
    matches!(&mount.source, MountSource::Volume { labels, .. } if labels.contains_key(LABEL_BUNDLE))
}

fn split_file(file: &spec::SplitFile) -> SplitFile {
    SplitFile {
        path: file.path.clone(),
        header: file.header,
    }
}

/// The first hexadecimal digits of the text's SHA-256.
fn digits(text: &str, count: usize) -> String {
    let hex = format!("{:x}", Sha256::digest(text));
    hex.chars().take(count).collect()
}
