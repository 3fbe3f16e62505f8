//! Tokens of clients: in memory, so that a request needs no disk, and in the store.
//!
//! The time of the last use is kept in memory and written by [`Tokens::write_last_uses`].

pub mod wire;

use atq_access::{InvalidName, Role, Token, TokenId, TokenRecord, TokenState, check_name};
use atq_store::{Store, StoreError};
use parking_lot::RwLock;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use thiserror::Error;
use tokio::sync::Mutex;
use tokio::time::{MissedTickBehavior, interval};

/// Default lifetime of a token.
pub const DEFAULT_LIFETIME: Duration = Duration::from_secs(90 * 86_400);
/// Maximum number of stored tokens.
const MAX_TOKENS: usize = 10_000;
/// Maximum number of stored tokens at which jobs of CI get further ones: they must not prevent the others.
const MAX_TOKENS_WITH_JOBS: usize = 9_000;
/// Maximum time for which expired and revoked tokens are listed.
const ENDED_RETENTION: u64 = 30 * 86_400;
/// Interval between writes of last uses.
const WRITE_INTERVAL: Duration = Duration::from_secs(60);
/// Precision of last uses in seconds.
const MINUTE: u64 = 60;

/// A token to be created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewToken {
    /// Name of the owner.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// Time of expiry in seconds since the Unix epoch; `None`: never.
    pub expires: Option<u64>,
}

/// The reason why a token is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TokenError {
    /// The text does not have the form of a token.
    #[error("the token is malformed: expected the form `atq_ID_SECRET`")]
    Malformed,
    /// There is no such token.
    #[error("the token is unknown")]
    Unknown,
    /// Its time has passed.
    #[error("the token has expired")]
    Expired,
    /// It was revoked.
    #[error("the token was revoked")]
    Revoked,
}

