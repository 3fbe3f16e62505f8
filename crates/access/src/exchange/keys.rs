//! The public keys of an issuer.

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind};
use serde::Deserialize;
use serde_json::Value;
use thiserror::Error;

/// Maximum number of keys of an issuer; issuers have two or three.
const MAX_KEYS: usize = 100;
/// Minimum size of an RSA modulus in bits.
const MIN_RSA_BITS: usize = 2048;

/// A text without usable keys.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidKeys {
    /// Neither JWKS nor PEM.
    #[error(
        "is neither a JSON Web Key Set (`{{\"keys\": [...]}}`) nor a PEM file with a public key (`-----BEGIN PUBLIC KEY-----`)"
    )]
    Format,
    /// A PEM file with something else.
    #[error("has a private key; only its public key may be here")]
    Private,
    /// A PEM file with several keys, which have no ids.
    #[error("has more than one PEM block; several keys need a JSON Web Key Set")]
    Several,
    /// None of the keys can be used.
    #[error("has no usable key: {}", .0.join("; "))]
    NoneUsable(Vec<String>),
}

/// A public key. Its algorithm does not depend on the JWT (algorithm confusion).
#[derive(Debug, Clone)]
struct Key {
    id: Option<String>,
    algorithm: Algorithm,
    key: DecodingKey,
}

/// The public keys of an issuer.
#[derive(Debug, Clone)]
pub struct KeySet {
    keys: Vec<Key>,
    /// The only key has no id, so that it verifies every JWT, whatever id the JWT names.
    is_single: bool,
    ignored: Vec<String>,
}

#[derive(Deserialize)]
struct Jwks {
    // Read one by one, because an unknown key must not make the others unusable.
    keys: Vec<Value>,
}

impl KeySet {
    /// Parses a JSON Web Key Set, or a public key in PEM.
    ///
    /// # Errors
    /// When it is neither, or has no usable key.
    pub fn parse(text: &[u8]) -> Result<Self, InvalidKeys> {
        match serde_json::from_slice::<Jwks>(text) {
            Ok(jwks) => Self::from_jwks(jwks),
            Err(_) => Self::from_pem(text),
        }
    }

    /// The keys of an issuer that has withdrawn all of them.
    pub fn withdrawn() -> Self {
        Self {
            keys: Vec::new(),
            is_single: false,
            ignored: Vec::new(),
        }
    }

    fn from_jwks(jwks: Jwks) -> Result<Self, InvalidKeys> {
        let mut keys = Vec::new();
        let mut ignored = Vec::new();
        for (index, value) in jwks.keys.into_iter().take(MAX_KEYS).enumerate() {
            match Key::from_jwk(value) {
                Ok(key) => keys.push(key),
                Err(reason) => ignored.push(format!("key {}: {reason}", index + 1)),
            }
        }
        if keys.is_empty() {
            return Err(InvalidKeys::NoneUsable(ignored));
        }
        let is_single = matches!(keys.as_slice(), [Key { id: None, .. }]);
        Ok(Self {
            keys,
            is_single,
            ignored,
        })
    }

    fn from_pem(text: &[u8]) -> Result<Self, InvalidKeys> {
        let text = std::str::from_utf8(text).map_err(|_| InvalidKeys::Format)?;
        if text.contains("PRIVATE KEY-----") {
            return Err(InvalidKeys::Private);
        }
        match text.matches("-----BEGIN ").count() {
            0 => return Err(InvalidKeys::Format),
            1 => {}
            _ => return Err(InvalidKeys::Several),
        }
        let key = Key::from_pem(text.as_bytes()).ok_or(InvalidKeys::Format)?;
        key.check_size()
            .map_err(|reason| InvalidKeys::NoneUsable(vec![reason.to_owned()]))?;
        Ok(Self {
            keys: vec![key],
            is_single: true,
            ignored: Vec::new(),
        })
    }

    /// Keys that were ignored, with their reasons.
    pub fn ignored(&self) -> &[String] {
        &self.ignored
    }

    /// Whether there is a key for a JWT that names this key id, or none.
    pub fn has(&self, id: Option<&str>) -> bool {
        self.of(id).next().is_some()
    }

