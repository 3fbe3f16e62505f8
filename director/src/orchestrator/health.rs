//! Whether Docker can be used, looked at in the background so that no request waits for it.

use crate::swarm::{EngineError, Manager, Swarm};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Time between two looks. An answer is never older than this and the time-out of a look.
const INTERVAL: Duration = Duration::from_secs(1);
/// How long a request waits for the first answer.
const FIRST_ANSWER: Duration = Duration::from_secs(5);

/// What was last seen of Docker. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Health {
    seen: watch::Receiver<Option<Result<Manager, EngineError>>>,
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
    pub fn usable(&self) -> Result<Manager, EngineError> {
        match &*self.seen.borrow() {
            Some(seen) => seen.clone(),
            None => Err(EngineError::NotAnsweredYet),
        }
    }

    /// The same, but a Director that has just started waits for Docker's first answer.
    ///
    /// # Errors
    /// What the last look said; also when the first one is not over in time.
    pub async fn first_answer(&self) -> Result<Manager, EngineError> {
        // Too late is told like any other failure.
        let _ = tokio::time::timeout(FIRST_ANSWER, self.first_look()).await;
        self.usable()
    }

    /// Waits until the first look is over.
    pub async fn first_look(&self) {
        // An error means that the watcher is gone; then there is nothing to wait for.
        let _ = self.seen.clone().wait_for(Option::is_some).await;
    }
}

fn report(now: &Result<Manager, EngineError>) {
    match now {
        Ok(manager) => tracing::info!(
            engine = %manager.engine_version, node = %manager.node_address, "Docker Swarm can be used"
        ),
        Err(error) => {
            tracing::warn!(%error, "Docker Swarm cannot be used; tasks are refused until it can")
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::swarm::fake::FakeSwarm;
    use tokio::time::sleep;

    #[tokio::test(start_paused = true)]
    async fn before_the_first_look_docker_counts_as_away() {
        let fake = FakeSwarm::new();
        let health = Health::watch(Arc::new(fake));
        assert_eq!(health.usable(), Err(EngineError::NotAnsweredYet));
        health.first_look().await;
        assert_eq!(health.usable().unwrap().node_id, "node-1");
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_waits_for_the_first_answer_but_not_for_ever() {
        for (latency, answers) in [(1500, true), (60_000, false)] {
            let fake = FakeSwarm::new();
            fake.set_latency(Duration::from_millis(latency));
            let health = Health::watch(Arc::new(fake));
            let answer = health.first_answer().await;
            assert_eq!(answer.is_ok(), answers, "{answer:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn it_follows_docker_within_two_seconds_and_in_its_own_words() {
        let fake = FakeSwarm::new();
        let health = Health::watch(Arc::new(fake.clone()));
        health.first_look().await;
        for error in [EngineError::NotASwarm, EngineError::NotManager] {
            fake.unwell(Some(error.clone()));
            sleep(Duration::from_secs(2)).await;
            assert_eq!(health.usable(), Err(error));
        }
        fake.unwell(None);
        sleep(Duration::from_secs(2)).await;
        assert!(health.usable().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_asks_docker_once_nobody_wants_to_know() {
        let fake = FakeSwarm::new();
        let health = Health::watch(Arc::new(fake.clone()));
        health.first_look().await;
        drop(health);
        sleep(Duration::from_secs(5)).await;
        let asked = fake.calls().len();
        sleep(Duration::from_secs(60)).await;
        assert_eq!(fake.calls().len(), asked);
    }
}
