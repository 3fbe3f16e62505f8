//! A refused upload leaves nothing on disk. The attacks themselves are tested in `atq-bundle-archive`.

use atq_bundle_archive::raw::{Item, archive};
use insta::assert_snapshot;

use super::*;

/// Refused before unpacking, and during it.
#[tokio::test]
async fn hostile_archives_leave_nothing() {
    let good = Item::stored("good.txt", b"good");
    let elsewhere = archive(&[good.clone(), Item::stored("../evil", b"bad")]);
    assert_snapshot!(refused(&elsewhere, Limits::default()).await, @"archive refused: entry `../evil` leads out of the archive by `..`");
    let mut wrong = Item::stored("wrong", b"content");
    wrong.crc ^= 1;
    let damaged = archive(&[good, wrong]);
    assert_snapshot!(refused(&damaged, Limits::default()).await, @"archive cannot be read: entry `wrong` is damaged: Invalid checksum");
}

/// Truncated or changed anywhere, a zip causes a result and never a panic; nothing remains unless it was accepted.
#[tokio::test]
async fn every_truncation_and_every_flipped_byte() {
    let good = archive(&[Item::stored("d/a", b"content"), Item::stored("b", b"more")]);
    for end in 0..good.len() {
        refused(&good[..end], Limits::default()).await;
    }
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 0xff;
        let (root, store) = store(Limits::default());
        if upload(&store, &bad).await.is_err() {
            assert_eq!(everything(root.path()), Vec::<String>::new(), "byte {at}");
        }
    }
}

#[tokio::test]
async fn not_a_zip() {
    assert_snapshot!(refused(b"", Limits::default()).await, @"not a zip archive: the file is empty");
    assert_snapshot!(refused(b"PK", Limits::default()).await, @"not a zip archive: its content begins with the bytes [50, 4b]: expected [50, 4b, 03, 04]");
    assert_snapshot!(refused(b"#!/bin/sh\necho", Limits::default()).await, @"not a zip archive: its content begins with the bytes [23, 21, 2f, 62]: expected [50, 4b, 03, 04]");
    let mut prefixed = b"#!/bin/sh\n".to_vec();
    prefixed.extend(archive(&[Item::stored("a", b"x")]));
    let error = refused(&prefixed, Limits::default()).await;
    assert!(matches!(error, BundleError::NotAZip { .. }));
    let empty = archive(&[]);
    assert_snapshot!(refused(&empty, Limits::default()).await, @"archive cannot be read: it is empty");
    let only_directory = archive(&[Item::stored("d/", b"").with_mode(0o040_755)]);
    assert_snapshot!(refused(&only_directory, Limits::default()).await, @"archive cannot be read: it contains no file");
}
