#![allow(clippy::unwrap_used)]

use super::*;
use atq_engine::Role;
use proptest::prelude::*;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use tokio_util::bytes::Bytes;

const WORKER: Source = Source::new(Role::Worker, 2);
const LIMITS: ResultsLimits = ResultsLimits {
    bytes: 100,
    files: 3,
};

fn appended(path: &str, generation: u64, offset: u64, bytes: &str) -> Appended {
    Appended {
        source: WORKER,
        path: path.to_owned(),
        generation,
        offset,
        bytes: Bytes::copy_from_slice(bytes.as_bytes()),
    }
}

fn received(generation: u64, bytes: u64) -> Received {
    Received { generation, bytes }
}

fn open(dir: &Path) -> LiveFiles {
    LiveFiles::open(dir.join("live"), LIMITS).unwrap()
}

fn content(files: &LiveFiles, path: &str) -> String {
    let file = LiveFile {
        source: WORKER,
        path: path.to_owned(),
    };
    let mut text = String::new();
    files
        .read(&file)
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    text
}

#[test]
fn bytes_that_follow_are_stored_and_others_are_resumed() {
    let dir = tempfile::tempdir().unwrap();
    let mut files = open(dir.path());
    let mut append = |generation, offset, bytes| {
        files
            .append(&appended("a/b.csv", generation, offset, bytes))
            .unwrap()
    };
    assert_eq!(append(0, 5, "late"), Stored::ResumeAt(received(0, 0)));
    assert_eq!(append(0, 0, "one,"), Stored::Appended);
    assert_eq!(append(0, 0, "one,"), Stored::ResumeAt(received(0, 4)));
    assert_eq!(append(0, 3, ",two"), Stored::ResumeAt(received(0, 4)));
    assert_eq!(append(0, 4, "two"), Stored::Appended);
    assert_eq!(append(1, 7, "x"), Stored::ResumeAt(received(0, 7)));
    assert_eq!(append(2, 0, "new"), Stored::Restarted);
    assert_eq!(append(1, 0, "old"), Stored::ResumeAt(received(2, 3)));
    assert_eq!(append(2, 3, ""), Stored::Appended);
    assert_eq!(content(&files, "a/b.csv"), "new");
    assert_eq!(files.bytes, 3);
}

#[test]
fn files_are_continued_by_another_process_and_private() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path())
        .append(&appended("a", 0, 0, "one"))
        .unwrap();
    let mut files = open(dir.path());
    files.append(&appended("b", 3, 0, "b")).unwrap();
    files.append(&appended("a", 0, 3, ",two")).unwrap();
    // The process ended while it wrote to the index.
    let index = dir.path().join("live/index");
    let text = std::fs::read(&index).unwrap();
    std::fs::write(&index, [&text, &b"{\"number\":7,\"sou"[..]].concat()).unwrap();
    let mut files = open(dir.path());
    files.append(&appended("c", 0, 0, "c")).unwrap();
    let files = open(dir.path());
    let known: Vec<_> = files
        .files()
        .map(|(file, received)| (file.path.as_str(), received))
        .collect();
    assert_eq!(
        known,
        [
            ("a", received(0, 7)),
            ("b", received(3, 1)),
            ("c", received(0, 1))
        ]
    );
    assert_eq!(content(&files, "a"), "one,two");
    for entry in std::fs::read_dir(dir.path().join("live")).unwrap() {
        let mode = entry.unwrap().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0);
    }
}

#[test]
fn limits_are_kept_and_a_file_beyond_them_is_not_continued() {
    let dir = tempfile::tempdir().unwrap();
    let mut files = open(dir.path());
    let text = "x".repeat(60);
    assert_eq!(
        files.append(&appended("a", 0, 0, &text)).unwrap(),
        Stored::Appended
    );
    let too_large =
        Stored::Refused("the files exceed 100 bytes (`limits.resultsBytes`)".to_owned());
    assert_eq!(
        files.append(&appended("a", 0, 60, &text)).unwrap(),
        too_large
    );
    assert_eq!(files.append(&appended("a", 0, 60, "y")).unwrap(), too_large);
    // Other files are.
    assert_eq!(
        files.append(&appended("b", 0, 0, "b")).unwrap(),
        Stored::Appended
    );
    assert_eq!(
        files.append(&appended("c", 0, 0, "")).unwrap(),
        Stored::Appended
    );
    let too_many = Stored::Refused("there are more than 3 files".to_owned());
    assert_eq!(files.append(&appended("d", 0, 0, "d")).unwrap(), too_many);
    // A truncated file makes room.
    assert_eq!(
        files.append(&appended("b", 1, 0, &"b".repeat(40))).unwrap(),
        Stored::Restarted
    );
    assert_eq!(files.bytes, 100);
}

