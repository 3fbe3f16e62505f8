//! Export and import.

use super::*;

async fn two_tasks(dir: &Path) -> (Store, String) {
    let store = Store::open(dir).unwrap();
    fill(&store, &spec("one"), 6).await;
    fill(&store, &spec("two"), 2).await;
    let two = TaskName::parse("two").unwrap();
    store.set_desired(&two, Desired::Deleted).await.unwrap();
    let mut text = Vec::new();
    let exported = store.export(&mut text).unwrap();
    assert_eq!((exported.tasks, exported.skipped.len()), (2, 0));
    (store, String::from_utf8(text).unwrap())
}

#[tokio::test]
async fn an_export_can_be_imported() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (store, text) = two_tasks(from.path()).await;
    assert_eq!(text.lines().count(), 2);
    let imported = Store::open(to.path()).unwrap();
    assert_eq!(imported.import(text.as_bytes()).unwrap(), 2);
    assert_eq!(imported.all().unwrap(), store.all().unwrap());
    for name in ["one", "two"] {
        let name = TaskName::parse(name).unwrap();
        assert_eq!(
            imported.history(&name).unwrap(),
            store.history(&name).unwrap()
        );
    }
    assert_eq!(imported.check().unwrap().problems, []);
    drop(imported);
    assert_eq!(reopen(to.path()).all().unwrap(), store.all().unwrap());
}

#[tokio::test]
async fn unreadable_tasks_are_skipped_and_reported() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = two_tasks(dir.path()).await;
    let one = TaskName::parse("one").unwrap();
    store
        .db()
        .unwrap()
        .insert(event_key(&one, 3), b"?")
        .unwrap();
    let mut text = Vec::new();
    let exported = store.export(&mut text).unwrap();
    assert_eq!(exported.tasks, 1);
    assert_eq!(exported.skipped[0].task, "one");
    assert!(exported.skipped[0].reason.contains("`event/one/3`"));
    assert_eq!(text.iter().filter(|byte| **byte == b'\n').count(), 1);
}

#[tokio::test]
async fn an_import_is_atomic() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (_, text) = two_tasks(from.path()).await;
    let (one, two) = text.split_once('\n').unwrap();
    let store = Store::open(to.path()).unwrap();
    let mut history_cut = serde_json::from_str::<serde_json::Value>(two).unwrap();
    history_cut["history"].as_array_mut().unwrap().remove(1);
    let mut renamed = serde_json::from_str::<serde_json::Value>(two).unwrap();
    renamed["task"] = json!("else");
    for (bad, why) in [
        ("?".to_owned(), "it is not an exported task"),
        (
            two.replace("\"format\":1", "\"format\":2"),
            "it has format 2",
        ),
        (two.replace("\"desired\"", "\"x\""), "unknown field `x`"),
        (
            history_cut.to_string(),
            "the history of `two` cannot be read",
        ),
        (
            renamed.to_string(),
            "it is the task `else` with the definition of `two`",
        ),
        (one.to_owned(), "the task `one` is listed twice"),
        (two.replace("\"two\"", "\"..\""), "is not a task name"),
    ] {
        let error = store.import(format!("{one}\n{bad}\n").as_bytes());
        let error = error.unwrap_err().to_string();
        assert!(
            error.starts_with("line 2: ") && error.contains(why),
            "{error}"
        );
        assert!(error.ends_with("; nothing was imported"), "{error}");
        assert!(store.all_names().unwrap().is_empty());
    }
    assert_eq!(store.import(text.as_bytes()).unwrap(), 2);
    let error = store.import(text.as_bytes()).unwrap_err().to_string();
    assert!(
        error.starts_with("the store is not empty: it has 2 tasks"),
        "{error}"
    );
}
