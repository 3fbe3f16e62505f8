//! Notifications of recorded events, and the size of the store.

use super::*;

/// Run, number and step of each notification.
#[derive(Default)]
struct Seen(Mutex<Vec<(String, u64, Step)>>);

impl EventObserver for Seen {
    fn recorded(&self, record: &Record, state: &State) {
        assert_eq!(record.seq, state.seq);
        let seen = (state.run.clone(), record.seq, state.step);
        self.0.lock().push(seen);
    }
}

#[tokio::test]
async fn every_recorded_event_is_notified_once_and_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let seen = Arc::new(Seen::default());
    let observer = Arc::clone(&seen);
    let store = Store::open(dir.path()).unwrap().observed_by(observer);
    fill(&store, &spec("one"), 2).await;
    // The name is in use: nothing is recorded.
    let existing = store.create(&spec("one"), &first()).await.unwrap();
    assert!(existing.is_some());
    store
        .set_desired(&spec("one").name, Desired::Stopped)
        .await
        .unwrap();
    let expected = [(1, Step::Queued), (2, Step::Queued), (3, Step::Collect)];
    let expected = expected.map(|(seq, step)| ("a1b2c3".to_owned(), seq, step));
    assert_eq!(*seen.0.lock(), expected);
}

#[tokio::test]
async fn an_event_that_is_not_recorded_is_not_notified() {
    let dir = tempfile::tempdir().unwrap();
    let seen = Arc::new(Seen::default());
    let observer = Arc::clone(&seen);
    let store = Store::open(dir.path()).unwrap().observed_by(observer);
    // A file that cannot be synced simulates a failing disk.
    store.handle.replace_file(unsyncable());
    let created = store.create(&spec("one"), &first()).await;
    assert!(created.is_err(), "{created:?}");
    assert_eq!(*seen.0.lock(), []);
}

#[tokio::test]
async fn the_size_grows_with_the_tasks() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let before = store.disk_bytes().unwrap();
    for number in 0..200 {
        fill(&store, &spec(&format!("task-{number}")), 6).await;
    }
    assert!(store.disk_bytes().unwrap() > before);
}