#[test]
fn refusals_by_limits_are_known_to_the_next_process() {
    let dir = tempfile::tempdir().unwrap();
    let mut files = open(dir.path());
    let text = "x".repeat(60);
    for (path, bytes) in [("a", text.as_str()), ("b", "b"), ("c", "c")] {
        files.append(&appended(path, 0, 0, bytes)).unwrap();
    }
    files.append(&appended("a", 0, 60, &text)).unwrap();
    for number in 0..200 {
        let path = format!("d{number}");
        let stored = files.append(&appended(&path, 0, 0, "d")).unwrap();
        assert!(matches!(stored, Stored::Refused(_)));
    }
    let refused = |files: &LiveFiles| -> Vec<(String, String)> {
        let refused = files.refused();
        refused
            .map(|(file, reason)| (file.path.clone(), reason.to_owned()))
            .collect()
    };
    let before = refused(&files);
    assert_eq!(before.len(), 1 + MAX_LEFT_OUT);
    assert_eq!((before[0].0.as_str(), before[1].0.as_str()), ("a", "d0"));
    let mut files = open(dir.path());
    assert_eq!(refused(&files), before);
    assert_eq!(files.files().count(), 3);
    let few = files.append(&appended("a", 0, 60, "y")).unwrap();
    assert!(matches!(few, Stored::Refused(_)), "{few:?}");
    assert_eq!(content(&files, "a"), text);
}

#[test]
fn a_full_disk_is_an_error_and_refuses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let limits = ResultsLimits {
        bytes: u64::MAX,
        files: 3,
    };
    let mut files = LiveFiles::open(dir.path().join("live"), limits).unwrap();
    files.append(&appended("a", 0, 0, "x")).unwrap();
    // As if all these bytes had to fit on the disk again.
    files.bytes = u64::MAX / 2;
    let error = files.append(&appended("a", 0, 1, "y")).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    assert!(files.append(&appended("b", 0, 0, "b")).is_err());
    files.bytes = 1;
    assert_eq!(
        files.append(&appended("a", 0, 1, "y")).unwrap(),
        Stored::Appended
    );
    assert_eq!(files.refused().count(), 0);
}

fn renames(id: &str, paths: &[(&str, &str)]) -> Renames {
    let paths = paths.iter();
    Renames {
        source: WORKER,
        id: id.to_owned(),
        paths: paths
            .map(|(from, to)| ((*from).to_owned(), (*to).to_owned()))
            .collect(),
    }
}

#[test]
fn renamed_files_keep_their_bytes_also_in_the_next_process() {
    let dir = tempfile::tempdir().unwrap();
    let mut files = open(dir.path());
    files.append(&appended("log", 2, 0, "one")).unwrap();
    let rotated = renames("1", &[("log", "log.1"), ("log.1", "log.2")]);
    assert!(files.rename(&rotated).unwrap());
    assert!(!files.rename(&rotated).unwrap(), "a repetition");
    files.append(&appended("log", 0, 0, "two")).unwrap();
    // The answer was lost, or the process ended before it.
    let mut files = open(dir.path());
    assert!(!files.rename(&rotated).unwrap());
    assert_eq!(content(&files, "log"), "two");
    let again = Renames {
        id: "2".to_owned(),
        ..rotated.clone()
    };
    assert!(files.rename(&again).unwrap());
    files.append(&appended("log", 0, 0, "three")).unwrap();
    let files = open(dir.path());
    let all: Vec<_> = files
        .files()
        .map(|(file, received)| (content(&files, &file.path), received))
        .collect();
    assert_eq!(
        all,
        [
            ("three".to_owned(), received(0, 5)),
            ("two".to_owned(), received(0, 3)),
            ("one".to_owned(), received(2, 3)),
        ]
    );
    assert_eq!(files.bytes, 11);
}

#[test]
fn a_file_whose_path_another_one_takes_is_dropped_and_its_number_is_not_used_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut files = open(dir.path());
    files.append(&appended("log", 0, 0, "new")).unwrap();
    files.append(&appended("log.1", 4, 0, "old")).unwrap();
    let old = dir.path().join("live/1.4");
    let bytes = std::fs::read(&old).unwrap();
    assert!(files.rename(&renames("1", &[("log", "log.1")])).unwrap());
    assert!(!old.exists());
    assert_eq!((content(&files, "log.1"), files.bytes), ("new".into(), 3));
    // The process ended before it was removed.
    std::fs::write(&old, bytes).unwrap();
    let mut files = open(dir.path());
    assert_eq!(files.bytes, 3);
    files.append(&appended("log", 0, 0, "newer")).unwrap();
    let files = open(dir.path());
    assert_eq!((content(&files, "log"), files.bytes), ("newer".into(), 8));
    // Files may swap their paths, and one of which nothing was received takes a path, too.
    let mut files = files;
    let swap = renames("2", &[("log", "log.1"), ("log.1", "log")]);
    assert!(files.rename(&swap).unwrap());
    assert_eq!(content(&files, "log"), "new");
    assert!(files.rename(&renames("3", &[("empty", "log")])).unwrap());
    assert_eq!(files.files().count(), 1);
    assert_eq!(content(&files, "log.1"), "newer");
}

