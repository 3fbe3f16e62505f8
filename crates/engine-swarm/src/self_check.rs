//! Checks that the URL which the nodes use leads to this Director.

use crate::error::root_cause;
use async_trait::async_trait;
use std::time::Duration;

/// Path below the Director's URL that returns its id.
pub const READY_PATH: &str = "/carrier/ready";
/// Prefix of the response; the Director's id follows.
pub const READY_PREFIX: &str = "atq-director ";
/// Timeout of the request.
const TIMEOUT: Duration = Duration::from_secs(3);
/// Maximum number of bytes of the response that are read.
const MAX_RESPONSE: usize = 200;

/// Identifies the Director behind a URL.
#[async_trait]
pub trait SelfCheck: Send + Sync + 'static {
    /// The id of the Director that answers at `url` and proves itself by `certificate` (PEM), or a description of the
    /// problem that follows the URL: "refused the connection".
    async fn director_at(&self, url: &str, certificate: &str) -> Result<String, String>;
}

/// The check over HTTPS.
#[derive(Debug, Clone, Copy, Default)]
pub struct HttpSelfCheck;

#[async_trait]
impl SelfCheck for HttpSelfCheck {
    async fn director_at(&self, url: &str, certificate: &str) -> Result<String, String> {
        let client = client(certificate)
            .map_err(|error| format!("cannot be requested: {}", root_cause(&error)))?;
        let response = client.get(format!("{url}{READY_PATH}")).send().await;
        let mut response = response.map_err(|error| match error.is_timeout() {
            true => format!("does not answer within {} s", TIMEOUT.as_secs()),
            false => {
                let cause = root_cause(&error);
                match cause.contains("certificate") {
                    true => format!("does not lead to this Director's `nodePort`: {cause}"),
                    false => format!("does not answer: {cause}"),
                }
            }
        })?;
        let status = response.status();
        let mut text = Vec::new();
        while let Ok(Some(chunk)) = response.chunk().await {
            text.extend_from_slice(&chunk);
            if text.len() > MAX_RESPONSE {
                break;
            }
        }
        let text = String::from_utf8_lossy(&text);
        let text = text.trim();
        match text.strip_prefix(READY_PREFIX) {
            Some(id) if status.is_success() => Ok(id.to_owned()),
            _ => Err(format!("is not a Director: it answered {status}")),
        }
    }
}

/// Uses no proxy and trusts only this certificate, like the carriers.
fn client(certificate: &str) -> Result<reqwest::Client, reqwest::Error> {
    let certificate = reqwest::Certificate::from_pem(certificate.as_bytes())?;
    reqwest::Client::builder()
        .no_proxy()
        .dns_resolver(atq_resolver::SystemResolver)
        .timeout(TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .tls_certs_only([certificate])
        .build()
}

/// A check without a network.
#[cfg(any(test, feature = "model"))]
pub mod fake {
    use super::SelfCheck;
    use async_trait::async_trait;
    use parking_lot::Mutex;
    use std::sync::Arc;

    /// The result for every URL.
    type Outcome = Result<String, String>;

    /// Gives the same result for every URL and records the URLs.
    #[derive(Debug, Clone)]
    pub struct FakeSelfCheck(Arc<Mutex<(Outcome, Vec<String>)>>);

    impl FakeSelfCheck {
        /// This Director answers at every URL.
        pub fn new(director: &str) -> Self {
            Self(Arc::new(Mutex::new((Ok(director.to_owned()), Vec::new()))))
        }

        /// Sets the result of later checks.
        pub fn set_outcome(&self, outcome: Outcome) {
            self.0.lock().0 = outcome;
        }

        /// The URLs that were checked.
        pub fn checked_urls(&self) -> Vec<String> {
            self.0.lock().1.clone()
        }
    }

    #[async_trait]
    impl SelfCheck for FakeSelfCheck {
        async fn director_at(&self, url: &str, _: &str) -> Outcome {
            let mut inner = self.0.lock();
            inner.1.push(url.to_owned());
            inner.0.clone()
        }
    }
}
