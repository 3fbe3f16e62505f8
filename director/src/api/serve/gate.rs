//! Who may have a connection. When there are too many, the one that has waited for a request for the longest time makes
//! room: half a request holds nobody up. Only when all of them are busy is a new one turned away.

use super::activity::Activity;
use super::limits::Limits;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};

/// How long a connection that makes room may take to close.
const LEAVING: Duration = Duration::from_secs(1);

/// An open connection, as far as it matters for the next one.
#[derive(Debug, Clone, Copy)]
struct Open {
    id: u64,
    client: IpAddr,
    /// Since when no request is under way.
    waiting: Option<Instant>,
}

/// What becomes of a new connection.
#[derive(Debug, PartialEq, Eq)]
enum Entry {
    Free,
    /// That one is closed for it.
    InPlaceOf(u64),
    Refused,
}

fn entry(open: &[Open], client: IpAddr, limits: &Limits) -> Entry {
    let own: Vec<Open> = open
        .iter()
        .filter(|one| one.client == client)
        .copied()
        .collect();
    let longest_waiting = |of: &[Open]| {
        of.iter()
            .filter_map(|one| Some((one.waiting?, one.id)))
            .min()
            .map_or(Entry::Refused, |(_, id)| Entry::InPlaceOf(id))
    };
    if own.len() >= limits.per_address {
        longest_waiting(&own)
    } else if open.len() >= limits.connections {
        longest_waiting(open)
    } else {
        Entry::Free
    }
}

/// One name for a client: of IPv6 a network, because a client has as many addresses there as it likes.
fn client(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
        v4 => v4,
    }
}

struct Known {
    client: IpAddr,
    activity: Activity,
    close: CancellationToken,
    closed: CancellationToken,
}

#[derive(Default)]
struct Table {
    next: u64,
    open: HashMap<u64, Known>,
}

/// All open connections.
pub struct Gate {
    limits: Limits,
    table: Mutex<Table>,
}

impl Gate {
    /// A gate for so many.
    pub fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self {
            limits,
            table: Mutex::default(),
        })
    }

    /// Lets a connection in; `None` when it has to go. When another one makes room, waits until that one has given its
    /// descriptor back: in a burst they would be more than the limit otherwise.
    pub async fn enter(self: &Arc<Self>, address: IpAddr) -> Option<Pass> {
        let client = client(address);
        let leaving = {
            let mut table = self.lock();
            match self.entry(&table, client) {
                Entry::Free => return Some(self.admit(&mut table, client)),
                // Out of the table at once, so that the next one does not choose it again.
                Entry::InPlaceOf(id) => table.open.remove(&id)?,
                Entry::Refused => return None,
            }
        };
        leaving.close.cancel();
        // It waits for a request, so hardly anything keeps it.
        let _ = timeout(LEAVING, leaving.closed.cancelled()).await;
        Some(self.admit(&mut self.lock(), client))
    }

    fn admit(self: &Arc<Self>, table: &mut Table, client: IpAddr) -> Pass {
        let id = table.next;
        table.next += 1;
        let closed = CancellationToken::new();
        let known = Known {
            client,
            activity: Activity::new(),
            close: CancellationToken::new(),
            closed: closed.clone(),
        };
        let pass = Pass {
            gate: Arc::clone(self),
            id,
            activity: known.activity.clone(),
            close: known.close.clone(),
            _closed: closed.drop_guard(),
        };
        table.open.insert(id, known);
        pass
    }

    fn entry(&self, table: &Table, client: IpAddr) -> Entry {
        // Far from the limits nothing needs to be looked at.
        if table.open.len() < self.limits.per_address.min(self.limits.connections) {
            return Entry::Free;
        }
        let open: Vec<Open> = table
            .open
            .iter()
            .map(|(id, known)| Open {
                id: *id,
                client: known.client,
                waiting: known.activity.waiting_since(),
            })
            .collect();
        entry(&open, client, &self.limits)
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection that was let in; leaves when dropped, which has to be after its socket.
pub struct Pass {
    gate: Arc<Gate>,
    id: u64,
    /// What the connection is doing.
    pub activity: Activity,
    close: CancellationToken,
    _closed: DropGuard,
}

impl Pass {
    /// Waits until the connection has to be closed: it has rested for too long, or another one needs its place.
    pub async fn over(&self) {
        tokio::select! {
            () = self.activity.expired() => {}
            () = self.close.cancelled() => {}
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.gate.lock().open.remove(&self.id);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use std::pin::pin;

    const LIMITS: Limits = Limits {
        connections: 4,
        per_address: 3,
        bulk_bodies: 1,
        streams: 1,
    };

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    /// What [`Gate::enter`] gives at once.
    fn enter(gate: &Arc<Gate>, last: u8) -> Option<Pass> {
        gate.enter(address(last)).now_or_never().unwrap()
    }

    #[tokio::test]
    async fn the_longest_waiting_one_makes_room_and_busy_ones_stay() {
        let gate = Gate::new(LIMITS);
        let [first, second, third] = [(); 3].map(|()| enter(&gate, 1).unwrap());
        let _busy = first.activity.request();
        let fourth = gate.enter(address(1));
        let leaves = async {
            second.over().await;
            drop(second);
        };
        let (fourth, ()) = tokio::join!(fourth, leaves);
        for other in [&first, &third, &fourth.unwrap()] {
            assert!(other.over().now_or_never().is_none());
        }
    }

    #[tokio::test]
    async fn in_a_burst_a_connection_has_the_place_of_another_one_only_once_that_is_closed() {
        let gate = Gate::new(LIMITS);
        let mut open: Vec<Pass> = [1, 1, 2, 2].map(|last| enter(&gate, last).unwrap()).into();
        let mut next = pin!(gate.enter(address(3)));
        assert!(next.as_mut().now_or_never().is_none(), "still open");
        assert!(open[0].over().now_or_never().is_some());
        open.remove(0);
        assert!(next.await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_does_not_close_keeps_nobody_out_forever() {
        let gate = Gate::new(LIMITS);
        let _open = [1, 1, 2, 2].map(|last| enter(&gate, last).unwrap());
        assert!(gate.enter(address(3)).await.is_some());
    }

    #[tokio::test]
    async fn an_address_whose_connections_are_all_busy_gets_no_more_but_others_do() {
        let gate = Gate::new(LIMITS);
        let passes = [(); 3].map(|()| enter(&gate, 1).unwrap());
        let requests = passes.each_ref().map(|pass| pass.activity.request());
        assert!(enter(&gate, 1).is_none());
        let other = enter(&gate, 2).unwrap();
        let _busy = other.activity.request();
        assert!(enter(&gate, 2).is_none(), "all are busy");
        drop((requests, passes));
        assert!(enter(&gate, 1).is_some());
    }

    #[tokio::test]
    async fn addresses_of_one_ipv6_network_and_mapped_ones_are_one_client() {
        let client_of = |text: &str| client(text.parse().unwrap());
        assert_eq!(client_of("2001:db8::1"), client_of("2001:db8::ffff:1"));
        assert_ne!(client_of("2001:db8::1"), client_of("2001:db8:0:1::1"));
        assert_eq!(client_of("::ffff:192.0.2.7"), address(7));
    }
}
