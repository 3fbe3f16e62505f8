#![allow(clippy::unwrap_used)]
use super::*;
use std::io::Write;
use std::path::PathBuf;
use zip::ZipWriter;
use zip::write::{ExtendedFileOptions, FileOptions, SimpleFileOptions};

fn archive(dir: &Path, entries: &[(&str, &str)]) -> PathBuf {
    let path = dir.join("results.zip");
    let mut zip = ZipWriter::new(File::create(&path).unwrap());
    for (name, text) in entries {
        match name.strip_prefix("link:") {
            Some(name) => {
                zip.add_symlink(name, *text, SimpleFileOptions::default())
                    .unwrap();
            }
            None => {
                zip.start_file(*name, SimpleFileOptions::default()).unwrap();
                zip.write_all(text.as_bytes()).unwrap();
            }
        }
    }
    zip.finish().unwrap();
    path
}

fn read(path: PathBuf) -> String {
    fs::read_to_string(path).unwrap()
}

#[test]
fn files_are_unpacked_unchanged_and_replacements_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    // Unusual names, and content with the compression ratio of a zip bomb.
    let odd = "worker.2/a\\b .csv";
    let long = format!("worker.2/{}", "x".repeat(255));
    let large = "\0".repeat(20 << 20);
    let zip = archive(
        dir.path(),
        &[
            ("master.1/results.jtl", "a,b"),
            (odd, "c"),
            (&long, "d"),
            ("master.1/sub/zeros", &large),
        ],
    );
    let to = dir.path().join("new/out");
    let first = unpack(&zip, &to).unwrap();
    let names = ["master.1/results.jtl", odd, &long, "master.1/sub/zeros"];
    assert_eq!(first.files, names);
    assert_eq!(
        (first.replaced, first.renamed, first.errors.len()),
        (0, vec![], 0)
    );
    assert_eq!(read(to.join("master.1/results.jtl")), "a,b");
    assert_eq!(read(to.join(&long)), "d");
    assert_eq!(
        fs::metadata(to.join("master.1/sub/zeros")).unwrap().len(),
        20 << 20
    );
    fs::write(to.join(odd), "changed").unwrap();
    fs::write(to.join("mine"), "kept").unwrap();
    let second = unpack(&zip, &to).unwrap();
    assert_eq!(second.replaced, 3);
    let other = format!("{odd}.atq-1");
    assert_eq!(second.renamed, [(odd.to_owned(), other.clone())]);
    assert_eq!(read(to.join(odd)), "changed");
    assert_eq!(read(to.join(other)), "c");
    assert_eq!(read(to.join("mine")), "kept");
}

#[test]
fn an_invalid_name_skips_only_its_file() {
    let dir = tempfile::tempdir().unwrap();
    let bad = [
        ("../out", "leads out of the archive by `..`"),
        ("master.1/../../out", "leads out"),
        ("/etc/passwd", "absolute"),
        ("link:master.1/link", "is a symbolic link"),
        ("./", "has an empty name"),
    ];
    let mut entries = vec![("master.1/good", "x")];
    entries.extend(bad.map(|(name, _)| (name, "/tmp")));
    entries.push(("master.1/last", "y"));
    let zip = archive(dir.path(), &entries);
    let to = dir.path().join("to");
    let unpacked = unpack(&zip, &to).unwrap();
    assert_eq!(unpacked.files, ["master.1/good", "master.1/last"]);
    let errors: Vec<String> = unpacked.errors.iter().map(ToString::to_string).collect();
    assert_eq!(errors.len(), bad.len());
    for (error, (name, why)) in errors.iter().zip(bad) {
        assert!(error.contains(why), "{name}: {error}");
    }
    assert!(!dir.path().join("out").exists());
}

#[test]
fn a_file_and_a_directory_of_the_same_name_are_both_unpacked() {
    let dir = tempfile::tempdir().unwrap();
    let zip = archive(
        dir.path(),
        &[
            ("w/a", "file"),
            ("w/a/b", "below"),
            ("w/c/d", "1"),
            ("w/c", "2"),
        ],
    );
    let unpacked = unpack(&zip, &dir.path().join("to")).unwrap();
    assert_eq!(unpacked.files, ["w/a", "w/a.atq-1/b", "w/c/d", "w/c.atq-1"]);
    assert!(unpacked.errors.is_empty());
    assert_eq!(unpacked.renamed.len(), 2);
}

#[test]
fn an_invalid_archive_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let zip = dir.path().join("results.zip");
    fs::write(&zip, "nonsense").unwrap();
    let error = unpack(&zip, dir.path()).unwrap_err();
    assert!(error.to_string().contains("cannot be unpacked"), "{error}");
    assert!(error.hint().contains("-o results.zip"));
}

#[test]
fn files_keep_their_modification_times() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("results.zip");
    let mut zip = ZipWriter::new(File::create(&path).unwrap());
    let mut options = FileOptions::<ExtendedFileOptions>::default();
    let field = [&[1][..], &1_700_000_001_u32.to_le_bytes()].concat();
    options.add_extra_field(0x5455, field, false).unwrap();
    zip.start_file("w/a", options).unwrap();
    zip.finish().unwrap();
    unpack(&path, dir.path()).unwrap();
    let modified = fs::metadata(dir.path().join("w/a"))
        .unwrap()
        .modified()
        .unwrap();
    assert_eq!(
        modified.duration_since(UNIX_EPOCH).unwrap().as_secs(),
        1_700_000_001
    );
}
