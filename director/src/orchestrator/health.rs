//! Whether Docker can be used, looked at in the background so that no request waits for it.

use crate::swarm::{Manager, Swarm, SwarmError};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Time between two looks. An answer is never older than this and the time-out of a look.
const INTERVAL: Duration = Duration::from_secs(1);

/// What was last seen of Docker. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Health {
    seen: watch::Receiver<Option<Result<Manager, SwarmError>>>,
}

impl Health {
    /// Looks again and again, until the last clone is dropped.
    pub fn watch(swarm: Arc<dyn Swarm>) -> Self {
        let (sender, seen) = watch::channel(None);
        tokio::spawn(async move {
            let mut usable = None;
            while !sender.is_closed() {
                let now = swarm.manager().await;
                if usable != Some(now.is_ok()) {
                    report(&now);
                    usable = Some(now.is_ok());
                }
                sender.send_replace(Some(now));
                tokio::time::sleep(INTERVAL).await;
            }
        });
        Self { seen }
    }

    /// The manager, or why Docker cannot be used.
    ///
    /// # Errors
    /// What the last look said; also before the first look is over.
    pub fn usable(&self) -> Result<Manager, SwarmError> {
        match &*self.seen.borrow() {
            Some(seen) => seen.clone(),
            None => Err(SwarmError::Unavailable {
                host: "Docker".into(),
                reason: "the Director has just started and has not reached it yet".into(),
            }),
        }
    }

    /// Waits until the first look is over.
    pub async fn first_look(&self) {
        // An error means that the watcher is gone; then there is nothing to wait for.
        let _ = self.seen.clone().wait_for(Option::is_some).await;
    }
}

fn report(now: &Result<Manager, SwarmError>) {
    match now {
        Ok(manager) => tracing::info!(
            engine = %manager.engine_version, node = %manager.node_address, "Docker Swarm can be used"
        ),
        Err(error) => {
            tracing::warn!(%error, "Docker Swarm cannot be used; tasks are refused until it can")
        }
    }
}
