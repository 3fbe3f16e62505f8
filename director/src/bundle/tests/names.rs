//! Whatever an archive calls its entries, nothing is written outside of the bundle's own directory.

use proptest::prelude::*;

use super::raw::{Item, archive};
use super::*;

/// Pieces that attacks are made of, beside arbitrary bytes.
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
    fn nothing_is_written_elsewhere(names in proptest::collection::vec(name(), 1..4)) {
        let items: Vec<Item> = names.iter().map(|n| Item::stored(n.clone(), b"x")).collect();
        let outer = tempfile::tempdir().unwrap();
        let root = outer.path().join("a/b/store");
        let store = BundleStore::open(&root, Limits::default()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let outcome = runtime.block_on(upload(&store, &archive(&items)));
        let (prefix, files) = match &outcome {
            Ok(done) => (format!("a/b/store/{}", done.id), done.info.files),
            Err(_) => ("a/b/store/.incoming".to_owned(), 0),
        };
        let mut found = 0;
        for path in everything(outer.path()) {
            let own = ["a", "a/b", "a/b/store", "a/b/store/.incoming", "a/b/store/.meta"].contains(&path.as_str());
            let description = outcome.as_ref().is_ok_and(|d| path == format!("a/b/store/.meta/{}.json", d.id));
            prop_assert!(own || description || path.starts_with(&prefix), "{path}");
            found += u64::from(outer.path().join(&path).is_file() && !description);
        }
        prop_assert_eq!(found, files);
    }

    #[test]
    fn accepted_names_stay_relative(name in name()) {
        if let Some(path) = std::str::from_utf8(&name).ok().and_then(|n| name::relative_path(n).ok()) {
            let plain = |c| matches!(c, std::path::Component::Normal(_));
            prop_assert!(Path::new(&path).components().all(plain), "{path}");
        }
    }
}
