//! Keys and JWTs for tests. They may be invalid in any way, so they are put together by hand.
#![allow(clippy::unwrap_used)]

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::rsa::PublicKeyComponents;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    KeyPair, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384,
    RSA_PSS_SHA512, RsaEncoding, RsaKeyPair,
};
use serde_json::{Value, json};

/// A key used nowhere else, because `ring` does not create RSA keys.
const RSA: &[u8] = include_bytes!("testing_rsa.der");

/// Base64 as in JWTs.
pub fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A private key of an issuer.
pub enum TestKey {
    /// RSA with 2048 bits.
    Rsa(RsaKeyPair),
    /// ECDSA on P-256 or P-384.
    Ec(EcdsaKeyPair, &'static str),
    /// Ed25519.
    Ed(Ed25519KeyPair),
}

impl TestKey {
    /// The RSA key; always the same.
    pub fn rsa() -> Self {
        Self::Rsa(RsaKeyPair::from_pkcs8(RSA).unwrap())
    }

    /// A new key on P-256.
    pub fn p256() -> Self {
        Self::ec(&ECDSA_P256_SHA256_FIXED_SIGNING, "P-256")
    }

    /// A new key on P-384.
    pub fn p384() -> Self {
        Self::ec(&ECDSA_P384_SHA384_FIXED_SIGNING, "P-384")
    }

    fn ec(algorithm: &'static ring::signature::EcdsaSigningAlgorithm, curve: &'static str) -> Self {
        let random = SystemRandom::new();
        let key = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        Self::Ec(
            EcdsaKeyPair::from_pkcs8(algorithm, key.as_ref(), &random).unwrap(),
            curve,
        )
    }

    /// A new key on Ed25519.
    pub fn ed25519() -> Self {
        let key = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        Self::Ed(Ed25519KeyPair::from_pkcs8(key.as_ref()).unwrap())
    }

    /// The public key as a JSON Web Key, without `kid` and `alg`.
    pub fn jwk(&self) -> Value {
        match self {
            Self::Rsa(key) => {
                let public = PublicKeyComponents::<Vec<u8>>::from(key.public());
                json!({"kty": "RSA", "use": "sig", "n": encode(public.n), "e": encode(public.e)})
            }
            Self::Ec(key, curve) => {
                let point = &key.public_key().as_ref()[1..];
                let (x, y) = point.split_at(point.len() / 2);
                json!({"kty": "EC", "use": "sig", "crv": curve, "x": encode(x), "y": encode(y)})
            }
            Self::Ed(key) => {
                json!({"kty": "OKP", "use": "sig", "crv": "Ed25519", "x": encode(key.public_key())})
            }
        }
    }

    /// The public key as a JSON Web Key with this id and algorithm.
    pub fn named_jwk(&self, id: &str, algorithm: &str) -> Value {
        let mut jwk = self.jwk();
        jwk["kid"] = json!(id);
        jwk["alg"] = json!(algorithm);
        jwk
    }

    /// The public key in PEM, as `openssl pkey -pubout` writes it.
    pub fn pem(&self) -> String {
        // The algorithm in DER, and the bytes of the bit string.
        let (prefix, key): (&[u8], _) = match self {
            Self::Rsa(key) => (
                b"\x30\x82\x01\x22\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00\x03\x82\x01\x0f\x00",
                key.public_key().as_ref(),
            ),
            Self::Ec(key, "P-256") => (
                b"\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\x00",
                key.public_key().as_ref(),
            ),
            Self::Ec(key, _) => (
                b"\x30\x76\x30\x10\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\x00\x22\x03\x62\x00",
                key.public_key().as_ref(),
            ),
            Self::Ed(key) => (
                b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00",
                key.public_key().as_ref(),
            ),
        };
        let text = STANDARD.encode([prefix, key].concat());
        let lines: Vec<_> = text
            .as_bytes()
            .chunks(64)
            .map(String::from_utf8_lossy)
            .collect();
        format!(
            "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
            lines.join("\n")
        )
    }

    /// A JWT with this header and these claims, signed by the algorithm of the header.
    pub fn sign(&self, header: &Value, claims: &Value) -> String {
        self.sign_text(&header.to_string(), &claims.to_string())
    }

    /// Like [`TestKey::sign`], with any text in place of the objects.
    pub fn sign_text(&self, header: &str, claims: &str) -> String {
        let algorithm = serde_json::from_str::<Value>(header)
            .ok()
            .and_then(|header| header["alg"].as_str().map(str::to_owned))
            .unwrap_or_default();
        let message = format!("{}.{}", encode(header), encode(claims));
        let signature = self.signature(&algorithm, message.as_bytes());
        format!("{message}.{}", encode(signature))
    }

    fn signature(&self, algorithm: &str, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Self::Rsa(key) => {
                let encoding: &dyn RsaEncoding = match algorithm {
                    "RS384" => &RSA_PKCS1_SHA384,
                    "RS512" => &RSA_PKCS1_SHA512,
                    "PS256" => &RSA_PSS_SHA256,
                    "PS384" => &RSA_PSS_SHA384,
                    "PS512" => &RSA_PSS_SHA512,
                    _ => &RSA_PKCS1_SHA256,
                };
                let mut signature = vec![0; key.public().modulus_len()];
                key.sign(encoding, &random, message, &mut signature)
                    .unwrap();
                signature
            }
            Self::Ec(key, _) => key.sign(&random, message).unwrap().as_ref().to_vec(),
            Self::Ed(key) => key.sign(message).as_ref().to_vec(),
        }
    }
}

/// The claims of a GitLab job (`id_tokens`) at this time.
pub fn gitlab_claims(now: u64) -> Value {
    json!({
        "iss": "https://gitlab.example", "aud": "https://atq.example", "sub": "project_path:shop/load:ref_type:branch:ref:main",
        "namespace_id": "72", "namespace_path": "shop", "project_id": "20", "project_path": "shop/load", "project_visibility": "private",
        "user_id": "1", "user_login": "sample-user", "user_email": "sample-user@example.com", "user_access_level": "developer",
        "user_identities": [{"provider": "github", "extern_uid": "2435223452345"}],
        "pipeline_id": "574", "pipeline_source": "push", "job_id": "302", "ref": "main", "ref_type": "branch",
        "ref_path": "refs/heads/main", "ref_protected": "true", "groups_direct": ["shop/team"],
        "environment": "staging", "environment_protected": "false", "deployment_tier": "staging", "environment_action": "start",
        "runner_id": 1, "runner_environment": "self-hosted", "sha": "714a629c0b401fdce83e847fc9589983fc6f46bc",
        "jti": format!("235b3a54-b797-45c7-ae9a-f72d7bc6ef5b-{now}"), "iat": now, "nbf": now - 5, "exp": now + 3600
    })
}
