//! One test per attack. Each asserts the message.

use std::io::Write;

use insta::assert_snapshot;
use zip::write::SimpleFileOptions;

use super::*;
use crate::raw::{Item, archive, archive_declaring};

fn message(items: &[Item]) -> String {
    refused(&archive(items), Limits::default()).to_string()
}

fn name_message(name: &str) -> String {
    message(&[
        Item::stored("good.txt", b"good"),
        Item::stored(name, b"bad"),
    ])
}

/// An archive whose only entry is `size` deflated zeros.
fn zeros(size: usize) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    zip.start_file("zeros", SimpleFileOptions::default())
        .unwrap();
    zip.write_all(&vec![0; size]).unwrap();
    zip.finish().unwrap().into_inner()
}

#[test]
fn names_that_leave_the_directory() {
    assert_snapshot!(name_message("../evil"), @"archive refused: entry `../evil` leads out of the archive by `..`");
    assert_snapshot!(name_message("a/../../evil"), @"archive refused: entry `a/../../evil` leads out of the archive by `..`");
    assert_snapshot!(name_message("/etc/passwd"), @"archive refused: entry `/etc/passwd` has an absolute name");
    assert_snapshot!(name_message("C:/evil"), @"archive refused: entry `C:/evil` has a drive letter in its name");
    assert_snapshot!(name_message("a\\..\\evil"), @r"
    archive refused: entry `a\..\evil` has a backslash in its name
    hint: zip names separate directories by `/`
    ");
}

#[test]
fn names_that_are_invalid_for_files() {
    assert_snapshot!(name_message("a\0b"), @"archive refused: entry `a\\u{0}b` has a NUL character in its name");
    assert_snapshot!(name_message("a\x1b[31mred"), @"archive refused: entry `a\\u{1b}[31mred` has a control character in its name");
    assert_snapshot!(name_message(""), @"archive refused: entry `` has an empty name");
    assert_snapshot!(name_message(&"n".repeat(256)), @"archive refused: entry `nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn...` has a component of 256 bytes in its name, more than 255");
    assert_snapshot!(name_message(&"abcdefghi/".repeat(500)), @"archive refused: entry `abcdefghi/abcdefghi/abcdefghi/abcdefghi/abcdefghi/abcdefghi/abcdefghi/abcdefghi/abcdefghi/abcdefghi/abcdefghi/abcdefghi/...` has a name of 5000 bytes, more than 4096");
    assert_snapshot!(name_message(&"d/".repeat(200)), @"archive refused: entry `d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/...` is nested more than 100 directories deep");
}

#[test]
fn name_that_is_not_utf8() {
    let latin1 = Item::stored(b"m\xfcller.txt".as_slice(), b"x");
    assert_snapshot!(message(&[latin1]), @r"
    archive cannot be read: entry `m�ller.txt` has a name that is not UTF-8
    hint: pack the archive again with UTF-8 names
    ");
}

#[test]
fn links_and_special_files() {
    let kinds = [0o120_777, 0o020_666, 0o010_644, 0o140_755, 0o060_600];
    for mode in kinds {
        let item = Item::stored("thing", b"/etc/passwd").with_mode(mode);
        let error = refused(&archive(&[item]), Limits::default());
        assert!(
            matches!(&error, BundleError::Hostile { entry: Some(e), .. } if e == "thing"),
            "{error}"
        );
    }
    let link = Item::stored("link", b"/etc/passwd").with_mode(0o120_777);
    assert_snapshot!(message(&[link]), @r"
    archive refused: entry `link` is a symbolic link
    hint: pack the file it points to (`zip` does so without `-y`)
    ");
    let device = Item::stored("null", b"").with_mode(0o020_666);
    assert_snapshot!(message(&[device]), @"archive refused: entry `null` is a device, a pipe or a socket");
    let disguised = Item::stored("dir", b"").with_mode(0o040_755);
    assert_snapshot!(message(&[disguised]), @"archive refused: entry `dir` has the mode of a directory, but its name does not end with `/`");
    let disguised = Item::stored("file/", b"").with_mode(0o100_644);
    assert_snapshot!(message(&[disguised]), @"archive refused: entry `file/` has the name of a directory and the mode of a file");
}

#[test]
fn duplicates_and_clashes() {
    let x = |name: &str| Item::stored(name, b"x");
    let dir = |name: &str| Item::stored(name, b"").with_mode(0o040_755);
    assert_snapshot!(message(&[x("a"), x("a")]), @"archive refused: entry `a` occurs more than once");
    assert_snapshot!(message(&[x("a"), x("./a")]), @"archive refused: entry `./a` occurs more than once");
    assert_snapshot!(message(&[x("a/b"), x("a")]), @"archive refused: entry `a` is a file and a directory at once");
    assert_snapshot!(message(&[x("a"), x("a/b")]), @"archive refused: entry `a/b` lies below `a`, which is a file");
    assert_snapshot!(message(&[x("a"), dir("a/")]), @"archive refused: entry `a/` is a file and a directory at once");
}

#[test]
fn overlaps() {
    let first = Item::stored("first", b"shared");
    let mut second = Item::stored("second", b"shared");
    second.shares_header_of = Some(0);
    assert_snapshot!(message(&[first, second]), @"archive refused: entry `second` overlaps another part of the archive");

    // The data of the last entry overlaps the central directory.
    let mut greedy = Item::stored("greedy", b"1234");
    greedy.packed = 20;
    greedy.unpacked = 20;
    assert_snapshot!(message(&[greedy]), @"archive refused: entry `greedy` overlaps another part of the archive");
}

#[test]
fn bombs() {
    let error = refused(&zeros(64 << 20), Limits::default());
    assert!(matches!(error, BundleError::Hostile { .. }));
    assert!(
        error.to_string().contains("entry `zeros` unpacks"),
        "{error}"
    );

    let limits = Limits {
        unpacked_bytes: 1000,
        ..Limits::default()
    };
    let zip = archive(&[Item::stored("a", &[1; 600]), Item::stored("b", &[1; 600])]);
    assert_snapshot!(refused(&zip, limits), @r"
    archive refused: entry `b` brings the unpacked size to 1200 bytes, more than 1000
    hint: `limits.unpackedBytes` in the Director's configuration sets this limit
    ");
}

#[test]
fn compressible_text_is_no_bomb() {
    unpacked(&zeros(8 << 20), Limits::default()).unwrap();
}

#[test]
fn wrong_sizes() {
    let mut zip = zeros(100_000);
    let declared = 100_000u32.to_le_bytes();
    let at: Vec<usize> = (0..zip.len() - 4)
        .filter(|&i| zip[i..i + 4] == declared)
        .collect();
    assert_eq!(at.len(), 2, "local header and directory");
    for i in &at {
        zip[*i..i + 4].copy_from_slice(&10u32.to_le_bytes());
    }
    let error = refused(&zip, Limits::default());
    assert!(error.to_string().contains("entry `zeros`"), "{error}");

    for i in &at {
        zip[*i..i + 4].copy_from_slice(&200_000u32.to_le_bytes());
    }
    let error = refused(&zip, Limits::default());
    assert!(error.to_string().contains("entry `zeros`"), "{error}");

    let mut stored = Item::stored("stored", b"1234");
    stored.unpacked = 1 << 30;
    assert_snapshot!(message(&[stored]), @"archive cannot be read: entry `stored` is stored as 4 bytes but declares 1073741824");
}

#[test]
fn too_many_entries() {
    let limits = Limits {
        entries: 10,
        ..Limits::default()
    };
    let many: Vec<Item> = (0..11)
        .map(|i| Item::stored(format!("f{i}"), b""))
        .collect();
    assert_snapshot!(refused(&archive(&many), limits), @r"
    archive refused: it contains 11 or more files and directories, more than 10
    hint: `limits.entries` in the Director's configuration sets this limit
    ");

    // A few entries imply many directories.
    let deep = [
        Item::stored("a/b/c/d/e/f", b""),
        Item::stored("g/h/i/j/k/l", b""),
    ];
    assert_snapshot!(refused(&archive(&deep), limits), @r"
    archive refused: it contains 12 or more files and directories, more than 10
    hint: `limits.entries` in the Director's configuration sets this limit
    ");
}

#[test]
fn encryption_and_unsupported_methods() {
    let mut locked = Item::stored("locked", b"secret");
    locked.flags |= 1;
    assert_snapshot!(message(&[locked]), @r"
    archive cannot be read: entry `locked` is encrypted
    hint: pack the archive again without a password
    ");
    let mut lzma = Item::stored("lzma", b"x");
    lzma.method = 14;
    assert_snapshot!(message(&[lzma]), @"archive cannot be read: entry `lzma` is packed by the unsupported method Lzma: expected `Stored` or `Deflated`");
    let mut unknown = Item::stored("unknown", b"x");
    unknown.method = 77;
    assert_snapshot!(message(&[unknown]), @"archive cannot be read: entry `unknown` is packed by the unsupported method Unknown: expected `Stored` or `Deflated`");
}

#[test]
fn damage() {
    let mut wrong = Item::stored("wrong", b"content");
    wrong.crc ^= 1;
    assert_snapshot!(message(&[wrong]), @"archive cannot be read: entry `wrong` is damaged: Invalid checksum");

    let good = archive(&[Item::stored("a", b"content"), Item::stored("b", b"more")]);
    assert_snapshot!(refused(&good[..good.len() / 2], Limits::default()), @r"
    archive cannot be read: its directory is missing or damaged (Could not find EOCD)
    hint: the file may be truncated
    ");

    let fewer = archive_declaring(&[Item::stored("a", b"1"), Item::stored("b", b"2")], 1);
    assert_snapshot!(refused(&fewer, Limits::default()), @"archive cannot be read: its directory declares 1 entries but does not end after them");

    let mut deflated = Item::stored("noise", b"\xff\xff\xff\xff\xff\xff");
    deflated.method = 8;
    let error = refused(&archive(&[deflated]), Limits::default());
    assert!(
        matches!(&error, BundleError::Broken { entry: Some(e), .. } if e == "noise"),
        "{error}"
    );
}

/// Truncated or changed anywhere, an archive causes a result, never a panic, and never exceeds the limits.
#[test]
fn every_truncation_and_every_flipped_byte() {
    let good = archive(&[Item::stored("d/a", b"content"), Item::stored("b", b"more")]);
    for end in 0..good.len() {
        refused(&good[..end], Limits::default());
    }
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 0xff;
        if let Ok((_root, totals)) = unpacked(&bad, Limits::default()) {
            assert!(totals.files <= 2 && totals.bytes <= 22, "byte {at}");
        }
    }
}
