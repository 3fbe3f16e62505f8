//! Who waits for news of a task. Whoever is woken reads the store again from where it was, so that a
//! wake-up which comes early, late or twice loses nothing and doubles nothing.

use atq_task::spec::TaskName;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// One channel for each task that somebody waits for, however many they are.
#[derive(Clone, Default)]
pub(super) struct Watchers {
    channels: Arc<Mutex<HashMap<TaskName, watch::Sender<()>>>>,
}

impl Watchers {
    /// Wakes at every change from now on.
    pub fn watch(&self, name: &TaskName) -> watch::Receiver<()> {
        let mut channels = self.lock();
        // Of channels that nobody listens to any more, none stays for longer than this.
        channels.retain(|_, channel| channel.receiver_count() > 0);
        channels.entry(name.clone()).or_default().subscribe()
    }

    /// Something about the task has changed.
    pub fn wake(&self, name: &TaskName) {
        if let Some(channel) = self.lock().get(name) {
            channel.send_replace(());
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TaskName, watch::Sender<()>>> {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
