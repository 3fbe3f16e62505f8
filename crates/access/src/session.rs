//! Sessions of browsers. A browser exchanges a token for a cookie once, so that the token is neither stored in the
//! browser nor sent with each request. As of tokens, only the SHA-256 of the cookie is kept.

use crate::token::TokenId;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::fmt;
use subtle::ConstantTimeEq;

/// How long a session lasts, in seconds.
pub const SESSION_SECONDS: u64 = 12 * 60 * 60;
/// Maximum number of sessions.
const MAX_SESSIONS: usize = 10_000;
/// Maximum number of sessions of one token, so that one client cannot displace the sessions of the others.
const MAX_OF_TOKEN: usize = 100;

/// 256 random bits that only one browser knows: a cookie, or the value that protects its requests against forgery.
/// `Debug` does not show them.
#[derive(Clone)]
pub struct SessionSecret([u8; 32]);

impl fmt::Debug for SessionSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionSecret")
    }
}

impl SessionSecret {
    /// From random bytes of a cryptographic generator.
    pub fn from_random(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Parses the text that a browser sends; `None` if it has not the form of a secret.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        Some(Self(bytes.try_into().ok()?))
    }

    /// The text for the browser.
    pub fn reveal(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }

    /// The id of the session whose cookie this is.
    pub fn session(&self) -> SessionId {
        SessionId(Sha256::digest(self.0).into())
    }
}

/// Id of a session: the SHA-256 of its cookie, so that the time of a look-up reveals nothing about a cookie.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionId([u8; 32]);

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionId")
    }
}

/// A session. Times are seconds since the Unix epoch.
#[derive(Debug, Clone)]
pub struct Session {
    /// The token that was exchanged for it. A session is only as valid as its token.
    pub token: TokenId,
    /// When it was created.
    pub created: u64,
    csrf: SessionSecret,
}

impl Session {
    /// When it expires.
    pub fn expires(&self) -> u64 {
        self.created.saturating_add(SESSION_SECONDS)
    }

    /// The value that a request must contain to change something. Other sites can send the cookie, but cannot read this.
    pub fn csrf(&self) -> &SessionSecret {
        &self.csrf
    }

    /// Whether a request contains [`Session::csrf`]. Takes the same time for every wrong value.
    pub fn is_csrf(&self, text: &str) -> bool {
        SessionSecret::parse(text).is_some_and(|sent| self.csrf.0.ct_eq(&sent.0).into())
    }
}

/// The open sessions, in memory only: they end with the process.
#[derive(Debug, Default)]
pub struct Sessions {
    /// With numbers in the order of their creation.
    by_id: HashMap<SessionId, (u64, Session)>,
    next: u64,
}

impl Sessions {
    /// Opens a session. Beyond the limits the oldest one ends.
    pub fn open(&mut self, cookie: &SessionSecret, csrf: SessionSecret, token: TokenId, now: u64) {
        self.by_id.retain(|_, (_, session)| now < session.expires());
        let of_token = |(_, session): &(u64, Session)| session.token == token;
        let same = self.by_id.values().filter(|entry| of_token(entry));
        if same.count() >= MAX_OF_TOKEN {
            self.end_oldest(of_token);
        }
        if self.by_id.len() >= MAX_SESSIONS {
            self.end_oldest(|_| true);
        }
        let session = Session {
            token,
            created: now,
            csrf,
        };
        self.by_id.insert(cookie.session(), (self.next, session));
        self.next += 1;
    }

    fn end_oldest(&mut self, may_end: impl Fn(&(u64, Session)) -> bool) {
        let candidates = self.by_id.iter().filter(|(_, entry)| may_end(entry));
        let oldest = candidates.min_by_key(|(_, (number, _))| *number);
        if let Some(id) = oldest.map(|(id, _)| *id) {
            self.by_id.remove(&id);
        }
    }

    /// The session of a cookie, unless it has expired.
    pub fn find(&self, cookie: &SessionSecret, now: u64) -> Option<&Session> {
        self.get(cookie.session(), now)
    }

    /// The session, unless it has expired.
    pub fn get(&self, id: SessionId, now: u64) -> Option<&Session> {
        let (_, session) = self.by_id.get(&id)?;
        (now < session.expires()).then_some(session)
    }

    /// Ends the session of a cookie.
    pub fn close(&mut self, cookie: &SessionSecret) {
        self.by_id.remove(&cookie.session());
    }

