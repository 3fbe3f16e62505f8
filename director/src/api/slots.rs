//! How many large or endless bodies there are at once. Each holds files or connections to Docker; small requests must
//! get through beside any number of those who want such a body.

use super::body::holding;
use super::error::RequestError;
use super::serve::limits::Limits;
use axum::response::Response;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The places for large and endless bodies. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Slots {
    bulk: Places,
    streams: Places,
}

#[derive(Debug, Clone)]
struct Places {
    what: &'static str,
    number: usize,
    free: Arc<Semaphore>,
}

/// A place, given back when dropped.
#[derive(Debug)]
pub struct Slot {
    _permit: OwnedSemaphorePermit,
}

impl Slots {
    /// So many as `limits` say.
    pub fn new(limits: &Limits) -> Self {
        let places = |what, number| Places {
            what,
            number,
            free: Arc::new(Semaphore::new(number)),
        };
        Self {
            bulk: places("downloads and uploads", limits.bulk_bodies),
            streams: places("followers of events and logs", limits.streams),
        }
    }

    /// A place for results, a log or an upload.
    ///
    /// # Errors
    /// [`RequestError::Busy`] when all are taken.
    pub fn bulk(&self) -> Result<Slot, RequestError> {
        self.bulk.take()
    }

    /// A place for events or lines that are followed.
    ///
    /// # Errors
    /// [`RequestError::Busy`] when all are taken.
    pub fn stream(&self) -> Result<Slot, RequestError> {
        self.streams.take()
    }
}

impl Default for Slots {
    fn default() -> Self {
        Self::new(&Limits::default())
    }
}

impl Places {
    fn take(&self) -> Result<Slot, RequestError> {
        let permit = Arc::clone(&self.free).try_acquire_owned();
        let busy = |_| RequestError::Busy {
            what: self.what,
            number: self.number,
        };
        Ok(Slot {
            _permit: permit.map_err(busy)?,
        })
    }
}

impl Slot {
    /// Keeps the place until the body of the answer is sent.
    pub fn until_sent(self, response: Response) -> Response {
        holding(response, self)
    }
}
