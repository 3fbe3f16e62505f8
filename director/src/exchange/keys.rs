//! The keys of an issuer, and when they are read again.

use super::fetch::Fetch;
use crate::config::KeyLocation;
use atq_access::exchange::{InvalidKeys, KeySet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// Keys from a URL are used without another request for this time.
const FRESH_FOR: Duration = Duration::from_secs(600);
/// Minimum time between two requests: anybody can send a JWT with an unknown key id.
const REFRESH_PAUSE: Duration = Duration::from_secs(30);
/// Minimum time between two requests while there are no keys.
const RETRY_PAUSE: Duration = Duration::from_secs(5);
/// Keys are used for this time while they cannot be refreshed.
const STALE_FOR: Duration = Duration::from_secs(24 * 3600);

/// The keys of an issuer.
pub(super) struct KeySource {
    /// For the log.
    location: String,
    fetch: Box<dyn Fetch>,
    /// A file is read each time: it is small, and a change must count at once.
    is_file: bool,
    /// Held during a request, so that concurrent requests share it.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    keys: Option<Arc<KeySet>>,
    /// The text of the keys, to detect a change.
    text: Vec<u8>,
    refreshed: Option<Instant>,
    tried: Option<Instant>,
}

impl KeySource {
    /// Reads nothing yet.
    pub(super) fn new(location: &KeyLocation) -> Self {
        let name = match location {
            KeyLocation::Url { url, .. } => url.clone(),
            KeyLocation::File(path) => path.display().to_string(),
        };
        let is_file = matches!(location, KeyLocation::File(_));
        Self::with(name, Box::new(location.clone()), is_file)
    }

    fn with(location: String, fetch: Box<dyn Fetch>, is_file: bool) -> Self {
        Self {
            location,
            fetch,
            is_file,
            state: Mutex::default(),
        }
    }

    /// The keys, read again if they are old or have no key with this id; `None` if there are none.
    pub(super) async fn keys(&self, id: Option<&str>) -> Option<Arc<KeySet>> {
        let mut state = self.state.lock().await;
        if self.is_due(&state, id) {
            state.tried = Some(Instant::now());
            match self.read(&state).await {
                Ok(read) => state.replace(read),
                Err(reason) => self.keep_or_drop(&mut state, &reason),
            }
        }
        state.keys.clone()
    }

    fn is_due(&self, state: &State, id: Option<&str>) -> bool {
        if self.is_file {
            return true;
        }
        let is_past =
            |time: Option<Instant>, duration| time.is_none_or(|time| time.elapsed() >= duration);
        match &state.keys {
            None => is_past(state.tried, RETRY_PAUSE),
            Some(keys) => {
                let is_wanted = is_past(state.refreshed, FRESH_FOR) || !keys.has(id);
                is_wanted && is_past(state.tried, REFRESH_PAUSE)
            }
        }
    }

    /// The text and its keys; no keys if the text has not changed.
    async fn read(&self, state: &State) -> Result<(Vec<u8>, Option<KeySet>), String> {
        let text = self.fetch.fetch().await?;
        if state.keys.is_some() && text == state.text {
            return Ok((text, None));
        }
        let keys = match KeySet::parse(&text) {
            // Withdrawn keys must not be used any longer, unlike those of an issuer that is unavailable.
            Err(InvalidKeys::NoneUsable(_)) if !self.is_file => KeySet::withdrawn(),
            parsed => parsed.map_err(|error| error.to_string())?,
        };
        let location = &self.location;
        tracing::info!(location, ignored = ?keys.ignored(), "read the keys of an issuer");
        Ok((text, Some(keys)))
    }

    /// After a failure, keys from a URL are used for a day, because an issuer may be unavailable. A file that cannot be
    /// read, or is invalid, has no keys: its owner may have removed them.
    fn keep_or_drop(&self, state: &mut State, reason: &str) {
        let age = state.refreshed.map(|time| time.elapsed());
        let is_kept = !self.is_file && age.is_some_and(|age| age < STALE_FOR);
        let location = &self.location;
        match is_kept && state.keys.is_some() {
            true => {
                let age = age.unwrap_or_default().as_secs();
                tracing::warn!(
                    location,
                    reason,
                    age,
                    "cannot refresh the keys of an issuer; the earlier ones are used"
                );
            }
            false => {
                *state = State {
                    tried: state.tried,
                    ..State::default()
                };
                tracing::warn!(
                    location,
                    reason,
                    "cannot read the keys of an issuer; its JWTs are not accepted"
                );
            }
        }
    }
}

impl State {
    fn replace(&mut self, (text, keys): (Vec<u8>, Option<KeySet>)) {
        self.refreshed = Some(Instant::now());
        self.text = text;
        if let Some(keys) = keys {
            self.keys = Some(Arc::new(keys));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use async_trait::async_trait;
    use atq_access::exchange::testing::TestKey;
    use serde_json::json;
    use std::sync::Mutex as SyncMutex;

    /// The answer of the issuer, and the number of requests.
    type Answer = (Result<Vec<u8>, String>, usize);

    #[derive(Clone)]
    struct FakeIssuer(Arc<SyncMutex<Answer>>);

    #[async_trait]
    impl Fetch for FakeIssuer {
        async fn fetch(&self) -> Result<Vec<u8>, String> {
            tokio::task::yield_now().await;
            let mut inner = self.0.lock().unwrap();
            inner.1 += 1;
            inner.0.clone()
        }
    }

    impl FakeIssuer {
        fn set(&self, ids: &[&str]) {
            self.0.lock().unwrap().0 = Ok(set(ids));
        }

        fn fail(&self) {
            self.0.lock().unwrap().0 = Err("refused".to_owned());
        }

        fn requests(&self) -> usize {
            self.0.lock().unwrap().1
        }
    }

    fn set(ids: &[&str]) -> Vec<u8> {
        let keys = ids.iter().map(|id| TestKey::p256().named_jwk(id, "ES256"));
        json!({ "keys": keys.collect::<Vec<_>>() })
            .to_string()
            .into_bytes()
    }

    fn source(ids: &[&str], is_file: bool) -> (KeySource, FakeIssuer) {
        let issuer = FakeIssuer(Arc::new(SyncMutex::new((Ok(set(ids)), 0))));
        let fetch = Box::new(issuer.clone());
        (KeySource::with("x".to_owned(), fetch, is_file), issuer)
    }

    async fn pass(seconds: u64) {
        tokio::time::advance(Duration::from_secs(seconds)).await;
    }

    async fn has(source: &KeySource, id: &str) -> Option<bool> {
        source.keys(Some(id)).await.map(|keys| keys.has(Some(id)))
    }

    #[tokio::test(start_paused = true)]
    async fn keys_are_used_for_ten_minutes_and_then_read_again() {
        let (source, issuer) = source(&["a"], false);
        assert_eq!(has(&source, "a").await, Some(true));
        pass(599).await;
        assert_eq!(has(&source, "a").await, Some(true));
        assert_eq!(issuer.requests(), 1);
        pass(1).await;
        assert_eq!(has(&source, "a").await, Some(true));
        assert_eq!(issuer.requests(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn an_unknown_key_id_causes_one_request_in_thirty_seconds() {
        let (source, issuer) = source(&["a"], false);
        for id in ["a", "b", "c", "d"] {
            source.keys(Some(id)).await.unwrap();
        }
        assert_eq!(issuer.requests(), 1);
        issuer.set(&["a", "b"]);
        pass(30).await;
        assert_eq!(has(&source, "b").await, Some(true));
        assert_eq!(has(&source, "c").await, Some(false));
        assert_eq!(issuer.requests(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_removed_key_is_not_used_after_the_next_request() {
        let (source, issuer) = source(&["a"], false);
        assert_eq!(has(&source, "a").await, Some(true));
        issuer.set(&["b"]);
        pass(600).await;
        assert_eq!(has(&source, "a").await, Some(false));
    }

    #[tokio::test(start_paused = true)]
    async fn keys_are_used_for_a_day_while_the_issuer_is_unavailable() {
        let (source, issuer) = source(&["a"], false);
        assert_eq!(has(&source, "a").await, Some(true));
        issuer.fail();
        pass(24 * 3600 - 1).await;
        assert_eq!(has(&source, "a").await, Some(true));
        assert_eq!(issuer.requests(), 2);
        pass(30).await;
        assert_eq!(has(&source, "a").await, None);
        issuer.set(&["a"]);
        assert_eq!(has(&source, "a").await, None, "requests are limited");
        pass(5).await;
        assert_eq!(has(&source, "a").await, Some(true));
        assert_eq!(issuer.requests(), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn an_invalid_answer_is_treated_like_a_failed_request() {
        let (source, issuer) = source(&["a"], false);
        assert_eq!(has(&source, "a").await, Some(true));
        issuer.0.lock().unwrap().0 = Ok(b"<html>Bad Gateway</html>".to_vec());
        pass(600).await;
        assert_eq!(has(&source, "a").await, Some(true));
    }

    #[tokio::test(start_paused = true)]
    async fn withdrawn_keys_are_not_used_any_longer() {
        let (source, issuer) = source(&["a"], false);
        assert_eq!(has(&source, "a").await, Some(true));
        issuer.set(&[]);
        pass(600).await;
        assert_eq!(has(&source, "a").await, Some(false));
    }

    #[tokio::test(start_paused = true)]
    async fn concurrent_requests_share_one_request_to_the_issuer() {
        let (source, issuer) = source(&["a"], false);
        let ids = ["a", "b", "c"].map(|id| has(&source, id));
        futures_util::future::join_all(ids).await;
        assert_eq!(issuer.requests(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_changed_file_counts_at_once_and_an_invalid_one_has_no_keys() {
        let (source, issuer) = source(&["a"], true);
        assert_eq!(has(&source, "a").await, Some(true));
        issuer.set(&["b"]);
        assert_eq!(has(&source, "a").await, Some(false));
        assert_eq!(has(&source, "b").await, Some(true));
        issuer.fail();
        assert_eq!(has(&source, "b").await, None);
        issuer.set(&["b"]);
        assert_eq!(has(&source, "b").await, Some(true));
    }
}
