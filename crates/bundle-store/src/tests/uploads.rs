//! Successful, cancelled, repeated and concurrent uploads, and the listing of bundles.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use atq_bundle_archive::raw::{Item, archive};
use insta::assert_snapshot;

use super::*;
use atq_files::disk::SmallDisk;

fn sample() -> Vec<u8> {
    archive(&[
        Item::stored("plan.jmx", b"<plan/>"),
        Item::stored("bin/", b"").with_mode(0o040_700),
        Item::stored("bin/run.sh", b"#!/bin/sh\n").with_mode(0o104_700),
        Item::stored("data/users.csv", b"a,b\n").with_mode(0o100_000),
    ])
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[tokio::test]
async fn the_content_is_readable_by_every_user() {
    let (_root, store) = store(Limits::default());
    let done = upload(&store, &sample()).await.unwrap();
    assert!(!done.existed);
    let at = store.path_of(&done.id);
    assert_eq!(fs::read(at.join("plan.jmx")).unwrap(), b"<plan/>");
    assert_eq!(fs::read(at.join("data/users.csv")).unwrap(), b"a,b\n");
    let modes = [
        "",
        "bin",
        "data",
        "bin/run.sh",
        "plan.jmx",
        "data/users.csv",
    ]
    .map(|p| mode(&at.join(p)));
    assert_eq!(modes, [0o755, 0o755, 0o755, 0o755, 0o644, 0o644]);
}

#[tokio::test]
async fn id_is_the_beginning_of_the_sha256() {
    let (root, store) = store(Limits::default());
    let file = root.path().join("sample.zip");
    fs::write(&file, sample()).unwrap();
    let output = Command::new("sha256sum").arg(&file).output().unwrap();
    let expected = String::from_utf8(output.stdout).unwrap();
    let done = upload(&store, &sample()).await.unwrap();
    assert_eq!(done.id.as_str(), &expected[..32]);
}

#[tokio::test]
async fn any_chunking_gives_the_same_bundle() {
    let (_root, store) = store(Limits::default());
    // Several buffers long, so that writing and receiving overlap.
    let noise: Vec<u8> = (0..5_000_000u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    let zip = archive(&[Item::stored("noise", &noise)]);
    let mut ids = Vec::new();
    for chunk in [3_000_001, 1 << 20, 777_777] {
        let mut incoming = store.begin().await.unwrap();
        for part in zip.chunks(chunk) {
            incoming.write(part).await.unwrap();
        }
        ids.push(incoming.finish("n.zip").await.unwrap().id);
    }
    assert!(ids.windows(2).all(|pair| pair[0] == pair[1]));
    assert_eq!(
        fs::read(store.path_of(&ids[0]).join("noise")).unwrap(),
        noise
    );
}

#[tokio::test]
async fn same_zip_twice_overwrites_nothing() {
    let (root, store) = store(Limits::default());
    let first = upload(&store, &sample()).await.unwrap();
    let marked = store.path_of(&first.id).join("mark");
    fs::write(&marked, "").unwrap();
    let second = upload(&store, &sample()).await.unwrap();
    assert!(second.existed);
    assert_eq!((&second.id, &second.info), (&first.id, &first.info));
    assert!(marked.exists());
    assert_eq!(
        fs::read_dir(root.path().join(".incoming")).unwrap().count(),
        0
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_identical_uploads() {
    let (root, store) = store(Limits::default());
    let uploads: Vec<_> = (0..8)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move { upload(&store, &sample()).await.unwrap() })
        })
        .collect();
    let mut fresh = 0;
    for upload in uploads {
        fresh += usize::from(!upload.await.unwrap().existed);
    }
    assert_eq!(fresh, 1);
    assert_eq!(store.list().await.unwrap().len(), 1);
    assert_eq!(
        fs::read_dir(root.path().join(".incoming")).unwrap().count(),
        0
    );
}

#[tokio::test]
async fn dropped_upload_leaves_nothing() {
    let (root, store) = store(Limits::default());
    let zip = archive(&[Item::stored("big", &vec![7; 3 << 20])]);
    for end in [0, 3, 1000, (1 << 20) + 1, zip.len()] {
        let mut incoming = store.begin().await.unwrap();
        incoming.write(&zip[..end]).await.unwrap();
        drop(incoming);
        assert_eq!(everything(root.path()), Vec::<String>::new());
    }
}

#[tokio::test]
async fn upload_limit_counts_bytes_and_stops_at_once() {
    let zip = sample();
    let exact = Limits {
        upload_bytes: zip.len() as u64,
        ..Limits::default()
    };
    let (_root, roomy) = store(exact);
    upload(&roomy, &zip).await.unwrap();
    let less = Limits {
        upload_bytes: 100,
        ..exact
    };
    let error = refused(&zip, less).await;
    assert!(matches!(error, BundleError::TooLarge { limit: 100 }));
    assert_snapshot!(error, @r"
    upload is larger than 100 bytes
    hint: `limits.uploadBytes` in the Director's configuration sets this limit
    ");
}

#[tokio::test]
async fn the_file_name_must_end_with_zip() {
    let (root, store) = store(Limits::default());
    let mut incoming = store.begin().await.unwrap();
    incoming.write(&sample()).await.unwrap();
    assert_snapshot!(incoming.finish("plan.tar.gz").await.unwrap_err(), @"not a zip archive: the file is named `plan.tar.gz`: expected a name that ends with `.zip`");
    assert_eq!(everything(root.path()), Vec::<String>::new());
    assert!(check_file_name("PLAN.ZIP").is_ok());
}

#[tokio::test]
async fn full_disk_leaves_nothing() {
    let Some(disk) = SmallDisk::mount(2) else {
        return;
    };
    let store = BundleStore::open(disk.path(), Limits::default()).unwrap();
    // First the upload itself exceeds the disk, then its content.
    for size in [3 << 20, 1200 << 10] {
        let zip = archive(&[Item::stored("big", &vec![7; size])]);
        let error = upload(&store, &zip).await.unwrap_err();
        assert!(error.to_string().contains("the disk is full"), "{error}");
        assert!(matches!(error, BundleError::Storage { .. }));
        assert_eq!(everything(disk.path()), Vec::<String>::new());
    }
    upload(&store, &sample()).await.unwrap();
}

#[tokio::test]
async fn a_nearly_full_disk_refuses_uploads_until_space_is_freed() {
    let Some(disk) = SmallDisk::mount(16) else {
        return;
    };
    let store = BundleStore::open(disk.path(), Limits::default()).unwrap();
    // There is space for the upload itself, but not for tasks that would use it.
    disk.fill_but(4096);
    store.check_room(1).await.unwrap_err();
    let error = upload(&store, &sample()).await.unwrap_err().to_string();
    assert!(error.contains("MiB are free, 7 MiB are needed"), "{error}");
    assert_eq!(everything(disk.path()), ["ballast"]);
    disk.free();
    store.check_room(1 << 20).await.unwrap();
    store.check_room(11 << 20).await.unwrap_err();
    upload(&store, &sample()).await.unwrap();
}

#[tokio::test]
async fn listing_getting_removing() {
    let (root, store) = store(Limits::default());
    assert_eq!(store.list().await.unwrap(), []);
    let one = upload(&store, &sample()).await.unwrap();
    let two = upload(&store, &archive(&[Item::stored("only", b"1")]))
        .await
        .unwrap();
    fs::create_dir(root.path().join("1530553166")).unwrap();
    assert_eq!(
        store.list().await.unwrap(),
        [two.info.clone(), one.info.clone()]
    );
    assert_eq!(one.info.file_name.as_deref(), Some("bundle.zip"));
    assert_eq!(one.info.zip_bytes, Some(sample().len() as u64));

    let content = store.get(&one.id).await.unwrap().unwrap();
    assert_eq!(content.info, one.info);
    let entries: Vec<(&str, u64)> = content
        .entries
        .iter()
        .map(|e| (e.path.as_str(), e.size))
        .collect();
    assert_eq!(
        entries,
        [("bin/run.sh", 10), ("data/users.csv", 4), ("plan.jmx", 7)]
    );

    assert!(store.remove(&one.id).await.unwrap());
    assert!(!store.remove(&one.id).await.unwrap());
    assert!(!store.exists(&one.id) && store.exists(&two.id));
    assert_eq!(store.get(&one.id).await.unwrap(), None);
    let left = [
        format!(".meta/{}.json", two.id),
        format!(".zips/{}.zip", two.id),
        "1530553166".into(),
        two.id.to_string(),
        format!("{}/only", two.id),
    ];
    assert_eq!(everything(root.path()), left);
}

#[tokio::test]
async fn the_zip_is_kept_unchanged_and_restored_by_the_same_upload() {
    use std::io::Read;
    let (root, store) = store(Limits::default());
    let id = upload(&store, &sample()).await.unwrap().id;
    let read = async || {
        let (mut zip, bytes) = store.zip(&id).await.unwrap()?;
        let mut content = Vec::new();
        zip.read_to_end(&mut content).unwrap();
        assert_eq!(bytes, content.len() as u64);
        Some(content)
    };
    assert_eq!(read().await, Some(sample()));
    // A bundle from a version that did not keep zips.
    fs::remove_file(root.path().join(format!(".zips/{id}.zip"))).unwrap();
    assert_eq!(read().await, None);
    assert!(upload(&store, &sample()).await.unwrap().existed);
    assert_eq!(read().await, Some(sample()));
    assert!(store.remove(&id).await.unwrap());
    assert_eq!(read().await, None);
}

#[tokio::test]
async fn a_zip_without_its_bundle_is_swept_once_it_is_old() {
    let (root, store) = store(Limits::default());
    let id = upload(&store, &sample()).await.unwrap().id;
    let (zips, orphan) = (root.path().join(".zips"), "0".repeat(32));
    let paths = [id.to_string(), orphan].map(|id| zips.join(format!("{id}.zip")));
    fs::write(&paths[1], "x").unwrap();
    let reopen = || BundleStore::open(root.path(), Limits::default()).unwrap();
    reopen();
    assert!(
        paths.iter().all(|path| path.exists()),
        "another Director may be about to publish it"
    );
    let hours_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(7200);
    for path in &paths {
        fs::File::options()
            .write(true)
            .open(path)
            .unwrap()
            .set_modified(hours_ago)
            .unwrap();
    }
    reopen();
    assert!(paths[0].exists() && !paths[1].exists());
}

#[tokio::test]
async fn lost_description_is_rebuilt() {
    let (root, store) = store(Limits::default());
    let done = upload(&store, &sample()).await.unwrap();
    let meta = root.path().join(".meta").join(format!("{}.json", done.id));
    for damage in [None, Some("{"), Some("{}")] {
        match damage {
            None => fs::remove_file(&meta).unwrap(),
            Some(text) => fs::write(&meta, text).unwrap(),
        }
        let info = store.list().await.unwrap().remove(0);
        assert_eq!(
            (info.file_name, info.files, info.unpacked_bytes),
            (None, 3, 21)
        );
    }
}

#[tokio::test]
async fn opening_sweeps_only_the_remains_of_a_crash() {
    let (root, store) = store(Limits::default());
    let done = upload(&store, &sample()).await.unwrap();
    let incoming = root.path().join(".incoming");
    fs::create_dir_all(incoming.join("dead/content/deep")).unwrap();
    fs::write(incoming.join("dead/content/deep/file"), "x").unwrap();
    fs::write(incoming.join("stray"), "x").unwrap();
    let alive = workdir::Workdir::create(&incoming).unwrap();
    fs::write(alive.join("busy"), "x").unwrap();

    let again = BundleStore::open(root.path(), Limits::default()).unwrap();
    assert!(alive.join("busy").exists());
    assert_eq!(fs::read_dir(&incoming).unwrap().count(), 1);
    assert_eq!(again.list().await.unwrap(), [done.info]);
}

#[test]
fn relative_store_is_refused() {
    let error = BundleStore::open(Path::new("relative"), Limits::default()).unwrap_err();
    assert_snapshot!(error, @"cannot use `glusterpath` `relative`: the path must be absolute");
}

#[test]
fn ids_are_strict() {
    let good = "0123456789abcdef0123456789abcdef";
    assert_eq!(good.parse::<BundleId>().unwrap().as_str(), good);
    for bad in [
        "",
        "1530553166",
        "../../etc/passwd",
        "0123456789ABCDEF0123456789ABCDEF",
        "g123456789abcdef0123456789abcdef",
    ] {
        assert!(bad.parse::<BundleId>().is_err(), "{bad}");
    }
    assert_snapshot!("../x".parse::<BundleId>().unwrap_err(), @"`../x` is not a bundle id: expected 32 lower-case hex digits, as the upload returned them");
    assert!(serde_json::from_str::<BundleId>("\"../x\"").is_err());
}

#[tokio::test]
async fn harmless_oddities_are_accepted() {
    let dir = |name: &str| Item::stored(name, b"").with_mode(0o040_755);
    let dos = Item::stored("dos.txt", b"x").with_mode(0);
    let mut zip = archive(&[
        dir("./"),
        dir("d/"),
        dir("d/"),
        Item::stored("./d//f", b"x"),
        dos,
        Item::stored("d\u{e9}", b""),
    ]);
    zip.extend(b"\r\n");
    let (_root, store) = store(Limits::default());
    let done = upload(&store, &zip).await.unwrap();
    let content = store.get(&done.id).await.unwrap().unwrap();
    let paths: Vec<&str> = content.entries.iter().map(|e| e.path.as_str()).collect();
    assert_eq!(paths, ["d/f", "dos.txt", "d\u{e9}"]);
}

#[tokio::test]
async fn many_files_are_flushed_by_one_sync() {
    let (_root, store) = store(Limits::default());
    let items: Vec<Item> = (0..500)
        .map(|i| Item::stored(format!("d{}/f{i}", i % 7), b"x"))
        .collect();
    let done = upload(&store, &archive(&items)).await.unwrap();
    assert_eq!(done.info.files, 500);
}
