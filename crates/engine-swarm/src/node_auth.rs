//! Authorization of carriers: only those of active runs may send requests to the Director. Each errand has its own
//! token, derived from the secret of its run. A bundle can be fetched only during the step that delivers it.

use crate::plan::{Errand, carrier_token};
use parking_lot::Mutex;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use subtle::ConstantTimeEq;

/// The runs whose carriers are authorized, by suffix.
#[derive(Default)]
pub struct NodeAuth(Mutex<HashMap<String, RunAuth>>);

struct RunAuth {
    secret: String,
    /// Ids of the bundles that may be fetched.
    bundles: HashSet<String>,
}

/// The reason why a carrier may not fetch a bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FetchError {
    /// The run is unknown, or the token is not that of this errand.
    Unauthorized,
    /// The bundle is not delivered now.
    NotDelivered,
}

/// Authorizes the carriers of a run until it is dropped.
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
    /// Authorizes the carriers of a run; `secret` is the run's own.
    pub fn register(self: &Arc<Self>, run: &str, secret: &str) -> RunAuthGuard {
        let entry = RunAuth {
            secret: secret.to_owned(),
            bundles: HashSet::new(),
        };
        self.0.lock().insert(run.to_owned(), entry);
        RunAuthGuard {
            auth: Arc::clone(self),
            run: run.to_owned(),
        }
    }

    /// Whether the run is active and the token is that of this errand.
    pub fn is_authorized(&self, run: &str, token: &str, errand: Errand<'_>) -> bool {
        let secret = self.0.lock().get(run).map(|entry| entry.secret.clone());
        secret.is_some_and(|secret| {
            let expected = carrier_token(&secret, run, errand);
            expected.as_bytes().ct_eq(token.as_bytes()).into()
        })
    }

    /// Allows these bundles to be fetched.
    pub fn grant_bundles(
        self: &Arc<Self>,
        run: &str,
        bundles: impl IntoIterator<Item = String>,
    ) -> BundleGrant {
        if let Some(entry) = self.0.lock().get_mut(run) {
            entry.bundles = bundles.into_iter().collect();
        }
        BundleGrant {
            auth: Arc::clone(self),
            run: run.to_owned(),
        }
    }

    /// Checks that a carrier may fetch `bundle` now.
    ///
    /// # Errors
    /// The reason of the refusal.
    pub fn authorize_fetch(&self, run: &str, token: &str, bundle: &str) -> Result<(), FetchError> {
        if !self.is_authorized(run, token, Errand::Fetch { bundle }) {
            return Err(FetchError::Unauthorized);
        }
        let runs = self.0.lock();
        match runs
            .get(run)
            .is_some_and(|one| one.bundles.contains(bundle))
        {
            true => Ok(()),
            false => Err(FetchError::NotDelivered),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: &str = "abc123";

    fn token(errand: Errand<'_>) -> String {
        carrier_token("secret", RUN, errand)
    }

    #[test]
    fn a_bundle_may_be_fetched_only_during_its_delivery() {
        let auth = Arc::new(NodeAuth::default());
        let guard = auth.register(RUN, "secret");
        let own = token(Errand::Fetch { bundle: "b1" });
        let fetch = |token: &str| auth.authorize_fetch(RUN, token, "b1");
        assert_eq!(fetch(&own), Err(FetchError::NotDelivered));
        let grant = auth.grant_bundles(RUN, ["b1".to_owned()]);
        assert_eq!(fetch("secret"), Err(FetchError::Unauthorized));
        assert_eq!(fetch(&own), Ok(()));
        // An interrupted download is repeated.
        assert_eq!(fetch(&own), Ok(()));
        drop(grant);
        assert_eq!(fetch(&own), Err(FetchError::NotDelivered));
        drop(guard);
        assert_eq!(fetch(&own), Err(FetchError::Unauthorized));
    }

    #[test]
    fn a_token_is_valid_for_its_own_errand_only() {
        let auth = Arc::new(NodeAuth::default());
        let _guard = auth.register(RUN, "secret");
        let _other = auth.register("other1", "secret of another");
        let errands = [
            Errand::Fetch { bundle: "b1" },
            Errand::Fetch { bundle: "b2" },
            Errand::Collect { node: "n1" },
            Errand::Collect { node: "n2" },
            Errand::Watch,
        ];
        for own in errands {
            for errand in errands {
                let authorized = auth.is_authorized(RUN, &token(own), errand);
                assert_eq!(authorized, own == errand, "{own:?} {errand:?}");
            }
            assert!(!auth.is_authorized("other1", &token(own), own));
            assert!(!auth.is_authorized("nobody", &token(own), own));
        }
        for wrong in ["", "secret", "0"] {
            assert!(!auth.is_authorized(RUN, wrong, Errand::Watch));
        }
    }
}
