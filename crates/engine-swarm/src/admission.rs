//! Who may call the Director from the nodes: the carriers of the runs that are driven now. Each run has
//! a token of its own, and what it opens is closed again at the end of the step that needs it.

use crate::plan::carrier_token;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The runs whose carriers may call.
#[derive(Debug, Default)]
pub struct Admissions(Mutex<HashMap<String, Entry>>);

#[derive(Debug)]
struct Entry {
    token: String,
    /// By id, how many carriers on each node may fetch it.
    bundles: HashMap<String, u32>,
    /// How often each node has got each bundle to its end.
    served: HashMap<(String, String), u32>,
}

/// Why a carrier does not get a bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// There is no such run, or it has another token.
    Token,
    /// Nothing is delivered for the run now, or not this bundle.
    Closed,
    /// The node has it.
    Again,
}

/// Lets the carriers of a run in until it is dropped.
#[derive(Debug)]
pub struct Admission {
    carriers: Arc<Admissions>,
    run: String,
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.carriers.lock().remove(&self.run);
    }
}

/// Lets bundles out until it is dropped.
#[derive(Debug)]
pub struct Opening {
    carriers: Arc<Admissions>,
    run: String,
}

impl Drop for Opening {
    fn drop(&mut self) {
        if let Some(entry) = self.carriers.lock().get_mut(&self.run) {
            entry.bundles.clear();
        }
    }
}

impl Admissions {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Knows the carriers of a run from here on; `token` is the run's own secret.
    pub fn admit(self: &Arc<Self>, run: &str, token: &str) -> Admission {
        let entry = Entry {
            token: carrier_token(token),
            bundles: HashMap::new(),
            served: HashMap::new(),
        };
        self.lock().insert(run.to_owned(), entry);
        Admission {
            carriers: Arc::clone(self),
            run: run.to_owned(),
        }
    }

    /// Whether the run is driven now, and the carrier's token is right.
    pub fn knows(&self, run: &str, token: &str) -> bool {
        let runs = self.lock();
        runs.get(run)
            .is_some_and(|entry| is_same(&entry.token, token))
    }

    /// Lets each node fetch these bundles, each as often as it is named.
    pub fn open(self: &Arc<Self>, run: &str, bundles: impl IntoIterator<Item = String>) -> Opening {
        if let Some(entry) = self.lock().get_mut(run) {
            entry.bundles.clear();
            entry.served.clear();
            for bundle in bundles {
                *entry.bundles.entry(bundle).or_default() += 1;
            }
        }
        Opening {
            carriers: Arc::clone(self),
            run: run.to_owned(),
        }
    }

    /// Whether a carrier on `node` may fetch `bundle` now.
    ///
    /// # Errors
    /// Why not.
    pub fn may_fetch(
        &self,
        run: &str,
        token: &str,
        node: &str,
        bundle: &str,
    ) -> Result<(), Refusal> {
        let runs = self.lock();
        let entry = runs.get(run).ok_or(Refusal::Token)?;
        if !is_same(&entry.token, token) {
            return Err(Refusal::Token);
        }
        let most = entry.bundles.get(bundle).ok_or(Refusal::Closed)?;
        let key = (node.to_owned(), bundle.to_owned());
        match entry.served.get(&key).is_none_or(|served| served < most) {
            true => Ok(()),
            false => Err(Refusal::Again),
        }
    }

    /// The node has got the bundle to its end.
    pub fn served(&self, run: &str, node: &str, bundle: &str) {
        if let Some(entry) = self.lock().get_mut(run) {
            let key = (node.to_owned(), bundle.to_owned());
            *entry.served.entry(key).or_default() += 1;
        }
    }
}

/// Takes as long for a wrong token as for a right one of the same length.
fn is_same(known: &str, shown: &str) -> bool {
    let pairs = known.bytes().zip(shown.bytes());
    let different = pairs.fold(0, |different, (a, b)| different | (a ^ b));
    known.len() == shown.len() && std::hint::black_box(different) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_is_given_once_to_each_node_and_only_while_it_is_delivered() {
        let carriers = Arc::new(Admissions::default());
        let admission = carriers.admit("abc123", "secret");
        let token = carrier_token("secret");
        let ask = |token: &str, node: &str| carriers.may_fetch("abc123", token, node, "b1");
        assert_eq!(ask(&token, "n1"), Err(Refusal::Closed));
        let opening = carriers.open("abc123", ["b1".to_owned()]);
        assert_eq!(ask("secret", "n1"), Err(Refusal::Token));
        assert_eq!(ask(&token, "n1"), Ok(()));
        // A download that broke may be tried again; one that did not may not.
        assert_eq!(ask(&token, "n1"), Ok(()));
        carriers.served("abc123", "n1", "b1");
        assert_eq!(ask(&token, "n1"), Err(Refusal::Again));
        assert_eq!(ask(&token, "n2"), Ok(()));
        drop(opening);
        assert_eq!(ask(&token, "n2"), Err(Refusal::Closed));
        assert!(carriers.knows("abc123", &token));
        drop(admission);
        assert!(!carriers.knows("abc123", &token));
        assert_eq!(ask(&token, "n2"), Err(Refusal::Token));
    }
}
