//! Whose turn it is. Tasks run in the order in which they came, so many at once as configured; one
//! that was under way before a restart goes on without waiting, even when that makes more.
//!
//! A task may claim a name for itself alone ([`TaskSpec::exclusive`]). While another one has the
//! claim, it is passed over, so that it holds up nobody else.

use atq_task::spec::{TaskName, TaskSpec};
use atq_task::timestamp::Timestamp;
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
    /// Whether anybody may have a turn yet.
    open: bool,
    running: usize,
    /// In the order in which they came.
    waiting: Vec<Waiting>,
    /// One entry for each task that holds a claim.
    claimed: Vec<String>,
}

#[derive(Debug)]
struct Waiting {
    /// Orders the queue in the same way before and after a restart.
    came: (Timestamp, TaskName),
    exclusive: Option<String>,
}

impl Inner {
    /// The first one that is not held up by a claim.
    fn next(&self) -> Option<usize> {
        let is_free = |waiting: &Waiting| match &waiting.exclusive {
            Some(name) => !self.claimed.contains(name),
            None => true,
        };
        self.waiting.iter().position(is_free)
    }
}

impl Queue {
    /// A queue that lets `limit` tasks run at once, but none before [`Queue::open`].
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            limit,
            inner: Mutex::default(),
            changed: Notify::new(),
        })
    }

    /// From here on there are turns: all tasks that were under way before have theirs, and all that
    /// waited are in their places.
    pub fn open(&self) {
        self.lock().open = true;
        self.changed.notify_waiters();
    }

    /// Puts a task that came at `created_at` in its place, unless it waits already.
    pub fn join(&self, spec: &TaskSpec, created_at: Timestamp) {
        let came = (created_at, spec.name.clone());
        let mut inner = self.lock();
        if inner.waiting.iter().any(|one| one.came.1 == spec.name) {
            return;
        }
        let at = inner.waiting.partition_point(|one| one.came < came);
        let waiting = Waiting {
            came,
            exclusive: spec.exclusive.clone(),
        };
        inner.waiting.insert(at, waiting);
    }

    /// Takes a task out, for example because it was stopped.
    pub fn leave(&self, name: &TaskName) {
        self.lock().waiting.retain(|one| one.came.1 != *name);
        self.changed.notify_waiters();
    }

    /// Place of a waiting task, from 1.
    pub fn position(&self, name: &TaskName) -> Option<u32> {
        let inner = self.lock();
        let index = inner.waiting.iter().position(|one| one.came.1 == *name)?;
        u32::try_from(index + 1).ok()
    }

    /// Waits until it is the task's turn. Cancel-safe; the task keeps its place.
    pub async fn turn(self: &Arc<Self>, name: &TaskName) -> (Turn, Claim) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // Registered before the look, so that no change in between is missed.
            changed.as_mut().enable();
            if let Some(taken) = self.try_take(name) {
                return taken;
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

    /// The claim of a task that runs already, or is being cleaned up.
    pub fn claim(self: &Arc<Self>, exclusive: Option<&str>) -> Claim {
        self.lock().claimed.extend(exclusive.map(str::to_owned));
        Claim {
            queue: Arc::clone(self),
            name: exclusive.map(str::to_owned),
        }
    }

    fn try_take(self: &Arc<Self>, name: &TaskName) -> Option<(Turn, Claim)> {
        let mut inner = self.lock();
        let index = inner.next()?;
        let is_it = inner
            .waiting
            .get(index)
            .is_some_and(|one| one.came.1 == *name);
        if !is_it || !inner.open || inner.running >= self.limit {
            return None;
        }
        let taken = inner.waiting.remove(index);
        inner.running += 1;
        inner.claimed.extend(taken.exclusive.clone());
        drop(inner);
        let queue = Arc::clone(self);
        let turn = (
            Turn { queue },
            Claim {
                queue: Arc::clone(self),
                name: taken.exclusive,
            },
        );
        // The next one may have its turn too.
        self.changed.notify_waiters();
        Some(turn)
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

/// A name that is claimed, or none; given back when dropped.
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
        let mut inner = self.queue.lock();
        if let Some(index) = inner.claimed.iter().position(|claimed| claimed == name) {
            inner.claimed.swap_remove(index);
        }
        drop(inner);
        self.queue.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests;
