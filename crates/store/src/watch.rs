//! Notifies waiting readers of changes of a task. A reader continues in the store from its last position, so spurious
//! and duplicate notifications are harmless.

use atq_task::spec::TaskName;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::watch;

/// One channel for each task with waiting readers.
#[derive(Clone, Default)]
pub(super) struct Watchers {
    channels: Arc<Mutex<HashMap<TaskName, watch::Sender<()>>>>,
}

impl Watchers {
    /// Notifies of every change from now on.
    pub fn watch(&self, name: &TaskName) -> watch::Receiver<()> {
        let mut channels = self.channels.lock();
        // Unused channels are removed at the latest here.
        channels.retain(|_, channel| channel.receiver_count() > 0);
        channels.entry(name.clone()).or_default().subscribe()
    }

    /// Notifies of a change of the task.
    pub fn wake(&self, name: &TaskName) {
        if let Some(channel) = self.channels.lock().get(name) {
            channel.send_replace(());
        }
    }
}
