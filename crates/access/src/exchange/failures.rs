//! Limits failed attempts of each address.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};

/// Maximum number of failures of an address within a window.
const MAX_FAILURES: u32 = 30;
/// Length of a window in seconds.
const WINDOW: u64 = 60;
/// Maximum number of remembered addresses.
const MAX_ADDRESSES: usize = 10_000;

struct Window {
    ends: u64,
    count: u32,
}

/// Failed attempts of each address (of IPv6: of each /64, since a client has that many).
#[derive(Default)]
pub struct Failures(HashMap<IpAddr, Window>);

impl Failures {
    /// The number of seconds for which the address must wait; `None` if it need not.
    pub fn wait(&self, address: IpAddr, now: u64) -> Option<u64> {
        let window = self.0.get(&network(address))?;
        let left = window.ends.saturating_sub(now);
        (window.count >= MAX_FAILURES && left > 0).then_some(left)
    }

    /// Records a failed attempt.
    pub fn record(&mut self, address: IpAddr, now: u64) {
        if self.0.len() >= MAX_ADDRESSES {
            self.0.retain(|_, window| window.ends > now);
        }
        let address = network(address);
        // Beyond that number, only known addresses are counted: the memory stays bounded.
        if self.0.len() >= MAX_ADDRESSES && !self.0.contains_key(&address) {
            return;
        }
        let fresh = || Window {
            ends: now.saturating_add(WINDOW),
            count: 0,
        };
        let window = self.0.entry(address).or_insert_with(fresh);
        if window.ends <= now {
            *window = fresh();
        }
        window.count += 1;
    }
}

fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_with_many_failures_waits_until_its_window_ends() {
        let mut failures = Failures::default();
        let (bad, good) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        for _ in 0..MAX_FAILURES {
            assert_eq!(failures.wait(bad, 100), None);
            failures.record(bad, 100);
        }
        assert_eq!(failures.wait(bad, 110), Some(50));
        assert_eq!(failures.wait(good, 110), None);
        assert_eq!(failures.wait(bad, 160), None);
        failures.record(bad, 160);
        assert_eq!(failures.wait(bad, 161), None);
    }

    #[test]
    fn addresses_of_one_ipv6_network_count_as_one() {
        let mut failures = Failures::default();
        for number in 0..u128::from(MAX_FAILURES) {
            let address = Ipv6Addr::from_bits(0x2001_0db8 << 96 | number);
            failures.record(address.into(), 0);
        }
        let same = Ipv6Addr::from_bits(0x2001_0db8 << 96 | 0xffff);
        let other = Ipv6Addr::from_bits(0x2001_0db8 << 96 | 1 << 64);
        assert_eq!(failures.wait(same.into(), 0), Some(WINDOW));
        assert_eq!(failures.wait(other.into(), 0), None);
    }

    #[test]
    fn memory_is_bounded() {
        let mut failures = Failures::default();
        for number in 0..20_000_u32 {
            failures.record(IpAddr::from(number.to_be_bytes()), 0);
        }
        assert_eq!(failures.0.len(), MAX_ADDRESSES);
        failures.record(IpAddr::from([255, 0, 0, 1]), WINDOW);
        assert_eq!(failures.0.len(), 1);
    }
}