/// The reason why a token was not created.
#[derive(Debug, Error)]
pub enum CreateError {
    /// The name is not valid.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// There are too many tokens.
    #[error("there are {MAX_TOKENS} tokens, which is the limit; revoke some first")]
    TooMany,
    /// The operating system has no random bytes.
    #[error("the operating system does not return random bytes: {0}")]
    Random(#[from] getrandom::Error),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The tokens of clients. Cheap to clone.
#[derive(Clone)]
pub struct Tokens(Arc<Inner>);

struct Inner {
    store: Store,
    entries: RwLock<HashMap<TokenId, Entry>>,
    /// Held for each change, so that the store gets changes in the order of the memory.
    changing: Mutex<()>,
}

struct Entry {
    record: TokenRecord,
    /// Time of the last use, rounded down to minutes; 0: not used since the start.
    last_used: AtomicU64,
}

impl Entry {
    fn new(record: TokenRecord) -> Self {
        Self {
            record,
            last_used: AtomicU64::new(0),
        }
    }

    /// The record with the time of the last use.
    fn current(&self) -> TokenRecord {
        let mut record = self.record.clone();
        let used = Some(self.last_used.load(Ordering::Relaxed)).filter(|used| *used > 0);
        record.last_used = record.last_used.max(used);
        record
    }
}

impl Tokens {
    /// Loads the tokens of the store. Blocks.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn load(store: Store) -> Result<Self, StoreError> {
        let records = store.tokens()?.into_iter();
        let entries = records.map(|record| (record.id.clone(), Entry::new(record)));
        Ok(Self(Arc::new(Inner {
            entries: RwLock::new(entries.collect()),
            store,
            changing: Mutex::default(),
        })))
    }

    /// The record of a token that a client has sent, if it is valid at `now`, in seconds since the Unix epoch. Notes the
    /// use.
    ///
    /// # Errors
    /// [`TokenError`] when the token is not accepted.
    pub fn find(&self, text: &str, now: u64) -> Result<TokenRecord, TokenError> {
        let token = Token::parse(text).map_err(|_| TokenError::Malformed)?;
        let entries = self.0.entries.read();
        let entry = entries
            .get(token.id())
            .filter(|entry| entry.record.is_of(&token));
        used(entry, now)
    }

    /// As [`Tokens::find`], for a client that was identified by the secret before, such as one with a session.
    ///
    /// # Errors
    /// [`TokenError`] when the token is not accepted any more.
    pub fn find_by_id(&self, id: &TokenId, now: u64) -> Result<TokenRecord, TokenError> {
        used(self.0.entries.read().get(id), now)
    }

    /// All tokens, oldest first.
    pub fn list(&self) -> Vec<TokenRecord> {
        let entries = self.0.entries.read();
        let mut all: Vec<TokenRecord> = entries.values().map(Entry::current).collect();
        all.sort_by(|a, b| (a.created, &a.id).cmp(&(b.created, &b.id)));
        all
    }

    /// The token with this id, even if it has expired or was revoked.
    pub fn get(&self, id: &TokenId) -> Option<TokenRecord> {
        self.0.entries.read().get(id).map(Entry::current)
    }

    /// Creates a token. Returns when it is durable.
    ///
    /// # Errors
    /// [`CreateError`]; then there is no new token.
    pub async fn create(&self, new: NewToken) -> Result<(Token, TokenRecord), CreateError> {
        check_name(&new.name)?;
        self.store_new(new, MAX_TOKENS).await
    }

    /// As [`Tokens::create`], for a job of CI. The Director has given it a name that no other client can have.
    ///
    /// # Errors
    /// [`CreateError`]; then there is no new token.
    pub async fn create_for_job(&self, new: NewToken) -> Result<(Token, TokenRecord), CreateError> {
        self.store_new(new, MAX_TOKENS_WITH_JOBS).await
    }

    async fn store_new(
        &self,
        new: NewToken,
        limit: usize,
    ) -> Result<(Token, TokenRecord), CreateError> {
        let _changing = self.0.changing.lock().await;
        let now = now();
        let mut ended = self.no_longer_listed(now);
        let token = self.unused_token()?;
        if self.0.entries.read().len() - ended.len() >= limit {
            // Ended tokens are listed for information only: without a record they are refused, too.
            ended = self.ids_of(|record| record.state(now) != TokenState::Valid);
        }
        if self.0.entries.read().len() - ended.len() >= limit {
            return Err(CreateError::TooMany);
        }
        let record = TokenRecord {
            id: token.id().clone(),
            digest: token.digest(),
            name: new.name,
            role: new.role,
            created: now,
            expires: new.expires,
            last_used: None,
            revoked: None,
        };
        let stored = vec![record.clone()];
        self.0.store.write_tokens(stored, ended.clone()).await?;
        let mut entries = self.0.entries.write();
        for id in &ended {
            entries.remove(id);
        }
        entries.insert(record.id.clone(), Entry::new(record.clone()));
        Ok((token, record))
    }

    /// Revokes a token at once. Returns when this is durable. Returns the token, or `None` if there is no such token.
    /// Revoking a token again has no effect.
    ///
    /// # Errors
    /// If the store failed. The token is not accepted until the next start; repeat the call.
    pub async fn revoke(&self, id: &TokenId) -> Result<Option<TokenRecord>, StoreError> {
        // Before waiting for other changes, which wait for the disk.
        let record = {
            let mut entries = self.0.entries.write();
            let Some(entry) = entries.get_mut(id) else {
                return Ok(None);
            };
            entry.record.revoked.get_or_insert(now());
            entry.current()
        };
        let _changing = self.0.changing.lock().await;
        // An earlier attempt may have failed, so this also writes a token that is revoked already.
        self.0
            .store
            .write_tokens(vec![record.clone()], Vec::new())
            .await?;
        Ok(Some(record))
    }

    /// Writes last uses from time to time; never returns.
    pub async fn keep_last_uses(self) {
        let mut ticks = interval(WRITE_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if let Err(error) = self.write_last_uses().await {
                tracing::warn!(%error, "cannot store the last use of tokens; retrying later");
            }
        }
    }

    /// Writes all last uses that the store does not have, in one batch.
    ///
    /// # Errors
    /// If the store failed; the next call retries.
    pub async fn write_last_uses(&self) -> Result<(), StoreError> {
        let _changing = self.0.changing.lock().await;
        let changed: Vec<TokenRecord> = {
            let entries = self.0.entries.read();
            let currents = entries.values().map(|entry| (entry, entry.current()));
            currents
                .filter(|(entry, current)| entry.record != *current)
                .map(|(_, current)| current)
                .collect()
        };
        if changed.is_empty() {
            return Ok(());
        }
        self.0
            .store
            .write_tokens(changed.clone(), Vec::new())
            .await?;
        let mut entries = self.0.entries.write();
        for record in changed {
            if let Some(entry) = entries.get_mut(&record.id) {
                entry.record.last_used = record.last_used;
            }
        }
        Ok(())
    }

    /// Tokens that ended long ago: more than 30 days, or more than their lifetime if that is shorter. Otherwise those of
    /// CI jobs would fill the store.
    fn no_longer_listed(&self, now: u64) -> Vec<TokenId> {
        let is_old = |record: &TokenRecord| {
            let lifetime = record.expires.map(|end| end.saturating_sub(record.created));
            let listed = lifetime.unwrap_or(u64::MAX).min(ENDED_RETENTION);
            let ends = [record.revoked, record.expires];
            ends.into_iter()
                .flatten()
                .any(|end| end.saturating_add(listed) < now)
        };
        self.ids_of(is_old)
    }

    fn ids_of(&self, is_wanted: impl Fn(&TokenRecord) -> bool) -> Vec<TokenId> {
        let entries = self.0.entries.read();
        let records = entries.values().map(|entry| &entry.record);
        records
            .filter(|record| is_wanted(record))
            .map(|record| record.id.clone())
            .collect()
    }

    /// A random token with a new id.
    fn unused_token(&self) -> Result<Token, getrandom::Error> {
        loop {
            let (mut id, mut secret) = ([0; 5], [0; 32]);
            getrandom::fill(&mut id)?;
            getrandom::fill(&mut secret)?;
            let token = Token::from_random(id, secret);
            if !self.0.entries.read().contains_key(token.id()) {
                return Ok(token);
            }
        }
    }
}

fn used(entry: Option<&Entry>, now: u64) -> Result<TokenRecord, TokenError> {
    let entry = entry.ok_or(TokenError::Unknown)?;
    match entry.record.state(now) {
        TokenState::Expired => Err(TokenError::Expired),
        TokenState::Revoked => Err(TokenError::Revoked),
        TokenState::Valid => {
            let minute = (now / MINUTE * MINUTE).max(entry.record.created);
            entry.last_used.store(minute, Ordering::Relaxed);
            Ok(entry.record.clone())
        }
    }
}

/// The time of expiry of a token that is created now, from its lifetime in seconds; 0: never.
pub fn expiry(lifetime: u64) -> Option<u64> {
    (lifetime > 0).then(|| now().saturating_add(lifetime))
}

/// The current time in seconds since the Unix epoch.
pub fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::time::Instant;

