#![allow(clippy::unwrap_used)]
use super::*;
use proptest::prelude::*;
use std::os::unix::fs::symlink;

fn put(owned: &mut Owned, name: &str, text: &str) -> Placed {
    let (name, mut draft) = owned.begin(&Name::parse(name).unwrap()).unwrap();
    draft.write_all(text.as_bytes()).unwrap();
    owned.put(&name, draft).unwrap()
}

fn read(dir: &Path, name: &str) -> String {
    fs::read_to_string(dir.join(name)).unwrap()
}

#[test]
fn own_files_are_replaced_and_foreign_files_are_kept() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path();
    fs::write(dir.join("theirs"), "theirs").unwrap();
    let mut first = Owned::open(dir).unwrap();
    assert_eq!(put(&mut first, "a/x", "1"), placed("a/x".into(), false));
    assert_eq!(put(&mut first, "edited", "1").name, "edited");
    assert_eq!(put(&mut first, "theirs", "1").name, "theirs.atq-1");
    fs::write(dir.join("edited"), "by hand").unwrap();
    let mut second = Owned::open(dir).unwrap();
    assert_eq!(put(&mut second, "a/x", "2"), placed("a/x".into(), true));
    assert_eq!(put(&mut second, "edited", "2").name, "edited.atq-1");
    assert_eq!(put(&mut second, "theirs", "2").name, "theirs.atq-1");
    assert_eq!(read(dir, "a/x"), "2");
    assert_eq!(read(dir, "edited"), "by hand");
    assert_eq!(read(dir, "theirs"), "theirs");
    assert_eq!(read(dir, "theirs.atq-1"), "2");
    assert!(second.check_free("a/x").is_ok() || second.written.contains("a/x"));
    let third = Owned::open(dir).unwrap();
    assert!(third.check_free("a/x").is_ok());
    let taken = third.check_free("theirs").unwrap_err();
    assert_eq!(taken.exit(), crate::exit::Exit::Usage);
    assert!(
        taken
            .to_string()
            .contains("theirs` was not written by `atq`")
    );
}

#[test]
fn colliding_names_are_all_saved() {
    let temp = tempfile::tempdir().unwrap();
    let mut owned = Owned::open(temp.path()).unwrap();
    let names = ["a", "a/x", "a", "a/x/y", "b/x", "b", "same", "same"];
    let got: Vec<String> = names
        .iter()
        .enumerate()
        .map(|(index, name)| put(&mut owned, name, &format!("{}", index.min(6))).name)
        .collect();
    // The last one has the same content as the previous one.
    let expected = [
        "a",
        "a.atq-1/x",
        "a.atq-2",
        "a.atq-1/x.atq-1/y",
        "b/x",
        "b.atq-1",
        "same",
        "same",
    ];
    assert_eq!(got, expected);
    for (index, name) in got.iter().enumerate() {
        assert_eq!(read(temp.path(), name), index.min(6).to_string(), "{name}");
    }
}

#[test]
fn long_names_are_shortened_and_stay_distinct() {
    let temp = tempfile::tempdir().unwrap();
    let mut owned = Owned::open(temp.path()).unwrap();
    let fits = "ä".repeat(127) + "x";
    let long = "ä".repeat(300);
    for name in [
        fits.clone(),
        format!("{long}1.csv"),
        format!("{long}2.csv"),
        format!("{long}/x"),
    ] {
        let got = put(&mut owned, &name, &name).name;
        assert_eq!(read(temp.path(), &got), name);
        assert_eq!(got == name, name == fits);
        assert!(
            got.split('/').all(|part| part.len() <= MAX_NAME_LENGTH),
            "{got}"
        );
    }
    assert_eq!(put(&mut owned, &fits, "other").name.len(), MAX_NAME_LENGTH);
    let again = shortened(&fits, ".atq-1");
    assert!(
        again.ends_with(".atq-1") && again.len() <= MAX_NAME_LENGTH,
        "{again}"
    );
}

