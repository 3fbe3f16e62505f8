//! A full disk: what is refused, what is still read, and how it goes on once there is room again.

use super::*;
use tempfile::TempDir;

const SIZE: &str = "size=24m";

/// A small disk of its own.
struct Disk(TempDir);

impl Disk {
    /// None where the user may not mount: the rules of `room` are tested everywhere.
    fn new() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", SIZE, "tmpfs"])
            .arg(dir.path())
            .stderr(Stdio::null())
            .status();
        let disk = mounted
            .is_ok_and(|status| status.success())
            .then(|| Self(dir));
        if disk.is_none() {
            eprintln!("not tested: mounting a file system needs more rights");
        }
        disk
    }

    fn fill(&self) {
        let mut file = File::create(self.0.path().join("ballast")).unwrap();
        while file.write_all(&[0; 4096]).is_ok() {}
    }

    fn free(&self) {
        std::fs::remove_file(self.0.path().join("ballast")).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: a database that never closes still has a file open.
        let _ = Command::new("umount")
            .arg("--lazy")
            .arg(self.0.path())
            .status();
    }
}

fn large(name: &str) -> TaskSpec {
    let mut spec = spec(name);
    spec.worker.args = vec!["x".repeat(700_000)];
    spec
}

#[tokio::test]
async fn a_full_disk_refuses_before_anything_is_written_and_goes_on_when_there_is_room() {
    let Some(disk) = Disk::new() else { return };
    let store = Store::open(&disk.0.path().join("state")).unwrap();
    let (one, two) = (spec("one"), spec("two"));
    let state = fill(&store, &one, 2).await;
    disk.fill();
    for refused in [
        store.create(&two, &first()).await.map(drop),
        store.probe().await,
        store.wish(&one.name, Desired::Stopped).await.map(drop),
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
async fn a_write_that_meets_a_full_disk_costs_no_acknowledged_task_and_no_restart() {
    let Some(disk) = Disk::new() else { return };
    let mut store = Store::open(&disk.0.path().join("state")).unwrap();
    // Looks at another disk, as if this one had become full just after the look.
    let elsewhere = tempfile::tempdir().unwrap();
    store.room = Room::of(elsewhere.path());
    let mut kept = Vec::new();
    for round in 0..3 {
        let before = spec(&format!("before-{round}"));
        fill(&store, &before, 2).await;
        kept.push(before.name);
        disk.fill();
        let refused = match round {
            // sled keeps large values in files of their own.
            1 => large("refused"),
            _ => spec("refused"),
        };
        let mut error = None;
        // What has room in an open segment of sled's file is still taken.
        for number in 0..2000 {
            let mut spec = refused.clone();
            spec.name = TaskName::parse(&format!("full-{round}-{number}")).unwrap();
            match store.create(&spec, &first()).await {
                Ok(_) => kept.push(spec.name),
                Err(failed) => {
                    error = Some(failed);
                    break;
                }
            }
        }
        let error = error.unwrap();
        assert!(matches!(error, StoreError::Io(_)), "{error}");
        kept.sort();
        assert_eq!(store.names().unwrap(), kept, "the refused one is not there");
        disk.free();
        let deadline = Instant::now() + Duration::from_secs(20);
        while let Err(error) = store.probe().await {
            assert!(Instant::now() < deadline, "{error}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(store.names().unwrap(), kept);
        for name in &kept {
            assert!(store.load(name).unwrap().is_some(), "{name}");
        }
    }
}
