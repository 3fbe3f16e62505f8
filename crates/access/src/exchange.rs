//! The exchange of a CI job's JWT for a token: the pure part. GitLab, GitHub and Jenkins sign such a JWT for each job
//! (OpenID Connect), so that a pipeline needs no stored secret.
//!
//! - [`ExchangeRule`]: which JWTs are accepted; [`BoundClaims`]: the claims that must match;
//! - [`KeySet`]: the public keys of an issuer;
//! - [`Jwt::check`]: signature, times and claims; the result is an [`Identity`], or a [`Refusal`];
//! - [`UsedJwts`]: how often, and from where, a JWT was exchanged;

mod claims;
mod jwt;
mod keys;
mod provider;
mod rule;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;
mod used;

pub use jwt::{Identity, Jwt, MAX_JWT_BYTES, Refusal};
pub use keys::{InvalidKeys, KeySet};
pub use rule::{BoundClaims, ExchangeRule, InvalidClaims};
pub use used::{UseRefused, UsedJwts};
