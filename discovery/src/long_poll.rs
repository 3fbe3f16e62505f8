//! Long-polls: repeated lookups until there are enough addresses or the timeout passes.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::Duration;

use hickory_resolver::net::NetError;
use hickory_resolver::proto::rr::Name;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::dns::{NameServers, Session};
use crate::probe::{Check, Probe};
use crate::query::AddressQuery;

/// While a name has no address, a lookup without a response for this long is hedged by another one.
const HEDGE_DELAY: Duration = Duration::from_millis(100);

/// Resolves `query` with a single lookup, or with repeated ones until there are enough addresses or the timeout passes.
///
/// The addresses always come from a single lookup: a union of several would include addresses of containers that have ended
/// meanwhile.
pub(crate) async fn answer(servers: &NameServers, query: &AddressQuery) -> BTreeSet<Ipv4Addr> {
    let deadline = Instant::now() + query.timeout;
    let mut state = match LookupState::new(servers, query) {
        Ok(state) => state,
        Err(error) => {
            log_error(query, &error);
            return BTreeSet::new();
        }
    };
    // The first lookup has its own timeout, so that even the shortest deadline gets a result.
    state.look_up(query).await;
    if let Some(replicas) = query.replicas {
        // At the deadline the state has the addresses found so far.
        let _ = timeout_at(deadline, state.wait_for(replicas, query)).await;
    } else {
        let _ = timeout_at(deadline, state.probe()).await;
    }
    let matching = state.matching();
    if let (true, Some(error)) = (matching.is_empty(), &state.last_error) {
        log_error(query, error);
    }
    matching
}

/// Logs the error for the operator; the client gets "no address yet".
fn log_error(query: &AddressQuery, error: &NetError) {
    eprintln!("no address for `{}`: {error}", query.name);
}

/// The state of the lookups of a name.
struct LookupState {
    servers: NameServers,
    session: Session,
    probe: Option<Probe>,
    addresses: BTreeSet<Ipv4Addr>,
    /// The error of the latest lookup, if it failed.
    last_error: Option<NetError>,
}

impl LookupState {
    fn new(servers: &NameServers, query: &AddressQuery) -> Result<Self, NetError> {
        Ok(Self {
            servers: servers.clone(),
            session: servers.session()?,
            probe: query.probe.map(|port| Probe::new(Check::Tcp(port))),
            addresses: BTreeSet::new(),
            last_error: None,
        })
    }

    async fn wait_for(&mut self, replicas: usize, query: &AddressQuery) {
        loop {
            self.probe().await;
            if self.matching().len() >= replicas {
                return;
            }
            sleep(poll_interval(self.addresses.len(), self.probe.is_some())).await;
            if self.addresses.is_empty() {
                self.look_up_first(query).await;
            } else {
                self.look_up(query).await;
            }
        }
    }

    /// Repeats lookups until there is an address. A lookup without a response is hedged by another: without external
    /// connectivity Docker's DNS does not respond for a name that does not exist yet, and a hedge finds the name when it
    /// appears instead of after the timeout.
    async fn look_up_first(&mut self, query: &AddressQuery) {
        let mut lookups = JoinSet::new();
        loop {
            lookups.spawn(look_up_separately(self.servers.clone(), query.name.clone()));
            let Ok(ended) = timeout(HEDGE_DELAY, lookups.join_next()).await else {
                continue;
            };
            match ended {
                Some(Ok(Ok(addresses))) if !addresses.is_empty() => {
                    self.addresses = addresses;
                    self.last_error = None;
                    return;
                }
                Some(Ok(Err(error))) => self.last_error = Some(error),
                _ => {}
            }
            sleep(poll_interval(0, false)).await;
        }
    }

    /// Repeats the lookup. The first failure keeps the previous addresses, since a single failure may be spurious; a second
    /// one drops them.
    async fn look_up(&mut self, query: &AddressQuery) {
        match self.session.look_up(&query.name).await {
            Ok(addresses) => {
                self.addresses = addresses;
                self.last_error = None;
            }
            Err(error) => {
                if self.last_error.replace(error).is_some() {
                    self.addresses.clear();
                }
            }
        }
    }

    async fn probe(&mut self) {
        if let Some(probe) = &mut self.probe {
            probe.round(&self.addresses).await;
        }
    }

    fn matching(&self) -> BTreeSet<Ipv4Addr> {
        match &self.probe {
            Some(probe) => probe.accepted(&self.addresses),
            None => self.addresses.clone(),
        }
    }
}

/// A lookup over a separate connection.
async fn look_up_separately(
    servers: NameServers,
    name: Name,
) -> Result<BTreeSet<Ipv4Addr>, NetError> {
    servers.session()?.look_up(&name).await
}

/// Large responses take CPU time from starting containers (26 ms of the DNS server for 200 addresses); probe connections
/// take it from the workers.
fn poll_interval(addresses: usize, probing: bool) -> Duration {
    const MIN_MS: u64 = 25;
    const MAX_MS: u64 = 100;
    let more = u64::try_from(addresses / 2).unwrap_or(MAX_MS);
    let interval = if probing {
        MAX_MS
    } else {
        MAX_MS.min(MIN_MS + more)
    };
    Duration::from_millis(interval)
}

#[cfg(test)]
mod tests {
    use super::poll_interval;
    use std::time::Duration;

    #[test]
    fn intervals_grow_with_the_response_up_to_a_tenth_of_a_second() {
        assert_eq!(poll_interval(0, false), Duration::from_millis(25));
        assert_eq!(poll_interval(3, false), Duration::from_millis(26));
        assert_eq!(poll_interval(100, false), Duration::from_millis(75));
        assert_eq!(poll_interval(4_000, false), Duration::from_millis(100));
        assert_eq!(poll_interval(1, true), Duration::from_millis(100));
    }
}