#[test]
fn only_listed_and_unmodified_files_are_removed() {
    let temp = tempfile::tempdir().unwrap();
    let (dir, away) = (temp.path().join("dir"), temp.path().join("away"));
    fs::create_dir_all(&dir).unwrap();
    fs::create_dir_all(&away).unwrap();
    let mut owned = Owned::open(&dir).unwrap();
    for name in [
        "results/w/1",
        "results/w/2",
        "results/v/1",
        "results/v/2",
        "results/u/1",
        "top",
    ] {
        put(&mut owned, name, "text");
    }
    // Changes by the user.
    fs::write(dir.join("results/w/2"), "changed").unwrap();
    fs::remove_file(dir.join("results/v/1")).unwrap();
    fs::create_dir(dir.join("results/v/1")).unwrap();
    fs::write(away.join("2"), "text").unwrap();
    fs::remove_file(dir.join("results/v/2")).unwrap();
    symlink(away.join("2"), dir.join("results/v/2")).unwrap();
    fs::write(away.join("1"), "text").unwrap();
    fs::remove_dir_all(dir.join("results/u")).unwrap();
    symlink(&away, dir.join("results/u")).unwrap();
    let mut owned = Owned::open(&dir).unwrap();
    owned.clear(|name| name.starts_with("results/")).unwrap();
    assert!(!dir.join("results/w/1").exists());
    assert_eq!(read(&dir, "results/w/2"), "changed");
    assert!(dir.join("results/v/1").is_dir());
    assert!(dir.join("results/v/2").is_symlink());
    assert_eq!(
        (read(&away, "1"), read(&away, "2")),
        ("text".into(), "text".into())
    );
    assert_eq!(read(&dir, "top"), "text");
    let list = read(&dir, LIST);
    assert!(
        list.ends_with("  top\n") && list.lines().count() == 1,
        "{list}"
    );
    // Nothing is written through a link.
    assert_eq!(
        put(&mut Owned::open(&dir).unwrap(), "results/u/3", "x").name,
        "results/u.atq-1/3"
    );
}

#[test]
fn an_invalid_list_is_rejected() {
    let digest = "0".repeat(64);
    for text in [
        "my files\n".to_owned(),
        format!("{digest}  ../out\n"),
        format!("{digest}  /etc/passwd\n"),
        format!("{digest}  a/../../out\n"),
        format!("{digest}  a//b\n"),
        format!("\\{digest}  a\\qb\n"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(LIST), &text).unwrap();
        let error = Owned::open(dir.path()).unwrap_err();
        assert_eq!(error.exit(), crate::exit::Exit::Usage, "{text}");
    }
    let dir = tempfile::tempdir().unwrap();
    symlink("/dev/zero", dir.path().join(LIST)).unwrap();
    assert!(Owned::open(dir.path()).is_err());
}

#[test]
fn a_truncated_list_is_completed() {
    let dir = tempfile::tempdir().unwrap();
    put(&mut Owned::open(dir.path()).unwrap(), "a", "1");
    let path = dir.path().join(LIST);
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("{text}0123")).unwrap();
    put(&mut Owned::open(dir.path()).unwrap(), "b", "2");
    let owned = Owned::open(dir.path()).unwrap();
    assert!(owned.files.keys().eq(["a", "b"]));
}

#[test]
fn the_list_has_the_format_of_sha256sum() {
    let dir = tempfile::tempdir().unwrap();
    let mut owned = Owned::open(dir.path()).unwrap();
    put(&mut owned, "a b", "1");
    put(&mut owned, "x/line\nbreak\\", "2");
    let checked = std::process::Command::new("sha256sum")
        .args(["--check", "--strict", LIST])
        .current_dir(dir.path())
        .output()
        .unwrap();
    assert!(checked.status.success(), "{checked:?}");
}

proptest! {
    #[test]
    fn every_name_survives_a_round_trip(name in "[a-z\\\\\n\r ä/]{1,20}") {
        if let Ok(name) = Name::parse(&name) {
            let digest = "a".repeat(64);
            let files = parse(&line(name.as_str(), &digest)).unwrap();
            prop_assert_eq!(files.get(name.as_str()), Some(&digest));
        }
    }
}
