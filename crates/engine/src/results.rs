//! The receiver of results.

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
