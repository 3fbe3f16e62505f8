#![allow(clippy::unwrap_used)]
//! See the end of this module's parent.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::Notify;

/// Stops a driver for ever right after a record is on the disk, as a crash would; the test then drops
/// the runtime with all that is in it.
#[derive(Debug, Clone, Default)]
pub(crate) struct CrashPoint {
    seq: Arc<AtomicU64>,
    reached: Arc<Notify>,
}

impl CrashPoint {
    /// Crashes after the record with this number.
    pub(crate) fn set(&self, seq: u64) {
        self.seq.store(seq, Ordering::SeqCst);
    }

    /// Returns when the record is written.
    pub(crate) async fn reached(&self) {
        self.reached.notified().await;
    }

    pub(super) async fn after(&self, seq: u64) {
        if self.seq.load(Ordering::SeqCst) == seq {
            self.reached.notify_one();
            std::future::pending::<()>().await;
        }
    }
}
