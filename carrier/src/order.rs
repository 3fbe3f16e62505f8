//! What the Director wants done.

use atq_parcel::{BundleId, Limits, relative_path};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::problem::Problem;

/// How long a carrier tries, in seconds, unless the order says otherwise.
const PATIENCE: u64 = 600;

fn patience() -> u64 {
    PATIENCE
}

/// Every order is read the same way.
pub trait Order: DeserializeOwned {
    /// Reads the order's JSON.
    ///
    /// # Errors
    /// What is wrong with it.
    fn read(text: &str) -> Result<Self, Problem> {
        let order: Self = serde_json::from_str(text).map_err(|e| {
            Problem::lasting(format!("the order in `ATQ_CARRIER_ORDER` is wrong: {e}"))
        })?;
        order.check().map(|()| order)
    }

    /// What JSON alone cannot say.
    ///
    /// # Errors
    /// What is wrong with the order.
    fn check(&self) -> Result<(), Problem> {
        Ok(())
    }
}

/// Bring a bundle.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Fetch {
    /// Where the Director is, for example `http://10.77.0.1:8080`.
    pub url: String,
    /// The run for which it is.
    pub run: String,
    /// Which bundle.
    pub bundle: BundleId,
    /// The Director's limits.
    pub limits: OrderedLimits,
    /// Files to be dealt out.
    #[serde(default)]
    pub split: Option<Split>,
    /// How long to try, in seconds.
    #[serde(default = "patience")]
    pub seconds: u64,
}

/// Limits of an archive, in bytes and in number.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OrderedLimits {
    /// See [`Limits::upload_bytes`].
    pub upload_bytes: u64,
    /// See [`Limits::unpacked_bytes`].
    pub unpacked_bytes: u64,
    /// See [`Limits::entries`].
    pub entries: u64,
}

impl From<OrderedLimits> for Limits {
    fn from(ordered: OrderedLimits) -> Self {
        Self {
            upload_bytes: ordered.upload_bytes,
            unpacked_bytes: ordered.unpacked_bytes,
            entries: ordered.entries,
        }
    }
}

/// Which files are dealt out to how many replicas.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Split {
    /// Into how many parts; at least 1.
    pub replicas: u32,
    /// The files.
    pub files: Vec<SplitFile>,
}

/// A file that is dealt out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SplitFile {
    /// Its path in the bundle.
    pub path: String,
    /// Whether its first record goes to all.
    pub header: bool,
}

impl Split {
    /// Tells one way of dealing from another: 8 hex digits.
    pub fn key(&self) -> String {
        let mut hash = Sha256::new();
        hash.update(serde_json::to_vec(self).unwrap_or_default());
        let mut hex = format!("{:x}", hash.finalize());
        hex.truncate(8);
        hex
    }
}

impl Order for Fetch {
    fn check(&self) -> Result<(), Problem> {
        let Some(split) = &self.split else {
            return Ok(());
        };
        if split.replicas == 0 {
            return Err(Problem::lasting("the order splits for 0 replicas"));
        }
        for file in &split.files {
            if relative_path(&file.path).as_ref() != Ok(&file.path) {
                let text = format!("the order splits `{}`: not a path in a bundle", file.path);
                return Err(Problem::lasting(text));
            }
        }
        Ok(())
    }
}

/// Remove volumes.
#[derive(Debug, Clone, Deserialize)]
pub struct Remove {
    /// Their names.
    pub volumes: Vec<String>,
}

impl Order for Remove {
    fn check(&self) -> Result<(), Problem> {
        self.volumes.iter().try_for_each(|name| plain(name))
    }
}

/// Take results to the Director.
#[derive(Debug, Clone, Deserialize)]
pub struct Collect {
    /// Where the Director is.
    pub url: String,
    /// Whose results they are.
    pub run: String,
    /// Of which containers; those on other nodes are passed over.
    pub containers: Vec<Container>,
    /// How long to try, in seconds.
    #[serde(default = "patience")]
    pub seconds: u64,
}

/// A container and what the Director calls it.
#[derive(Debug, Clone, Deserialize)]
pub struct Container {
    /// Docker's id.
    pub id: String,
    /// For example `worker.3`.
    pub source: String,
}

impl Order for Collect {
    fn check(&self) -> Result<(), Problem> {
        plain(&self.run)?;
        let mut containers = self.containers.iter();
        containers.try_for_each(|container| plain(&container.id).and(plain(&container.source)))
    }
}

/// Tell how busy the node is.
#[derive(Debug, Clone, Deserialize)]
pub struct Watch {
    /// Where the Director is.
    pub url: String,
    /// Whose containers are watched.
    pub run: String,
    /// From one look to the next.
    #[serde(default = "every_other_second")]
    pub seconds: u64,
}

fn every_other_second() -> u64 {
    2
}

impl Order for Watch {
    fn check(&self) -> Result<(), Problem> {
        plain(&self.run)
    }
}

/// Kill containers.
#[derive(Debug, Clone, Deserialize)]
pub struct Kill {
    /// Whose containers they are.
    pub run: String,
    /// Their roles, as they stand in the label `com.atq.role`.
    pub roles: Vec<String>,
}

impl Order for Kill {
    fn check(&self) -> Result<(), Problem> {
        plain(&self.run)
    }
}

/// Names become parts of paths of requests.
fn plain(name: &str) -> Result<(), Problem> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    if !name.is_empty() && !name.starts_with('.') && name.bytes().all(fits) {
        return Ok(());
    }
    let shown = name.escape_debug();
    Err(Problem::lasting(format!(
        "the order names `{shown}`: expected letters, digits, `.`, `_` and `-`"
    )))
}
