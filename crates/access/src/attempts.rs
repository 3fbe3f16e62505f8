//! Limit of failed attempts, by address.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};

/// Length of a period in seconds.
const PERIOD_SECONDS: u64 = 60;
/// Maximum number of remembered addresses.
const MAX_ADDRESSES: usize = 10_000;

/// Failed attempts of the last minute. Guessing a token is hopeless; the limit keeps the log short and the load low.
#[derive(Debug)]
pub struct FailedAttempts {
    /// Maximum number of failed attempts of one address within a minute.
    most: usize,
    /// When each failed, in seconds of any clock that never goes back; the oldest first.
    by_address: HashMap<IpAddr, Vec<u64>>,
}

impl FailedAttempts {
    /// Accepts at most this number of failed attempts of one address within a minute.
    pub fn new(most: usize) -> Self {
        Self {
            most,
            by_address: HashMap::new(),
        }
    }

    /// Whether the address may try again.
    ///
    /// # Errors
    /// The seconds until the next attempt, if there were too many.
    pub fn check(&mut self, address: IpAddr, now: u64) -> Result<(), u64> {
        let Some(failures) = self.by_address.get_mut(&client_of(address)) else {
            return Ok(());
        };
        failures.retain(|at| now < at.saturating_add(PERIOD_SECONDS));
        match failures.first() {
            Some(oldest) if failures.len() >= self.most => {
                Err(oldest.saturating_add(PERIOD_SECONDS).saturating_sub(now))
            }
            _ => Ok(()),
        }
    }

    /// Records a failed attempt.
    pub fn record(&mut self, address: IpAddr, now: u64) {
        let address = client_of(address);
        if self.by_address.len() >= MAX_ADDRESSES && !self.by_address.contains_key(&address) {
            self.forget(now);
        }
        let failures = self.by_address.entry(address).or_default();
        failures.push(now);
        // Concurrent attempts may all have passed the check.
        let excess = failures.len().saturating_sub(self.most);
        failures.drain(..excess);
    }

    /// Removes the addresses without a recent failure, or else the one whose last failure is the oldest.
    fn forget(&mut self, now: u64) {
        let last = |failures: &Vec<u64>| failures.last().copied().unwrap_or(0);
        self.by_address
            .retain(|_, failures| now < last(failures).saturating_add(PERIOD_SECONDS));
        if self.by_address.len() < MAX_ADDRESSES {
            return;
        }
        let oldest = self
            .by_address
            .iter()
            .min_by_key(|(_, failures)| last(failures));
        if let Some(address) = oldest.map(|(address, _)| *address) {
            self.by_address.remove(&address);
        }
    }
}

/// The client behind an address: one client has a whole /64 of IPv6.
pub fn client_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let network = v6.to_bits() >> 64 << 64;
            IpAddr::V6(Ipv6Addr::from_bits(network))
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::net::Ipv4Addr;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_eleventh_failure_within_a_minute_is_refused_and_later_ones_are_accepted() {
        let mut attempts = FailedAttempts::new(10);
        let client = address("192.0.2.1");
        for at in 100..110 {
            assert_eq!(attempts.check(client, at), Ok(()));
            attempts.record(client, at);
        }
        assert_eq!(attempts.check(client, 110), Err(50));
        assert_eq!(attempts.check(client, 159), Err(1));
        assert_eq!(attempts.check(client, 160), Ok(()));
        assert_eq!(attempts.check(address("192.0.2.2"), 110), Ok(()));
    }

    #[test]
    fn addresses_of_one_ipv6_network_count_together() {
        let mut attempts = FailedAttempts::new(10);
        for host in 0..10 {
            attempts.record(address(&format!("2001:db8::{host}")), 0);
        }
        assert!(attempts.check(address("2001:db8::ffff"), 1).is_err());
        assert!(attempts.check(address("2001:db8:0:1::1"), 1).is_ok());
        for _ in 0..10 {
            attempts.record(address("::ffff:192.0.2.1"), 0);
        }
        assert!(attempts.check(address("192.0.2.1"), 1).is_err());
    }

    #[test]
    fn memory_is_bounded() {
        let mut attempts = FailedAttempts::new(10);
        for number in 0..20_000 {
            attempts.record(IpAddr::V4(Ipv4Addr::from_bits(number)), 5);
        }
        assert_eq!(attempts.by_address.len(), MAX_ADDRESSES);
        for _ in 0..1000 {
            attempts.record(address("192.0.2.1"), 5);
        }
        let longest = attempts.by_address.values().map(Vec::len).max();
        assert_eq!(longest, Some(10));
        // Addresses without a recent failure go first.
        attempts.record(address("192.0.2.9"), 100);
        assert_eq!(attempts.by_address.len(), 1);
    }
}
