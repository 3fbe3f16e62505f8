//! The client of the name resolver in the network of a run.

use crate::{Deadline, Facts, Member, RunContext, StepError};
use async_trait::async_trait;
use atq_task::spec::ReadinessProbe;
use futures_util::future::BoxFuture;
use std::net::Ipv4Addr;
use std::time::Duration;

/// The probe result of a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probed {
    /// Its address.
    pub address: Ipv4Addr,
    /// The reason if it is not ready.
    pub reason: Option<String>,
}

/// A probe request in progress: one result for each worker, or the reason why it could not be sent.
pub type ProbeRequest = BoxFuture<'static, Result<Vec<Probed>, String>>;

/// The addresses under which the workers' name resolves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resolution {
    /// The addresses of the last successful response, ascending.
    pub addresses: Vec<Ipv4Addr>,
    /// Whether there was any response.
    pub answered: bool,
    /// The last error since then.
    pub error: Option<String>,
}

/// A client of the name resolver in the network of a run.
#[async_trait]
pub trait Resolver: Send {
    /// The containers of the run; `None` while the engine is unavailable. [`Resolver::poll`] uses the same snapshot.
    async fn observe(
        &mut self,
        run: &mut dyn RunContext,
        deadline: Deadline,
    ) -> Result<Option<Vec<Member>>, StepError>;

    /// Starts polling once the resolver is reachable, and replaces a lost resolver.
    async fn poll(&mut self, run: &mut dyn RunContext, deadline: Deadline)
    -> Result<(), StepError>;

    /// The last result.
    fn resolution(&mut self) -> Resolution;

    /// Returns when there is a new result.
    async fn answered(&mut self);

    /// The state of the resolver until polling starts, for messages.
    fn not_ready(&self) -> Option<String>;

    /// Probe requests for the workers at `addresses`, one for each endpoint of the resolver, to be tried in order; the
    /// inner error is the reason for a missing endpoint. The timeout of each request is the remaining time, within the
    /// `bounds`. Uses the last snapshot of [`Resolver::observe`].
    async fn probes(
        &mut self,
        run: &mut dyn RunContext,
        addresses: &[Ipv4Addr],
        probe: &ReadinessProbe,
        bounds: (Duration, Duration),
        deadline: Deadline,
    ) -> Result<Result<Vec<ProbeRequest>, String>, StepError>;

    /// Its name in messages, with an article.
    fn noun(&self) -> &'static str;

    /// A failure of the resolver: its code, step and hint.
    fn failed(&self, run: Facts<'_>, message: String, hint: &str) -> StepError;

    /// The hint for an unreachable resolver.
    fn unreached_hint(&self) -> &'static str;
}
