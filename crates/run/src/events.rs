//! The history of a task as it grows: what is there first, then what comes, each event once.

use super::Orchestrator;
use atq_store::{Standing, Store, StoreError};
use atq_task::event::Record;
use atq_task::spec::TaskName;
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt, TryStreamExt};
use std::collections::VecDeque;
use tokio::sync::watch;

/// What is told to somebody who follows a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// An event of its history.
    Event(Record),
    /// There is no such task any more.
    Deleted,
}

/// Somebody who follows.
struct Follower {
    it: Orchestrator,
    name: TaskName,
    run: String,
    /// Number of the last event that was read.
    seen: u64,
    changes: watch::Receiver<()>,
    closing: watch::Receiver<bool>,
}

impl Orchestrator {
    /// The whole history of the run `run` of a task, and what is added to it. Ends when the run is
    /// done, when the task is gone, and when the process is about to end.
    pub fn follow_events(
        &self,
        name: &TaskName,
        run: &str,
    ) -> BoxStream<'static, Result<News, StoreError>> {
        let follower = Follower {
            it: self.clone(),
            name: name.clone(),
            run: run.to_owned(),
            seen: 0,
            // Before the first look, so that nothing falls in between.
            changes: self.shared.store.watch(name),
            closing: self.closing.subscribe(),
        };
        stream::try_unfold(Some(follower), |follower| async {
            let Some(follower) = follower else {
                return Ok(None);
            };
            follower.next().await
        })
        .map_ok(|news| stream::iter(news.into_iter().map(Ok)))
        .try_flatten()
        .boxed()
    }
}

impl Follower {
    /// The next news, and who waits for those that follow; nobody when these were the last.
    async fn next(mut self) -> Result<Option<(VecDeque<News>, Option<Self>)>, StoreError> {
        loop {
            self.changes.borrow_and_update();
            let (news, is_over) = self.look().await?;
            if is_over {
                return Ok(Some((news, None)));
            }
            if !news.is_empty() {
                return Ok(Some((news, Some(self))));
            }
            tokio::select! {
                // An error means that nothing wakes any more.
                changed = self.changes.changed() => if changed.is_err() { return Ok(None) },
                _ = self.closing.wait_for(|closing| *closing) => return Ok(None),
            }
        }
    }

    /// What is new, and whether nothing can follow.
    async fn look(&mut self) -> Result<(VecDeque<News>, bool), StoreError> {
        let (name, run, seen) = (self.name.clone(), self.run.clone(), self.seen);
        let store = &self.it.shared.store;
        let looked = store.reading(move |store| news(store, &name, &run, seen));
        let (news, is_over) = looked.await?;
        if let Some(News::Event(last)) = news.back() {
            self.seen = last.seq;
        }
        Ok((news, is_over))
    }
}

/// What has come to a run after the event with the number `seen`, and whether nothing can follow.
fn news(
    store: &Store,
    name: &TaskName,
    run: &str,
    seen: u64,
) -> Result<(VecDeque<News>, bool), StoreError> {
    let standing = || -> Result<Option<Standing>, StoreError> {
        let found = store.standing(name)?;
        Ok(found.filter(|standing| standing.state.run == run))
    };
    let records = store.history_after(name, seen)?;
    // After the history: when the run is still there, what was read is its own, and not that of
    // another task which has got its name.
    let Some(found) = standing()? else {
        return Ok(([News::Deleted].into(), true));
    };
    let seen = records.last().map_or(seen, |last| last.seq);
    // One that is to be deleted will be gone in a moment. The second look is for one that was
    // going during the first: its wish was gone already, and the rest not yet.
    let is_over = found.state.is_done()
        && !found.desired.is_deleted()
        && seen >= found.state.seq
        && standing()?.is_some();
    Ok((records.into_iter().map(News::Event).collect(), is_over))
}
