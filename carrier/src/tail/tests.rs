#![allow(clippy::unwrap_used)]

use super::*;
use atq_node_protocol::tail::Outcome;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;

/// What a Director has received: the content of each generation of a file.
#[derive(Debug, Default)]
struct Sink {
    files: BTreeMap<(String, String), Vec<Vec<u8>>>,
    /// The id of the last renames of each container.
    renames: BTreeMap<String, String>,
    instance: Option<String>,
}

impl Sink {
    fn append(&mut self, part: &Part, bytes: &[u8]) -> Outcome {
        let key = (part.source.clone(), part.path.clone());
        let generations = self.files.entry(key).or_insert_with(|| vec![Vec::new()]);
        let last = generations.len() as u64 - 1;
        let received = generations.last_mut().unwrap();
        if part.generation == last && part.offset == received.len() as u64 {
            received.extend_from_slice(bytes);
        } else if part.generation > last && part.offset == 0 {
            generations.resize(part.generation as usize, Vec::new());
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
        let renamed = body.header.renames.as_ref().map(|one| self.rename(one));
        let mut at = 0;
        let parts = body.header.parts.iter().map(|part| {
            let bytes = &body.bytes[at..at + part.length as usize];
            at += part.length as usize;
            self.append(part, bytes)
        });
        Answer {
            parts: parts.collect(),
            renamed: renamed.is_some(),
            instance: self.instance.clone(),
        }
    }

    fn rename(&mut self, renames: &Renames) {
        let Renames { source, id, paths } = renames;
        let known = self.renames.insert(source.clone(), id.clone());
        if known.as_ref() == Some(id) {
            return;
        }
        let key = |path: &String| (source.clone(), path.clone());
        let moved = paths.iter();
        let moved: Vec<_> = moved
            .filter_map(|one| Some((key(&one.to), self.files.remove(&key(&one.from))?)))
            .collect();
        for renamed in paths {
            self.files.remove(&key(&renamed.to));
        }
        self.files.extend(moved);
    }

    /// The generations of a file of `worker.1`, as text.
    fn of(&self, path: &str) -> Vec<String> {
        let key = ("worker.1".to_owned(), path.to_owned());
        let generations = self.files.get(&key).cloned().unwrap_or_default();
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
    assert_eq!(fixture.sink.files.len(), 3);
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
fn a_rotated_file_keeps_its_bytes_under_its_new_path() {
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
    fixture.append("log.2", "c");
    fixture.follow();
    assert_eq!(fixture.sink.of("log.2"), ["1a1bc"]);
    assert_eq!(fixture.sink.of("log.1"), ["2a2b"]);
    assert_eq!(fixture.sink.of("log"), ["3"]);
    // The oldest one is replaced.
    fixture.rename("log.1", "log.2");
    fixture.rename("log", "log.1");
    fixture.follow();
    assert_eq!(fixture.sink.of("log.2"), ["2a2b"]);
    assert_eq!(fixture.sink.of("log.1"), ["3"]);
    assert_eq!(fixture.sink.files.len(), 2);
    assert_eq!(fixture.open_files(), 2);
    assert_eq!(fixture.follow(), 0, "nothing is sent again");
}

#[test]
fn renames_are_repeated_until_they_are_confirmed_and_nothing_else_is_sent_before() {
    let mut fixture = Fixture::new();
    fixture.append("log", "1");
    fixture.follow();
    fixture.rename("log", "log.1");
    fixture.append("log", "2");
    fixture.follower.look();
    let first = fixture.follower.next_body();
    assert!(first.header.parts.is_empty() && first.header.up_to_date.is_empty());
    // The answer is lost, and the file is rotated again.
    fixture.sink.receive(&first);
    fixture.rename("log.1", "log.2");
    fixture.rename("log", "log.1");
    fixture.append("log", "3");
    fixture.follower.look();
    let second = fixture.follower.next_body();
    assert_eq!(second.header.renames, first.header.renames);
    assert!(!fixture.follower.apply(&second, &Answer::default()));
    assert_eq!(fixture.follower.next_body().header, first.header);
    fixture.follow();
    fixture.follow();
    let all = ["log", "log.1", "log.2"].map(|path| fixture.sink.of(path).concat());
    assert_eq!(all, ["3", "2", "1"]);
}

#[test]
fn a_file_with_several_names_is_not_renamed_while_it_has_the_first_one() {
    let mut fixture = Fixture::new();
    fixture.append("b", "x");
    fixture.follow();
    fs::hard_link(fixture.path("b"), fixture.path("a")).unwrap();
    fixture.append("b", "y");
    fixture.follow();
    assert_eq!(fixture.sink.of("b"), ["xy"]);
    assert_eq!(fixture.sink.files.len(), 1);
    fs::remove_file(fixture.path("b")).unwrap();
    fixture.follow();
    assert_eq!(fixture.sink.of("a"), ["xy"]);
    assert_eq!(fixture.sink.files.len(), 1);
}

#[test]
fn a_new_file_waits_one_look_for_the_listing_of_the_one_before() {
    let mut fixture = Fixture::new();
    fixture.append("log", "1");
    fixture.follow();
    // As if the listing was made while the files were renamed.
    let away = fixture.dir.path().join("away");
    fs::rename(fixture.path("log"), &away).unwrap();
    fixture.append("log", "2");
    fixture.follower.look();
    let body = fixture.follower.next_body();
    assert!(body.is_idle());
    assert_eq!(body.header.up_to_date, ["worker.2"]);
    fs::rename(&away, fixture.path("log.1")).unwrap();
    fixture.follow();
    assert_eq!(fixture.sink.of("log"), ["2"]);
    assert_eq!(fixture.sink.of("log.1"), ["1"]);
}

#[test]
fn what_is_appended_to_a_replaced_file_later_is_told_as_missing() {
    let mut fixture = Fixture::new();
    fixture.append("log", "1");
    fixture.follow();
    let away = fixture.dir.path().join("away");
    fs::rename(fixture.path("log"), &away).unwrap();
    fixture.append("log", "2");
    fixture.follow();
    fixture.follow();
    append(&away, b"late");
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
        ..Answer::default()
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
fn another_director_gets_the_files_that_the_earlier_one_has_ignored() {
    let mut fixture = Fixture::new();
    fixture.append("a", "x");
    let answer = |instance: &str, parts| Answer {
        parts,
        instance: Some(instance.to_owned()),
        ..Answer::default()
    };
    fixture.follower.look();
    let body = fixture.follower.next_body();
    assert_eq!(body.header.instance, None);
    let ignored = answer("one", vec![Outcome::Ignored]);
    fixture.follower.apply(&body, &ignored);
    fixture.follower.look();
    let body = fixture.follower.next_body();
    assert_eq!(body.header.instance.as_deref(), Some("one"));
    assert_eq!(body.header.up_to_date.len(), 2);
    fixture.follower.apply(&body, &answer("two", Vec::new()));
    let body = fixture.follower.next_body();
    assert_eq!(body.header.instance.as_deref(), Some("two"));
    assert_eq!(body.header.up_to_date, [""; 0]);
    fixture.sink.instance = Some("two".to_owned());
    fixture.follow();
    assert_eq!(fixture.sink.of("a"), ["x"]);
    // What the other one ignores is not sent again.
    fixture.append("b", "x");
    fixture.follower.look();
    let body = fixture.follower.next_body();
    let ignored = answer("two", vec![Outcome::Ignored]);
    fixture.follower.apply(&body, &ignored);
    assert_eq!(fixture.follow(), 0);
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
            ..Answer::default()
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
        ..Answer::default()
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
        received = fixture.sink.files.len();
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
    assert_eq!(fixture.sink.files.len(), 1);
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
                // Another carrier does not know which files were deleted.
                Change::Restart if !fixture.path("log").exists() => {}
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
        let mut received = String::new();
        for number in 1..=rotated {
            received += &fixture.sink.of(&format!("log.{number}")).concat();
        }
        received += &fixture.sink.of("log").concat();
        prop_assert_eq!(received, expected);
        prop_assert!(fixture.sink.files.len() <= rotated + 1);
    }
}

/// A change of files with the paths `0` to `3`.
#[derive(Debug, Clone)]
enum PathChange {
    Append(usize),
    Rename(usize, usize),
    Swap(usize, usize),
    Remove(usize),
    Follow,
    /// One body is received, and its answer is lost.
    LoseAnswer,
}

fn any_path_change() -> impl Strategy<Value = PathChange> {
    let path = || 0usize..4;
    prop_oneof![
        5 => path().prop_map(PathChange::Append),
        3 => (path(), path()).prop_map(|(from, to)| PathChange::Rename(from, to)),
        1 => (path(), path()).prop_map(|(one, other)| PathChange::Swap(one, other)),
        1 => path().prop_map(PathChange::Remove),
        3 => Just(PathChange::Follow),
        1 => Just(PathChange::LoseAnswer),
    ]
}

proptest! {
    #[test]
    fn the_received_files_are_those_of_the_container_whatever_their_paths_were(
        changes in prop::collection::vec(any_path_change(), 1..40)
    ) {
        let mut fixture = Fixture::new();
        for (number, change) in changes.into_iter().enumerate() {
            let exists = |one: usize| fixture.path(&one.to_string()).exists();
            match change {
                PathChange::Append(one) => fixture.append(&one.to_string(), &format!("{number},")),
                PathChange::Rename(from, to) if exists(from) => {
                    fixture.rename(&from.to_string(), &to.to_string());
                }
                PathChange::Swap(one, other) if one != other && exists(one) && exists(other) => {
                    fixture.rename(&one.to_string(), "aside");
                    fixture.rename(&other.to_string(), &one.to_string());
                    fixture.rename("aside", &other.to_string());
                }
                PathChange::Remove(one) if exists(one) => {
                    fs::remove_file(fixture.path(&one.to_string())).unwrap();
                }
                PathChange::Follow => drop(fixture.follow()),
                PathChange::LoseAnswer => {
                    fixture.follower.look();
                    let body = fixture.follower.next_body();
                    fixture.sink.receive(&body);
                }
                _ => {}
            }
        }
        for _ in 0..3 {
            fixture.follow();
        }
        for one in 0..4 {
            let path = fixture.path(&one.to_string());
            if let Ok(content) = fs::read_to_string(path) {
                let received = fixture.sink.of(&one.to_string());
                prop_assert_eq!(received.last().map(String::as_str), Some(content.as_str()));
            }
        }
        fixture.follower.look();
        prop_assert_eq!(fixture.follower.next_body().header.up_to_date.len(), 2);
    }
}
