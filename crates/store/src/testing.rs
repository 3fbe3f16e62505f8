#![allow(clippy::unwrap_used)]
//! Test access to a store.

use super::{Store, encode, event_key};
use atq_task::event::{Event, Record};
use atq_task::spec::TaskName;
use atq_task::timestamp::Timestamp;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::Notify;

/// Blocks a driver forever right after a record is durable, as a crash would; the test then drops
/// the runtime.
#[derive(Clone, Default)]
pub struct CrashPoint {
    seq: Arc<AtomicU64>,
    reached: Arc<Notify>,
    resume: Arc<Notify>,
}

impl CrashPoint {
    /// Crashes after the record with this number.
    pub fn set(&self, seq: u64) {
        self.seq.store(seq, Ordering::SeqCst);
    }

    /// Returns when the record is durable.
    pub async fn reached(&self) {
        self.reached.notified().await;
    }

    /// Lets the driver continue.
    pub fn resume(&self) {
        self.resume.notify_one();
    }

    pub(super) async fn after(&self, seq: u64) {
        if self.seq.load(Ordering::SeqCst) == seq {
            self.reached.notify_one();
            self.resume.notified().await;
        }
    }
}

impl Store {
    /// Adds an event that cannot follow to the history.
    pub fn damage(&self, name: &TaskName) {
        let record = Record {
            seq: 999,
            at: Timestamp(1999),
            by: None,
            event: Event::Stopped,
        };
        let value = encode(&record).unwrap();
        self.db()
            .unwrap()
            .insert(event_key(name, 999), value)
            .unwrap();
        self.sync().unwrap();
    }
}
