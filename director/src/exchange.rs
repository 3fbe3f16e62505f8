//! The exchange of CI jobs' JWTs: finds the rule that accepts a JWT, with the keys of its issuer. The checks themselves are
//! in [`atq_access::exchange`].
//!
//! - `keys`: the keys of an issuer, and when they are read again;
//! - `fetch`: reads them from a URL or a file.

mod fetch;
mod keys;

use crate::config::{KeyLocation, TokenExchange};
use atq_access::FailedAttempts;
use atq_access::exchange::{ExchangeRule, Identity, Jwt, Refusal, UseRefused, UsedJwts};
use atq_task::spec::shorten;
use keys::KeySource;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use thiserror::Error;

/// Maximum number of refused JWTs of one address within a minute.
const MAX_FAILURES: usize = 30;

/// The reason why a JWT is not exchanged.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ExchangeError {
    /// The address has failed too often.
    #[error("too many failed attempts from this address\n(try again in {0} s)")]
    Wait(u64),
    /// No rule accepts the JWT.
    #[error("no rule accepts this JWT: {refusal}{}", found(.claim.as_ref()))]
    Refused {
        /// The reason of the rule that came closest.
        refusal: Refusal,
        /// Name and value in the JWT of the claim that does not match.
        claim: Option<(String, Option<String>)>,
    },
    /// The JWT was used before.
    #[error("this JWT is not exchanged again: {0}")]
    Used(#[from] UseRefused),
    /// The keys of the issuer are not available.
    #[error(
        "the keys of the issuer are not available, so that the JWT cannot be checked\n(the Director's log has the reason)"
    )]
    NoKeys,
}

/// The claim of the sender's own JWT, so that nothing about the rules is revealed.
fn found(claim: Option<&(String, Option<String>)>) -> String {
    match claim {
        None => String::new(),
        Some((name, None)) => format!("; the JWT has no `{name}`"),
        Some((name, Some(value))) => format!("; the JWT has `{name}`: `{}`", shorten(value)),
    }
}

impl ExchangeError {
    fn refused(refusal: Refusal, jwt: &Jwt<'_>) -> Self {
        let claim = refusal
            .claim()
            .map(|name| (name.to_owned(), jwt.claim(name)));
        Self::Refused { refusal, claim }
    }
}

impl From<Refusal> for ExchangeError {
    fn from(refusal: Refusal) -> Self {
        let claim = None;
        Self::Refused { refusal, claim }
    }
}

/// The rules, with what is remembered between requests.
pub struct Exchange {
    rules: Vec<(ExchangeRule, Arc<KeySource>)>,
    used: Mutex<UsedJwts>,
    failures: Mutex<FailedAttempts>,
    /// Start of the clock of `failures`, which never goes back.
    started: Instant,
}

impl Exchange {
    /// Reads no keys yet.
    pub fn new(rules: &[TokenExchange]) -> Self {
        // Rules with the same keys share them.
        let mut sources: HashMap<&KeyLocation, Arc<KeySource>> = HashMap::new();
        let with_keys = rules.iter().map(|exchange| {
            let source = sources
                .entry(&exchange.keys)
                .or_insert_with(|| Arc::new(KeySource::new(&exchange.keys)));
            (exchange.rule.clone(), Arc::clone(source))
        });
        Self {
            rules: with_keys.collect(),
            used: Mutex::default(),
            failures: Mutex::new(FailedAttempts::new(MAX_FAILURES)),
            started: Instant::now(),
        }
    }

    /// Whether there is no rule.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// The client that a JWT identifies. `from` is the address of the request, `None` for a Unix socket; `now` is in
    /// seconds since the Unix epoch.
    ///
    /// # Errors
    /// When no rule accepts the JWT, it was used elsewhere, or the address has failed too often.
    pub async fn identify(
        &self,
        jwt: &str,
        from: Option<IpAddr>,
        now: u64,
    ) -> Result<Identity, ExchangeError> {
        let checked = self.check(jwt, now).await.and_then(|identity| {
            let mut used = lock(&self.used);
            used.record(identity.jwt, from, identity.jwt_ends, now)?;
            Ok(identity)
        });
        let is_failure = match &checked {
            Ok(_)
            | Err(
                ExchangeError::Wait(_)
                | ExchangeError::NoKeys
                | ExchangeError::Used(UseRefused::Full),
            ) => false,
            Err(ExchangeError::Refused { .. } | ExchangeError::Used(_)) => true,
        };
        // Failures must not keep out others with the same address, so a valid JWT is always exchanged.
        if let Some(address) = from.filter(|_| is_failure) {
            let at = self.started.elapsed().as_secs();
            let mut failures = lock(&self.failures);
            failures.check(address, at).map_err(ExchangeError::Wait)?;
            failures.record(address, at);
        }
        checked
    }

    /// The first rule that accepts the JWT decides.
    async fn check(&self, text: &str, now: u64) -> Result<Identity, ExchangeError> {
        let jwt = Jwt::parse(text)?;
        let mut closest = Refusal::Issuer;
        let mut is_without_keys = false;
        for (rule, source) in &self.rules {
            if rule.issuer != jwt.issuer() {
                continue;
            }
            let Some(keys) = source.keys(jwt.key_id()).await else {
                is_without_keys = true;
                continue;
            };
            match jwt.check(rule, &keys, now) {
                Ok(identity) => return Ok(identity),
                Err(refusal) => {
                    tracing::debug!(rule = %rule.name, %refusal, ?jwt, "a JWT does not match a rule");
                    closest = closest.max(refusal);
                }
            }
        }
        match is_without_keys {
            true => Err(ExchangeError::NoKeys),
            false => {
                if closest == Refusal::Issuer {
                    tracing::debug!(
                        issuer = shorten(jwt.issuer()),
                        "no rule has the issuer of a JWT"
                    );
                }
                Err(ExchangeError::refused(closest, &jwt))
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
