//! Orders for a carrier: the kind of work is in its command line, the order as JSON in its environment.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// Environment variables of a carrier.
pub mod variable {
    /// The order, as JSON.
    pub const ORDER: &str = "ATQ_CARRIER_ORDER";
    /// The secret for the Director.
    pub const TOKEN: &str = "ATQ_CARRIER_TOKEN";
    /// Id of the node.
    pub const NODE: &str = "ATQ_CARRIER_NODE";
}

/// Default deadline of an order, in seconds.
fn default_deadline() -> u64 {
    600
}

/// Default interval of usage samples, in seconds.
fn default_sample_interval() -> u64 {
    2
}

/// Default interval between two searches for appended bytes, in milliseconds.
fn default_tail_interval() -> u64 {
    500
}

/// The kinds of work, named as in the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Download a bundle into a volume.
    Fetch,
    /// Remove volumes.
    Remove,
    /// Upload the content of `/atq/results` of containers to the Director.
    Collect,
    /// Report resource usage of the node and its containers, until SIGTERM.
    Watch,
    /// Kill the containers of a run.
    Kill,
    /// Send the bytes that containers append to their result files to the Director, until SIGTERM.
    Tail,
}

impl Work {
    /// All kinds of work.
    pub const ALL: [Self; 6] = [
        Self::Fetch,
        Self::Remove,
        Self::Collect,
        Self::Watch,
        Self::Kill,
        Self::Tail,
    ];

    /// The name in the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fetch => "fetch",
            Self::Remove => "remove",
            Self::Collect => "collect",
            Self::Watch => "watch",
            Self::Kill => "kill",
            Self::Tail => "tail",
        }
    }
}

/// An order for a carrier.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Order {
    /// [`Work::Fetch`]
    Fetch(Fetch),
    /// [`Work::Remove`]
    Remove(Remove),
    /// [`Work::Collect`]
    Collect(Collect),
    /// [`Work::Watch`]
    Watch(Watch),
    /// [`Work::Kill`]
    Kill(Kill),
    /// [`Work::Tail`]
    Tail(Tail),
}

impl Order {
    /// Reads the order for `work`.
    ///
    /// # Errors
    /// When the text is not valid JSON for this kind of work.
    pub fn from_json(work: Work, text: &str) -> serde_json::Result<Self> {
        Ok(match work {
            Work::Fetch => Self::Fetch(serde_json::from_str(text)?),
            Work::Remove => Self::Remove(serde_json::from_str(text)?),
            Work::Collect => Self::Collect(serde_json::from_str(text)?),
            Work::Watch => Self::Watch(serde_json::from_str(text)?),
            Work::Kill => Self::Kill(serde_json::from_str(text)?),
            Work::Tail => Self::Tail(serde_json::from_str(text)?),
        })
    }

    /// The order as JSON.
    pub fn to_json(&self) -> String {
        // Serializing strings and numbers cannot fail.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The kind of work.
    pub fn work(&self) -> Work {
        match self {
            Self::Fetch(_) => Work::Fetch,
            Self::Remove(_) => Work::Remove,
            Self::Collect(_) => Work::Collect,
            Self::Watch(_) => Work::Watch,
            Self::Kill(_) => Work::Kill,
            Self::Tail(_) => Work::Tail,
        }
    }
}

/// Downloads a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Fetch {
    /// URL of the Director, for example `https://10.77.0.1:8081`.
    pub url: String,
    /// Certificate of the Director's authority in PEM, the only one that the carrier trusts. `None` in orders of earlier
    /// versions: the carrier uses the certificates of its node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
    /// The run that needs the bundle.
    pub run: String,
    /// The bundle's id.
    pub bundle: String,
    /// The limits for archives.
    pub limits: ArchiveLimits,
    /// Files that are split among the replicas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<Split>,
    /// Deadline, in seconds.
    #[serde(default = "default_deadline")]
    pub seconds: u64,
}

/// Limits for an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ArchiveLimits {
    /// Size of the zip, in bytes.
    pub upload_bytes: u64,
    /// Total size of the unpacked files, in bytes.
    pub unpacked_bytes: u64,
    /// Number of files and directories.
    pub entries: u64,
}

/// Files that are split among the replicas.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Split {
    /// Number of parts; at least 1.
    pub replicas: u32,
    /// The files.
    pub files: Vec<SplitFile>,
}

/// A file that is split among the replicas.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SplitFile {
    /// Path in the bundle.
    pub path: String,
    /// Whether every part starts with the first record.
    pub header: bool,
}

impl Split {
    /// A key of the split, of 8 hexadecimal digits. It is part of volume names, so the algorithm never changes.
    pub fn key(&self) -> String {
        let json = serde_json::to_vec(self).unwrap_or_default();
        let hash = format!("{:x}", Sha256::digest(json));
        format!("{hash:.8}")
    }
}

/// Removes volumes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remove {
    /// Names of the volumes.
    pub volumes: Vec<String>,
    /// Further volumes: for each of these sets, those that carry all of its labels. A set has at least one label. Empty in
    /// orders of earlier versions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<BTreeMap<String, String>>,
}

