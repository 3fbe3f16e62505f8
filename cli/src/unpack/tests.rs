#![allow(clippy::unwrap_used)]
use super::*;
use std::io::Write;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

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

#[test]
fn files_come_as_they_are_and_replaced_ones_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    // Names that containers may choose, and zeros that shrink as much as a bomb's.
    let odd = "worker.2/a\\b .csv";
    let large = "\0".repeat(20 << 20);
    let zip = archive(
        dir.path(),
        &[
            ("master.1/results.jtl", "a,b"),
            (odd, "c"),
            ("master.1/sub/zeros", &large),
        ],
    );
    let to = dir.path().join("new/out");
    let first = unpack(&zip, &to).unwrap();
    assert_eq!(
        first.files,
        ["master.1/results.jtl", odd, "master.1/sub/zeros"]
    );
    assert_eq!(first.replaced, 0);
    assert_eq!(
        fs::read_to_string(to.join("master.1/results.jtl")).unwrap(),
        "a,b"
    );
    assert_eq!(fs::read_to_string(to.join(odd)).unwrap(), "c");
    assert_eq!(
        fs::metadata(to.join("master.1/sub/zeros")).unwrap().len(),
        20 << 20
    );
    fs::write(to.join(odd), "changed").unwrap();
    fs::write(to.join("mine"), "kept").unwrap();
    assert_eq!(unpack(&zip, &to).unwrap().replaced, 3);
    assert_eq!(fs::read_to_string(to.join(odd)).unwrap(), "c");
    assert_eq!(fs::read_to_string(to.join("mine")).unwrap(), "kept");
}

#[test]
fn nothing_is_written_when_a_name_leads_out() {
    for (name, why) in [
        ("../out", "leads out of the archive by `..`"),
        ("master.1/../../out", "leads out"),
        ("/etc/passwd", "absolute"),
        ("link:master.1/link", "is a symbolic link"),
        ("./", "has an empty name"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let zip = archive(dir.path(), &[("master.1/good", "x"), (name, "/tmp")]);
        let to = dir.path().join("to");
        let message = unpack(&zip, &to).unwrap_err().to_string();
        assert!(message.contains(why), "{name}: {message}");
        assert!(!to.exists(), "{name}");
    }
}

#[test]
fn what_is_no_archive_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let zip = dir.path().join("results.zip");
    fs::write(&zip, "nonsense").unwrap();
    let trouble = unpack(&zip, dir.path()).unwrap_err();
    assert!(
        trouble.to_string().contains("cannot be unpacked"),
        "{trouble}"
    );
    assert!(trouble.hint().contains("-o results.zip"));
}
