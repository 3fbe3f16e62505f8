//! Checks the status of the engine in the background, so that requests do not wait for it.

use atq_engine::{Engine, EngineError, Status};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// A status is never older than this and the timeout of a check.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// Timeout of a request that waits for the first check.
const FIRST_CHECK_TIMEOUT: Duration = Duration::from_secs(5);

/// The last known status of the engine. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Health {
    status: watch::Receiver<Option<Result<Status, EngineError>>>,
    unanswered: EngineError,
}

impl Health {
    /// Checks periodically until the last clone is dropped.
    pub fn watch(engine: Arc<dyn Engine>) -> Self {
        let (sender, status) = watch::channel(None);
        let unanswered = engine.unanswered();
        tokio::spawn(async move {
            let mut usable = None;
            while !sender.is_closed() {
                let now = engine.status().await;
                if usable != Some(now.is_ok()) {
                    log_change(engine.name(), &now);
                    usable = Some(now.is_ok());
                }
                sender.send_replace(Some(now));
                tokio::time::sleep(CHECK_INTERVAL).await;
            }
        });
        Self { status, unanswered }
    }

    /// The status of the engine.
    ///
    /// # Errors
    /// When the last check failed, or the first one is not complete.
    pub fn usable(&self) -> Result<Status, EngineError> {
        match &*self.status.borrow() {
            Some(status) => status.clone(),
            None => Err(self.unanswered.clone()),
        }
    }

    /// As [`Health::usable`], but waits for the first check of a Director that has just started.
    ///
    /// # Errors
    /// When the last check failed, or the first one timed out.
    pub async fn first_status(&self) -> Result<Status, EngineError> {
        // A timeout is reported like any other failure.
        let _ = tokio::time::timeout(FIRST_CHECK_TIMEOUT, self.wait_for_check()).await;
        self.usable()
    }

    /// Waits until the first check is complete.
    pub async fn wait_for_check(&self) {
        // An error means that the background check has ended; then there is nothing to wait for.
        let _ = self.status.clone().wait_for(Option::is_some).await;
    }
}

fn log_change(name: &str, status: &Result<Status, EngineError>) {
    match status {
        Ok(status) => tracing::info!(
            engine = %status.engine_version, node = %status.node_address, "{name} is available"
        ),
        Err(error) => {
            tracing::warn!(%error, "{name} is unavailable; tasks are refused until it is available")
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use atq_engine_swarm::SwarmError;
    use atq_engine_swarm::fake::{FakeSwarm, engine};
    use tokio::time::sleep;

    #[tokio::test(start_paused = true)]
    async fn before_the_first_check_the_engine_counts_as_unavailable() {
        let fake = FakeSwarm::new();
        let health = Health::watch(Arc::new(engine(&fake)));
        assert_eq!(health.usable(), Err(SwarmError::NotAnsweredYet.into()));
        health.wait_for_check().await;
        assert_eq!(health.usable().unwrap().node_id, "node-1");
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_waits_for_the_first_check_until_a_timeout() {
        for (latency, answers) in [(1500, true), (60_000, false)] {
            let fake = FakeSwarm::new();
            fake.set_latency(Duration::from_millis(latency));
            let health = Health::watch(Arc::new(engine(&fake)));
            let answer = health.first_status().await;
            assert_eq!(answer.is_ok(), answers, "{answer:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn changes_show_within_two_seconds_with_the_error_of_the_engine() {
        let fake = FakeSwarm::new();
        let health = Health::watch(Arc::new(engine(&fake)));
        health.wait_for_check().await;
        for error in [SwarmError::NotASwarm, SwarmError::NotManager] {
            fake.fail_all(Some(error.clone()));
            sleep(Duration::from_secs(2)).await;
            assert_eq!(health.usable(), Err(error.into()));
        }
        fake.fail_all(None);
        sleep(Duration::from_secs(2)).await;
        assert!(health.usable().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn checks_end_when_the_last_clone_is_dropped() {
        let fake = FakeSwarm::new();
        let health = Health::watch(Arc::new(engine(&fake)));
        health.wait_for_check().await;
        drop(health);
        sleep(Duration::from_secs(5)).await;
        let calls = fake.calls().len();
        sleep(Duration::from_secs(60)).await;
        assert_eq!(fake.calls().len(), calls);
    }
}
