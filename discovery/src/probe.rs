//! One round of TCP connects.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::num::NonZeroU16;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// An address that takes longer to accept a connection does not count.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Connects under way at once: leaves room under the usual limit of 1024 open files.
const AT_ONCE: usize = 64;

/// Which addresses accepted a connection, kept over the rounds of one request: a worker that is ready is left alone
/// then, rather than connected to forty times a second.
pub(crate) struct Probe {
    port: NonZeroU16,
    open: BTreeSet<Ipv4Addr>,
}

impl Probe {
    pub(crate) fn new(port: NonZeroU16) -> Self {
        Self {
            port,
            open: BTreeSet::new(),
        }
    }

    /// Those of `addresses` that have accepted a connection so far.
    pub(crate) fn accepted(&self, addresses: &BTreeSet<Ipv4Addr>) -> BTreeSet<Ipv4Addr> {
        addresses.intersection(&self.open).copied().collect()
    }

    /// Connects to each of `addresses` that has not accepted yet. May be dropped half way: what was learnt stays, and
    /// the connects under way end.
    pub(crate) async fn round(&mut self, addresses: &BTreeSet<Ipv4Addr>) {
        let missing: Vec<_> = addresses.difference(&self.open).copied().collect();
        let mut under_way = JoinSet::new();
        for address in missing {
            if under_way.len() == AT_ONCE {
                self.note(under_way.join_next().await);
            }
            under_way.spawn(connect(address, self.port));
        }
        while !under_way.is_empty() {
            self.note(under_way.join_next().await);
        }
    }

    fn note<E>(&mut self, ended: Option<Result<Option<Ipv4Addr>, E>>) {
        if let Some(Ok(Some(address))) = ended {
            self.open.insert(address);
        }
    }
}

async fn connect(address: Ipv4Addr, port: NonZeroU16) -> Option<Ipv4Addr> {
    let stream = TcpStream::connect((address, port.get()));
    let connected = timeout(CONNECT_TIMEOUT, stream).await;
    matches!(connected, Ok(Ok(_))).then_some(address)
}