    fn open(dir: &tempfile::TempDir) -> Tokens {
        Tokens::load(Store::open(dir.path()).unwrap()).unwrap()
    }

    fn new(name: &str, expires: Option<u64>) -> NewToken {
        NewToken {
            name: name.to_owned(),
            role: Role::Runner,
            expires,
        }
    }

    #[tokio::test]
    async fn a_token_is_accepted_until_it_is_revoked_also_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let tokens = open(&dir);
        let (token, record) = tokens.create(new("ci", None)).await.unwrap();
        let text = token.reveal();
        drop(tokens);
        let tokens = open(&dir);
        assert_eq!(tokens.find(&text, now()).unwrap().id, record.id);
        assert_eq!(tokens.find_by_id(&record.id, now()).unwrap().name, "ci");
        let revoked = tokens.revoke(&record.id).await.unwrap().unwrap();
        assert!(revoked.revoked.is_some());
        assert_eq!(tokens.find(&text, now()), Err(TokenError::Revoked));
        drop(tokens);
        let tokens = open(&dir);
        assert_eq!(tokens.find(&text, now()), Err(TokenError::Revoked));
        let again = tokens.revoke(&record.id).await.unwrap().unwrap();
        assert_eq!(again.revoked, revoked.revoked);
        let other = TokenId::parse("0000000000").unwrap();
        assert_eq!(tokens.revoke(&other).await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_wrong_secret_an_expired_and_an_unknown_token_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let tokens = open(&dir);
        let (expired, _) = tokens.create(new("ci", Some(1))).await.unwrap();
        assert_eq!(
            tokens.find(&expired.reveal(), now()),
            Err(TokenError::Expired)
        );
        let (token, _) = tokens.create(new("ci", None)).await.unwrap();
        let swapped = expired
            .reveal()
            .replace(expired.id().as_str(), token.id().as_str());
        assert_eq!(tokens.find(&swapped, now()), Err(TokenError::Unknown));
        let unknown = Token::from_random([0; 5], [0; 32]).reveal();
        assert_eq!(tokens.find(&unknown, now()), Err(TokenError::Unknown));
        assert_eq!(tokens.find("atq_x", now()), Err(TokenError::Malformed));
    }

