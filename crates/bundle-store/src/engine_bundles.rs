//! Implements the engine's access to bundles.

use super::{BundleId, BundleStore};
use atq_engine::{BundleLimits, Bundles};
use std::path::PathBuf;

#[async_trait::async_trait]
impl Bundles for BundleStore {
    async fn zip_bytes(&self, bundle: &str) -> Result<Option<u64>, String> {
        let Ok(id) = bundle.parse::<BundleId>() else {
            return Ok(None);
        };
        let zip = self.zip(&id).await.map_err(|error| error.to_string())?;
        Ok(zip.map(|(_, bytes)| bytes))
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
