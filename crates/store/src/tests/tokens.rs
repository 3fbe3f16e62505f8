//! Tokens of clients, and the clients that end runs.

use super::*;
use atq_access::{Role, Token, TokenRecord};

fn token(number: u8) -> TokenRecord {
    let token = Token::from_random([number; 5], [number; 32]);
    TokenRecord {
        id: token.id().clone(),
        digest: token.digest(),
        name: "ci".to_owned(),
        role: Role::Runner,
        created: 1,
        expires: None,
        last_used: None,
        revoked: None,
    }
}

#[tokio::test]
async fn tokens_survive_a_restart_and_are_replaced_and_removed() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(store.tokens().unwrap(), []);
    let stored = vec![token(1), token(2), token(3)];
    store.write_tokens(stored, Vec::new()).await.unwrap();
    let mut revoked = token(2);
    revoked.revoked = Some(7);
    let change = store.write_tokens(vec![revoked.clone()], vec![token(3).id]);
    change.await.unwrap();
    drop(store);
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(store.tokens().unwrap(), [token(1), revoked]);
}

/// A store of an earlier version has no tree for tokens.
#[tokio::test]
async fn a_store_without_tokens_is_not_changed_by_reading_them() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(store.tokens().unwrap(), []);
    let trees = store.db().unwrap().tree_names();
    assert!(!trees.iter().any(|name| name == b"tokens"), "{trees:?}");
}

#[tokio::test]
async fn an_unreadable_token_does_not_hide_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    store
        .write_tokens(vec![token(1)], Vec::new())
        .await
        .unwrap();
    let tree = store.db().unwrap().open_tree("tokens").unwrap();
    tree.insert("0000000000", "?").unwrap();
    assert_eq!(store.tokens().unwrap(), [token(1)]);
}

#[tokio::test]
async fn neither_lists_nor_exports_of_tasks_contain_tokens() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    store.create(&spec("one"), &first()).await.unwrap();
    store
        .write_tokens(vec![token(1)], Vec::new())
        .await
        .unwrap();
    let mut exported = Vec::new();
    store.export(&mut exported).unwrap();
    let text = String::from_utf8(exported).unwrap();
    assert_eq!(text.lines().count(), 1);
    assert!(!text.contains(token(1).id.as_str()));
    let other = tempfile::tempdir().unwrap();
    let other = Store::open(other.path()).unwrap();
    other
        .write_tokens(vec![token(2)], Vec::new())
        .await
        .unwrap();
    assert_eq!(other.import(text.as_bytes()).unwrap(), 1);
    assert_eq!(other.tokens().unwrap(), [token(2)]);
    assert_eq!(store.repair().unwrap(), []);
}

#[tokio::test]
async fn the_first_client_that_ends_a_run_is_kept_until_the_task_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let name = spec("one").name;
    store.create(&spec("one"), &first()).await.unwrap();
    assert_eq!(store.requester(&name).unwrap(), None);
    for (desired, by) in [(Desired::Stopped, "ana"), (Desired::Deleted, "ben")] {
        let by = Some(by.to_owned());
        store.set_desired_by(&name, desired, by).await.unwrap();
    }
    assert_eq!(store.requester(&name).unwrap().as_deref(), Some("ana"));
    store.remove(&name).await.unwrap();
    assert_eq!(store.requester(&name).unwrap(), None);
    store.create(&spec("one"), &first()).await.unwrap();
    store.set_desired(&name, Desired::Stopped).await.unwrap();
    assert_eq!(store.requester(&name).unwrap(), None);
}
