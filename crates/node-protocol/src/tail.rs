//! Bytes that containers append to their result files: the body of `POST /carrier/{run}/tail`, and its answer.
//!
//! A body is the header as one line of JSON, followed by the bytes of its parts, one part after the other:
//!
//! ```text
//! {"parts":[{"source":"worker.1","path":"a.csv","generation":0,"offset":10,"length":4}],"upToDate":["worker.1"]}\n1,2\n
//! ```
//!
//! The sender waits for the answer before it sends the next body. Renames are repeated until they are applied, with their id.

use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::ops::Range;
use thiserror::Error;

/// Maximum number of bytes of all parts together.
pub const MAX_BYTES: usize = 1 << 20;
/// Maximum length of the header in bytes.
pub const MAX_HEADER: usize = 1 << 20;
/// Maximum length of a body in bytes.
pub const MAX_BODY: usize = MAX_HEADER + MAX_BYTES;
/// Maximum number of parts.
pub const MAX_PARTS: usize = 128;
/// Maximum number of containers in a list of the header.
pub const MAX_SOURCES: usize = 4096;
/// Maximum length of a path in bytes.
pub const MAX_PATH: usize = 1024;
/// Maximum length of a component of a path in bytes.
const MAX_NAME: usize = 255;
/// Maximum number of files of one container that are renamed in a body.
pub const MAX_RENAMES: usize = 256;
/// Maximum length of the id of renames in bytes.
const MAX_ID: usize = 64;
/// Maximum length of a problem in bytes.
pub const MAX_PROBLEM: usize = 1024;
/// Larger positions in a file are not plausible, and not exact in JSON.
const MAX_POSITION: u64 = 1 << 53;

/// The description of a body.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Header {
    /// Renamed files of a container; they have their new paths in the parts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub renames: Option<Renames>,
    /// The parts, in the order of their bytes. At most one of each file.
    pub parts: Vec<Part>,
    /// Containers of which everything is sent with this body.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub up_to_date: Vec<String>,
    /// Containers some files of which are not followed. It has every container of `up_to_date` of which this is true.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<SourceProblem>,
    /// [`Answer::instance`] of the last answer. Of another instance the sender does not know which files are ignored, so
    /// that `up_to_date` has no meaning for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
}

/// Files of a container that have other paths now, all at the same time. A file that had one of the new paths before, and is
/// not renamed itself, does not exist any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Renames {
    /// The container.
    pub source: String,
    /// Differs from that of all other renames of the container.
    pub id: String,
    /// The paths; no two are equal on one side.
    pub paths: Vec<Renamed>,
}

/// A renamed file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Renamed {
    /// The path before.
    pub from: String,
    /// The path now.
    pub to: String,
}

/// Bytes of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Part {
    /// The container, for example `worker.3`.
    pub source: String,
    /// Path of the file in its results.
    pub path: String,
    /// Number of times that the file was truncated or replaced before.
    #[serde(default)]
    pub generation: u64,
    /// Position of the first byte in the file.
    pub offset: u64,
    /// Number of bytes.
    pub length: u64,
}

/// The reason why files of a container are not followed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SourceProblem {
    /// The container.
    pub source: String,
    /// The reason.
    pub problem: String,
    /// Whether none of its files are read at the moment.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_unread: bool,
}

/// The answer to a body.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// One outcome for each part, in the order of the parts.
    pub parts: Vec<Outcome>,
    /// Whether the renames are applied.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub renamed: bool,
    /// Identifies the receiver: another one does not know what this one has answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
}

/// The outcome of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "outcome")]
pub enum Outcome {
    /// The bytes are stored.
    Accepted,
    /// The bytes do not continue what was received of the file. Nothing was stored.
    ResumeAt {
        /// The received generation.
        generation: u64,
        /// Number of bytes received of it.
        bytes: u64,
    },
    /// No more bytes of the file are accepted.
    Ignored,
    /// The bytes cannot be stored at the moment.
    NotStored,
}

