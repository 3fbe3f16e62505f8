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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use std::time::Duration;

    fn name(text: &str) -> TaskName {
        TaskName::parse(text).unwrap()
    }

    fn queue(limit: usize, names: &[&str]) -> Arc<Queue> {
        let queue = Queue::new(limit);
        for text in names {
            queue.join(&name(text));
        }
        queue
    }

    #[tokio::test]
    async fn turns_come_in_order_and_so_many_at_once_as_configured() {
        let queue = queue(2, &["one", "two", "three"]);
        assert!(queue.turn(&name("two")).now_or_never().is_none());
        let one = queue.turn(&name("one")).now_or_never().unwrap();
        let _two = queue.turn(&name("two")).now_or_never().unwrap();
        assert!(queue.turn(&name("three")).now_or_never().is_none());
        assert_eq!(queue.position(&name("three")), Some(1));
        drop(one);
        assert!(queue.turn(&name("three")).now_or_never().is_some());
        assert_eq!(queue.position(&name("three")), None);
    }

    #[tokio::test]
    async fn joining_twice_keeps_the_place() {
        let queue = queue(1, &["one", "two", "one"]);
        assert_eq!(queue.position(&name("one")), Some(1));
        assert_eq!(queue.position(&name("two")), Some(2));
        queue.leave(&name("one"));
        assert_eq!(queue.position(&name("one")), None);
        assert_eq!(queue.position(&name("two")), Some(1));
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_is_woken_by_an_end_and_by_a_leave() {
        let queue = queue(1, &["one", "two", "three"]);
        let one = queue.turn(&name("one")).await;
        let waiting = {
            let queue = Arc::clone(&queue);
            tokio::spawn(async move { queue.turn(&name("three")).await })
        };
        tokio::task::yield_now().await;
        drop(one);
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished(), "`two` is first");
        queue.leave(&name("two"));
        tokio::time::timeout(Duration::from_secs(1), waiting)
            .await
            .unwrap()
            .unwrap();
    }

    #[tokio::test]
    async fn a_wait_that_is_given_up_keeps_the_place_and_takes_no_turn() {
        let queue = queue(1, &["one", "two"]);
        let one = queue.turn(&name("one")).await;
        assert!(queue.turn(&name("two")).now_or_never().is_none());
        drop(one);
        assert_eq!(queue.position(&name("two")), Some(1));
        assert!(queue.turn(&name("two")).now_or_never().is_some());
    }

    #[tokio::test]
    async fn who_ran_before_a_restart_goes_on_and_counts() {
        let queue = queue(1, &["new"]);
        let (first, second) = (queue.resume(), queue.resume());
        drop(first);
        assert!(queue.turn(&name("new")).now_or_never().is_none());
        drop(second);
        assert!(queue.turn(&name("new")).now_or_never().is_some());
    }
}
