//! Implements the engine's access to bundles.

use super::{BundleId, BundleStore};
use atq_engine::{BundleLimits, Bundles};
use std::fs::File;
use std::path::PathBuf;

#[async_trait::async_trait]
impl Bundles for BundleStore {
    async fn zip(&self, bundle: &str) -> Result<Option<(File, u64)>, String> {
        let Ok(id) = bundle.parse::<BundleId>() else {
            return Ok(None);
        };
        Self::zip(self, &id)
            .await
            .map_err(|error| error.to_string())
    }

    fn directory(&self, bundle: &str) -> Option<PathBuf> {
        let id = bundle.parse().ok()?;
        Some(self.path_of(&id))
    }

    fn limits(&self) -> BundleLimits {
        let limits = Self::limits(self);
        BundleLimits {
            upload_bytes: limits.upload_bytes,
            unpacked_bytes: limits.unpacked_bytes,
            entries: limits.entries,
        }
    }
}
