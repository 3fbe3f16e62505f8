//! Addresses of the brokers, resolved again for reconnects.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

/// Addresses are used this long. All devices that reconnect in this time share one query.
const MAX_AGE: Duration = Duration::from_secs(1);
const RETRY_INTERVAL: Duration = Duration::from_millis(500);

/// An address, and the host that it belongs to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Broker {
    /// The address.
    pub address: SocketAddr,
    /// The host as given, which TLS verifies.
    pub host: Arc<str>,
}

/// Where a device connects to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The broker.
    pub broker: Broker,
    /// Which source address the device uses: this number modulo their number.
    pub turn: u64,
}

impl Route {
    /// The route of a worker's device `position`, from 0. The devices of a worker use all pairs of a broker and a source
    /// address equally, and workers begin at different brokers.
    fn new(brokers: &[Broker], position: u64, worker: u32) -> Self {
        let count = brokers.len() as u64;
        let at = (position + u64::from(worker)) % count;
        Self {
            broker: brokers[at as usize].clone(),
            turn: position / count,
        }
    }
}

/// The brokers.
#[derive(Debug)]
pub struct Brokers {
    hosts: Vec<Arc<str>>,
    port: u16,
    cached: Mutex<Option<Cached>>,
}

/// The last result of a query, and its time.
#[derive(Debug)]
struct Cached {
    at: Instant,
    result: Result<Arc<[Broker]>, String>,
}

impl Brokers {
    /// Brokers at these hosts, all with the same port.
    pub fn new(hosts: &[String], port: u16) -> Self {
        Self {
            hosts: hosts.iter().map(|host| Arc::from(host.as_str())).collect(),
            port,
            cached: Mutex::new(None),
        }
    }

    /// All addresses; the last known ones if a host cannot be resolved any more. An error is cached as well.
    ///
    /// # Errors
    /// When a host has never been resolved; the text names it.
    pub async fn all(&self) -> Result<Arc<[Broker]>, String> {
        let mut cached = self.cached.lock().await;
        if let Some(Cached { at, result }) = &*cached
            && at.elapsed() < MAX_AGE
        {
            return result.clone();
        }
        let known = cached.take().and_then(|cached| cached.result.ok());
        // Before the query, so that it is not lost if the query is cancelled.
        *cached = known.clone().map(|known| Cached {
            at: Instant::now(),
            result: Ok(known),
        });
        let result = self.resolve().await;
        let result = result.or_else(|error| known.ok_or(error));
        *cached = Some(Cached {
            at: Instant::now(),
            result: result.clone(),
        });
        result
    }

    /// The same, repeated until it succeeds or the time is over.
    ///
    /// # Errors
    /// The last error.
    pub async fn all_within(&self, timeout: Duration) -> Result<Arc<[Broker]>, String> {
        let deadline = Instant::now() + timeout;
        loop {
            match self.all().await {
                Err(_) if Instant::now() < deadline => sleep(RETRY_INTERVAL).await,
                result => return result,
            }
        }
    }

    /// The route of a worker's device `position`, from 0.
    ///
    /// # Errors
    /// When a host has never been resolved.
    pub async fn route(&self, position: u64, worker: u32) -> Result<Route, String> {
        Ok(Route::new(&self.all().await?, position, worker))
    }

    async fn resolve(&self) -> Result<Arc<[Broker]>, String> {
        let mut brokers = Vec::new();
        for host in &self.hosts {
            let addresses = addresses(host).await?;
            brokers.extend(addresses.into_iter().map(|address| Broker {
                address: SocketAddr::new(address, self.port),
                host: Arc::clone(host),
            }));
        }
        brokers.sort();
        brokers.dedup_by_key(|broker| broker.address);
        Ok(brokers.into())
    }
}

/// Addresses of IPv4 if the host has any, else those of IPv6: a machine often has a name for both, and no route for one.
async fn addresses(host: &str) -> Result<Vec<IpAddr>, String> {
    if let Ok(address) = host.parse() {
        return Ok(vec![address]);
    }
    let all = atq_resolver::resolve(host)
        .await
        .map_err(|error| format!("cannot resolve `{host}`: {error}"))?;
    let v4: Vec<IpAddr> = all.iter().copied().filter(IpAddr::is_ipv4).collect();
    match (v4.is_empty(), all.is_empty()) {
        (false, _) => Ok(v4),
        (true, false) => Ok(all),
        (true, true) => Err(format!("cannot resolve `{host}`: it has no address")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[tokio::test]
    async fn devices_are_spread_over_all_addresses() {
        let hosts = ["127.0.0.2".to_owned(), "127.0.0.1".to_owned()];
        let brokers = Brokers::new(&hosts, 1883);
        let mut used = Vec::new();
        for number in 0..4 {
            let route = brokers.route(number, 0).await.unwrap();
            used.push(route.broker.address.to_string());
        }
        let (one, two) = ("127.0.0.1:1883", "127.0.0.2:1883");
        assert_eq!(used, [one, two, one, two]);
    }

    #[test]
    fn the_devices_of_each_worker_use_all_pairs_of_brokers_and_sources_equally() {
        let broker = |n: u16| Broker {
            address: SocketAddr::from(([127, 0, 0, 1], n)),
            host: "b".into(),
        };
        for (count, sources) in [(1, 3), (2, 2), (2, 3), (3, 2), (4, 4)] {
            let brokers: Vec<Broker> = (0..count).map(broker).collect();
            for worker in 0..4 {
                let pairs = u64::from(count) * sources;
                let used = (0..pairs).map(|position| {
                    let route = Route::new(&brokers, position, worker);
                    (route.broker.address.port(), route.turn % sources)
                });
                let distinct: std::collections::BTreeSet<_> = used.collect();
                assert_eq!(distinct.len() as u64, pairs, "{count} brokers");
            }
        }
    }

    #[tokio::test]
    async fn the_last_known_addresses_are_used_when_a_host_cannot_be_resolved_any_more() {
        let known: Arc<[Broker]> = Arc::new([Broker {
            address: SocketAddr::from(([127, 0, 0, 1], 1883)),
            host: "b".into(),
        }]);
        let brokers = Brokers::new(&["no such host".to_owned()], 1883);
        let at = Instant::now().checked_sub(MAX_AGE).unwrap();
        let result = Ok(Arc::clone(&known));
        *brokers.cached.lock().await = Some(Cached { at, result });
        assert_eq!(brokers.all().await, Ok(known));
    }

    #[tokio::test]
    async fn devices_share_the_error_of_a_query() {
        let brokers = Brokers::new(&["no such host".to_owned()], 1883);
        let error = brokers.all().await.unwrap_err();
        let first = brokers.cached.lock().await.as_ref().unwrap().at;
        assert_eq!(brokers.all().await, Err(error));
        assert_eq!(brokers.cached.lock().await.as_ref().unwrap().at, first);
    }

    #[tokio::test]
    async fn an_unknown_host_is_named() {
        let brokers = Brokers::new(&["no such host".to_owned()], 1883);
        let error = brokers.all_within(Duration::ZERO).await.unwrap_err();
        assert!(error.contains("`no such host`"), "{error}");
    }
}
