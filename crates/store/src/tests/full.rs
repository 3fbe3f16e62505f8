//! A full disk: refused writes, reads, and recovery after space is freed.

use super::*;
use atq_files::disk::SmallDisk;

const MIB: u64 = 24;

#[tokio::test]
async fn a_full_disk_refuses_writes_in_advance_and_recovers_after_space_is_freed() {
    let Some(disk) = SmallDisk::mount(MIB) else {
        return;
    };
    let store = Store::open(&disk.path().join("state")).unwrap();
    let (one, two) = (spec("one"), spec("two"));
    let state = fill(&store, &one, 2).await;
    disk.fill_but(0);
    for refused in [
        store.create(&two, &first()).await.map(drop),
        store.probe().await,
    ] {
        let error = refused.unwrap_err();
        assert!(matches!(error, StoreError::Full { .. }), "{error}");
    }
    assert_eq!(store.load(&one.name).unwrap().unwrap().state, state);
    assert_eq!(store.names().unwrap(), std::slice::from_ref(&one.name));
    disk.free();
    store.probe().await.unwrap();
    fill(&store, &two, 2).await;
    store
        .set_desired(&one.name, Desired::Stopped)
        .await
        .unwrap();
}

#[tokio::test]
async fn running_tasks_are_recorded_on_a_full_disk() {
    let Some(disk) = SmallDisk::mount(MIB) else {
        return;
    };
    let store = Store::open(&disk.path().join("state")).unwrap();
    let (one, two) = (spec("one"), spec("two"));
    let state = fill(&store, &one, 2).await;
    disk.fill_but(0);
    let refused = store.create(&two, &first()).await.unwrap_err();
    assert!(matches!(refused, StoreError::Full { .. }), "{refused}");
    // These events need more space than is left in the open segment of sled.
    let mut state = state;
    for seq in 3..200 {
        let record = record(seq, Event::MasterStarted);
        state.seq = seq;
        store.append(&one.name, &record, &state).await.unwrap();
    }
    store
        .set_desired(&one.name, Desired::Stopped)
        .await
        .unwrap();
    drop(store);
    let store = reopen(&disk.path().join("state"));
    assert_eq!(store.load(&one.name).unwrap().unwrap().state, state);
}

#[tokio::test]
async fn a_failed_write_on_a_full_disk_loses_no_acknowledged_task_and_needs_no_restart() {
    let Some(disk) = SmallDisk::mount(MIB) else {
        return;
    };
    let mut store = Store::open(&disk.path().join("state")).unwrap();
    // Without knowledge of the free space, nothing is refused or reserved.
    store.disk = Disk::of(Path::new("/nowhere"));
    let mut kept = Vec::new();
    for round in 0..3 {
        disk.fill_but(0);
        let mut refused = None;
        // An open segment of sled's file still accepts small writes.
        for number in 0..2000 {
            let spec = spec(&format!("full-{round}-{number}"));
            match store.create(&spec, &first()).await {
                Ok(_) => kept.push(spec.name),
                Err(error) => {
                    refused = Some(error);
                    break;
                }
            }
        }
        let error = refused.unwrap();
        assert!(matches!(error, StoreError::Io(_)), "{error}");
        kept.sort();
        assert_eq!(store.names().unwrap(), kept, "the refused task exists");
        disk.free();
        store.probe().await.unwrap();
        assert_eq!(store.names().unwrap(), kept);
        for name in &kept {
            assert!(store.load(name).unwrap().is_some(), "{name}");
        }
    }
}

#[tokio::test]
async fn files_left_by_a_start_on_a_full_disk_are_no_damage() {
    let dir = tempfile::tempdir().unwrap();
    let one = spec("one");
    let store = Store::open(dir.path()).unwrap();
    let state = fill(&store, &one, 2).await;
    drop(store);
    drop(reopen(dir.path()));
    std::fs::write(dir.path().join("snap.0000000000FFFFFF.generating"), "half").unwrap();
    let store = reopen(dir.path());
    assert_eq!(store.load(&one.name).unwrap().unwrap().state, state);
}
