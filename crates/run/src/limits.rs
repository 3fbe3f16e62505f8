//! The limits set by the client of a run: a timeout, and a lease that the client renews. The Director enforces them, so
//! that a run ends even if its client has crashed.

use super::Orchestrator;
use super::clock::Clock;
use super::control::RunControl;
use super::stop_and_delete::{ControlError, check_key, not_found};
use atq_task::event::{Failure, FailureCode};
use atq_task::spec::TaskName;
use atq_task::state::{Desired, State};
use atq_task::terms::{Expiry, Key};
use atq_task::timestamp::Timestamp;
use parking_lot::Mutex;
use std::convert::Infallible;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

/// The system clock may be adjusted while a run waits for its timeout, so it is read again after this time.
const MAX_SLEEP: Duration = Duration::from_secs(30);

/// The limits of an active run. The lease begins with the driver, because it cannot be renewed while no Director runs.
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
    /// The limits of a run in this state. The lease begins now.
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

    /// Renews the lease.
    pub fn renew(&self) {
        if let Some(lease) = &self.lease {
            *lease.expires.lock() = Instant::now() + lease.length;
        }
    }

    /// Expiry of the lease unless it is renewed.
    pub fn lease_expires(&self) -> Option<Timestamp> {
        let lease = self.lease.as_ref()?;
        let expires = *lease.expires.lock();
        let left = expires.saturating_duration_since(Instant::now());
        Some(self.clock.now().plus(left))
    }

    /// Ends the run when one of its limits expires.
    pub async fn enforce(&self, control: watch::Sender<RunControl>) -> Infallible {
        let expiry = tokio::select! {
            () = self.timeout() => Expiry::Timeout,
            () = self.lease_expiry() => Expiry::Lease,
        };
        control.send_modify(|control| control.expired = Some(expiry));
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
            sleep(left.min(MAX_SLEEP)).await;
        }
    }

    async fn lease_expiry(&self) {
        let Some(lease) = &self.lease else {
            return std::future::pending().await;
        };
        loop {
            let expires = *lease.expires.lock();
            if expires <= Instant::now() {
                return;
            }
            sleep_until(expires).await;
        }
    }
}

/// The time at which the timeout ends the run.
pub fn deadline(state: &State) -> Option<Timestamp> {
    let timeout = state.terms.timeout()?;
    Some(state.created_at.plus(timeout))
}

/// The failure of a run with an expired limit; `None` if none has expired or the run ends for another reason.
pub fn failure(state: &State, control: RunControl) -> Option<Failure> {
    let is_open = state.outcome.is_none() && control.desired == Desired::Run;
    let expiry = control.expired.filter(|_| is_open)?;
    let seconds = |length: Option<Duration>| length.unwrap_or_default().as_secs_f64();
    let (code, message, hint) = match expiry {
        Expiry::Timeout => (
            FailureCode::Timeout,
            format!(
                "the run did not complete within the timeout of {} s set by its client",
                seconds(state.terms.timeout())
            ),
            "the timeout includes the time in the queue; `timings` shows the duration of each step",
        ),
        Expiry::Lease => (
            FailureCode::LeaseExpired,
            format!(
                "the client did not renew the lease of the run within {} s and has probably ended",
                seconds(state.terms.lease())
            ),
            "a client that starts a run with a lease must renew it with POST /task/{id}/lease",
        ),
    };
    Some(Failure {
        step: state.step,
        code,
        message,
        hint: hint.to_owned(),
    })
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
    ) -> Result<super::View, ControlError> {
        let view = self.get(name).await?.ok_or_else(|| not_found(name))?;
        if view.state.terms.lease_ms.is_none() {
            return Err(ControlError::NoLease { name: name.clone() });
        }
        check_key(&view, key)?;
        if let Some(live) = self.active.lock().get(name) {
            live.limits.renew();
        }
        self.get(name).await?.ok_or_else(|| not_found(name))
    }
}
