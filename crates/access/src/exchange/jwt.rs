//! Checks a JWT against a rule.

use super::claims::Claims;
use super::keys::KeySet;
use super::provider;
use super::rule::{ExchangeRule, text_of};
use crate::role::Role;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, AlgorithmFamily, Validation, dangerous, decode};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::fmt;
use std::time::Duration;
use thiserror::Error;

/// Maximum size of a JWT in bytes.
pub const MAX_JWT_BYTES: usize = 16 * 1024;
/// Tolerated difference between the clocks of the issuer and of this machine, in seconds.
const LEEWAY: u64 = 60;
/// Maximum length of the name of a client in characters.
const MAX_NAME: usize = 200;
/// Claims that name the project of a job: GitLab, GitHub, and any issuer.
const PROJECT_CLAIMS: [&str; 3] = ["project_path", "repository", "sub"];
/// Claims that name the job: GitLab, GitHub, Jenkins.
const JOB_CLAIMS: [&str; 4] = ["job_id", "run_id", "build_number", "pipeline_id"];

/// The reason why a JWT is not accepted, in general terms. Ordered by how far the checks got.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Error)]
pub enum Refusal {
    /// It is too large.
    #[error("it is larger than {MAX_JWT_BYTES} bytes")]
    TooLarge,
    /// It does not have the form of a JWT.
    #[error("it is not a JWT")]
    Malformed,
    /// It is not signed, or by a symmetric algorithm.
    #[error("its signature algorithm is not accepted")]
    Algorithm,
    /// No rule has its issuer.
    #[error("its issuer is unknown")]
    Issuer,
    /// The issuer has no such key.
    #[error("its issuer has no key with its key id")]
    UnknownKey,
    /// The key is for another algorithm.
    #[error("its key is for another signature algorithm")]
    OtherAlgorithm,
    /// The signature is invalid.
    #[error("its signature is invalid")]
    Signature,
    /// It was issued for another recipient.
    #[error("its audience does not match")]
    Audience,
    /// A time is missing, or not a number.
    #[error("its claim `{0}` is missing or invalid")]
    Time(&'static str),
    /// It has expired.
    #[error("it has expired")]
    Expired,
    /// It is not valid yet.
    #[error("it is not valid yet")]
    NotYet,
    /// A claim that the rule binds does not match.
    #[error("the claim `{0}` does not match")]
    Claim(String),
}

/// A JWT whose signature is not verified yet. `Debug` does not show it.
pub struct Jwt<'a> {
    text: &'a str,
    algorithm: Algorithm,
    key_id: Option<String>,
    issuer: String,
    claims: Claims,
}

impl Refusal {
    /// The claim that does not match a rule.
    pub fn claim(&self) -> Option<&str> {
        match self {
            Self::Issuer => Some("iss"),
            Self::Audience => Some("aud"),
            Self::Claim(name) => Some(name),
            _ => None,
        }
    }
}

impl fmt::Debug for Jwt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jwt")
            .field("algorithm", &self.algorithm)
            .field("key_id", &self.key_id)
            .field("issuer", &self.issuer)
            .finish_non_exhaustive()
    }
}

/// The client that an accepted JWT identifies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The name of its token: `ci:<rule>:<project>#<job>`.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// How long its token is valid.
    pub expires_in: Duration,
    /// Identifies the JWT: a hash of its issuer and id (`jti`), or of its content.
    pub jwt: [u8; 32],
    /// When the JWT is no longer accepted, in seconds since the Unix epoch.
    pub jwt_ends: u64,
}

