//! Follows the history of a task: the existing events, then new ones, each exactly once.

use super::Orchestrator;
use atq_store::{Store, StoreError, StoredState};
use atq_task::event::Record;
use atq_task::spec::TaskName;
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt, TryStreamExt};
use std::collections::VecDeque;
use tokio::sync::watch;

/// An item of a followed history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HistoryUpdate {
    /// A recorded event.
    Event(Record),
    /// The task was deleted.
    Deleted,
}

/// A subscription to the history of a run.
struct Follower {
    orchestrator: Orchestrator,
    name: TaskName,
    run: String,
    /// Number of the last event that was read.
    last_seq: u64,
    changes: watch::Receiver<()>,
    closing: watch::Receiver<bool>,
}

impl Orchestrator {
    /// The whole history of the run `run` of a task, and the events that are added to it. Ends when the run is
    /// complete, the task is deleted, or the process shuts down.
    pub fn follow_events(
        &self,
        name: &TaskName,
        run: &str,
    ) -> BoxStream<'static, Result<HistoryUpdate, StoreError>> {
        let follower = Follower {
            orchestrator: self.clone(),
            name: name.clone(),
            run: run.to_owned(),
            last_seq: 0,
            // Subscribed before the first read, so that no event is missed.
            changes: self.shared.store.watch(name),
            closing: self.closing.subscribe(),
        };
        stream::try_unfold(Some(follower), |follower| async {
            let Some(follower) = follower else {
                return Ok(None);
            };
            follower.next().await
        })
        .map_ok(|updates| stream::iter(updates.into_iter().map(Ok)))
        .try_flatten()
        .boxed()
    }
}

impl Follower {
    /// The next updates and the subscription for later ones; `None` for the latter if these were the last.
    async fn next(mut self) -> Result<Option<(VecDeque<HistoryUpdate>, Option<Self>)>, StoreError> {
        loop {
            self.changes.borrow_and_update();
            let (updates, is_over) = self.read_updates().await?;
            if is_over {
                return Ok(Some((updates, None)));
            }
            if !updates.is_empty() {
                return Ok(Some((updates, Some(self))));
            }
            tokio::select! {
                // An error means that there are no further changes.
                changed = self.changes.changed() => if changed.is_err() { return Ok(None) },
                _ = self.closing.wait_for(|closing| *closing) => return Ok(None),
            }
        }
    }

    /// The new updates, and whether the history is complete.
    async fn read_updates(&mut self) -> Result<(VecDeque<HistoryUpdate>, bool), StoreError> {
        let (name, run, after) = (self.name.clone(), self.run.clone(), self.last_seq);
        let store = &self.orchestrator.shared.store;
        let read = store.reading(move |store| updates_after(store, &name, &run, after));
        let (updates, is_over) = read.await?;
        if let Some(HistoryUpdate::Event(last)) = updates.back() {
            self.last_seq = last.seq;
        }
        Ok((updates, is_over))
    }
}

/// The updates of a run after the event number `after`, and whether the history is complete.
fn updates_after(
    store: &Store,
    name: &TaskName,
    run: &str,
    after: u64,
) -> Result<(VecDeque<HistoryUpdate>, bool), StoreError> {
    let load = || -> Result<Option<StoredState>, StoreError> {
        let found = store.load_state(name)?;
        Ok(found.filter(|stored| stored.state.run == run))
    };
    let records = store.history_after(name, after)?;
    // Checked after the history was read: if the run still exists, the events are its own and not those of a new
    // task with the same name.
    let Some(found) = load()? else {
        return Ok(([HistoryUpdate::Deleted].into(), true));
    };
    let last_seq = records.last().map_or(after, |last| last.seq);
    // A task to be deleted disappears soon. The second check is for a task whose deletion was in progress during the
    // first: its request was already removed, the rest was not.
    let is_over = found.state.is_done()
        && !found.desired.is_deleted()
        && last_seq >= found.state.seq
        && load()?.is_some();
    Ok((
        records.into_iter().map(HistoryUpdate::Event).collect(),
        is_over,
    ))
}
