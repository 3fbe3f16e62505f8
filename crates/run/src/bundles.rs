//! Removal of bundles from the disk and from the volumes on the nodes. Volumes on an unreachable node are noted and
//! removed after the node reconnects.

use super::Orchestrator;
use atq_bundle_store::{BundleError, BundleId};
use atq_store::StoreError;
use std::time::Duration;
use thiserror::Error;

/// Interval of retries for volumes on nodes that were unreachable.
const SWEEP_INTERVAL: Duration = Duration::from_secs(300);

/// Errors of the removal of a bundle.
#[derive(Debug, Error)]
pub enum RemoveError {
    /// There is no such bundle.
    #[error("there is no bundle `{id}`\n(GET /databind/list names all)")]
    NotFound {
        /// Its id.
        id: String,
    },
    /// A task uses it.
    #[error(
        "the bundle `{id}` is in use by the task `{task}`\n(it can be removed once the task is done)"
    )]
    InUse {
        /// The bundle.
        id: String,
        /// An incomplete task.
        task: String,
    },
    /// It is removed from the disk, but not from all nodes.
    #[error(
        "the bundle `{id}` is removed, but not from all nodes: {}\n(the removal continues when these nodes are available; DELETE again retries at once)",
        left.join("; ")
    )]
    Remains {
        /// The bundle.
        id: String,
        /// Nodes and volumes, with the reasons.
        left: Vec<String>,
    },
    /// The disk failed.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Orchestrator {
    /// Removes a bundle that no incomplete task uses from the disk and all nodes. A repeated call removes what is left.
    ///
    /// # Errors
    /// See [`RemoveError`].
    pub async fn remove_bundle(&self, id: &BundleId) -> Result<(), RemoveError> {
        let engine = &self.shared.engine;
        let _guard = engine.hold_bundles().await;
        if let Some(task) = self.user_of(id)? {
            let id = id.to_string();
            return Err(RemoveError::InUse { id, task });
        }
        let failed = BundleError::storage("note the removal of the bundle's volumes");
        let noted = engine.forget_bundle(id.as_str()).await.map_err(failed)?;
        let was_there = self.shared.bundles.remove(id).await?;
        if !was_there && !noted {
            let id = id.to_string();
            return Err(RemoveError::NotFound { id });
        }
        let cleared = engine.clear_bundle(id.as_str()).await;
        let left = cleared.map_err(BundleError::storage(
            "read the locations of the bundle's volumes",
        ))?;
        match left.is_empty() {
            true => Ok(()),
            false => Err(RemoveError::Remains {
                id: id.to_string(),
                left,
            }),
        }
    }

    /// An incomplete task that uses the bundle.
    ///
    /// # Errors
    /// When the tasks cannot be read.
    pub fn user_of(&self, id: &BundleId) -> Result<Option<String>, StoreError> {
        let is_same = |file: &Option<String>| file.as_deref() == Some(id.as_str());
        let mut user = None;
        self.shared.store.each_brief(|task| {
            let is_used = is_same(&task.spec.worker.fileid) || is_same(&task.spec.master.fileid);
            if user.is_none() && is_used && !task.state.is_done() {
                user = Some(task.spec.name.to_string());
            }
        })?;
        Ok(user)
    }

    /// Periodically removes volumes that were left on unreachable nodes. Never returns.
    pub async fn sweep_volumes(self) {
        loop {
            tokio::time::sleep(SWEEP_INTERVAL).await;
            self.sweep_volumes_once().await;
        }
    }

    /// Removes the noted volumes of nodes that are available again.
    pub async fn sweep_volumes_once(&self) {
        let engine = &self.shared.engine;
        let _guard = engine.hold_bundles().await;
        let bundles = engine.forgotten_bundles().await.unwrap_or_else(|error| {
            tracing::error!(%error, "cannot search for volumes to remove");
            Vec::new()
        });
        for bundle in bundles {
            // A bundle that was uploaded again is kept.
            let is_there = bundle
                .parse()
                .is_ok_and(|id| self.shared.bundles.exists(&id));
            if is_there {
                continue;
            }
            let Ok(left) = engine.clear_bundle(&bundle).await else {
                continue;
            };
            match left.is_empty() {
                true => tracing::info!(%bundle, "removed the remaining volumes of the bundle"),
                false => {
                    tracing::debug!(%bundle, left = %left.join("; "), "volumes of the bundle remain")
                }
            }
        }
    }
}
