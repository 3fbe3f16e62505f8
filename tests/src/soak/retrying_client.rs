//! Calls to a Director that is killed repeatedly: a call that fails because of a kill is retried on the restarted
//! Director. Any other failure is an error.

use crate::client::Client;
use anyhow::{Context, Result};
use std::time::Duration;
use tokio::sync::watch;

/// Maximum delay between a failed call and the notification of the kill that caused it.
const KILL_NOTICE_TIMEOUT: Duration = Duration::from_secs(2);

/// A client of the current Director, if one runs.
#[derive(Debug)]
pub struct RetryingClient {
    current: watch::Sender<Option<Client>>,
}

/// The response to a call.
#[derive(Debug)]
pub struct Response<T> {
    /// The value returned by the call.
    pub value: T,
    /// Whether an earlier attempt got no response; it may have taken effect.
    pub retried: bool,
}

impl RetryingClient {
    /// Starts with the Director of `client`.
    pub fn new(client: Client) -> Self {
        Self {
            current: watch::channel(Some(client)).0,
        }
    }

    /// Must be called before the Director is killed.
    pub fn disconnect(&self) {
        self.current.send_replace(None);
    }

    /// Must be called when the next Director is ready.
    pub fn reconnect(&self, client: Client) {
        self.current.send_replace(Some(client));
    }

    /// Retries the call until a Director responds.
    ///
    /// # Errors
    /// When the call fails although the Director was not killed.
    pub async fn call<T>(&self, call: impl AsyncFn(Client) -> Result<T>) -> Result<Response<T>> {
        let mut current = self.current.subscribe();
        let mut retried = false;
        loop {
            let client = current.wait_for(Option::is_some).await?.clone();
            let client = client.context("there is no Director")?;
            match call(client).await {
                Ok(value) => return Ok(Response { value, retried }),
                Err(error) if is_transport_error(&error) => {
                    let killed = tokio::time::timeout(KILL_NOTICE_TIMEOUT, current.changed()).await;
                    killed.map_err(|_| error.context("the Director was not killed"))??;
                    retried = true;
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// Whether the response is missing or incomplete.
fn is_transport_error(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<reqwest::Error>())
        .any(|cause| !cause.is_builder())
}
