//! A full disk: what is refused, what is still read, and how it goes on once there is room again.

use super::*;
use atq_files::disk::SmallDisk;

const MIB: u64 = 24;

#[tokio::test]
async fn a_full_disk_refuses_before_anything_is_written_and_goes_on_when_there_is_room() {
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
    store.wish(&one.name, Desired::Stopped).await.unwrap();
}

#[tokio::test]
async fn tasks_that_run_are_recorded_on_a_full_disk() {
    let Some(disk) = SmallDisk::mount(MIB) else {
        return;
    };
    let store = Store::open(&disk.path().join("state")).unwrap();
    let (one, two) = (spec("one"), spec("two"));
    let state = fill(&store, &one, 2).await;
    disk.fill_but(0);
    let refused = store.create(&two, &first()).await.unwrap_err();
    assert!(matches!(refused, StoreError::Full { .. }), "{refused}");
    // More than the segment has room for that sled has open.
    let mut state = state;
    for seq in 3..200 {
        let record = record(seq, Event::MasterStarted);
        state.seq = seq;
        store.append(&one.name, &record, &state).await.unwrap();
    }
    store.wish(&one.name, Desired::Stopped).await.unwrap();
    drop(store);
    let store = reopen(&disk.path().join("state"));
    assert_eq!(store.load(&one.name).unwrap().unwrap().state, state);
}

#[tokio::test]
async fn a_write_that_meets_a_full_disk_costs_no_acknowledged_task_and_no_restart() {
    let Some(disk) = SmallDisk::mount(MIB) else {
        return;
    };
    let mut store = Store::open(&disk.path().join("state")).unwrap();
    // Nothing is known about this disk, so that nothing is refused or reserved.
    store.room = Room::of(Path::new("/nowhere"));
    let mut kept = Vec::new();
    for round in 0..3 {
        disk.fill_but(0);
        let mut refused = None;
        // What has room in an open segment of sled's file is still taken.
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
        assert_eq!(store.names().unwrap(), kept, "the refused one is not there");
        disk.free();
        store.probe().await.unwrap();
        assert_eq!(store.names().unwrap(), kept);
        for name in &kept {
            assert!(store.load(name).unwrap().is_some(), "{name}");
        }
    }
}

#[tokio::test]
async fn what_a_start_on_a_full_disk_has_left_is_no_damage() {
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