#[test]
fn nothing_is_created_before_the_first_byte_or_for_an_unsafe_path() {
    let dir = tempfile::tempdir().unwrap();
    let mut files = open(dir.path());
    let long = format!("a/{}", "x".repeat(256));
    for path in [
        "../a",
        "/a",
        "a//b",
        "./a",
        "a/.",
        "a/..",
        "",
        "a/",
        "a\0",
        long.as_str(),
    ] {
        let stored = files.append(&appended(path, 0, 0, "x")).unwrap();
        assert!(matches!(stored, Stored::Refused(_)), "{path:?}");
        assert_eq!(safe_path(path), None);
    }
    assert!(!dir.path().join("live").exists());
    for path in ["a", "a/b.csv", "..a", "a b", "caf\u{e9}", ".a"] {
        assert_eq!(safe_path(path).unwrap(), Path::new(path));
    }
}

#[tokio::test]
async fn received_files_are_results_unless_there_are_more_complete_ones() {
    let dir = tempfile::tempdir().unwrap();
    let evidence = Evidence::new(dir.path());
    let task = TaskName::parse("checkout").unwrap();
    let limits = ResultsLimits {
        bytes: 1000,
        files: 100,
    };
    let mut files = evidence.live_files(&task, "k3v9", limits).unwrap();
    // A name that is a directory in another path is left out.
    for path in ["results.csv", "log/a", "log"] {
        files.append(&appended(path, 0, 0, "some bytes")).unwrap();
    }
    let sources = evidence.live_sources(&task, "k3v9").await.unwrap();
    assert_eq!(sources, [WORKER].into());
    let budget = || Arc::new(Budget::new(limits, &[]));
    let keep =
        |budget| evidence.keep_live_results(&task, "k3v9", WORKER, "its node was lost", budget);
    let kept = keep(budget()).await.unwrap().unwrap();
    assert_eq!(
        (kept.files, kept.bytes, kept.left_out, kept.partial),
        (2, 20, 1, true)
    );
    let problem = kept.problem.clone().unwrap();
    assert!(
        problem.starts_with("its node was lost; they are partial: received until 20"),
        "{problem}"
    );
    assert!(problem.ends_with("Z while the test ran"), "{problem}");
    assert_eq!(
        evidence.results(&task, "k3v9").await.unwrap(),
        std::slice::from_ref(&kept)
    );
    let results = evidence.results_dir(&task, "k3v9", WORKER);
    assert_eq!(
        std::fs::read(results.join("results.csv")).unwrap(),
        b"some bytes"
    );
    // A repetition changes nothing.
    assert_eq!(keep(budget()).await.unwrap(), Some(kept.clone()));
    let none = Arc::new(Budget::new(ResultsLimits { bytes: 5, files: 1 }, &[]));
    assert_eq!(keep(none).await.unwrap(), None);
    let other = Source::new(Role::Worker, 9);
    let unknown = evidence.keep_live_results(&task, "k3v9", other, "", budget());
    assert_eq!(unknown.await.unwrap(), None);
    evidence.remove_live(&task, "k3v9").await.unwrap();
    evidence.remove_live(&task, "k3v9").await.unwrap();
    assert!(
        evidence
            .live_sources(&task, "k3v9")
            .await
            .unwrap()
            .is_empty()
    );
    assert_eq!(
        std::fs::read(results.join("results.csv")).unwrap(),
        b"some bytes"
    );
}

/// What a sender does with a file.
#[derive(Debug, Clone)]
enum Step {
    Append(String),
    Truncate,
    /// The Director is restarted.
    Restart,
    /// A request is sent again, or its answer is lost.
    Repeat,
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        "[a-z]{0,5}".prop_map(Step::Append),
        Just(Step::Truncate),
        Just(Step::Restart),
        Just(Step::Repeat),
    ]
}

proptest! {
    #[test]
    fn the_stored_bytes_are_those_of_the_file(steps in proptest::collection::vec(any_step(), 0..30)) {
        let dir = tempfile::tempdir().unwrap();
        let limits = ResultsLimits { bytes: 1000, files: 3 };
        let open = || LiveFiles::open(dir.path().join("live"), limits).unwrap();
        let mut files = open();
        let (mut generation, mut content) = (0, String::new());
        let mut sent = Received::default();
        for step in steps {
            match step {
                Step::Append(text) => content.push_str(&text),
                Step::Truncate => {
                    generation += 1;
                    content.clear();
                }
                Step::Restart => files = open(),
                Step::Repeat => sent = received(generation, 0),
            }
            loop {
                if sent.generation != generation {
                    sent = received(generation, 0);
                }
                let part = &content[sent.bytes as usize..];
                match files.append(&appended("a", generation, sent.bytes, part)).unwrap() {
                    Stored::Appended | Stored::Restarted => break sent.bytes = content.len() as u64,
                    Stored::ResumeAt(at) => {
                        prop_assert_ne!(at, sent);
                        sent = at;
                    }
                    Stored::Refused(why) => panic!("{why}"),
                }
            }
        }
        if files.files().next().is_some() {
            prop_assert_eq!(self::content(&files, "a"), content.clone());
            prop_assert_eq!(files.bytes, content.len() as u64);
        }
    }
}
