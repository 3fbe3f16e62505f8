//! Authorization of carriers: only those of active runs may send requests to the Director. Each run has its own
//! token. A bundle can be fetched only during the step that delivers it.

use crate::plan::carrier_token;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;

/// The runs whose carriers are authorized, by suffix.
#[derive(Debug, Default)]
pub struct NodeAuth(Mutex<HashMap<String, RunAuth>>);

#[derive(Debug)]
struct RunAuth {
    token: String,
    /// By id of the bundle: the number of times that each node may fetch it.
    bundles: HashMap<String, u32>,
    /// By node and bundle: the number of complete downloads.
    served: HashMap<(String, String), u32>,
}

/// The reason why a carrier may not fetch a bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FetchError {
    /// The run is unknown, or the token is wrong.
    Unauthorized,
    /// The bundle is not delivered now.
    NotDelivered,
    /// The node has received the bundle.
    AlreadyServed,
}

/// Authorizes the carriers of a run until it is dropped.
#[derive(Debug)]
pub struct RunAuthGuard {
    auth: Arc<NodeAuth>,
    run: String,
}

impl Drop for RunAuthGuard {
    fn drop(&mut self) {
        self.auth.0.lock().remove(&self.run);
    }
}

/// Allows bundles to be fetched until it is dropped.
#[derive(Debug)]
pub struct BundleGrant {
    auth: Arc<NodeAuth>,
    run: String,
}

impl Drop for BundleGrant {
    fn drop(&mut self) {
        if let Some(entry) = self.auth.0.lock().get_mut(&self.run) {
            entry.bundles.clear();
        }
    }
}

impl NodeAuth {
    /// Authorizes the carriers of a run; `token` is the run's own secret.
    pub fn register(self: &Arc<Self>, run: &str, token: &str) -> RunAuthGuard {
        let entry = RunAuth {
            token: carrier_token(token),
            bundles: HashMap::new(),
            served: HashMap::new(),
        };
        self.0.lock().insert(run.to_owned(), entry);
        RunAuthGuard {
            auth: Arc::clone(self),
            run: run.to_owned(),
        }
    }

    /// Whether the run is active and the carrier's token is right.
    pub fn is_authorized(&self, run: &str, token: &str) -> bool {
        let runs = self.0.lock();
        runs.get(run)
            .is_some_and(|entry| is_same(&entry.token, token))
    }

    /// Allows each node to fetch these bundles, each as often as it is listed.
    pub fn grant_bundles(
        self: &Arc<Self>,
        run: &str,
        bundles: impl IntoIterator<Item = String>,
    ) -> BundleGrant {
        if let Some(entry) = self.0.lock().get_mut(run) {
            entry.bundles.clear();
            entry.served.clear();
            for bundle in bundles {
                *entry.bundles.entry(bundle).or_default() += 1;
            }
        }
        BundleGrant {
            auth: Arc::clone(self),
            run: run.to_owned(),
        }
    }

    /// Checks that a carrier on `node` may fetch `bundle` now.
    ///
    /// # Errors
    /// The reason of the refusal.
    pub fn authorize_fetch(
        &self,
        run: &str,
        token: &str,
        node: &str,
        bundle: &str,
    ) -> Result<(), FetchError> {
        let runs = self.0.lock();
        let entry = runs.get(run).ok_or(FetchError::Unauthorized)?;
        if !is_same(&entry.token, token) {
            return Err(FetchError::Unauthorized);
        }
        let most = entry.bundles.get(bundle).ok_or(FetchError::NotDelivered)?;
        let key = (node.to_owned(), bundle.to_owned());
        match entry.served.get(&key).is_none_or(|served| served < most) {
            true => Ok(()),
            false => Err(FetchError::AlreadyServed),
        }
    }

    /// Records that a node has received the whole bundle.
    pub fn record_served(&self, run: &str, node: &str, bundle: &str) {
        if let Some(entry) = self.0.lock().get_mut(run) {
            let key = (node.to_owned(), bundle.to_owned());
            *entry.served.entry(key).or_default() += 1;
        }
    }
}

/// Compares in constant time for tokens of the same length.
fn is_same(expected: &str, given: &str) -> bool {
    let pairs = expected.bytes().zip(given.bytes());
    let different = pairs.fold(0, |different, (a, b)| different | (a ^ b));
    expected.len() == given.len() && std::hint::black_box(different) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_node_may_fetch_a_bundle_once_and_only_during_its_delivery() {
        let auth = Arc::new(NodeAuth::default());
        let guard = auth.register("abc123", "secret");
        let token = carrier_token("secret");
        let fetch = |token: &str, node: &str| auth.authorize_fetch("abc123", token, node, "b1");
        assert_eq!(fetch(&token, "n1"), Err(FetchError::NotDelivered));
        let grant = auth.grant_bundles("abc123", ["b1".to_owned()]);
        assert_eq!(fetch("secret", "n1"), Err(FetchError::Unauthorized));
        assert_eq!(fetch(&token, "n1"), Ok(()));
        // An incomplete download may be repeated; a complete one may not.
        assert_eq!(fetch(&token, "n1"), Ok(()));
        auth.record_served("abc123", "n1", "b1");
        assert_eq!(fetch(&token, "n1"), Err(FetchError::AlreadyServed));
        assert_eq!(fetch(&token, "n2"), Ok(()));
        drop(grant);
        assert_eq!(fetch(&token, "n2"), Err(FetchError::NotDelivered));
        assert!(auth.is_authorized("abc123", &token));
        drop(guard);
        assert!(!auth.is_authorized("abc123", &token));
        assert_eq!(fetch(&token, "n2"), Err(FetchError::Unauthorized));
    }
}
