//! Calls to a Director that is killed now and then: who is not answered because of that asks the next
//! one again. An answer that is missing for any other reason is an error.

use crate::client::Client;
use anyhow::{Context, Result};
use std::time::Duration;
use tokio::sync::watch;

/// How long after a call has failed the reason for it may be told.
const TOLD: Duration = Duration::from_secs(2);

/// The way to the present Director.
#[derive(Debug)]
pub struct Post {
    present: watch::Sender<Option<Client>>,
}

/// An answer.
#[derive(Debug)]
pub struct Answered<T> {
    /// What was answered.
    pub answer: T,
    /// Whether an earlier try was not answered: it may have had its effect all the same.
    pub again: bool,
}

impl Post {
    /// The way to `client`'s Director.
    pub fn new(client: Client) -> Self {
        Self {
            present: watch::channel(Some(client)).0,
        }
    }

    /// To be said before the Director is killed.
    pub fn away(&self) {
        self.present.send_replace(None);
    }

    /// To be said when the next one is ready.
    pub fn back(&self, client: Client) {
        self.present.send_replace(Some(client));
    }

    /// Calls until a Director answers.
    ///
    /// # Errors
    /// When the call fails although the Director was not killed.
    pub async fn call<T>(&self, call: impl AsyncFn(Client) -> Result<T>) -> Result<Answered<T>> {
        let mut present = self.present.subscribe();
        let mut again = false;
        loop {
            let client = present.wait_for(Option::is_some).await?.clone();
            let client = client.context("there is no Director")?;
            match call(client).await {
                Ok(answer) => return Ok(Answered { answer, again }),
                Err(error) if is_silence(&error) => {
                    let told = tokio::time::timeout(TOLD, present.changed()).await;
                    told.map_err(|_| error.context("the Director was not killed"))??;
                    again = true;
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// Whether there was no answer, or not all of it.
fn is_silence(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<reqwest::Error>())
        .any(|cause| !cause.is_builder())
}
