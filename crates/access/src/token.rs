//! Tokens of clients: `atq_<id>_<secret>`. The secret is shown once; only its SHA-256 is stored, which is sufficient
//! because it has 256 bits of entropy.

use crate::role::Role;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;
use subtle::ConstantTimeEq;
use thiserror::Error;

const PREFIX: &str = "atq_";
const ID_BYTES: usize = 5;
const SECRET_BYTES: usize = 32;
/// Maximum length of a name.
const MAX_NAME: usize = 64;
/// Name of clients while authentication is off.
pub const ANONYMOUS: &str = "anonymous";

/// A text that is not a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("not a token: it must have the form `atq_<id>_<secret>`")]
pub struct InvalidToken;

/// A text that is not the name of an owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "a name has 1 to 64 letters, digits, `.`, `_`, `-`, `@` and `+`, and begins with a letter or digit; `anonymous` is reserved"
)]
pub struct InvalidName;

/// Checks the name of an owner. Names of clients without a token contain `:` or are `anonymous`, so a token cannot have one.
///
/// # Errors
/// When the name is not valid.
pub fn check_name(name: &str) -> Result<(), InvalidName> {
    let is_valid = |byte: u8| byte.is_ascii_alphanumeric() || b"._-@+".contains(&byte);
    let begins = name
        .bytes()
        .next()
        .is_some_and(|byte| byte.is_ascii_alphanumeric());
    let is_name = begins && name.len() <= MAX_NAME && name.bytes().all(is_valid);
    match is_name && !name.eq_ignore_ascii_case(ANONYMOUS) {
        true => Ok(()),
        false => Err(InvalidName),
    }
}

/// The public part of a token: ten hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TokenId(String);

impl TokenId {
    /// Parses an id.
    ///
    /// # Errors
    /// When it is not ten lower-case hexadecimal digits.
    pub fn parse(text: &str) -> Result<Self, InvalidToken> {
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        match text.len() == ID_BYTES * 2 && text.bytes().all(is_digit) {
            true => Ok(Self(text.to_owned())),
            false => Err(InvalidToken),
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for TokenId {
    type Error = InvalidToken;

    fn try_from(text: String) -> Result<Self, InvalidToken> {
        Self::parse(&text)
    }
}

impl From<TokenId> for String {
    fn from(id: TokenId) -> Self {
        id.0
    }
}

/// A token with its secret. `Debug` does not show the secret.
#[derive(Clone)]
pub struct Token {
    id: TokenId,
    secret: [u8; SECRET_BYTES],
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({})", self.id)
    }
}

impl Token {
    /// A token from random bytes of a cryptographic generator.
    pub fn from_random(id: [u8; ID_BYTES], secret: [u8; SECRET_BYTES]) -> Self {
        let id = id.iter().map(|byte| format!("{byte:02x}")).collect();
        Self {
            id: TokenId(id),
            secret,
        }
    }

    /// Parses the text that a client sends.
    ///
    /// # Errors
    /// When it does not have the form of a token.
    pub fn parse(text: &str) -> Result<Self, InvalidToken> {
        let rest = text.strip_prefix(PREFIX).ok_or(InvalidToken)?;
        let (id, secret) = rest.split_once('_').ok_or(InvalidToken)?;
        let secret = URL_SAFE_NO_PAD.decode(secret).map_err(|_| InvalidToken)?;
        Ok(Self {
            id: TokenId::parse(id)?,
            secret: secret.try_into().map_err(|_| InvalidToken)?,
        })
    }

    /// The public part.
    pub fn id(&self) -> &TokenId {
        &self.id
    }

    /// The whole text, with the secret. Must be shown to its owner only, and once.
    pub fn reveal(&self) -> String {
        format!(
            "{PREFIX}{}_{}",
            self.id,
            URL_SAFE_NO_PAD.encode(self.secret)
        )
    }

    /// The stored form of the secret.
    pub fn digest(&self) -> [u8; 32] {
        Sha256::digest(self.secret).into()
    }
}

/// The stored part of a token. Times are seconds since the Unix epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TokenRecord {
    /// The public part.
    pub id: TokenId,
    /// SHA-256 of the secret.
    pub digest: [u8; 32],
    /// The owner, for events and the audit log.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// When it was created.
    pub created: u64,
    /// When it expires; `None`: never.
    pub expires: Option<u64>,
    /// When it was last used, to the minute.
    pub last_used: Option<u64>,
    /// When it was revoked.
    pub revoked: Option<u64>,
}

/// Whether a token is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenState {
    /// It is accepted.
    Valid,
    /// Its time has passed.
    Expired,
    /// It was revoked.
    Revoked,
}

