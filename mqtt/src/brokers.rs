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

/// The brokers. Device `n` uses the address `n` modulo their number.
#[derive(Debug)]
pub struct Brokers {
    hosts: Vec<Arc<str>>,
    port: u16,
    cached: Mutex<Option<(Instant, Arc<[Broker]>)>>,
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

    /// All addresses.
    ///
    /// # Errors
    /// When a host cannot be resolved; the text names it.
    pub async fn all(&self) -> Result<Arc<[Broker]>, String> {
        let mut cached = self.cached.lock().await;
        if let Some((at, brokers)) = &*cached
            && at.elapsed() < MAX_AGE
        {
            return Ok(Arc::clone(brokers));
        }
        let brokers = self.resolve().await?;
        *cached = Some((Instant::now(), Arc::clone(&brokers)));
        Ok(brokers)
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

    /// The broker of a device.
    ///
    /// # Errors
    /// When a host cannot be resolved.
    pub async fn of(&self, number: u64) -> Result<Broker, String> {
        let all = self.all().await?;
        let at = usize::try_from(number).unwrap_or(0) % all.len();
        Ok(all[at].clone())
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
            used.push(brokers.of(number).await.unwrap().address.to_string());
        }
        let (one, two) = ("127.0.0.1:1883", "127.0.0.2:1883");
        assert_eq!(used, [one, two, one, two]);
    }

    #[tokio::test]
    async fn an_unknown_host_is_named() {
        let brokers = Brokers::new(&["no such host".to_owned()], 1883);
        let error = brokers.all_within(Duration::ZERO).await.unwrap_err();
        assert!(error.contains("`no such host`"), "{error}");
    }
}
