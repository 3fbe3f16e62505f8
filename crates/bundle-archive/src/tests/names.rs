//! No name of an entry causes a write outside the bundle's own directory.

use insta::assert_snapshot;
use proptest::prelude::*;

use super::*;
use crate::raw::{Item, archive};

/// Parts of typical attacks, and arbitrary bytes.
fn name() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"..".to_vec()),
        Just(b"../".to_vec()),
        Just(b"/".to_vec()),
        Just(b"\\".to_vec()),
        Just(b"C:".to_vec()),
        Just(b".".to_vec()),
        Just(b"\0".to_vec()),
        Just("\u{2215}\u{ff0f}".as_bytes().to_vec()),
        Just(b".meta/".to_vec()),
        Just(b".incoming/".to_vec()),
        "[a-z]{1,3}".prop_map(String::into_bytes),
        proptest::collection::vec(any::<u8>(), 0..4),
    ];
    proptest::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_written_outside(names in proptest::collection::vec(name(), 1..4)) {
        let items: Vec<Item> = names.iter().map(|n| Item::stored(n.clone(), b"x")).collect();
        let outer = tempfile::tempdir().unwrap();
        let root = outer.path().join("a/b/content");
        fs::create_dir_all(&root).unwrap();
        let outcome = unpack_into(&archive(&items), Limits::default(), &root);
        let mut found = 0;
        for path in everything(outer.path()) {
            let own = ["a", "a/b"].contains(&path.as_str());
            prop_assert!(own || path.starts_with("a/b/content"), "{path}");
            found += u64::from(outer.path().join(&path).is_file());
        }
        prop_assert_eq!(found, outcome.map_or(0, |totals| totals.files));
    }

    #[test]
    fn accepted_names_stay_relative(name in name()) {
        if let Some(path) = std::str::from_utf8(&name).ok().and_then(|n| relative_path(n).ok()) {
            let plain = |c| matches!(c, std::path::Component::Normal(_));
            prop_assert!(Path::new(&path).components().all(plain), "{path}");
        }
    }
}

#[test]
fn names_reserved_for_the_carrier() {
    for name in [".atq-bundle", ".atq-lock", "./.atq-lock", ".atq-bundle/x"] {
        let error = refused(&archive(&[Item::stored(name, b"x")]), Limits::default());
        assert!(matches!(&error, BundleError::Hostile { entry: Some(e), .. } if e == name));
    }
    let error = refused(
        &archive(&[Item::stored(".atq-lock", b"x")]),
        Limits::default(),
    );
    assert_snapshot!(error, @"
    archive refused: entry `.atq-lock` has a name that is reserved at the root of the archive
    hint: rename it or move it into a directory
    ");
    let deeper = [
        Item::stored("d/.atq-bundle", b"x"),
        Item::stored(".atq-locks", b"x"),
    ];
    assert_eq!(
        unpacked(&archive(&deeper), Limits::default())
            .unwrap()
            .1
            .files,
        2
    );
}
