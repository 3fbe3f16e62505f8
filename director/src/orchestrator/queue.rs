//! Whose turn it is. Tasks run in the order in which they came, so many at once as configured; one
//! that was under way before a restart goes on without waiting, even when that makes more.

use crate::task::spec::TaskName;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// The queue.
#[derive(Debug)]
pub struct Queue {
    limit: usize,
    inner: Mutex<Inner>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    running: usize,
    waiting: VecDeque<TaskName>,
}

impl Queue {
    /// A queue that lets `limit` tasks run at once.
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            limit,
            inner: Mutex::default(),
            changed: Notify::new(),
        })
    }

    /// Puts a task at the end, unless it waits already.
    pub fn join(&self, name: &TaskName) {
        let mut inner = self.lock();
        if !inner.waiting.contains(name) {
            inner.waiting.push_back(name.clone());
        }
    }

    /// Takes a task out, for example because it was stopped.
    pub fn leave(&self, name: &TaskName) {
        self.lock().waiting.retain(|waiting| waiting != name);
        self.changed.notify_waiters();
    }

    /// Place of a waiting task, from 1.
    pub fn position(&self, name: &TaskName) -> Option<u32> {
        let index = self
            .lock()
            .waiting
            .iter()
            .position(|waiting| waiting == name)?;
        u32::try_from(index + 1).ok()
    }

    /// Waits until it is the task's turn. Cancel-safe; the task keeps its place.
    pub async fn turn(self: &Arc<Self>, name: &TaskName) -> Turn {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // Registered before the look, so that no change in between is missed.
            changed.as_mut().enable();
            if self.try_take(name) {
                return Turn {
                    queue: Arc::clone(self),
                };
            }
            changed.await;
        }
    }

    /// A turn for a task that runs already.
    pub fn resume(self: &Arc<Self>) -> Turn {
        self.lock().running += 1;
        Turn {
            queue: Arc::clone(self),
        }
    }

    fn try_take(&self, name: &TaskName) -> bool {
        let mut inner = self.lock();
        let first = inner.waiting.front() == Some(name);
        let free = inner.running < self.limit;
        if first && free {
            inner.waiting.pop_front();
            inner.running += 1;
            drop(inner);
            // The next one may have its turn too.
            self.changed.notify_waiters();
        }
        first && free
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to run; given back when dropped.
#[derive(Debug)]
pub struct Turn {
    queue: Arc<Queue>,
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.queue.lock().running -= 1;
        self.queue.changed.notify_waiters();
    }
}
