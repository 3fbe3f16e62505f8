//! The queue of tasks. Tasks run in the order of their arrival, up to the configured number at once. A task that ran
//! before a restart continues without waiting, even if that exceeds the limit.
//!
//! A task may claim a name exclusively ([`TaskSpec::exclusive`]). While another task holds the claim, the queue skips
//! it, so that it does not block later tasks.

use atq_task::spec::{TaskName, TaskSpec};
use atq_task::timestamp::Timestamp;
use parking_lot::Mutex;
use std::sync::Arc;
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
    /// Whether tasks may start yet.
    open: bool,
    running: usize,
    /// In the order of arrival.
    waiting: Vec<Waiting>,
    /// The claimed names, one entry for each task with a claim.
    claimed: Vec<String>,
}

#[derive(Debug)]
struct Waiting {
    /// The sort key; it is the same after a restart.
    order: (Timestamp, TaskName),
    exclusive: Option<String>,
}

impl Inner {
    /// The first task that is not blocked by a claim.
    fn next(&self) -> Option<usize> {
        let is_free = |waiting: &Waiting| match &waiting.exclusive {
            Some(name) => !self.claimed.contains(name),
            None => true,
        };
        self.waiting.iter().position(is_free)
    }
}

impl Queue {
    /// A queue for `limit` concurrent tasks. None starts before [`Queue::open`].
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            limit,
            inner: Mutex::default(),
            changed: Notify::new(),
        })
    }

    /// Allows tasks to start. Before this call, all tasks of an earlier process have their slots and positions.
    pub fn open(&self) {
        self.inner.lock().open = true;
        self.changed.notify_waiters();
    }

    /// Adds a task that arrived at `created_at`, unless it is already waiting.
    pub fn join(&self, spec: &TaskSpec, created_at: Timestamp) {
        let order = (created_at, spec.name.clone());
        let mut inner = self.inner.lock();
        if inner.waiting.iter().any(|one| one.order.1 == spec.name) {
            return;
        }
        let at = inner.waiting.partition_point(|one| one.order < order);
        let waiting = Waiting {
            order,
            exclusive: spec.exclusive.clone(),
        };
        inner.waiting.insert(at, waiting);
    }

    /// Removes a task, for example because it was stopped.
    pub fn leave(&self, name: &TaskName) {
        self.inner.lock().waiting.retain(|one| one.order.1 != *name);
        self.changed.notify_waiters();
    }

    /// Position of a waiting task, from 1.
    pub fn position(&self, name: &TaskName) -> Option<u32> {
        let inner = self.inner.lock();
        let index = inner.waiting.iter().position(|one| one.order.1 == *name)?;
        u32::try_from(index + 1).ok()
    }

    /// Number of waiting tasks.
    pub fn waiting(&self) -> usize {
        self.inner.lock().waiting.len()
    }

    /// Waits for a slot. Cancel-safe; the task keeps its position.
    pub async fn acquire(self: &Arc<Self>, name: &TaskName) -> (Slot, Claim) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // Registered before the check, so that no change in between is missed.
            changed.as_mut().enable();
            if let Some(acquired) = self.try_acquire(name) {
                return acquired;
            }
            changed.await;
        }
    }

    /// A slot for a task that already runs.
    pub fn resume(self: &Arc<Self>) -> Slot {
        self.inner.lock().running += 1;
        Slot {
            queue: Arc::clone(self),
        }
    }

    /// The claim of a task that already runs or is being cleaned up.
    pub fn claim(self: &Arc<Self>, exclusive: Option<&str>) -> Claim {
        let (queue, name) = (Arc::clone(self), exclusive.map(str::to_owned));
        self.inner.lock().claimed.extend(name.clone());
        Claim { queue, name }
    }

    fn try_acquire(self: &Arc<Self>, name: &TaskName) -> Option<(Slot, Claim)> {
        let mut inner = self.inner.lock();
        let index = inner.next()?;
        let is_next = inner.waiting[index].order.1 == *name;
        if !is_next || !inner.open || inner.running >= self.limit {
            return None;
        }
        let taken = inner.waiting.remove(index);
        inner.running += 1;
        inner.claimed.extend(taken.exclusive.clone());
        drop(inner);
        // The next task may start, too.
        self.changed.notify_waiters();
        let (queue, name) = (Arc::clone(self), taken.exclusive);
        let slot = Slot {
            queue: Arc::clone(self),
        };
        Some((slot, Claim { queue, name }))
    }
}

/// The permission to run; released when dropped.
#[derive(Debug)]
pub struct Slot {
    queue: Arc<Queue>,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.queue.inner.lock().running -= 1;
        self.queue.changed.notify_waiters();
    }
}

/// A claimed name, if any; released when dropped.
#[derive(Debug)]
pub struct Claim {
    queue: Arc<Queue>,
    name: Option<String>,
}

impl Drop for Claim {
    fn drop(&mut self) {
        let Some(name) = &self.name else {
            return;
        };
        let mut inner = self.queue.inner.lock();
        if let Some(index) = inner.claimed.iter().position(|claimed| claimed == name) {
            inner.claimed.swap_remove(index);
        }
        drop(inner);
        self.queue.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests;
