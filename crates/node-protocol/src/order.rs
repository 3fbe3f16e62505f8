//! What a carrier is to do: the name of the work in its command line, the order as JSON in its environment.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Variables of a carrier's environment.
pub mod variable {
    /// The order, as JSON.
    pub const ORDER: &str = "ATQ_CARRIER_ORDER";
    /// The secret for the Director.
    pub const TOKEN: &str = "ATQ_CARRIER_TOKEN";
    /// Id of the node.
    pub const NODE: &str = "ATQ_CARRIER_NODE";
}

/// How long a carrier tries, in seconds, unless the order has a time.
const PATIENCE: u64 = 600;
/// Time between two looks at the load of a node, in seconds.
const LOOK: u64 = 2;

fn patience() -> u64 {
    PATIENCE
}

fn look() -> u64 {
    LOOK
}

/// The kinds of work, by the words of the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Bring a bundle into a volume.
    Fetch,
    /// Remove volumes.
    Remove,
    /// Take what containers have left in `/atq/results` to the Director.
    Collect,
    /// Report how busy the node and its containers are, until SIGTERM.
    Watch,
    /// Kill containers of a run.
    Kill,
}

impl Work {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Fetch,
        Self::Remove,
        Self::Collect,
        Self::Watch,
        Self::Kill,
    ];

    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fetch => "fetch",
            Self::Remove => "remove",
            Self::Collect => "collect",
            Self::Watch => "watch",
            Self::Kill => "kill",
        }
    }
}

/// An order.
#[derive(Debug, Clone, PartialEq, Eq)]
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
}

impl Order {
    /// Reads the order for `work`.
    ///
    /// # Errors
    /// When it is no JSON, or not of that work.
    pub fn from_json(work: Work, text: &str) -> serde_json::Result<Self> {
        Ok(match work {
            Work::Fetch => Self::Fetch(serde_json::from_str(text)?),
            Work::Remove => Self::Remove(serde_json::from_str(text)?),
            Work::Collect => Self::Collect(serde_json::from_str(text)?),
            Work::Watch => Self::Watch(serde_json::from_str(text)?),
            Work::Kill => Self::Kill(serde_json::from_str(text)?),
        })
    }

    /// The order as JSON.
    pub fn to_json(&self) -> String {
        let written = match self {
            Self::Fetch(order) => serde_json::to_string(order),
            Self::Remove(order) => serde_json::to_string(order),
            Self::Collect(order) => serde_json::to_string(order),
            Self::Watch(order) => serde_json::to_string(order),
            Self::Kill(order) => serde_json::to_string(order),
        };
        // Structs of texts and numbers can always be written.
        written.unwrap_or_default()
    }

    /// The work that it orders.
    pub fn work(&self) -> Work {
        match self {
            Self::Fetch(_) => Work::Fetch,
            Self::Remove(_) => Work::Remove,
            Self::Collect(_) => Work::Collect,
            Self::Watch(_) => Work::Watch,
            Self::Kill(_) => Work::Kill,
        }
    }
}

/// Bring a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Fetch {
    /// Where the Director is, for example `http://10.77.0.1:8080`.
    pub url: String,
    /// The run for which it is.
    pub run: String,
    /// The bundle's id.
    pub bundle: String,
    /// The Director's limits.
    pub limits: ArchiveLimits,
    /// Files of which every replica gets a part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<Split>,
    /// How long to try, in seconds.
    #[serde(default = "patience")]
    pub seconds: u64,
}

/// Limits of an archive, in bytes and in number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ArchiveLimits {
    /// Size of the zip itself.
    pub upload_bytes: u64,
    /// Size of all its files together, unpacked.
    pub unpacked_bytes: u64,
    /// Files and directories.
    pub entries: u64,
}

/// The files of which every replica gets a part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Split {
    /// Number of parts; at least 1.
    pub replicas: u32,
    /// The files.
    pub files: Vec<SplitFile>,
}

/// A file of which every replica gets a part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SplitFile {
    /// Its path in the bundle.
    pub path: String,
    /// Whether its first record goes to all.
    pub header: bool,
}

impl Split {
    /// Distinguishes one split from another, in 8 hexadecimal digits. Names of volumes hold it, so it never changes.
    pub fn key(&self) -> String {
        let json = serde_json::to_vec(self).unwrap_or_default();
        let hash = format!("{:x}", Sha256::digest(json));
        format!("{hash:.8}")
    }
}

/// Remove volumes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remove {
    /// Their names.
    pub volumes: Vec<String>,
}

/// Take results to the Director.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Collect {
    /// Where the Director is.
    pub url: String,
    /// The run that has left them.
    pub run: String,
    /// The containers; those on other nodes are passed over.
    pub containers: Vec<Container>,
    /// How long to try, in seconds.
    #[serde(default = "patience")]
    pub seconds: u64,
}

/// A container and the Director's name for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Container {
    /// Docker's id.
    pub id: String,
    /// For example `worker.3`.
    pub source: String,
}

/// Report how busy the node is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watch {
    /// Where the Director is.
    pub url: String,
    /// The run whose containers are watched.
    pub run: String,
    /// From one look to the next.
    #[serde(default = "look")]
    pub seconds: u64,
}

/// Kill containers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kill {
    /// The run whose containers they are.
    pub run: String,
    /// Their roles, as they stand in the label `com.atq.role`.
    pub roles: Vec<String>,
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

    fn orders() -> [Order; 5] {
        let (url, run) = ("http://10.77.0.1:8080".to_owned(), "a1b2c3".to_owned());
        [
            Order::Fetch(Fetch {
                url: url.clone(),
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
            }),
            Order::Collect(Collect {
                url: url.clone(),
                run: run.clone(),
                containers: vec![Container {
                    id: "abc".to_owned(),
                    source: "worker.3".to_owned(),
                }],
                seconds: 60,
            }),
            Order::Watch(Watch {
                url,
                run: run.clone(),
                seconds: 2,
            }),
            Order::Kill(Kill {
                run,
                roles: vec!["worker".to_owned()],
            }),
        ]
    }

    #[test]
    fn an_order_is_read_as_it_was_written() {
        assert_eq!(orders().map(|order| order.work()), Work::ALL);
        for order in orders() {
            let read = Order::from_json(order.work(), &order.to_json()).unwrap();
            assert_eq!(read, order);
        }
    }

    #[test]
    fn orders_of_the_first_version_are_read() {
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
            Order::from_json(work, text).unwrap();
        }
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
