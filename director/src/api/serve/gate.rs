//! Who may have a connection. When there are too many, the one that has waited for a request for the longest time makes
//! room: half a request holds nobody up. Only when all of them are busy is a new one turned away.

use super::activity::Activity;
use super::limits::Limits;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

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

    /// Lets a connection in; `None` when it has to go.
    pub fn enter(self: &Arc<Self>, address: IpAddr) -> Option<Pass> {
        let client = client(address);
        let mut table = self.lock();
        match self.entry(&table, client) {
            Entry::Free => {}
            Entry::InPlaceOf(id) => {
                // Out of the table at once, so that the next one does not choose it again.
                if let Some(known) = table.open.remove(&id) {
                    known.close.cancel();
                }
            }
            Entry::Refused => return None,
        }
        let id = table.next;
        table.next += 1;
        let pass = Pass {
            gate: Arc::clone(self),
            id,
            activity: Activity::new(),
            close: CancellationToken::new(),
        };
        table.open.insert(
            id,
            Known {
                client,
                activity: pass.activity.clone(),
                close: pass.close.clone(),
            },
        );
        Some(pass)
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

/// A connection that was let in; leaves when dropped.
pub struct Pass {
    gate: Arc<Gate>,
    id: u64,
    /// What the connection is doing.
    pub activity: Activity,
    close: CancellationToken,
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

    const LIMITS: Limits = Limits {
        connections: 4,
        per_address: 3,
        bulk_bodies: 1,
        streams: 1,
    };

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[tokio::test]
    async fn the_longest_waiting_one_makes_room_and_busy_ones_stay() {
        let gate = Gate::new(LIMITS);
        let [first, second, third] = [(); 3].map(|()| gate.enter(address(1)).unwrap());
        let _busy = first.activity.request();
        let fourth = gate.enter(address(1)).unwrap();
        assert!(
            second.over().now_or_never().is_some(),
            "the longest waiting"
        );
        for other in [&first, &third, &fourth] {
            assert!(other.over().now_or_never().is_none());
        }
    }

    #[tokio::test]
    async fn an_address_whose_connections_are_all_busy_gets_no_more_but_others_do() {
        let gate = Gate::new(LIMITS);
        let passes = [(); 3].map(|()| gate.enter(address(1)).unwrap());
        let requests = passes.each_ref().map(|pass| pass.activity.request());
        assert!(gate.enter(address(1)).is_none());
        let other = gate.enter(address(2)).unwrap();
        let _busy = other.activity.request();
        assert!(gate.enter(address(2)).is_none(), "all are busy");
        drop((requests, passes));
        assert!(gate.enter(address(1)).is_some());
    }

    #[tokio::test]
    async fn addresses_of_one_ipv6_network_and_mapped_ones_are_one_client() {
        let client_of = |text: &str| client(text.parse().unwrap());
        assert_eq!(client_of("2001:db8::1"), client_of("2001:db8::ffff:1"));
        assert_ne!(client_of("2001:db8::1"), client_of("2001:db8:0:1::1"));
        assert_eq!(client_of("::ffff:192.0.2.7"), address(7));
    }
}