    #[tokio::test]
    async fn the_last_use_is_listed_at_once_and_stored_in_a_batch() {
        let dir = tempfile::tempdir().unwrap();
        let tokens = open(&dir);
        let (token, record) = tokens.create(new("ci", None)).await.unwrap();
        assert_eq!(tokens.get(&record.id).unwrap().last_used, None);
        let time = now();
        tokens.find(&token.reveal(), time).unwrap();
        let minute = Some((time / 60 * 60).max(record.created));
        assert_eq!(tokens.list()[0].last_used, minute);
        assert_eq!(tokens.0.store.tokens().unwrap()[0].last_used, None);
        tokens.write_last_uses().await.unwrap();
        assert_eq!(tokens.0.store.tokens().unwrap()[0].last_used, minute);
        let revoked = tokens.revoke(&record.id).await.unwrap().unwrap();
        assert_eq!(revoked.last_used, minute);
    }

    #[tokio::test]
    async fn jobs_get_names_of_their_own_and_their_tokens_are_listed_as_long_as_they_were_valid() {
        let dir = tempfile::tempdir().unwrap();
        let tokens = open(&dir);
        let name = "ci:gitlab:shop/load#302";
        let refused = tokens.create(new(name, None)).await;
        assert!(matches!(refused, Err(CreateError::Name(_))));
        let job = new(name, Some(now() + 3600));
        let (_, record) = tokens.create_for_job(job).await.unwrap();
        let ends = record.expires.unwrap();
        assert_eq!(tokens.no_longer_listed(ends + 3500), []);
        assert_eq!(tokens.no_longer_listed(ends + 3700), [record.id]);
        let long = new("ci", Some(now() + 90 * 86_400));
        let (_, record) = tokens.create(long).await.unwrap();
        let ends = record.expires.unwrap();
        assert!(
            !tokens
                .no_longer_listed(ends + 29 * 86_400)
                .contains(&record.id)
        );
        assert!(
            tokens
                .no_longer_listed(ends + 31 * 86_400)
                .contains(&record.id)
        );
    }

    #[tokio::test]
    async fn the_number_of_tokens_is_bounded_and_long_ended_ones_do_not_count() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let record = |number: usize| TokenRecord {
            id: TokenId::parse(&format!("{number:010x}")).unwrap(),
            digest: [0; 32],
            name: "ci".to_owned(),
            role: Role::Viewer,
            created: 1,
            expires: None,
            last_used: None,
            revoked: None,
        };
        let records: Vec<TokenRecord> = (0..MAX_TOKENS).map(record).collect();
        store.write_tokens(records, Vec::new()).await.unwrap();
        let tokens = Tokens::load(store.clone()).unwrap();
        let refused = tokens.create(new("ci", None)).await;
        assert!(matches!(refused, Err(CreateError::TooMany)));
        let mut ended = record(7);
        ended.expires = Some(2);
        store
            .write_tokens(vec![ended.clone()], Vec::new())
            .await
            .unwrap();
        let tokens = Tokens::load(store).unwrap();
        tokens.create(new("ci", None)).await.unwrap();
        assert_eq!(tokens.get(&ended.id), None);
        assert_eq!(tokens.list().len(), MAX_TOKENS);
    }

    #[tokio::test]
    async fn an_invalid_name_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let refused = open(&dir).create(new("uid:0", None)).await;
        assert!(matches!(refused, Err(CreateError::Name(_))));
    }

    /// Prints the time that a request spends on its token.
    #[tokio::test]
    #[ignore = "a measurement"]
    async fn measure_the_lookup_of_a_token() {
        let dir = tempfile::tempdir().unwrap();
        let tokens = open(&dir);
        for _ in 0..100 {
            tokens.create(new("ci", None)).await.unwrap();
        }
        let text = tokens.create(new("ci", None)).await.unwrap().0.reveal();
        const ROUNDS: u32 = 100_000;
        let begun = Instant::now();
        for _ in 0..ROUNDS {
            tokens.find(&text, now()).unwrap();
        }
        println!("{:?} for each lookup", begun.elapsed() / ROUNDS);
    }
}