    /// The key and its algorithm for a JWT that names this key id and algorithm.
    pub(super) fn find<'s>(
        &'s self,
        id: Option<&str>,
        wanted: Algorithm,
    ) -> Option<&'s DecodingKey> {
        let mut keys = self.of(id).filter(|key| key.algorithm == wanted);
        keys.next().map(|key| &key.key)
    }

    /// A JWT without a key id is accepted only if there is one key.
    fn of<'s>(&'s self, id: Option<&str>) -> impl Iterator<Item = &'s Key> {
        let is_only = self.keys.len() == 1;
        self.keys.iter().filter(move |key| match id {
            Some(_) => self.is_single || key.id.as_deref() == id,
            None => is_only,
        })
    }
}

impl Key {
    fn from_jwk(value: Value) -> Result<Self, &'static str> {
        let jwk: Jwk =
            serde_json::from_value(value).map_err(|_| "not a JSON Web Key of a known form")?;
        if matches!(&jwk.common.public_key_use, Some(usage) if *usage != PublicKeyUse::Signature) {
            return Err("its use is not `sig`");
        }
        let by_type = match &jwk.algorithm {
            // OpenID Connect's default; other algorithms of RSA need `alg`.
            AlgorithmParameters::RSA(_) => Algorithm::RS256,
            AlgorithmParameters::EllipticCurve(key) => match key.curve {
                EllipticCurve::P256 => Algorithm::ES256,
                EllipticCurve::P384 => Algorithm::ES384,
                _ => return Err("unknown curve"),
            },
            AlgorithmParameters::OctetKeyPair(key) => match key.curve {
                EllipticCurve::Ed25519 => Algorithm::EdDSA,
                _ => return Err("unknown curve"),
            },
            AlgorithmParameters::OctetKey(_) => return Err("symmetric keys are not accepted"),
            _ => return Err("unknown type of key"),
        };
        let algorithm = match jwk.common.key_algorithm {
            Some(declared) => Algorithm::try_from(declared).map_err(|_| "unknown algorithm")?,
            None => by_type,
        };
        // For RSA, `alg` selects one of six; for others, it must agree with the curve.
        let is_rsa = matches!(jwk.algorithm, AlgorithmParameters::RSA(_));
        let agrees = match is_rsa {
            true => algorithm.family() == by_type.family(),
            false => algorithm == by_type,
        };
        if !agrees {
            return Err("its algorithm does not fit its type");
        }
        let key = Self {
            id: jwk.common.key_id.clone(),
            algorithm,
            key: DecodingKey::from_jwk(&jwk).map_err(|_| "invalid numbers")?,
        };
        key.check_size()?;
        Ok(key)
    }

    fn from_pem(pem: &[u8]) -> Option<Self> {
        let key = |algorithm, key| Self {
            id: None,
            algorithm,
            key,
        };
        if let Ok(rsa) = DecodingKey::from_rsa_pem(pem) {
            return Some(key(Algorithm::RS256, rsa));
        }
        if let Ok(ec) = DecodingKey::from_ec_pem(pem) {
            // The length of an uncompressed point identifies the curve.
            let algorithm = match ec.try_get_as_bytes().map(<[u8]>::len) {
                Ok(65) => Algorithm::ES256,
                Ok(97) => Algorithm::ES384,
                _ => return None,
            };
            return Some(key(algorithm, ec));
        }
        let ed = DecodingKey::from_ed_pem(pem).ok()?;
        Some(key(Algorithm::EdDSA, ed))
    }

    /// `ring` refuses small RSA keys when it verifies; here the reason can be shown.
    fn check_size(&self) -> Result<(), &'static str> {
        if self.algorithm.family() != jsonwebtoken::AlgorithmFamily::Rsa {
            return Ok(());
        }
        let bits = match self.key.kind() {
            DecodingKeyKind::RsaModulusExponent { n, .. } => {
                let significant = n.iter().skip_while(|byte| **byte == 0).count();
                significant * 8
            }
            // The encoding adds some bytes to the modulus and the exponent.
            DecodingKeyKind::SecretOrDer(der) => der.len() * 8,
        };
        match bits < MIN_RSA_BITS {
            true => Err("RSA keys must have 2048 bits or more"),
            false => Ok(()),
        }
    }
}