/// The reason why a body is invalid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Invalid {
    /// The header is missing, too long, or not the expected JSON.
    #[error("the header is not one line of JSON")]
    Header,
    /// A list of the header is too long.
    #[error("the header has too many entries")]
    TooMany,
    /// A path is not that of a file in a directory.
    #[error("a path is invalid")]
    Path,
    /// The position or length of a part is not plausible.
    #[error("the position of a part is invalid")]
    Position,
    /// A file has two parts, or is renamed twice.
    #[error("a file has several parts or names")]
    Repeated,
    /// The lengths of the parts do not match the number of bytes.
    #[error("the parts do not match the number of bytes")]
    Length,
}

/// A body, and where the bytes of each part are in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decoded {
    /// The header.
    pub header: Header,
    /// The positions of the bytes of each part in the body.
    pub ranges: Vec<Range<usize>>,
}

/// The body with this header and the bytes of its parts.
pub fn encode(header: &Header, bytes: &[u8]) -> Vec<u8> {
    // Serializing strings and numbers cannot fail, and escapes line feeds.
    let mut body = serde_json::to_vec(header).unwrap_or_default();
    body.push(b'\n');
    body.extend_from_slice(bytes);
    body
}

/// Reads a body. Whatever the bytes are, it allocates a small multiple of their number at most.
///
/// # Errors
/// The first fault.
pub fn decode(body: &[u8]) -> Result<Decoded, Invalid> {
    let longest = &body[..body.len().min(MAX_HEADER)];
    let end = longest.iter().position(|byte| *byte == b'\n');
    let end = end.ok_or(Invalid::Header)?;
    let header: Header = serde_json::from_slice(&body[..end]).map_err(|_| Invalid::Header)?;
    let are_few = header.parts.len() <= MAX_PARTS
        && header.up_to_date.len() <= MAX_SOURCES
        && header.problems.len() <= MAX_SOURCES;
    if !are_few {
        return Err(Invalid::TooMany);
    }
    if let Some(renames) = &header.renames {
        renames.check()?;
    }
    let mut ranges = Vec::with_capacity(header.parts.len());
    let mut at = end + 1;
    for (index, part) in header.parts.iter().enumerate() {
        if !is_valid_path(&part.path) {
            return Err(Invalid::Path);
        }
        let is_same = |other: &Part| other.source == part.source && other.path == part.path;
        if header.parts[..index].iter().any(is_same) {
            return Err(Invalid::Repeated);
        }
        let last = part.offset.checked_add(part.length);
        if last.is_none_or(|last| last > MAX_POSITION) || part.generation > MAX_POSITION {
            return Err(Invalid::Position);
        }
        let length = usize::try_from(part.length).map_err(|_| Invalid::Length)?;
        let next = at.checked_add(length).filter(|next| *next <= body.len());
        let next = next.ok_or(Invalid::Length)?;
        ranges.push(at..next);
        at = next;
    }
    match at == body.len() && at - (end + 1) <= MAX_BYTES {
        true => Ok(Decoded { header, ranges }),
        false => Err(Invalid::Length),
    }
}

impl Renames {
    fn check(&self) -> Result<(), Invalid> {
        if self.paths.len() > MAX_RENAMES || self.id.len() > MAX_ID {
            return Err(Invalid::TooMany);
        }
        let (mut from, mut to) = (BTreeSet::new(), BTreeSet::new());
        for renamed in &self.paths {
            if !is_valid_path(&renamed.from) || !is_valid_path(&renamed.to) {
                return Err(Invalid::Path);
            }
            if !from.insert(&renamed.from) || !to.insert(&renamed.to) {
                return Err(Invalid::Repeated);
            }
        }
        Ok(())
    }
}

