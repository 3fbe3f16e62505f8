//! The removal of bundles: from the disk, and from the volumes on the nodes. A node that is away keeps
//! its volumes until it is back; that is noted, and looked after.

use super::Orchestrator;
use atq_bundle_store::{BundleError, BundleId};
use atq_store::StoreError;
use std::time::Duration;
use thiserror::Error;

/// Time between two looks for volumes of nodes that were away.
const SWEEP: Duration = Duration::from_secs(300);

/// Why a bundle was not removed.
#[derive(Debug, Error)]
pub enum RemoveError {
    /// There is no such bundle.
    #[error("there is no bundle `{id}`\n(GET /databind/list names all)")]
    NotFound {
        /// Its id.
        id: String,
    },
    /// A task still needs it.
    #[error(
        "the bundle `{id}` is in use by the task `{task}`\n(it can be removed once the task is done)"
    )]
    InUse {
        /// The bundle.
        id: String,
        /// A task that is not done.
        task: String,
    },
    /// It is gone from the disk, but not from all nodes.
    #[error(
        "the bundle `{id}` is removed, but not from all nodes: {}\n(it goes on when they are back; DELETE again tries at once)",
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
    /// Removes a bundle that no task needs any more, also from all nodes. A repetition goes on with what
    /// is left.
    ///
    /// # Errors
    /// See [`RemoveError`].
    pub async fn remove_bundle(&self, id: &BundleId) -> Result<(), RemoveError> {
        let engine = &self.shared.engine;
        let _alone = engine.hold_bundles().await;
        if let Some(task) = self.user_of(id)? {
            let id = id.to_string();
            return Err(RemoveError::InUse { id, task });
        }
        let failed = BundleError::storage("note that the bundle's volumes are to go");
        let noted = engine.forget_bundle(id.as_str()).await.map_err(failed)?;
        let was_there = self.shared.bundles.remove(id).await?;
        if !was_there && !noted {
            let id = id.to_string();
            return Err(RemoveError::NotFound { id });
        }
        let cleared = engine.clear_bundle(id.as_str()).await;
        let left = cleared.map_err(BundleError::storage("read where the bundle's volumes are"))?;
        match left.is_empty() {
            true => Ok(()),
            false => Err(RemoveError::Remains {
                id: id.to_string(),
                left,
            }),
        }
    }

    /// A task that is not done and uses the bundle.
    ///
    /// # Errors
    /// When the tasks cannot be read.
    pub fn user_of(&self, id: &BundleId) -> Result<Option<String>, StoreError> {
        let uses = |file: &Option<String>| file.as_deref() == Some(id.as_str());
        let mut user = None;
        self.shared.store.each_brief(|task| {
            let names = uses(&task.spec.worker.fileid) || uses(&task.spec.master.fileid);
            if user.is_none() && names && !task.state.is_done() {
                user = Some(task.spec.name.to_string());
            }
        })?;
        Ok(user)
    }

    /// Removes volumes that were left because their nodes were away, again and again. Never returns.
    pub async fn sweep_volumes(self) {
        loop {
            tokio::time::sleep(SWEEP).await;
            self.sweep_volumes_once().await;
        }
    }

    /// One look for volumes that are to go and whose nodes are back.
    pub async fn sweep_volumes_once(&self) {
        let engine = &self.shared.engine;
        let _alone = engine.hold_bundles().await;
        let bundles = engine.forgotten_bundles().await.unwrap_or_else(|error| {
            tracing::error!(%error, "cannot look for volumes that are to go");
            Vec::new()
        });
        for bundle in bundles {
            // One that was uploaded again is wanted again.
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
                true => tracing::info!(%bundle, "removed the rest of the bundle's volumes"),
                false => {
                    tracing::debug!(%bundle, left = %left.join("; "), "volumes are left")
                }
            }
        }
    }
}
