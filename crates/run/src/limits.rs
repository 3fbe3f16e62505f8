//! The limits that the client of a run has set: a timeout, and a lease that it renews. They hold in the Director, so
//! that a run ends also when its client has died.

use super::Orchestrator;
use super::clock::Clock;
use super::steering::Steering;
use super::wishes::{WishError, not_found};
use atq_task::event::{Failure, FailureCode};
use atq_task::spec::TaskName;
use atq_task::state::{Desired, State};
use atq_task::terms::{Expiry, Key, Terms};
use atq_task::timestamp::Timestamp;
use std::convert::Infallible;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

/// The system's clock may be set while a run waits for its timeout, so it is read again after this time.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);

/// The limits of a run that is driven. The lease begins when the driver does: while no Director runs, nobody can
/// renew it.
#[derive(Debug)]
pub struct Limits {
    clock: Clock,
    deadline: Option<Timestamp>,
    lease: Option<Lease>,
}

#[derive(Debug)]
struct Lease {
    length: Duration,
    expires: Mutex<Instant>,
}

impl Limits {
    /// The limits of a run in this state, from now on.
    pub fn new(state: &State, clock: Clock) -> Self {
        let lease = state.terms.lease().map(|length| Lease {
            length,
            expires: Mutex::new(Instant::now() + length),
        });
        Self {
            clock,
            deadline: deadline(state),
            lease,
        }
    }

    /// Begins the lease anew.
    pub fn renew(&self) {
        if let Some(lease) = &self.lease {
            *lease.expires() = Instant::now() + lease.length;
        }
    }

    /// When the lease expires unless it is renewed.
    pub fn lease_expires(&self) -> Option<Timestamp> {
        let lease = self.lease.as_ref()?;
        let left = lease.expires().saturating_duration_since(Instant::now());
        Some(self.clock.now().plus(left))
    }

    /// Ends the run when one of its limits is reached.
    pub async fn enforce(&self, steering: watch::Sender<Steering>) -> Infallible {
        let expiry = tokio::select! {
            () = self.timeout() => Expiry::Timeout,
            () = self.lease_expiry() => Expiry::Lease,
        };
        steering.send_modify(|steering| steering.expired = Some(expiry));
        std::future::pending().await
    }

    async fn timeout(&self) {
        let Some(deadline) = self.deadline else {
            return std::future::pending().await;
        };
        loop {
            let left = deadline.since(self.clock.now());
            if left.is_zero() {
                return;
            }
            sleep(left.min(LONGEST_SLEEP)).await;
        }
    }

    async fn lease_expiry(&self) {
        let Some(lease) = &self.lease else {
            return std::future::pending().await;
        };
        loop {
            let expires = *lease.expires();
            if expires <= Instant::now() {
                return;
            }
            sleep_until(expires).await;
        }
    }
}

impl Lease {
    fn expires(&self) -> std::sync::MutexGuard<'_, Instant> {
        self.expires.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// When the timeout of a run ends it.
pub fn deadline(state: &State) -> Option<Timestamp> {
    let timeout = state.terms.timeout()?;
    Some(state.created_at.plus(timeout))
}

/// The failure of a run whose limits are reached; `None`: something else decides what happens.
pub fn failure(state: &State, steering: Steering) -> Option<Failure> {
    let is_open = state.outcome.is_none() && steering.desired == Desired::Run;
    let expiry = steering.expired.filter(|_| is_open)?;
    let seconds = |length: Option<Duration>| length.unwrap_or_default().as_secs_f64();
    let (code, message, hint) = match expiry {
        Expiry::Timeout => (
            FailureCode::Timeout,
            format!(
                "the run was not over {} s after it was accepted, the timeout that its client set",
                seconds(state.terms.timeout())
            ),
            "the timeout includes the time in the queue: `timings` shows where it went",
        ),
        Expiry::Lease => (
            FailureCode::LeaseExpired,
            format!(
                "the client did not renew the lease of the run for {} s; the client has probably died",
                seconds(state.terms.lease())
            ),
            "the client that starts a run with a lease renews it with POST /task/{id}/lease",
        ),
    };
    Some(Failure {
        step: state.step,
        code,
        message,
        hint: hint.to_owned(),
    })
}

/// Whether a request with `key` may end a run with these terms. One without a key comes from somebody who names the
/// task on purpose.
pub fn may_end(terms: &Terms, key: Option<&Key>) -> bool {
    key.is_none() || terms.key.as_ref() == key
}

impl Orchestrator {
    /// Renews the lease of a run.
    ///
    /// # Errors
    /// When there is no such task, it has no lease, or another client started it.
    pub async fn renew_lease(
        &self,
        name: &TaskName,
        key: Option<&Key>,
    ) -> Result<super::View, WishError> {
        let view = self.get(name).await?.ok_or_else(|| not_found(name))?;
        let terms = &view.state.terms;
        let name = || name.clone();
        if terms.lease_ms.is_none() {
            return Err(WishError::NoLease { name: name() });
        }
        if !may_end(terms, key) {
            return Err(WishError::StartedByOther { name: name() });
        }
        if let Some(live) = self.lock().get(&view.spec.name) {
            live.limits.renew();
        }
        self.get(&view.spec.name)
            .await?
            .ok_or_else(|| not_found(&view.spec.name))
    }
}
