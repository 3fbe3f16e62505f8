//! Limits the number of concurrent large or endless bodies. Each uses files or connections to Docker; small requests
//! must succeed regardless of their number.

use super::error::RequestError;
use super::serve::limits::Limits;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The slots for large and endless bodies. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Slots {
    bulk: Pool,
    streams: Pool,
}

#[derive(Debug, Clone)]
struct Pool {
    what: &'static str,
    number: usize,
    free: Arc<Semaphore>,
}

/// A slot, released when dropped; [`with_guard`](super::body::with_guard) keeps it until the body of a response is sent.
pub type Slot = OwnedSemaphorePermit;

impl Slots {
    /// Slots according to `limits`.
    pub fn new(limits: &Limits) -> Self {
        let pool = |what, number| Pool {
            what,
            number,
            free: Arc::new(Semaphore::new(number)),
        };
        Self {
            bulk: pool("downloads and uploads", limits.bulk_bodies),
            streams: pool("streams of events and logs", limits.streams),
        }
    }

    /// A slot for results, a log or an upload.
    ///
    /// # Errors
    /// `RequestError::Busy` when all slots are in use.
    pub fn bulk(&self) -> Result<Slot, RequestError> {
        self.bulk.take()
    }

    /// A slot for a stream of events or log lines.
    ///
    /// # Errors
    /// `RequestError::Busy` when all slots are in use.
    pub fn stream(&self) -> Result<Slot, RequestError> {
        self.streams.take()
    }
}

impl Default for Slots {
    fn default() -> Self {
        Self::new(&Limits::default())
    }
}

impl Pool {
    fn take(&self) -> Result<Slot, RequestError> {
        let permit = Arc::clone(&self.free).try_acquire_owned();
        permit.map_err(|_| RequestError::Busy {
            what: self.what,
            number: self.number,
        })
    }
}