/// Whether this is the path of a file below a directory: relative, without `.`, `..`, empty names and control characters.
pub fn is_valid_path(path: &str) -> bool {
    let is_name = |name: &str| !matches!(name, "" | "." | "..") && name.len() <= MAX_NAME;
    path.len() <= MAX_PATH && path.split('/').all(is_name) && !path.contains(char::is_control)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn part(path: &str, offset: u64, length: u64) -> Part {
        Part {
            source: "worker.1".to_owned(),
            path: path.to_owned(),
            generation: 0,
            offset,
            length,
        }
    }

    fn header(parts: Vec<Part>) -> Header {
        Header {
            parts,
            up_to_date: vec!["worker.1".to_owned()],
            ..Header::default()
        }
    }

    fn refused(parts: Vec<Part>, bytes: &[u8]) -> Invalid {
        decode(&encode(&header(parts), bytes)).unwrap_err()
    }

    #[test]
    fn the_form_of_a_body_is_fixed() {
        let body = encode(&header(vec![part("a.csv", 10, 4)]), b"1,2\n");
        assert_eq!(
            String::from_utf8(body).unwrap(),
            "{\"parts\":[{\"source\":\"worker.1\",\"path\":\"a.csv\",\"generation\":0,\"offset\":10,\"length\":4}],\
             \"upToDate\":[\"worker.1\"]}\n1,2\n"
        );
        let answer = Answer {
            parts: vec![
                Outcome::Accepted,
                Outcome::ResumeAt {
                    generation: 1,
                    bytes: 7,
                },
                Outcome::Ignored,
                Outcome::NotStored,
            ],
            ..Answer::default()
        };
        let text = serde_json::to_string(&answer).unwrap();
        assert_eq!(
            text,
            r#"{"parts":[{"outcome":"accepted"},{"outcome":"resumeAt","generation":1,"bytes":7},{"outcome":"ignored"},{"outcome":"notStored"}]}"#
        );
        assert_eq!(serde_json::from_str::<Answer>(&text).unwrap(), answer);
    }

    #[test]
    fn an_empty_body_says_that_nothing_was_appended() {
        let body = encode(&header(Vec::new()), b"");
        let read = decode(&body).unwrap();
        assert_eq!((read.header.parts.len(), read.ranges.len()), (0, 0));
        assert_eq!(read.header.up_to_date, ["worker.1"]);
        assert_eq!(decode(b"{}\n").unwrap().header, Header::default());
    }

    #[test]
    fn each_path_is_renamed_once_and_within_the_directory() {
        let renames = |paths: &[(&str, &str)]| Header {
            renames: Some(Renames {
                source: "worker.1".to_owned(),
                id: "7".to_owned(),
                paths: paths
                    .iter()
                    .map(|(from, to)| Renamed {
                        from: (*from).to_owned(),
                        to: (*to).to_owned(),
                    })
                    .collect(),
            }),
            ..Header::default()
        };
        let rotated = renames(&[("log", "log.1"), ("log.1", "log.2")]);
        assert_eq!(decode(&encode(&rotated, b"")).unwrap().header, rotated);
        let swapped = renames(&[("a", "b"), ("b", "a")]);
        assert!(decode(&encode(&swapped, b"")).is_ok());
        for (paths, fault) in [
            (&[("a", "../b")][..], Invalid::Path),
            (&[("/a", "b")], Invalid::Path),
            (&[("a", "b"), ("a", "c")], Invalid::Repeated),
            (&[("a", "c"), ("b", "c")], Invalid::Repeated),
            (&[("a", "b"); MAX_RENAMES + 1], Invalid::TooMany),
        ] {
            assert_eq!(decode(&encode(&renames(paths), b"")), Err(fault));
        }
    }

    #[test]
    fn paths_that_leave_the_directory_are_refused() {
        let long = "x/".repeat(600) + "x";
        let name = "x".repeat(256);
        for path in [
            "",
            ".",
            "..",
            "/etc/passwd",
            "a/../b",
            "a//b",
            "a/",
            "a\nb",
            "a\0b",
            &long,
            &name,
        ] {
            assert_eq!(
                refused(vec![part(path, 0, 0)], b""),
                Invalid::Path,
                "{path:?}"
            );
        }
        for path in ["a", "a/b c", "..a", "ä/ß", "a\\b", "a.."] {
            assert!(is_valid_path(path), "{path}");
        }
    }

    #[test]
    fn parts_must_match_the_bytes_exactly() {
        for (lengths, bytes) in [
            (vec![2, 2], &b"abc"[..]),
            (vec![2], b"abc"),
            (vec![], b"a"),
            (vec![1 << 40], b"a"),
        ] {
            let parts = lengths.iter().enumerate();
            let parts = parts.map(|(at, length)| part(&at.to_string(), 0, *length));
            assert_eq!(refused(parts.collect(), bytes), Invalid::Length);
        }
        let large = vec![0; MAX_BYTES + 1];
        let all = large.len() as u64;
        assert_eq!(refused(vec![part("a", 0, all)], &large), Invalid::Length);
        assert_eq!(
            refused(vec![part("a", u64::MAX, 1)], b"a"),
            Invalid::Position
        );
        assert_eq!(
            refused(vec![part("a", 1 << 60, 1)], b"a"),
            Invalid::Position
        );
        assert_eq!(
            refused(vec![part("a", 0, 1), part("a", 1, 1)], b"ab"),
            Invalid::Repeated
        );
    }

    #[test]
    fn headers_beyond_the_limits_are_refused() {
        let many = (0..=MAX_PARTS).map(|at| part(&at.to_string(), 0, 0));
        assert_eq!(refused(many.collect(), b""), Invalid::TooMany);
        let mut long = header(Vec::new());
        long.up_to_date = vec!["w".repeat(MAX_HEADER)];
        assert_eq!(decode(&encode(&long, b"")), Err(Invalid::Header));
        for body in [
            &b""[..],
            b"\n",
            b"{}",
            b"1\n",
            b"{\"parts\":1}\n",
            b"\xff\n",
        ] {
            assert_eq!(decode(body), Err(Invalid::Header), "{body:?}");
        }
    }

    proptest! {
        #[test]
        fn a_body_survives_a_round_trip(
            files in prop::collection::btree_map("[a-zäß .]{1,12}", (any::<u32>(), prop::collection::vec(any::<u8>(), 0..40)), 0..10)
        ) {
            let files: Vec<_> = files.into_iter().filter(|(path, _)| is_valid_path(path)).collect();
            let parts = files.iter().map(|(path, (offset, bytes))| part(path, u64::from(*offset), bytes.len() as u64));
            let header = header(parts.collect());
            let bytes: Vec<u8> = files.iter().flat_map(|(_, (_, bytes))| bytes.clone()).collect();
            let body = encode(&header, &bytes);
            let read = decode(&body).unwrap();
            prop_assert_eq!(&read.header, &header);
            let parts: Vec<&[u8]> = read.ranges.into_iter().map(|range| &body[range]).collect();
            let expected: Vec<&[u8]> = files.iter().map(|(_, (_, bytes))| bytes.as_slice()).collect();
            prop_assert_eq!(parts, expected);
        }

        #[test]
        fn arbitrary_bytes_never_panic_and_what_is_accepted_is_within_bounds(
            start in prop_oneof![Just(Vec::new()), Just(encode(&header(vec![part("a", 0, 3), part("b", 9, 2)]), b"abcde"))],
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
            end in prop::collection::vec(any::<u8>(), 0..60),
        ) {
            let mut body = start;
            body.extend(end);
            for (at, byte) in changes {
                if !body.is_empty() {
                    let at = at.index(body.len());
                    body[at] = byte;
                }
            }
            if let Ok(read) = decode(&body) {
                prop_assert_eq!(read.ranges.len(), read.header.parts.len());
                for (part, range) in read.header.parts.iter().zip(&read.ranges) {
                    prop_assert!(is_valid_path(&part.path));
                    prop_assert_eq!(range.len() as u64, part.length);
                    prop_assert!(range.end <= body.len());
                }
            }
        }
    }
}
