//! JWTs that were exchanged. A job may exchange its JWT several times: each of its commands does, and a request is
//! repeated when its answer was lost. So a second exchange is accepted, but only for the address of the first one, and not
//! any number of times.

use crate::attempts::client_of;
use std::collections::HashMap;
use std::net::IpAddr;
use thiserror::Error;

/// Maximum number of remembered JWTs.
const MAX_JWTS: usize = 10_000;
/// Maximum number of exchanges of one JWT.
const MAX_USES: u32 = 50;

/// A JWT that cannot be exchanged again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum UseRefused {
    /// It was exchanged from another address.
    #[error("it was already used from another address")]
    OtherAddress,
    /// It was exchanged too often.
    #[error("it was already used {MAX_USES} times")]
    TooOften,
    /// Too many JWTs are remembered; none is forgotten before it expires.
    #[error("too many jobs use the token exchange at once")]
    Full,
}

struct Use {
    from: Option<IpAddr>,
    count: u32,
    ends: u64,
}

/// The exchanged JWTs, until they expire.
#[derive(Default)]
pub struct UsedJwts(HashMap<[u8; 32], Use>);

impl UsedJwts {
    /// Records an exchange of the JWT `id`, which is accepted until `ends`. `from` is `None` for a Unix socket.
    ///
    /// # Errors
    /// When the JWT was used from elsewhere or too often, or too many others are remembered.
    pub fn record(
        &mut self,
        id: [u8; 32],
        from: Option<IpAddr>,
        ends: u64,
        now: u64,
    ) -> Result<(), UseRefused> {
        let from = from.map(client_of);
        if let Some(known) = self.0.get_mut(&id) {
            if known.from != from {
                return Err(UseRefused::OtherAddress);
            }
            if known.count >= MAX_USES {
                return Err(UseRefused::TooOften);
            }
            known.count += 1;
            return Ok(());
        }
        if self.0.len() >= MAX_JWTS {
            self.0.retain(|_, known| known.ends > now);
        }
        if self.0.len() >= MAX_JWTS {
            return Err(UseRefused::Full);
        }
        let first = Use {
            from,
            count: 1,
            ends,
        };
        self.0.insert(id, first);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> Option<IpAddr> {
        Some(IpAddr::from([10, 0, 0, last]))
    }

    #[test]
    fn a_jwt_may_be_used_again_from_the_same_address_only() {
        let mut used = UsedJwts::default();
        assert_eq!(used.record([1; 32], address(1), 200, 100), Ok(()));
        assert_eq!(used.record([1; 32], address(1), 200, 101), Ok(()));
        for other in [address(2), None] {
            let refused = used.record([1; 32], other, 200, 102);
            assert_eq!(refused, Err(UseRefused::OtherAddress));
        }
        assert_eq!(used.record([2; 32], address(2), 200, 102), Ok(()));
    }

    #[test]
    fn a_jwt_may_not_be_used_any_number_of_times() {
        let mut used = UsedJwts::default();
        for _ in 0..MAX_USES {
            assert_eq!(used.record([1; 32], None, 200, 100), Ok(()));
        }
        let refused = used.record([1; 32], None, 200, 100);
        assert_eq!(refused, Err(UseRefused::TooOften));
    }

    #[test]
    fn memory_is_bounded_and_no_jwt_is_forgotten_before_it_ends() {
        let mut used = UsedJwts::default();
        let id = |number: usize| {
            let mut id = [0; 32];
            id[..8].copy_from_slice(&number.to_be_bytes());
            id
        };
        for number in 0..MAX_JWTS {
            assert_eq!(used.record(id(number), None, 200, 100), Ok(()));
        }
        let refused = used.record([9; 32], address(1), 300, 199);
        assert_eq!(refused, Err(UseRefused::Full));
        assert_eq!(used.record([9; 32], address(1), 300, 200), Ok(()));
        assert_eq!(used.0.len(), 1);
    }
}
