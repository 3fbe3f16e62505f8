//! Whether the nodes will find this Director, and nobody else, where they are sent.

use async_trait::async_trait;
use std::error::Error;
use std::time::Duration;

/// Where a Director says who it is, below its URL.
pub const READY: &str = "/carrier/ready";
/// How its answer begins; its id follows.
pub const GREETING: &str = "atq-director ";
/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(3);
/// Bytes of an answer that are looked at.
const MOST: usize = 200;

/// Asks who is at a URL.
#[async_trait]
pub trait Reach: Send + Sync + 'static {
    /// The id of the Director that answers at `url`, or what is there instead, in words that follow
    /// the URL: "refused the connection".
    async fn director_at(&self, url: &str) -> Result<String, String>;
}

/// Asks over HTTP.
#[derive(Debug, Clone, Copy, Default)]
pub struct HttpReach;

#[async_trait]
impl Reach for HttpReach {
    async fn director_at(&self, url: &str) -> Result<String, String> {
        let client = client(url).map_err(|error| format!("cannot be asked: {}", root(&error)))?;
        let asked = client.get(format!("{url}{READY}")).send().await;
        let mut answer = asked.map_err(|error| match error.is_timeout() {
            true => format!("does not answer within {} s", PATIENCE.as_secs()),
            false => format!("does not answer: {}", root(&error)),
        })?;
        let status = answer.status();
        let mut text = Vec::new();
        while let Ok(Some(chunk)) = answer.chunk().await {
            text.extend_from_slice(&chunk);
            if text.len() > MOST {
                break;
            }
        }
        let text = String::from_utf8_lossy(&text);
        let text = text.trim();
        match text.strip_prefix(GREETING) {
            Some(id) if status.is_success() => Ok(id.to_owned()),
            _ => Err(format!("is something else: it answered {status}")),
        }
    }
}

/// Through no proxy, as the carriers. Only `https` needs the machine's certificates, which need not be
/// there.
fn client(url: &str) -> Result<reqwest::Client, reqwest::Error> {
    let builder = reqwest::Client::builder()
        .no_proxy()
        .dns_resolver(atq_resolver::SystemResolver)
        .timeout(PATIENCE)
        .redirect(reqwest::redirect::Policy::none());
    match url.starts_with("https:") {
        true => builder.build(),
        false => builder
            .tls_certs_only(Vec::<reqwest::Certificate>::new())
            .build(),
    }
}

/// The innermost reason.
fn root(error: &reqwest::Error) -> String {
    let mut reason: &dyn Error = error;
    while let Some(source) = reason.source() {
        reason = source;
    }
    reason.to_string()
}

/// Answers without a network.
pub mod fake {
    use super::Reach;
    use async_trait::async_trait;
    use std::sync::{Arc, Mutex, PoisonError};

    /// What is there, for whichever URL.
    type Answer = Result<String, String>;

    /// Gives one answer to all, and remembers which URLs were asked for.
    #[derive(Debug, Clone)]
    pub struct FakeReach(Arc<Mutex<(Answer, Vec<String>)>>);

    impl FakeReach {
        /// The Director with this id answers everywhere.
        pub fn new(director: &str) -> Self {
            Self(Arc::new(Mutex::new((Ok(director.to_owned()), Vec::new()))))
        }

        /// What is there from here on.
        pub fn answers(&self, answer: Answer) {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).0 = answer;
        }

        /// The URLs so far.
        pub fn asked(&self) -> Vec<String> {
            let inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            inner.1.clone()
        }
    }

    #[async_trait]
    impl Reach for FakeReach {
        async fn director_at(&self, url: &str) -> Answer {
            let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            inner.1.push(url.to_owned());
            inner.0.clone()
        }
    }
}
