//! When to look again, when to answer, and with what.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::Duration;

use hickory_resolver::net::NetError;
use hickory_resolver::proto::rr::Name;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::dns::{NameServers, Session};
use crate::probe::{Check, Probe};
use crate::query::Question;

/// How long a look-up for a name without addresses may stay silent before another joins it.
const PATIENCE: Duration = Duration::from_millis(100);

/// Answers `question`: with one look, or with as many as it takes until enough addresses are there or time is up.
///
/// The addresses always come from one single look-up: a union of several would also hold those of containers that
/// have gone meanwhile.
pub(crate) async fn answer(servers: &NameServers, question: &Question) -> BTreeSet<Ipv4Addr> {
    let deadline = Instant::now() + question.timeout;
    let mut view = match View::new(servers, question) {
        Ok(view) => view,
        Err(error) => {
            complain(question, &error);
            return BTreeSet::new();
        }
    };
    // Not cut off at the deadline, it has its own: also the shortest time-out gets an answer.
    view.look(question).await;
    if let Some(replicas) = question.replicas {
        // Time is up or all are there: either way the view holds what there is to say.
        let _ = timeout_at(deadline, view.until(replicas, question)).await;
    } else {
        let _ = timeout_at(deadline, view.probe()).await;
    }
    let counted = view.counted();
    if let (true, Some(error)) = (counted.is_empty(), &view.trouble) {
        complain(question, error);
    }
    counted
}

/// For the operator who wonders why a name has no address; the client is told "none yet".
fn complain(question: &Question, error: &NetError) {
    eprintln!("no address for `{}`: {error}", question.name);
}

/// What is known of a name.
struct View {
    servers: NameServers,
    session: Session,
    probe: Option<Probe>,
    addresses: BTreeSet<Ipv4Addr>,
    /// Why the latest look-up failed, if it did.
    trouble: Option<NetError>,
}

impl View {
    fn new(servers: &NameServers, question: &Question) -> Result<Self, NetError> {
        Ok(Self {
            servers: servers.clone(),
            session: servers.session()?,
            probe: question.probe.map(|port| Probe::new(Check::Tcp(port))),
            addresses: BTreeSet::new(),
            trouble: None,
        })
    }

    async fn until(&mut self, replicas: usize, question: &Question) {
        loop {
            self.probe().await;
            if self.counted().len() >= replicas {
                return;
            }
            sleep(pause(self.addresses.len(), self.probe.is_some())).await;
            if self.addresses.is_empty() {
                self.sight(question).await;
            } else {
                self.look(question).await;
            }
        }
    }

    /// Looks until there is an address. A look that gets no answer for a while is joined by another: where the outside
    /// world is out of reach, Docker's DNS stays silent about a name that is not there yet, and the name should be
    /// seen when it comes, not when the silence has timed out.
    async fn sight(&mut self, question: &Question) {
        let mut looks = JoinSet::new();
        loop {
            looks.spawn(look_apart(self.servers.clone(), question.name.clone()));
            let Ok(ended) = timeout(PATIENCE, looks.join_next()).await else {
                continue;
            };
            match ended {
                Some(Ok(Ok(addresses))) if !addresses.is_empty() => {
                    self.addresses = addresses;
                    self.trouble = None;
                    return;
                }
                Some(Ok(Err(error))) => self.trouble = Some(error),
                _ => {}
            }
            sleep(pause(0, false)).await;
        }
    }

    /// A first failure keeps the previous addresses, since a single bad answer says little; a second drops them.
    async fn look(&mut self, question: &Question) {
        match self.session.look_up(&question.name).await {
            Ok(addresses) => {
                self.addresses = addresses;
                self.trouble = None;
            }
            Err(error) => {
                if self.trouble.replace(error).is_some() {
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

    fn counted(&self) -> BTreeSet<Ipv4Addr> {
        match &self.probe {
            Some(probe) => probe.accepted(&self.addresses),
            None => self.addresses.clone(),
        }
    }
}

/// One look-up over a connection of its own.
async fn look_apart(servers: NameServers, name: Name) -> Result<BTreeSet<Ipv4Addr>, NetError> {
    servers.session()?.look_up(&name).await
}

/// Large answers cost the DNS server time that the containers need for their start (26 ms for 200 addresses), and
/// connects cost the workers.
fn pause(addresses: usize, probing: bool) -> Duration {
    const SHORTEST: u64 = 25;
    const LONGEST: u64 = 100;
    let more = u64::try_from(addresses / 2).unwrap_or(LONGEST);
    let pause = if probing {
        LONGEST
    } else {
        LONGEST.min(SHORTEST + more)
    };
    Duration::from_millis(pause)
}

#[cfg(test)]
mod tests {
    use super::pause;
    use std::time::Duration;

    #[test]
    fn pauses_grow_with_the_answer_up_to_a_tenth_of_a_second() {
        assert_eq!(pause(0, false), Duration::from_millis(25));
        assert_eq!(pause(3, false), Duration::from_millis(26));
        assert_eq!(pause(100, false), Duration::from_millis(75));
        assert_eq!(pause(4_000, false), Duration::from_millis(100));
        assert_eq!(pause(1, true), Duration::from_millis(100));
    }
}
