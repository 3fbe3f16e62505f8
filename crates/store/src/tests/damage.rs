//! One unreadable task among readable ones.

use super::*;

/// A store with the tasks `good`, `folds`, `event`, `spec`, `desired` and `lost`; each except the first is
/// damaged in a different way.
async fn damaged(dir: &Path) -> Store {
    let store = Store::open(dir).unwrap();
    for name in ["good", "folds", "event", "spec", "desired", "lost"] {
        fill(&store, &spec(name), 4).await;
    }
    let name = |text| TaskName::parse(text).unwrap();
    let late = encode(&record(9, Event::Stopped)).unwrap();
    store
        .db()
        .unwrap()
        .insert(event_key(&name("folds"), 9), late)
        .unwrap();
    store
        .db()
        .unwrap()
        .insert(event_key(&name("event"), 2), b"{\"seq\":")
        .unwrap();
    store
        .db()
        .unwrap()
        .insert(spec_key(&name("spec")), b"{\"name\":\"secret\"}")
        .unwrap();
    store
        .db()
        .unwrap()
        .insert(desired_key(&name("desired")), b"\"fly\"")
        .unwrap();
    store.db().unwrap().remove(spec_key(&name("lost"))).unwrap();
    store.db().unwrap().insert("spec/no name!", b"{}").unwrap();
    store
}

#[tokio::test]
async fn damaged_tasks_are_reported_and_others_are_not_affected() {
    let dir = tempfile::tempdir().unwrap();
    let store = damaged(dir.path()).await;
    let damages = store.repair().unwrap();
    let reasons: Vec<String> = damages
        .iter()
        .map(|damage| format!("{}: {}", damage.task, damage.reason))
        .collect();
    assert_eq!(
        reasons,
        [
            "desired: the store's value `wish/desired` cannot be read: unexpected content at byte 5 of 5",
            "event: the store's value `event/event/2` cannot be read: not valid JSON at byte 7 of 7",
            "folds: the history of `folds` cannot be read: event 9 (`Stopped`) cannot follow in step `cleanup`",
            "lost: the store's value `spec/lost` cannot be read: it is missing",
            "no name!: the store's value `spec/no name!` cannot be read: `no name!` is not a task name; expected 3 to 45 letters, digits, `_` or `-`, with a letter or digit at both ends",
            "spec: the store's value `spec/spec` cannot be read: unexpected content at byte 17 of 17",
        ]
    );
    let all: Vec<_> = store.all().unwrap();
    assert_eq!(all.len(), 1);
    assert_eq!(all[0].spec.name.as_str(), "good");
    for name in ["event", "folds", "lost", "spec", "desired"] {
        let error = store.load(&spec(name).name).unwrap_err();
        assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_damaged_task_is_known_by_its_name_alone() {
    let dir = tempfile::tempdir().unwrap();
    let store = damaged(dir.path()).await;
    store.repair().unwrap();
    let known = store.known().unwrap();
    assert_eq!(known.len(), 7);
    assert_eq!(known["good"].as_deref(), Some("a1b2c3"));
    for name in ["event", "folds", "lost", "spec", "desired", "no name!"] {
        assert_eq!(known[name], None, "{name}");
    }
}

#[tokio::test]
async fn the_name_of_a_removed_damaged_task_is_free() {
    let dir = tempfile::tempdir().unwrap();
    let store = damaged(dir.path()).await;
    store.repair().unwrap();
    for name in ["event", "folds", "lost", "spec", "desired"] {
        let name = TaskName::parse(name).unwrap();
        store.remove(&name).await.unwrap();
        assert_eq!(store.load(&name).unwrap(), None);
        fill(&store, &spec(name.as_str()), 2).await;
        assert_eq!(store.history(&name).unwrap().len(), 3);
    }
    assert_eq!(store.repair().unwrap().len(), 1, "the invalid name");
}

#[tokio::test]
async fn a_new_task_does_not_inherit_events() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let spec = spec("one");
    fill(&store, &spec, 6).await;
    store.db().unwrap().remove(spec_key(&spec.name)).unwrap();
    fill(&store, &spec, 1).await;
    assert_eq!(store.history(&spec.name).unwrap().len(), 2);
    assert_eq!(store.repair().unwrap(), []);
}

#[tokio::test]
async fn an_unreadable_desired_state_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let store = damaged(dir.path()).await;
    let name = TaskName::parse("desired").unwrap();
    store.set_desired(&name, Desired::Deleted).await.unwrap();
    assert_eq!(
        store.load(&name).unwrap().unwrap().desired,
        Desired::Deleted
    );
}

#[tokio::test]
async fn a_check_predicts_the_next_start_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = damaged(dir.path()).await;
    let (stale, empty) = (spec("stale"), spec("empty"));
    fill(&store, &stale, 4).await;
    store.db().unwrap().remove(state_key(&stale.name)).unwrap();
    fill(&store, &empty, 0).await;
    store
        .db()
        .unwrap()
        .remove(event_key(&empty.name, 1))
        .unwrap();
    let before: Vec<_> = store.db().unwrap().iter().map(Result::unwrap).collect();
    let checked = store.check().unwrap();
    assert_eq!((checked.tasks, checked.problems.len()), (9, 8));
    let reason = |task: &str| {
        let found = checked.problems.iter().find(|found| found.task == task);
        found.unwrap().reason.clone()
    };
    assert!(reason("stale").contains("rebuilds it"));
    assert!(reason("empty").contains("removes it"));
    let after: Vec<_> = store.db().unwrap().iter().map(Result::unwrap).collect();
    assert_eq!(before, after);
}
