//! Errors of the store.

use super::FORMAT;
use atq_task::machine::BadHistory;
use std::path::PathBuf;
use thiserror::Error;

/// An error of the store.
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
    #[error("cannot open the store in `{path}`: {reason}\n{}", recovery_hint())]
    Open {
        /// Its directory.
        path: PathBuf,
        /// The cause.
        reason: String,
    },
    /// It has another format version.
    #[error(
        "the store in `{path}` has format `{found}`; this Director reads format `{FORMAT}`\n(start the version that wrote it, or move the directory away to start with an empty store)"
    )]
    Format {
        /// Its directory.
        path: PathBuf,
        /// The format found.
        found: String,
    },
    /// Reading or writing failed.
    #[error("the store failed: {0}\n(is the disk full? the store reopens automatically)")]
    Io(String),
    /// Too little free space on the disk.
    #[error(
        "the disk of `datadir` is full: {} MiB are free, {} MiB are needed\n(free some space; the Director then continues automatically)",
        free >> 20,
        needed.div_ceil(1 << 20)
    )]
    Full {
        /// Bytes that are free.
        free: u64,
        /// Bytes that are needed.
        needed: u64,
    },
    /// A value cannot be parsed.
    #[error("the store's value `{key}` cannot be read: {reason}")]
    Corrupt {
        /// Its key.
        key: String,
        /// The cause; never contains the value.
        reason: String,
    },
    /// A history cannot be folded.
    #[error("the history of `{task}` cannot be read: {reason}")]
    History {
        /// The task.
        task: String,
        /// The cause.
        reason: BadHistory,
    },
    /// Something of this task cannot be read; other tasks are not affected.
    #[error(
        "the stored task `{task}` is damaged: {reason}\n(`atq-director store check` lists damaged tasks while no Director runs; DELETE removes this task with all its Docker objects)"
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
        Self::Io(error_text(&error))
    }
}

/// Replaces sled's own text for damaged files, which ends in `None backtrace ()`.
pub(super) fn error_text(error: &sled::Error) -> String {
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

fn recovery_hint() -> &'static str {
    "(`atq-director store export FILE` saves the tasks that can still be read. Then move the directory away to start \
     with an empty store, and restore the tasks with `atq-director store import FILE`. Docker objects of tasks that \
     are missing in the new store are found by their labels and removed, or kept with `--adopt-orphans=keep`)"
}
