//! What a run holds while its load is watched.

use super::others::Others;
use crate::evidence::Source;
use crate::orchestrator::arrivals::Book;
use std::sync::{Arc, Mutex};
use tokio::task::JoinHandle;

/// A container that is watched.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Target {
    pub(super) source: Source,
    pub(super) node: String,
    pub(super) container: String,
    /// Processors that it may use at most.
    pub(super) limit: Option<f64>,
}

pub(super) type Targets = Arc<Mutex<Vec<Target>>>;

/// The watch over one run; it ends when this is dropped.
pub struct Watch {
    pub(super) book: Book,
    pub(super) targets: Targets,
    pub(super) work: JoinHandle<()>,
    pub(super) others: Others,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.work.abort();
    }
}
