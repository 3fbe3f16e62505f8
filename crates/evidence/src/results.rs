//! Files from `/atq/results` of the containers of a run.
//!
//! ```text
//! evidence/<task>/<run>/results/worker.3/...   files of one container
//!                       kept/worker.3.json     their number and size, and whether they are complete
//!                       incoming/...           a transfer in progress
//! ```
//!
//! Files are received in `incoming` and moved into place by one rename, so that an interrupted or smaller transfer never
//! replaces a complete one. A container without files has no directory.

mod names;
mod unpack;
mod zip_stream;

use super::{Evidence, Source};
pub use atq_engine::Stop;
use atq_files::{Mode, flush_tree, if_there, write_atomic};
use atq_task::spec::TaskName;
use futures_util::Stream;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::fs;
use tokio::task::spawn_blocking;
use tokio_util::bytes::Bytes;
use tokio_util::io::StreamReader;

/// Limits for the results of all containers of a run together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResultsLimits {
    /// Bytes.
    pub bytes: u64,
    /// Number of files.
    pub files: u64,
}

/// The remaining part of a run's limits, shared by concurrent transfers.
#[derive(Debug)]
pub struct Budget {
    limits: ResultsLimits,
    bytes: AtomicU64,
    files: AtomicU64,
}

impl Budget {
    /// The part of `limits` that the `kept` results leave free.
    pub fn new(limits: ResultsLimits, kept: &[KeptResults]) -> Self {
        let bytes = kept.iter().map(|kept| kept.bytes).sum();
        let files = kept.iter().map(|kept| kept.files).sum();
        Self {
            limits,
            bytes: AtomicU64::new(limits.bytes.saturating_sub(bytes)),
            files: AtomicU64::new(limits.files.saturating_sub(files)),
        }
    }

    pub(super) fn take_file(&self) -> Result<(), Stop> {
        let limit = self.limits.files;
        take(&self.files, 1)
            .map_err(|()| Stop::TooLarge(format!("the run has more than {limit} result files")))
    }

    pub(super) fn take_bytes(&self, bytes: u64) -> Result<(), Stop> {
        let limit = self.limits.bytes;
        take(&self.bytes, bytes).map_err(|()| {
            Stop::TooLarge(format!(
                "the results of the run exceed {limit} bytes (`limits.resultsBytes`)"
            ))
        })
    }
}

fn take(left: &AtomicU64, amount: u64) -> Result<(), ()> {
    let less = |left: u64| left.checked_sub(amount);
    left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less)
        .map(drop)
        .map_err(drop)
}

/// The kept results of one container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeptResults {
    /// The container.
    pub source: Source,
    /// Number of files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Skipped entries: symbolic links, devices and files with invalid names.
    #[serde(default)]
    pub left_out: u64,
    /// The reason for an incomplete copy; `None` if it is complete.
    #[serde(default)]
    pub problem: Option<String>,
    /// Whether these are the files received while the test ran ([`super::live`]), and not those at its end.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub partial: bool,
}

impl Evidence {
    /// The directory with the files of a container; it exists only if there is at least one file.
    pub fn results_dir(&self, task: &TaskName, run: &str, source: Source) -> PathBuf {
        let results = self.run_dir(task, run).join("results");
        results.join(source.to_string())
    }

    /// The kept results of each container, in order.
    ///
    /// # Errors
    /// When the directory cannot be read; one that is not there is empty.
    pub async fn results(&self, task: &TaskName, run: &str) -> io::Result<Vec<KeptResults>> {
        let kept = fs::read_dir(self.run_dir(task, run).join("kept")).await;
        let Some(mut entries) = if_there(kept)? else {
            return Ok(Vec::new());
        };
        let mut all: Vec<KeptResults> = Vec::new();
        while let Some(entry) = entries.next_entry().await? {
            let path = entry.path();
            if path.extension().is_some_and(|end| end == "json") {
                // A file that cannot be parsed was truncated by a crash; the results of its container are fetched again.
                all.extend(serde_json::from_slice::<KeptResults>(&fs::read(path).await?).ok());
            }
        }
        all.sort_by_key(|kept| kept.source);
        Ok(all)
    }

    /// Keeps the part of the archive `tar` that arrives and fits into `budget`. Its entries are below one directory.
    /// Results kept earlier are replaced only by more complete ones.
    ///
    /// # Errors
    /// If writing the metadata or moving the files fails.
    pub async fn keep_results<S>(
        &self,
        task: &TaskName,
        run: &str,
        source: Source,
        tar: S,
        budget: Arc<Budget>,
    ) -> Result<(KeptResults, Option<Stop>), String>
    where
        S: Stream<Item = io::Result<Bytes>> + Send + 'static,
    {
        let run = self.run_dir(task, run);
        let incoming = run.join("incoming");
        let text = |error: io::Error| format!("cannot write the results of {source}: {error}");
        fs::create_dir_all(&incoming).await.map_err(text)?;
        let arriving = tempfile::tempdir_in(&incoming).map_err(text)?;
        let into = arriving.path().join(source.to_string());
        let reader = StreamReader::new(Box::pin(tar));
        let unpacked = unpack::unpack(reader, &into, &budget).await;
        let kept = KeptResults {
            source,
            files: unpacked.files,
            bytes: unpacked.bytes,
            left_out: unpacked.left_out,
            problem: unpacked.stop.as_ref().map(|stop| stop.text().to_owned()),
            partial: false,
        };
        let moved = spawn_blocking(move || {
            let moved = move_into_place(&run, kept, &into);
            // Removing a rejected transfer can take long, so it runs on a blocking thread.
            drop(arriving);
            moved
        });
        let moved = moved.await.map_err(|error| text(io::Error::other(error)))?;
        Ok((moved.map_err(text)?, unpacked.stop))
    }

    /// Removes the remains of interrupted transfers.
    pub async fn remove_incoming(&self, task: &TaskName, run: &str) {
        let incoming = self.run_dir(task, run).join("incoming");
        if let Err(error) = if_there(fs::remove_dir_all(&incoming).await) {
            tracing::warn!(%task, %error, "cannot remove `{}`", incoming.display());
        }
    }
}

/// Moves the files received in `from` into place, unless the existing ones are more complete. Returns the metadata in effect.
pub(super) fn move_into_place(
    run: &Path,
    new: KeptResults,
    from: &Path,
) -> io::Result<KeptResults> {
    let metadata = run.join("kept").join(format!("{}.json", new.source));
    let results = run.join("results");
    let to = results.join(new.source.to_string());
    let old = std::fs::read(&metadata).ok();
    let old = old.and_then(|text| serde_json::from_slice::<KeptResults>(&text).ok());
    if let Some(old) = old
        && (old.problem.is_none() || (new.problem.is_some() && new.bytes <= old.bytes))
    {
        return Ok(old);
    }
    if new.files > 0 {
        // Containers are removed once this is recorded, so the files must survive a power failure.
        flush_tree(from, new.files)?;
    }
    // Without metadata, files are ignored after a crash at this point.
    if_there(std::fs::remove_file(&metadata))?;
    if_there(std::fs::remove_dir_all(&to))?;
    if new.files > 0 {
        std::fs::create_dir_all(&results)?;
        std::fs::rename(from, &to)?;
    }
    write_atomic(&metadata, &serde_json::to_vec(&new)?, Mode::Private)?;
    Ok(new)
}

#[cfg(test)]
mod tests;
