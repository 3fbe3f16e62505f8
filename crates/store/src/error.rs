//! Why the store cannot be used.

use super::FORMAT;
use atq_task::machine::BadHistory;
use std::path::PathBuf;
use thiserror::Error;

/// Why the store cannot be used.
#[derive(Debug, Error)]
pub enum StoreError {
    /// Another process has it open.
    #[error(
        "the store in `{path}` is in use by another process\n(is another Director running on this `datadir`?)"
    )]
    Locked {
        /// Its directory.
        path: PathBuf,
    },
    /// It cannot be opened.
    #[error("cannot open the store in `{path}`: {reason}\n{}", way_out())]
    Open {
        /// Its directory.
        path: PathBuf,
        /// The cause.
        reason: String,
    },
    /// It was written by another version.
    #[error(
        "the store in `{path}` has format `{found}`; this Director reads format `{FORMAT}`\n(start the version that wrote it, or move the directory away to begin with an empty store)"
    )]
    Format {
        /// Its directory.
        path: PathBuf,
        /// The format found.
        found: String,
    },
    /// Reading or writing failed.
    #[error("the store failed: {0}\n(is the disk full? it is opened again by itself)")]
    Io(String),
    /// There is too little room on the disk.
    #[error(
        "the disk of `datadir` is full: {} MiB are free, {} MiB are needed\n(free some space; the Director goes on by itself)",
        free >> 20,
        needed.div_ceil(1 << 20)
    )]
    Full {
        /// Bytes that are free.
        free: u64,
        /// Bytes that are needed.
        needed: u64,
    },
    /// A value cannot be understood.
    #[error("the store's value `{key}` cannot be read: {reason}")]
    Corrupt {
        /// Its key.
        key: String,
        /// The cause, without anything of the value.
        reason: String,
    },
    /// A history does not fold.
    #[error("the history of `{task}` cannot be read: {reason}")]
    History {
        /// The task.
        task: String,
        /// The cause.
        reason: BadHistory,
    },
    /// Of this task something cannot be read; others are not concerned.
    #[error(
        "the stored task `{task}` is damaged: {reason}\n(`atq-director store check` shows all such tasks while no Director runs; DELETE removes this one with everything of it in Docker)"
    )]
    Damaged {
        /// The task.
        task: String,
        /// The cause.
        reason: String,
    },
}

impl From<sled::Error> for StoreError {
    fn from(error: sled::Error) -> Self {
        Self::Io(in_words(&error))
    }
}

/// sled's own text for damaged files ends in `None backtrace ()`.
pub(super) fn in_words(error: &sled::Error) -> String {
    match error {
        sled::Error::Corruption { at: Some(at), .. } => {
            format!("its files are damaged at {at:?}")
        }
        sled::Error::Corruption { .. } => "its files are damaged".to_owned(),
        sled::Error::Unsupported(what) => {
            format!("its files are damaged or were written by another version of sled: {what}")
        }
        other => other.to_string(),
    }
}

pub(super) fn is_locked(reason: &str) -> bool {
    reason.contains("could not acquire lock")
}

pub(super) fn open_error(path: PathBuf, reason: String) -> StoreError {
    match is_locked(&reason) {
        true => StoreError::Locked { path },
        false => StoreError::Open { path, reason },
    }
}

fn way_out() -> &'static str {
    "(`atq-director store export FILE` saves the tasks that can still be read; then move the directory away to begin \
     with an empty store, into which `atq-director store import FILE` brings them back. What is left in Docker of \
     tasks that the new store does not know is found by its label and removed, or kept with `--adopt-orphans=keep`)"
}
