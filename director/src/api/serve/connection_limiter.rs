//! Limits the number of connections. Beyond the limit, the connection that has waited longest for a request is
//! closed: incomplete requests do not block others. If all connections are busy, a new one is refused.

use super::Peer;
use super::activity::Activity;
use super::limits::ConnectionLimits;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};

/// Timeout for closing a replaced connection.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// The client of a connection, whose connections are counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Client {
    /// An address; for IPv6 a network, because a client has many addresses there.
    Address(IpAddr),
    /// A user of this machine, by id.
    User(u32),
}

impl From<Peer> for Client {
    fn from(peer: Peer) -> Self {
        match peer {
            Peer::Tcp(address) => Self::Address(atq_access::client_of(address.ip())),
            Peer::Socket { uid } | Peer::Control { uid } => Self::User(uid),
        }
    }
}

/// State of an open connection.
#[derive(Debug, Clone, Copy)]
struct Open {
    id: u64,
    client: Client,
    /// Time since which the connection has no request.
    waiting: Option<Instant>,
}

/// Decision on a new connection.
#[derive(Debug, PartialEq, Eq)]
enum Decision {
    Accept,
    /// The connection with this id is closed.
    Replace(u64),
    Refuse,
}

fn decide(open: &[Open], client: Client, limits: &ConnectionLimits) -> Decision {
    let own: Vec<Open> = open
        .iter()
        .filter(|one| one.client == client)
        .copied()
        .collect();
    let longest_waiting = |of: &[Open]| {
        of.iter()
            .filter_map(|one| Some((one.waiting?, one.id)))
            .min()
            .map_or(Decision::Refuse, |(_, id)| Decision::Replace(id))
    };
    if own.len() >= limits.per_client {
        longest_waiting(&own)
    } else if open.len() >= limits.total {
        longest_waiting(open)
    } else {
        Decision::Accept
    }
}

struct Connection {
    client: Client,
    activity: Activity,
    close: CancellationToken,
    closed: CancellationToken,
}

#[derive(Default)]
struct Table {
    next: u64,
    open: HashMap<u64, Connection>,
}

/// All open connections.
pub struct ConnectionLimiter {
    limits: ConnectionLimits,
    table: Mutex<Table>,
}

impl ConnectionLimiter {
    /// A limiter with these limits.
    pub fn new(limits: ConnectionLimits) -> Arc<Self> {
        Arc::new(Self {
            limits,
            table: Mutex::default(),
        })
    }

    /// Accepts a connection; `None` when it is refused. Waits until a replaced connection has released its
    /// descriptor: otherwise a burst would exceed the limit.
    pub async fn acquire(self: &Arc<Self>, client: Client) -> Option<ConnectionPermit> {
        let replaced = {
            let mut table = self.lock();
            match self.decide(&table, client) {
                Decision::Accept => return Some(self.admit(&mut table, client)),
                // Removed from the table at once, so that it is not chosen again.
                Decision::Replace(id) => table.open.remove(&id)?,
                Decision::Refuse => return None,
            }
        };
        replaced.close.cancel();
        // It waits for a request, so that it closes quickly.
        let _ = timeout(CLOSE_TIMEOUT, replaced.closed.cancelled()).await;
        Some(self.admit(&mut self.lock(), client))
    }

    fn admit(self: &Arc<Self>, table: &mut Table, client: Client) -> ConnectionPermit {
        let id = table.next;
        table.next += 1;
        let closed = CancellationToken::new();
        let connection = Connection {
            client,
            activity: Activity::new(),
            close: CancellationToken::new(),
            closed: closed.clone(),
        };
        let permit = ConnectionPermit {
            limiter: Arc::clone(self),
            id,
            activity: connection.activity.clone(),
            close: connection.close.clone(),
            _closed: closed.drop_guard(),
        };
        table.open.insert(id, connection);
        permit
    }