    /// Ends all sessions of a token, which was revoked or has expired.
    pub fn close_of(&mut self, token: &TokenId) {
        self.by_id.retain(|_, (_, session)| session.token != *token);
    }

    /// Number of stored sessions.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether there is no session.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn secret(number: u64) -> SessionSecret {
        let mut bytes = [9; 32];
        bytes[..8].copy_from_slice(&number.to_be_bytes());
        SessionSecret::from_random(bytes)
    }

    fn token(number: u64) -> TokenId {
        TokenId::parse(&format!("{number:010x}")).unwrap()
    }

    #[test]
    fn a_session_belongs_to_its_cookie_and_lasts_twelve_hours() {
        let mut sessions = Sessions::default();
        sessions.open(&secret(1), secret(2), token(7), 1000);
        let cookie = SessionSecret::parse(&secret(1).reveal()).unwrap();
        let last = 1000 + 12 * 3600 - 1;
        assert_eq!(sessions.find(&cookie, last).unwrap().token, token(7));
        assert!(sessions.find(&cookie, last + 1).is_none());
        assert!(sessions.find(&secret(2), 1000).is_none());
        let id = cookie.session();
        assert!(sessions.get(id, 1000).is_some());
        sessions.close(&cookie);
        assert!(sessions.find(&cookie, 1000).is_none());
        assert!(sessions.get(id, 1000).is_none());
    }

    #[test]
    fn only_the_value_of_the_same_session_protects_a_request() {
        let mut sessions = Sessions::default();
        sessions.open(&secret(1), secret(2), token(7), 0);
        sessions.open(&secret(3), secret(4), token(7), 0);
        let session = sessions.find(&secret(1), 0).unwrap();
        assert!(session.is_csrf(&secret(2).reveal()));
        for wrong in [secret(1), secret(3), secret(4)] {
            assert!(!session.is_csrf(&wrong.reveal()));
        }
        assert!(!session.is_csrf("") && !session.is_csrf("x"));
    }

    #[test]
    fn the_sessions_of_a_revoked_token_end_and_others_do_not() {
        let mut sessions = Sessions::default();
        for number in 0..4 {
            sessions.open(&secret(number), secret(9), token(number % 2), 0);
        }
        sessions.close_of(&token(1));
        let open: Vec<_> = (0..4)
            .filter(|number| sessions.find(&secret(*number), 0).is_some())
            .collect();
        assert_eq!(open, [0, 2]);
    }

    #[test]
    fn the_oldest_session_ends_when_there_are_too_many() {
        let mut sessions = Sessions::default();
        for number in 0..10_001 {
            sessions.open(&secret(number), secret(0), token(number / 50), 0);
        }
        assert_eq!(sessions.len(), 10_000);
        assert!(sessions.find(&secret(0), 0).is_none());
        assert!(sessions.find(&secret(1), 0).is_some());
    }

    #[test]
    fn one_token_displaces_only_its_own_sessions() {
        let mut sessions = Sessions::default();
        sessions.open(&secret(0), secret(0), token(1), 0);
        for number in 1..=101 {
            sessions.open(&secret(number), secret(0), token(2), 0);
        }
        assert!(sessions.find(&secret(0), 0).is_some());
        assert!(sessions.find(&secret(1), 0).is_none());
        assert_eq!(sessions.len(), 101);
    }

    #[test]
    fn expired_sessions_are_removed_when_another_is_opened() {
        let mut sessions = Sessions::default();
        sessions.open(&secret(0), secret(0), token(1), 0);
        sessions.open(&secret(1), secret(0), token(1), SESSION_SECONDS);
        assert_eq!(sessions.len(), 1);
    }

    #[test]
    fn debug_output_contains_no_secret() {
        let mut sessions = Sessions::default();
        let cookie = secret(1);
        sessions.open(&cookie, secret(2), token(7), 0);
        let text = format!("{cookie:?} {sessions:?}");
        for hidden in [secret(1), secret(2)] {
            assert!(!text.contains(&hidden.reveal()), "{text}");
        }
        assert!(!text.contains("9, 9"), "{text}");
    }

    #[test]
    fn other_texts_are_no_secrets() {
        let text = secret(1).reveal();
        for bad in [
            "",
            "x",
            &text[1..],
            &format!("{text}A"),
            &format!("{text}="),
        ] {
            assert!(SessionSecret::parse(bad).is_none(), "{bad}");
        }
    }
}