/// Uploads results to the Director.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Collect {
    /// URL of the Director.
    pub url: String,
    /// Certificate of the Director's authority in PEM, the only one that the carrier trusts. `None` in orders of earlier
    /// versions: the carrier uses the certificates of its node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
    /// The run of the containers.
    pub run: String,
    /// The containers; those on other nodes are ignored.
    pub containers: Vec<Container>,
    /// Deadline, in seconds.
    #[serde(default = "default_deadline")]
    pub seconds: u64,
}

/// A container and its source name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Container {
    /// Docker's container id.
    pub id: String,
    /// For example `worker.3`.
    pub source: String,
}

/// Reports resource usage of the node and of the run's containers on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watch {
    /// URL of the Director.
    pub url: String,
    /// Certificate of the Director's authority in PEM, the only one that the carrier trusts. `None` in orders of earlier
    /// versions: the carrier uses the certificates of its node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
    /// The run whose containers are reported.
    pub run: String,
    /// Interval between samples, in seconds.
    #[serde(default = "default_sample_interval")]
    pub seconds: u64,
    /// Roles of the containers to report, as in the label `com.atq.role`. Empty in orders of earlier versions: master and
    /// workers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<String>,
}

/// Kills containers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kill {
    /// The run of the containers.
    pub run: String,
    /// Roles of the containers, as in the label `com.atq.role`.
    pub roles: Vec<String>,
}

/// Sends the bytes that containers append to their result files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tail {
    /// URL of the Director.
    pub url: String,
    /// Certificate of the Director's authority in PEM, the only one that the carrier trusts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
    /// The run of the containers.
    pub run: String,
    /// The containers, for example `worker.3`. The results of each are mounted at a directory with this name.
    pub sources: Vec<String>,
    /// Interval between two searches for new bytes, in milliseconds.
    #[serde(default = "default_tail_interval")]
    pub interval_ms: u64,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn split() -> Split {
        Split {
            replicas: 3,
            files: vec![SplitFile {
                path: "users.csv".to_owned(),
                header: true,
            }],
        }
    }

    fn orders() -> [Order; 6] {
        let (url, run) = ("https://10.77.0.1:8081".to_owned(), "a1b2c3".to_owned());
        let certificate = Some("-----BEGIN CERTIFICATE-----\nMII=\n".to_owned());
        [
            Order::Fetch(Fetch {
                url: url.clone(),
                certificate: certificate.clone(),
                run: run.clone(),
                bundle: "0123456789abcdef0123456789abcdef".to_owned(),
                limits: ArchiveLimits {
                    upload_bytes: 1,
                    unpacked_bytes: 2,
                    entries: 3,
                },
                split: Some(split()),
                seconds: 60,
            }),
            Order::Remove(Remove {
                volumes: vec!["atq-bundle-1".to_owned()],
                labels: vec![[("com.atq.run".to_owned(), "a1b2c3".to_owned())].into()],
            }),
            Order::Collect(Collect {
                url: url.clone(),
                certificate: certificate.clone(),
                run: run.clone(),
                containers: vec![Container {
                    id: "abc".to_owned(),
                    source: "worker.3".to_owned(),
                }],
                seconds: 60,
            }),
            Order::Watch(Watch {
                url: url.clone(),
                certificate: certificate.clone(),
                run: run.clone(),
                seconds: 2,
                roles: vec!["worker".to_owned(), "wait".to_owned()],
            }),
            Order::Kill(Kill {
                run: run.clone(),
                roles: vec!["worker".to_owned()],
            }),
            Order::Tail(Tail {
                url,
                certificate,
                run,
                sources: vec!["worker.1".to_owned(), "master.1".to_owned()],
                interval_ms: 500,
            }),
        ]
    }

    #[test]
    fn an_order_survives_a_round_trip() {
        assert_eq!(orders().map(|order| order.work()), Work::ALL);
        for order in orders() {
            let read = Order::from_json(order.work(), &order.to_json()).unwrap();
            assert_eq!(read, order);
        }
    }

    #[test]
    fn orders_of_the_first_version_are_accepted() {
        let old = [
            (
                Work::Fetch,
                r#"{"url":"http://d","run":"r","bundle":"b","limits":{"uploadBytes":1,"unpackedBytes":2,"entries":3},"seconds":9}"#,
            ),
            (Work::Remove, r#"{"volumes":["v"]}"#),
            (
                Work::Collect,
                r#"{"url":"http://d","run":"r","containers":[{"id":"c","source":"master.1"}]}"#,
            ),
            (Work::Watch, r#"{"url":"http://d","run":"r"}"#),
        ];
        for (work, text) in old {
            let order = Order::from_json(work, text).unwrap();
            assert!(!order.to_json().contains("certificate"));
            assert!(!order.to_json().contains("roles"));
            assert!(!order.to_json().contains("labels"));
        }
    }

    #[test]
    fn an_earlier_carrier_ignores_the_roles() {
        #[derive(Deserialize)]
        struct EarlierWatch {
            run: String,
        }
        let [.., watch, _, _] = orders();
        assert_eq!(watch.work(), Work::Watch);
        let read: EarlierWatch = serde_json::from_str(&watch.to_json()).unwrap();
        assert_eq!(read.run, "a1b2c3");
    }

    #[test]
    fn the_key_of_a_split_never_changes() {
        assert_eq!(
            serde_json::to_string(&split()).unwrap(),
            r#"{"replicas":3,"files":[{"path":"users.csv","header":true}]}"#
        );
        assert_eq!(split().key(), "f87c8cc5");
    }
}