    fn decide(&self, table: &Table, client: Client) -> Decision {
        // Below the lowest limit, every connection is accepted.
        if table.open.len() < self.limits.per_client.min(self.limits.total) {
            return Decision::Accept;
        }
        let open: Vec<Open> = table
            .open
            .iter()
            .map(|(id, connection)| Open {
                id: *id,
                client: connection.client,
                waiting: connection.activity.waiting_since(),
            })
            .collect();
        decide(&open, client, &self.limits)
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Permit of an accepted connection. Must be dropped after its socket.
pub struct ConnectionPermit {
    limiter: Arc<ConnectionLimiter>,
    id: u64,
    /// Activity of the connection.
    pub activity: Activity,
    close: CancellationToken,
    _closed: DropGuard,
}

impl ConnectionPermit {
    /// Waits until the connection must be closed: it has timed out, or is replaced.
    pub async fn revoked(&self) {
        tokio::select! {
            () = self.activity.expired() => {}
            () = self.close.cancelled() => {}
        }
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.limiter.lock().open.remove(&self.id);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use std::pin::pin;

    const LIMITS: ConnectionLimits = ConnectionLimits {
        total: 4,
        per_client: 3,
    };

    fn address(last: u8) -> Client {
        Client::Address(IpAddr::from([192, 0, 2, last]))
    }

    /// The immediate result of [`ConnectionLimiter::acquire`].
    fn acquire(limiter: &Arc<ConnectionLimiter>, last: u8) -> Option<ConnectionPermit> {
        limiter.acquire(address(last)).now_or_never().unwrap()
    }

    #[tokio::test]
    async fn the_longest_waiting_connection_is_replaced_and_busy_ones_are_kept() {
        let limiter = ConnectionLimiter::new(LIMITS);
        let [first, second, third] = [(); 3].map(|()| acquire(&limiter, 1).unwrap());
        let _busy = first.activity.request();
        let fourth = limiter.acquire(address(1));
        let leaves = async {
            second.revoked().await;
            drop(second);
        };
        let (fourth, ()) = tokio::join!(fourth, leaves);
        for other in [&first, &third, &fourth.unwrap()] {
            assert!(other.revoked().now_or_never().is_none());
        }
    }

    #[tokio::test]
    async fn in_a_burst_a_connection_waits_until_the_replaced_one_is_closed() {
        let limiter = ConnectionLimiter::new(LIMITS);
        let mut open: Vec<ConnectionPermit> = [1, 1, 2, 2]
            .map(|last| acquire(&limiter, last).unwrap())
            .into();
        let mut next = pin!(limiter.acquire(address(3)));
        assert!(next.as_mut().now_or_never().is_none(), "still open");
        assert!(open[0].revoked().now_or_never().is_some());
        open.remove(0);
        assert!(next.await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_does_not_close_does_not_block_others_forever() {
        let limiter = ConnectionLimiter::new(LIMITS);
        let _open = [1, 1, 2, 2].map(|last| acquire(&limiter, last).unwrap());
        assert!(limiter.acquire(address(3)).await.is_some());
    }

    #[tokio::test]
    async fn an_address_with_only_busy_connections_is_refused_and_others_are_not() {
        let limiter = ConnectionLimiter::new(LIMITS);
        let permits = [(); 3].map(|()| acquire(&limiter, 1).unwrap());
        let requests = permits.each_ref().map(|permit| permit.activity.request());
        assert!(acquire(&limiter, 1).is_none());
        let other = acquire(&limiter, 2).unwrap();
        let _busy = other.activity.request();
        assert!(acquire(&limiter, 2).is_none(), "all are busy");
        drop((requests, permits));
        assert!(acquire(&limiter, 1).is_some());
    }

    #[tokio::test]
    async fn addresses_of_one_ipv6_network_and_mapped_ones_are_one_client() {
        let client_of = |text: &str| {
            let address: IpAddr = text.parse().unwrap();
            Client::from(Peer::Tcp((address, 80).into()))
        };
        assert_eq!(client_of("2001:db8::1"), client_of("2001:db8::ffff:1"));
        assert_ne!(client_of("2001:db8::1"), client_of("2001:db8:0:1::1"));
        assert_eq!(client_of("::ffff:192.0.2.7"), address(7));
    }
}