impl<'a> Jwt<'a> {
    /// Reads what is needed to choose a rule and a key.
    ///
    /// # Errors
    /// When the text is not a JWT with an asymmetric signature.
    pub fn parse(text: &'a str) -> Result<Self, Refusal> {
        if text.len() > MAX_JWT_BYTES {
            return Err(Refusal::TooLarge);
        }
        let mut parts = text.split('.');
        let (Some(header), Some(_), Some(_), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Refusal::Malformed);
        };
        let header = URL_SAFE_NO_PAD
            .decode(header)
            .map_err(|_| Refusal::Malformed)?;
        let header: Claims = serde_json::from_slice(&header).map_err(|_| Refusal::Malformed)?;
        let algorithm = header.text("alg").ok_or(Refusal::Malformed)?;
        let algorithm = algorithm
            .parse::<Algorithm>()
            .ok()
            .filter(|algorithm| algorithm.family() != AlgorithmFamily::Hmac)
            .ok_or(Refusal::Algorithm)?;
        let key_id = match header.get("kid") {
            Some(Value::String(id)) => Some(id.clone()),
            Some(_) => return Err(Refusal::Malformed),
            None => None,
        };
        let claims: Claims =
            dangerous::insecure_decode_claims(text).map_err(|_| Refusal::Malformed)?;
        let issuer = claims.text("iss").ok_or(Refusal::Issuer)?.to_owned();
        Ok(Self {
            text,
            algorithm,
            key_id,
            issuer,
            claims,
        })
    }

    /// The issuer that it claims to have.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The id of the key that it claims to be signed by.
    pub fn key_id(&self) -> Option<&str> {
        self.key_id.as_deref()
    }

    /// The value of a claim as JSON, for messages to the sender; `None` if it is missing. The signature is not verified.
    pub fn claim(&self, name: &str) -> Option<String> {
        self.claims.get(name).map(Value::to_string)
    }

    /// Checks it against a rule, with the keys of the rule's issuer, at `now` in seconds since the Unix epoch.
    ///
    /// # Errors
    /// The first check that fails. Nothing about the rule's claims is checked before the signature.
    pub fn check(&self, rule: &ExchangeRule, keys: &KeySet, now: u64) -> Result<Identity, Refusal> {
        if self.issuer != rule.issuer {
            return Err(Refusal::Issuer);
        }
        let claims = self.verify(keys)?;
        if claims.text("iss") != Some(&rule.issuer) {
            return Err(Refusal::Issuer);
        }
        if !has_audience(&claims, &rule.audience) {
            return Err(Refusal::Audience);
        }
        let expires = check_times(&claims, now)?;
        if let Some(name) = rule.claims.mismatch(|name| claims.get(name).cloned()) {
            return Err(Refusal::Claim(name.to_owned()));
        }
        Ok(Identity {
            name: client_name(&rule.name, &claims),
            role: rule.role,
            expires_in: rule.expires_in,
            jwt: self.fingerprint(&claims),
            jwt_ends: expires.saturating_add(LEEWAY),
        })
    }

    /// The claims, if one of the keys has signed them. The algorithm is that of the key.
    fn verify(&self, keys: &KeySet) -> Result<Claims, Refusal> {
        provider::install();
        let id = self.key_id();
        let key = keys
            .find(id, self.algorithm)
            .ok_or_else(|| match keys.has(id) {
                true => Refusal::OtherAlgorithm,
                false => Refusal::UnknownKey,
            })?;
        // The library checks the signature and the header. Its checks of claims read the clock and do not name the claim.
        let mut validation = Validation::new(self.algorithm);
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation.validate_aud = false;
        let decoded = decode::<Claims>(self.text, key, &validation);
        decoded
            .map(|data| data.claims)
            .map_err(|error| match error.kind() {
                // The library reads some claims itself, after the signature.
                ErrorKind::Json(_) => Refusal::Malformed,
                _ => Refusal::Signature,
            })
    }

    /// Does not depend on the text of the signature: ECDSA has two valid ones for each signature.
    fn fingerprint(&self, claims: &Claims) -> [u8; 32] {
        let mut hash = Sha256::new();
        match claims.get("jti").and_then(text_of) {
            Some(id) => {
                hash.update([1]);
                hash.update((self.issuer.len() as u64).to_be_bytes());
                hash.update(&self.issuer);
                hash.update(id);
            }
            None => {
                let signed = self.text.rsplit_once('.').map_or("", |(signed, _)| signed);
                hash.update([0]);
                hash.update(signed);
            }
        }
        hash.finalize().into()
    }
}

fn has_audience(claims: &Claims, wanted: &str) -> bool {
    match claims.get("aud") {
        Some(Value::String(audience)) => audience == wanted,
        Some(Value::Array(items)) => items.iter().any(|item| item == wanted),
        _ => false,
    }
}

/// Checks `exp`, which is required, and `nbf` and `iat`, which Jenkins and others omit. Returns `exp`.
fn check_times(claims: &Claims, now: u64) -> Result<u64, Refusal> {
    let expires = time(claims, "exp")?.ok_or(Refusal::Time("exp"))?;
    if now >= expires.saturating_add(LEEWAY) {
        return Err(Refusal::Expired);
    }
    for name in ["nbf", "iat"] {
        let begins = time(claims, name)?;
        if begins.is_some_and(|begins| begins > now.saturating_add(LEEWAY)) {
            return Err(Refusal::NotYet);
        }
    }
    Ok(expires)
}

/// A time in seconds, which may have a fraction.
fn time(claims: &Claims, name: &'static str) -> Result<Option<u64>, Refusal> {
    let Some(value) = claims.get(name) else {
        return Ok(None);
    };
    let whole = value.as_u64();
    let with_fraction = || value.as_f64().filter(|seconds| *seconds >= 0.0);
    // Conversion saturates, and a huge time is valid.
    let seconds = whole.or_else(|| with_fraction().map(|seconds| seconds as u64));
    seconds.map(Some).ok_or(Refusal::Time(name))
}

/// `ci:<rule>:<project>#<job>`, in characters that need no escape in logs and on terminals.
fn client_name(rule: &str, claims: &Claims) -> String {
    let first = |names: &[&str]| names.iter().find_map(|name| text_of(claims.get(name)?));
    let project = first(&PROJECT_CLAIMS).unwrap_or_default();
    let job = first(&JOB_CLAIMS).map(|job| format!("#{job}"));
    let name = format!("ci:{rule}:{project}{}", job.unwrap_or_default());
    name.chars()
        .take(MAX_NAME)
        .map(
            |c| match c.is_ascii_alphanumeric() || "-._~/:@#%+=".contains(c) {
                true => c,
                false => '_',
            },
        )
        .collect()
}