impl TokenRecord {
    /// Whether the token is the recorded one. Takes the same time for every wrong secret.
    pub fn is_of(&self, token: &Token) -> bool {
        self.id == token.id && bool::from(self.digest.ct_eq(&token.digest()))
    }

    /// The state at `now`, in seconds since the Unix epoch.
    pub fn state(&self, now: u64) -> TokenState {
        match (self.revoked, self.expires) {
            (Some(_), _) => TokenState::Revoked,
            (None, Some(expires)) if now >= expires => TokenState::Expired,
            _ => TokenState::Valid,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn token(last: u8) -> Token {
        let mut secret = [7; SECRET_BYTES];
        secret[31] = last;
        Token::from_random([1, 2, 3, 4, 255], secret)
    }

    fn record(of: &Token) -> TokenRecord {
        TokenRecord {
            id: of.id().clone(),
            digest: of.digest(),
            name: "ci".to_owned(),
            role: Role::Runner,
            created: 100,
            expires: Some(200),
            last_used: None,
            revoked: None,
        }
    }

    #[test]
    fn a_token_is_recognized_by_its_secret_only() {
        let (own, other) = (token(1), token(2));
        assert!(record(&own).is_of(&Token::parse(&own.reveal()).unwrap()));
        assert!(!record(&own).is_of(&other));
    }

    #[test]
    fn neither_debug_output_nor_the_record_contains_the_secret() {
        let token = token(1);
        let secret = token.reveal().splitn(3, '_').last().unwrap().to_owned();
        assert_eq!(format!("{token:?}"), "Token(01020304ff)");
        let stored = serde_json::to_string(&record(&token)).unwrap();
        assert!(!stored.contains(&secret));
        let read: TokenRecord = serde_json::from_str(&stored).unwrap();
        assert_eq!(read, record(&token));
    }

    #[test]
    fn a_token_expires_at_its_time_and_a_revoked_one_is_never_valid() {
        let mut record = record(&token(1));
        assert_eq!(record.state(199), TokenState::Valid);
        assert_eq!(record.state(200), TokenState::Expired);
        record.expires = None;
        assert_eq!(record.state(u64::MAX), TokenState::Valid);
        record.revoked = Some(150);
        assert_eq!(record.state(100), TokenState::Revoked);
    }

    #[test]
    fn other_texts_are_no_tokens() {
        let text = token(1).reveal();
        let shorter = text.get(..text.len() - 1).unwrap();
        for bad in ["", "atq_", "atq__", "atq_01020304ff_", shorter, "Bearer x"] {
            assert!(Token::parse(bad).is_err(), "{bad}");
        }
        assert!(Token::parse(&text.to_uppercase()).is_err());
        assert!(Token::parse(&format!("{text}A")).is_err());
        assert!(TokenId::parse("01020304FF").is_err());
    }

    #[test]
    fn names_of_owners_cannot_be_those_of_clients_without_a_token() {
        for name in ["ci", "ana.perez@example.com", "x", "7", &"a".repeat(64)] {
            assert_eq!(check_name(name), Ok(()), "{name}");
        }
        for name in [
            "",
            "uid:0",
            "anonymous",
            "Anonymous",
            "-x",
            "a b",
            "ñ",
            "a\n",
            &"a".repeat(65),
        ] {
            assert_eq!(check_name(name), Err(InvalidName), "{name}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_token_or_an_error(text in "\\PC{0,80}") {
            if let Ok(token) = Token::parse(&text) {
                prop_assert_eq!(token.reveal(), text);
            }
        }

        #[test]
        fn every_token_is_read_back(id: [u8; 5], secret: [u8; 32]) {
            let token = Token::from_random(id, secret);
            let read = Token::parse(&token.reveal()).unwrap();
            prop_assert_eq!((read.id(), read.secret), (token.id(), secret));
        }
    }
}
