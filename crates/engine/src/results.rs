//! The receivers of results: complete ones at the end of a run, and those of a running test.

use crate::Source;
use async_trait::async_trait;
use futures_util::stream::BoxStream;
use std::io;
use tokio::time::Instant;
use tokio_util::bytes::Bytes;

/// The reason why the results of a container are incomplete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// The limits of the run were reached.
    TooLarge(String),
    /// Writing to the disk failed.
    Disk(String),
    /// The transfer ended early.
    Broken(String),
}

impl Stop {
    /// The reason as text.
    pub fn text(&self) -> &str {
        match self {
            Self::TooLarge(text) | Self::Disk(text) | Self::Broken(text) => text,
        }
    }
}

/// A tar archive as a stream of chunks.
pub type Tar = BoxStream<'static, io::Result<Bytes>>;

/// Receives the results of a run until its deadline.
#[async_trait]
pub trait ResultsReceiver: Send + Sync {
    /// Whether the results of `source` are expected.
    fn expects(&self, source: Source) -> bool;

    /// The current deadline.
    fn end(&self) -> Instant;

    /// The message for results after the deadline.
    fn too_late(&self) -> String;

    /// Records the reason for missing results of `source`.
    fn note(&self, source: Source, problem: String);

    /// Stores the results of `source`; returns the reason if they are incomplete.
    ///
    /// # Errors
    /// When they cannot be stored at all.
    async fn take(&self, source: Source, tar: Tar) -> Result<Option<Stop>, String>;
}

/// Bytes that a container appended to a result file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Appended {
    /// The container.
    pub source: Source,
    /// Path of the file in its results.
    pub path: String,
    /// Number of times that the file was truncated or replaced before.
    pub generation: u64,
    /// Position of the first byte in the file.
    pub offset: u64,
    /// The bytes; may be empty for a new generation.
    pub bytes: Bytes,
}

/// Files of a container that have other paths now, all at the same time: a file may take the path that another one had. A
/// file that had one of the new paths before, and is not renamed itself, does not exist any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Renames {
    /// The container.
    pub source: Source,
    /// Differs from that of all other renames of the container.
    pub id: String,
    /// For each file, the path before and the path now. No two are equal on one side.
    pub paths: Vec<(String, String)>,
}

/// The part of a result file that was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Received {
    /// Number of times that the file was truncated or replaced.
    pub generation: u64,
    /// Number of bytes of this generation.
    pub bytes: u64,
}

/// The outcome of [`ResultsSink::append`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Append {
    /// The bytes are stored and counted.
    Accepted,
    /// The bytes do not continue the received part, which ends here: nothing was stored.
    ResumeAt(Received),
    /// No more bytes of this file are accepted, for example because a limit was reached.
    Ignored,
}

/// The reason why bytes of a container are missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReadProblem {
    /// None of its files are read at the moment.
    Unread(String),
    /// Some of its files are not read; the others are.
    Incomplete(String),
}

/// A container whose followed files were read to their end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpToDate {
    /// The container.
    pub source: Source,
    /// The reason why some of its files are not followed.
    pub incomplete: Option<String>,
}

/// Receives the result files of a running test as they grow.
#[async_trait]
pub trait ResultsSink: Send + Sync {
    /// Stores and counts bytes. Calls for one file must be sequential; returns only when the bytes are on the disk.
    ///
    /// # Errors
    /// When the bytes cannot be stored; they may be sent again.
    async fn append(&self, appended: Appended) -> Result<Append, String>;

    /// Renames received files. Renames with the id of the last ones of their container were applied before.
    ///
    /// # Errors
    /// When this cannot be stored; nothing was renamed then.
    async fn rename(&self, renames: Renames) -> Result<(), String>;

    /// All appended bytes of these containers up to this moment were passed, except those of files that are not followed.
    /// Earlier problems of these containers are over.
    fn up_to_date(&self, sources: &[UpToDate]);

    /// The problem of these containers, until they are up to date.
    fn problem(&self, sources: &[Source], problem: ReadProblem);
}

/// The following of the result files of a run. Dropping it ends the following; [`ResultsFollow::end`] also removes its
/// objects.
#[async_trait]
pub trait ResultsFollow: Send + Sync {
    /// Ends the following and removes its objects.
    async fn end(&self);
}

/// Follows nothing.
#[derive(Debug)]
pub struct NotFollowed;

#[async_trait]
impl ResultsFollow for NotFollowed {
    async fn end(&self) {}
}
