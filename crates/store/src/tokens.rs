//! Tokens of clients, in a tree of their own: exports and imports of tasks do not contain them.

use super::disk_space::WriteKind;
use super::panics::catch_panic;
use super::{Store, StoreError, decode, encode};
use atq_access::{TokenId, TokenRecord};

/// The tree; its keys are the ids.
const TREE: &str = "tokens";

impl Store {
    /// All readable tokens. An unreadable one is logged and omitted: it must not prevent the start, and is not accepted.
    /// Blocks.
    ///
    /// # Errors
    /// When they cannot be listed.
    pub fn tokens(&self) -> Result<Vec<TokenRecord>, StoreError> {
        catch_panic(|| self.tokens_uncaught()).unwrap_or_else(|panic| Err(StoreError::Io(panic)))
    }

    fn tokens_uncaught(&self) -> Result<Vec<TokenRecord>, StoreError> {
        let db = self.db()?;
        // Opening would create the tree in stores of earlier versions.
        if !db.tree_names().iter().any(|name| name == TREE.as_bytes()) {
            return Ok(Vec::new());
        }
        let mut tokens = Vec::new();
        for pair in db.open_tree(TREE)?.iter() {
            let (key, value) = pair?;
            match decode(&format!("{TREE}/{}", String::from_utf8_lossy(&key)), &value) {
                Ok(token) => tokens.push(token),
                Err(error) => tracing::error!(%error, "a token is unreadable; it is not accepted"),
            }
        }
        Ok(tokens)
    }

    /// Stores tokens, replacing those with the same ids, and removes others, all at once. Returns when the change is
    /// durable.
    ///
    /// # Errors
    /// If writing fails.
    pub async fn write_tokens(
        &self,
        stored: Vec<TokenRecord>,
        removed: Vec<TokenId>,
    ) -> Result<(), StoreError> {
        let mut batch = sled::Batch::default();
        for id in &removed {
            batch.remove(id.as_str());
        }
        for token in &stored {
            batch.insert(token.id.as_str(), encode(token)?);
        }
        self.writing(WriteKind::Event, move |store| {
            store.db()?.open_tree(TREE)?.apply_batch(batch)?;
            store.sync()
        })
        .await
    }
}
