#![allow(clippy::unwrap_used)]

use super::*;
use atq_node_protocol::tail::Outcome;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;

/// What a Director has received: the content of each generation of a file.
#[derive(Debug, Default)]
struct Sink(BTreeMap<(String, String), Vec<Vec<u8>>>);

impl Sink {
    fn append(&mut self, part: &Part, bytes: &[u8]) -> Outcome {
        let key = (part.source.clone(), part.path.clone());
        let generations = self.0.entry(key).or_insert_with(|| vec![Vec::new()]);
        let last = generations.len() as u64 - 1;
        let received = generations.last_mut().unwrap();
        if part.generation == last && part.offset == received.len() as u64 {
            received.extend_from_slice(bytes);
        } else if part.generation == last + 1 && part.offset == 0 {
            generations.push(bytes.to_vec());
        } else {
            return Outcome::ResumeAt {
                generation: last,
                bytes: received.len() as u64,
            };
        }
        Outcome::Accepted
    }

    fn receive(&mut self, body: &Body) -> Answer {
        let decoded = atq_node_protocol::tail::decode(&encode(&body.header, &body.bytes)).unwrap();
        assert_eq!(decoded.header, body.header);
        let mut at = 0;
        let parts = body.header.parts.iter().map(|part| {
            let bytes = &body.bytes[at..at + part.length as usize];
            at += part.length as usize;
            self.append(part, bytes)
        });
        Answer {
            parts: parts.collect(),
        }
    }

    /// The generations of a file of `worker.1`, as text.
    fn of(&self, path: &str) -> Vec<String> {
        let key = ("worker.1".to_owned(), path.to_owned());
        let generations = self.0.get(&key).cloned().unwrap_or_default();
        generations
            .into_iter()
            .map(|bytes| String::from_utf8(bytes).unwrap())
            .collect()
    }
}

struct Fixture {
    dir: tempfile::TempDir,
    follower: Follower,
    sink: Sink,
}

