//! Notifications of recorded events.

use atq_task::event::Record;
use atq_task::state::State;

/// Is notified of the events of all tasks, for example to count them.
pub trait EventObserver: Send + Sync + 'static {
    /// An event is durable; `state` is the state after it. Events of a task are in the order of its history. Must return
    /// at once.
    fn recorded(&self, record: &Record, state: &State);
}
