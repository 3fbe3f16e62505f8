//! Whether the engine can be used, looked at in the background so that no request waits for it.

use atq_engine::{Engine, EngineError, Status};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Time between two looks. An answer is never older than this and the time-out of a look.
const INTERVAL: Duration = Duration::from_secs(1);
/// How long a request waits for the first answer.
const FIRST_ANSWER: Duration = Duration::from_secs(5);

/// The engine as it was last seen. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Health {
    seen: watch::Receiver<Option<Result<Status, EngineError>>>,
    unanswered: EngineError,
}

impl Health {
    /// Looks again and again, until the last clone is dropped.
    pub fn watch(engine: Arc<dyn Engine>) -> Self {
        let (sender, seen) = watch::channel(None);
        let unanswered = engine.unanswered();
        tokio::spawn(async move {
            let mut usable = None;
            while !sender.is_closed() {
                let now = engine.status().await;
                if usable != Some(now.is_ok()) {
                    report(engine.name(), &now);
                    usable = Some(now.is_ok());
                }
                sender.send_replace(Some(now));
                tokio::time::sleep(INTERVAL).await;
            }
        });
        Self { seen, unanswered }
    }

    /// The status of the engine, or why it cannot be used.
    ///
    /// # Errors
    /// What the last look said; also before the first look is over.
    pub fn usable(&self) -> Result<Status, EngineError> {
        match &*self.seen.borrow() {
            Some(seen) => seen.clone(),
            None => Err(self.unanswered.clone()),
        }
    }

    /// The same, but a Director that has just started waits for the engine's first answer.
    ///
    /// # Errors
    /// What the last look said; also when the first one is not over in time.
    pub async fn first_status(&self) -> Result<Status, EngineError> {
        // Too late is told like any other failure.
        let _ = tokio::time::timeout(FIRST_ANSWER, self.wait_for_check()).await;
        self.usable()
    }

    /// Waits until the first look is over.
    pub async fn wait_for_check(&self) {
        // An error means that the watcher is gone; then there is nothing to wait for.
        let _ = self.seen.clone().wait_for(Option::is_some).await;
    }
}

fn report(name: &str, now: &Result<Status, EngineError>) {
    match now {
        Ok(status) => tracing::info!(
            engine = %status.engine_version, node = %status.node_address, "{name} can be used"
        ),
        Err(error) => {
            tracing::warn!(%error, "{name} cannot be used; tasks are refused until it can")
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
    async fn before_the_first_look_the_engine_counts_as_away() {
        let fake = FakeSwarm::new();
        let health = Health::watch(Arc::new(engine(&fake)));
        assert_eq!(health.usable(), Err(SwarmError::NotAnsweredYet.into()));
        health.wait_for_check().await;
        assert_eq!(health.usable().unwrap().node_id, "node-1");
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_waits_for_the_first_answer_but_not_for_ever() {
        for (latency, answers) in [(1500, true), (60_000, false)] {
            let fake = FakeSwarm::new();
            fake.set_latency(Duration::from_millis(latency));
            let health = Health::watch(Arc::new(engine(&fake)));
            let answer = health.first_status().await;
            assert_eq!(answer.is_ok(), answers, "{answer:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn it_follows_the_engine_within_two_seconds_and_in_its_own_words() {
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
    async fn nobody_asks_the_engine_once_nobody_wants_to_know() {
        let fake = FakeSwarm::new();
        let health = Health::watch(Arc::new(engine(&fake)));
        health.wait_for_check().await;
        drop(health);
        sleep(Duration::from_secs(5)).await;
        let asked = fake.calls().len();
        sleep(Duration::from_secs(60)).await;
        assert_eq!(fake.calls().len(), asked);
    }
}