impl Fixture {
    /// Two containers.
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for source in ["worker.1", "worker.2"] {
            fs::create_dir(dir.path().join(source)).unwrap();
        }
        Self {
            follower: follower(&dir),
            dir,
            sink: Sink::default(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("worker.1").join(name)
    }

    fn append(&self, name: &str, text: &str) {
        append(&self.path(name), text.as_bytes());
    }

    fn rename(&self, from: &str, to: &str) {
        fs::rename(self.path(from), self.path(to)).unwrap();
    }

    /// Looks once, and sends until nothing is left. Returns the number of bodies with bytes.
    fn follow(&mut self) -> usize {
        self.follower.look();
        // Enough for every file to be resumed.
        for bodies in 0..100 {
            let body = self.follower.next_body();
            assert!(body.bytes.len() <= MAX_BYTES && body.pieces.len() <= MAX_PARTS);
            if body.is_idle() {
                return bodies;
            }
            let answer = self.sink.receive(&body);
            self.follower.apply(&body, &answer);
        }
        panic!("it never ends");
    }

    /// Another carrier takes over.
    fn restart(&mut self) {
        self.follower = follower(&self.dir);
    }

    fn open_files(&self) -> usize {
        self.follower.sources[0].streams.open_files()
    }
}

fn follower(dir: &tempfile::TempDir) -> Follower {
    let sources = ["worker.1", "worker.2"].map(str::to_owned);
    Follower::new(dir.path().to_owned(), &sources)
}

fn append(path: &std::path::Path, bytes: &[u8]) {
    let file = OpenOptions::new().create(true).append(true).open(path);
    file.unwrap().write_all(bytes).unwrap();
}

#[test]
fn appended_bytes_are_sent_once_and_in_order() {
    let mut fixture = Fixture::new();
    fixture.append("a.csv", "one,");
    append(&fixture.dir.path().join("worker.2/a.csv"), b"other");
    fixture.follow();
    fixture.append("a.csv", "two,");
    fs::create_dir(fixture.path("deep")).unwrap();
    fixture.append("deep/b.csv", "b");
    fixture.follow();
    fixture.append("a.csv", "three");
    fixture.follow();
    assert_eq!(fixture.sink.of("a.csv"), ["one,two,three"]);
    assert_eq!(fixture.sink.of("deep/b.csv"), ["b"]);
    assert_eq!(fixture.sink.0.len(), 3);
    assert_eq!(fixture.follow(), 0, "nothing is sent again");
}

#[test]
fn a_container_is_up_to_date_with_the_body_that_completes_it() {
    let mut fixture = Fixture::new();
    fixture.append("big", &"x".repeat(MAX_BYTES + 1));
    fixture.follower.look();
    let first = fixture.follower.next_body();
    assert_eq!(first.header.up_to_date, ["worker.2"]);
    let answer = fixture.sink.receive(&first);
    assert!(fixture.follower.apply(&first, &answer));
    let second = fixture.follower.next_body();
    assert_eq!(second.bytes, b"x");
    assert_eq!(second.header.up_to_date, ["worker.1", "worker.2"]);
    fs::remove_dir_all(fixture.dir.path().join("worker.2")).unwrap();
    fixture.restart();
    fixture.follower.look();
    let body = fixture.follower.next_body();
    assert!(!body.header.up_to_date.contains(&"worker.2".to_owned()));
    assert_eq!(
        body.header.problems[0].problem,
        "its results cannot be read: no such file or directory"
    );
}

#[test]
fn a_rotated_file_is_the_same_file_and_its_rest_is_sent_before_the_new_one() {
    let mut fixture = Fixture::new();
    fixture.append("log", "1a");
    fixture.follow();
    fixture.append("log", "1b");
    fixture.rename("log", "log.1");
    fixture.append("log", "2a");
    fixture.follow();
    fixture.append("log", "2b");
    fixture.rename("log.1", "log.2");
    fixture.rename("log", "log.1");
    fixture.append("log", "3");
    fixture.follow();
    fixture.follow();
    assert_eq!(fixture.sink.of("log"), ["1a1b", "2a2b", "3"]);
    assert_eq!(fixture.sink.0.len(), 1, "nothing under another path");
}

#[test]
fn what_is_appended_to_a_replaced_file_later_is_told_as_missing() {
    let mut fixture = Fixture::new();
    fixture.append("log", "1");
    fixture.follow();
    fixture.rename("log", "log.1");
    fixture.append("log", "2");
    fixture.follow();
    fixture.append("log.1", "late");
    fixture.follower.look();
    let body = fixture.follower.next_body();
    assert!(body.bytes.is_empty());
    let problem = &body.header.problems[0].problem;
    assert!(problem.contains("was replaced"), "{problem}");
    let answer = fixture.sink.receive(&body);
    fixture.follower.apply(&body, &answer);
    fixture.follower.look();
    let body = fixture.follower.next_body();
    assert!(body.is_idle(), "no body is sent only to repeat it");
    assert_eq!(fixture.sink.of("log"), ["1", "2"]);
}

#[test]
fn a_container_with_files_that_are_not_followed_is_never_up_to_date_without_its_problem() {
    let mut fixture = Fixture::new();
    for number in 0..=streams::MAX_FILES {
        fixture.append(&number.to_string(), "x");
    }
    fixture.follow();
    for _ in 0..3 {
        fixture.follower.look();
        let body = fixture.follower.next_body();
        assert!(body.is_idle());
        assert_eq!(body.header.up_to_date, ["worker.1", "worker.2"]);
        let problem = SourceProblem {
            source: "worker.1".to_owned(),
            problem: "there are too many files; some are not followed".to_owned(),
            is_unread: false,
        };
        assert_eq!(body.header.problems, [problem]);
        fixture.follower.apply(&body, &Answer::default());
    }
    for number in 0..=streams::MAX_FILES {
        fs::remove_file(fixture.path(&number.to_string())).unwrap();
    }
    fixture.follow();
    fixture.follower.look();
    assert_eq!(fixture.follower.next_body().header.problems, []);
}

#[test]
fn the_problems_of_many_containers_fit_into_every_body() {
    let dir = tempfile::tempdir().unwrap();
    let sources = (1..=atq_node_protocol::tail::MAX_SOURCES).map(|one| format!("worker.{one}"));
    let mut follower = Follower::new(dir.path().to_owned(), &sources.collect::<Vec<_>>());
    follower.look();
    for _ in 0..2 {
        let body = follower.next_body();
        let decoded = atq_node_protocol::tail::decode(&encode(&body.header, &body.bytes)).unwrap();
        assert_eq!(decoded.header.problems.len(), follower.sources.len());
        let all = decoded.header.problems.iter();
        assert!(
            all.clone()
                .all(|one| one.is_unread && !one.problem.is_empty())
        );
        follower.apply(&body, &Answer::default());
    }
}

#[test]
fn a_truncated_file_begins_again() {
    let mut fixture = Fixture::new();
    fixture.append("a", "before");
    fixture.follow();
    File::create(fixture.path("a")).unwrap();
    fixture.follow();
    assert_eq!(
        fixture.sink.of("a"),
        ["before", ""],
        "an empty file is told"
    );
    fixture.append("a", "after");
    fixture.follow();
    File::create(fixture.path("a"))
        .unwrap()
        .write_all(b"x")
        .unwrap();
    fixture.follow();
    assert_eq!(fixture.sink.of("a"), ["before", "after", "x"]);
}

#[test]
fn the_rest_of_a_deleted_file_is_sent_and_a_new_one_is_another_generation() {
    let mut fixture = Fixture::new();
    fixture.append("a", "one");
    fixture.follow();
    fixture.append("a", "-two");
    fs::remove_file(fixture.path("a")).unwrap();
    fixture.follow();
    fixture.follow();
    assert_eq!(fixture.sink.of("a"), ["one-two"]);
    assert_eq!(fixture.open_files(), 0, "it is forgotten");
    fixture.append("a", "three");
    fixture.follow();
    assert_eq!(fixture.sink.of("a"), ["one-two", "three"]);
}

#[test]
fn another_carrier_continues_where_the_director_has_stopped() {
    let mut fixture = Fixture::new();
    fixture.append("a", "one");
    fixture.append("b", "b");
    fixture.follow();
    File::create(fixture.path("b"))
        .unwrap()
        .write_all(b"B")
        .unwrap();
    fixture.append("a", "two");
    fixture.restart();
    fixture.follow();
    fixture.append("a", "three");
    fixture.follow();
    assert_eq!(fixture.sink.of("a"), ["onetwothree"]);
    // The new file has the same length, so that the difference cannot be seen.
    assert_eq!(fixture.sink.of("b"), ["b"]);
}

#[test]
fn a_file_that_became_shorter_while_nothing_followed_it_begins_again() {
    let mut fixture = Fixture::new();
    fixture.append("a", "long");
    fixture.follow();
    fs::remove_file(fixture.path("a")).unwrap();
    fixture.append("a", "new");
    fixture.restart();
    fixture.follow();
    fixture.append("a", "er");
    fixture.follow();
    assert_eq!(fixture.sink.of("a"), ["long", "newer"]);
}

#[test]
fn a_director_that_has_lost_a_generation_gets_it_again() {
    let mut fixture = Fixture::new();
    for content in ["one", "two", "x"] {
        File::create(fixture.path("a"))
            .unwrap()
            .write_all(content.as_bytes())
            .unwrap();
        fixture.follow();
    }
    fixture.append("a", "y");
    fixture.sink = Sink::default();
    fixture.follow();
    fixture.append("a", "z");
    fixture.follow();
    assert_eq!(fixture.sink.of("a").concat(), "xyz");
}

#[test]
fn an_ignored_file_is_never_read_again() {
    let mut fixture = Fixture::new();
    fixture.append("binary", "x");
    fixture.follower.look();
    let body = fixture.follower.next_body();
    let ignored = Answer {
        parts: vec![Outcome::Ignored],
    };
    assert!(fixture.follower.apply(&body, &ignored));
    assert_eq!(fixture.open_files(), 0);
    for _ in 0..3 {
        fixture.append("binary", "y");
        fixture.follower.look();
        let body = fixture.follower.next_body();
        assert!(body.is_idle());
        assert_eq!(body.header.up_to_date.len(), 2);
    }
    // Whatever has its inode next is another file.
    fs::remove_file(fixture.path("binary")).unwrap();
    fixture.append("results", "1");
    fixture.follow();
    assert_eq!(fixture.sink.of("results"), ["1"]);
}

#[test]
fn ignored_files_leave_their_places_to_others() {
    let mut fixture = Fixture::new();
    for number in 0..2 * streams::MAX_FILES {
        fixture.append(&format!("{number:04}.png"), "x");
    }
    fixture.append("results", "1");
    for _ in 0..10 {
        fixture.follower.look();
        let body = fixture.follower.next_body();
        let outcome = |part: &Part| match part.path.as_str() {
            "results" => Outcome::Accepted,
            _ => Outcome::Ignored,
        };
        let answer = Answer {
            parts: body.header.parts.iter().map(outcome).collect(),
        };
        fixture.follower.apply(&body, &answer);
    }
    assert_eq!(fixture.open_files(), 1);
    fixture.follower.look();
    assert!(fixture.follower.next_body().is_idle());
}

#[test]
fn bytes_that_are_not_stored_are_sent_again() {
    let mut fixture = Fixture::new();
    fixture.append("a", "x");
    fixture.follower.look();
    let body = fixture.follower.next_body();
    let not_stored = Answer {
        parts: vec![Outcome::NotStored],
    };
    assert!(!fixture.follower.apply(&body, &not_stored));
    assert_eq!(fixture.follow(), 1);
    assert_eq!(fixture.sink.of("a"), ["x"]);
}

#[test]
fn an_endless_file_leaves_room_for_the_others() {
    let mut fixture = Fixture::new();
    let endless = File::create(fixture.path("endless")).unwrap();
    // Without blocks on the disk.
    endless.set_len(1 << 40).unwrap();
    for number in 0..300 {
        fixture.append(&format!("small-{number}"), "small");
    }
    fixture.follower.look();
    let mut received = 0;
    for _ in 0..10 {
        let body = fixture.follower.next_body();
        assert!(body.bytes.len() <= MAX_BYTES && body.pieces.len() <= MAX_PARTS);
        let of_one = body
            .header
            .parts
            .iter()
            .filter(|part| part.path == "endless");
        assert!(of_one.count() <= 1);
        let answer = fixture.sink.receive(&body);
        fixture.follower.apply(&body, &answer);
        received = fixture.sink.0.len();
    }
    assert_eq!(received, streams::MAX_FILES);
    let problem = fixture.follower.sources[0].problem.clone();
    assert!(problem.unwrap().contains("too many files"));
}

#[test]
fn a_link_to_a_file_outside_is_not_followed() {
    let mut fixture = Fixture::new();
    fixture.append("own", "own");
    std::os::unix::fs::symlink("/etc/passwd", fixture.path("link")).unwrap();
    std::os::unix::fs::symlink("..", fixture.path("up")).unwrap();
    fixture.follow();
    fs::remove_file(fixture.path("own")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", fixture.path("own")).unwrap();
    fixture.follow();
    assert_eq!(fixture.sink.0.len(), 1);
    assert_eq!(fixture.sink.of("own"), ["own"]);
}

/// A change of a container's files, or of the processes that follow them.
#[derive(Debug, Clone)]
enum Change {
    Append(usize),
    Rotate,
    Truncate,
    Delete,
    Follow,
    Restart,
}

proptest! {
    /// Each number is appended once. Changes that nobody can see are left out: every state is looked at before the next
    /// replacement, truncation, deletion or restart.
    #[test]
    fn every_byte_arrives_once_whatever_happens_to_the_file(
        changes in prop::collection::vec(
            prop_oneof![
                4 => (1usize..50).prop_map(Change::Append),
                1 => Just(Change::Rotate),
                1 => Just(Change::Truncate),
                1 => Just(Change::Delete),
                2 => Just(Change::Follow),
                1 => Just(Change::Restart),
            ],
            1..40,
        )
    ) {
        let mut fixture = Fixture::new();
        let mut number = 0;
        let mut rotated = 0;
        let mut expected = String::new();
        for change in changes {
            match change {
                Change::Append(count) => {
                    for _ in 0..count {
                        number += 1;
                        let line = format!("{number}\n");
                        fixture.append("log", &line);
                        expected += &line;
                    }
                }
                Change::Follow => drop(fixture.follow()),
                // Another carrier does not know which files were rotated or deleted.
                Change::Restart if rotated > 0 || !fixture.path("log").exists() => {}
                Change::Restart => {
                    fixture.follow();
                    fixture.restart();
                }
                _ if !fixture.path("log").exists() => {}
                Change::Rotate => {
                    fixture.follow();
                    rotated += 1;
                    fixture.rename("log", &format!("log.{rotated}"));
                }
                Change::Truncate => {
                    fixture.follow();
                    File::create(fixture.path("log")).unwrap();
                    fixture.follow();
                }
                Change::Delete => {
                    fixture.follow();
                    fs::remove_file(fixture.path("log")).unwrap();
                    fixture.follow();
                }
            }
        }
        fixture.follow();
        fixture.follow();
        prop_assert_eq!(fixture.sink.of("log").concat(), expected);
        prop_assert!(fixture.sink.0.len() <= 1);
    }
}
