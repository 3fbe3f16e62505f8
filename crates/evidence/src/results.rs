//! What the containers of a run left in `/atq/results`.
//!
//! ```text
//! evidence/<task>/<run>/results/worker.3/...   what one container left
//!                       kept/worker.3.json     how much that is, and whether it is all
//!                       incoming/...           what is on its way
//! ```
//!
//! Files arrive in `incoming` and get their place all at once, so that a look which is cut off, or
//! finds less, never replaces one that was complete. A container without files has no directory.

mod names;
mod unpack;
mod zipped;

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

/// How much is kept of all containers of a run together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResultsLimits {
    /// Bytes.
    pub bytes: u64,
    /// Number of files.
    pub files: u64,
}

/// What is left of the limits of a run, for all that arrives at the same time.
#[derive(Debug)]
pub struct Budget {
    limits: ResultsLimits,
    bytes: AtomicU64,
    files: AtomicU64,
}

impl Budget {
    /// What `limits` leave beside what is `kept` already.
    pub fn new(limits: ResultsLimits, kept: &[KeptResults]) -> Self {
        let bytes = kept.iter().map(|kept| kept.bytes).sum();
        let files = kept.iter().map(|kept| kept.files).sum();
        Self {
            limits,
            bytes: AtomicU64::new(limits.bytes.saturating_sub(bytes)),
            files: AtomicU64::new(limits.files.saturating_sub(files)),
        }
    }

    fn take_file(&self) -> Result<(), Stop> {
        let limit = self.limits.files;
        take(&self.files, 1)
            .map_err(|()| Stop::TooLarge(format!("the run left more than {limit} files")))
    }

    fn take_bytes(&self, bytes: u64) -> Result<(), Stop> {
        let limit = self.limits.bytes;
        take(&self.bytes, bytes).map_err(|()| {
            Stop::TooLarge(format!(
                "the run left more than {limit} bytes (`limits.resultsBytes`)"
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

/// What is kept of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeptResults {
    /// The container.
    pub source: Source,
    /// Number of files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Symbolic links, devices and files with impossible names, which are not kept.
    #[serde(default)]
    pub left_out: u64,
    /// Why this is not all; `None`: it is.
    #[serde(default)]
    pub problem: Option<String>,
}

/// Where the results of one run are.
struct Places {
    results: PathBuf,
    kept: PathBuf,
    incoming: PathBuf,
}

impl Evidence {
    fn places(&self, task: &TaskName, run: &str) -> Places {
        let run = self.run_dir(task, run);
        Places {
            results: run.join("results"),
            kept: run.join("kept"),
            incoming: run.join("incoming"),
        }
    }

    /// The directory with what a container left; it is there only if there is a file in it.
    pub fn results_dir(&self, task: &TaskName, run: &str, source: Source) -> PathBuf {
        self.places(task, run).results.join(source.to_string())
    }

    /// What is kept of each container, in order.
    ///
    /// # Errors
    /// When the directory cannot be read; one that is not there is empty.
    pub async fn results(&self, task: &TaskName, run: &str) -> io::Result<Vec<KeptResults>> {
        let kept = fs::read_dir(self.places(task, run).kept).await;
        let Some(mut entries) = if_there(kept)? else {
            return Ok(Vec::new());
        };
        let mut all: Vec<KeptResults> = Vec::new();
        while let Some(entry) = entries.next_entry().await? {
            let path = entry.path();
            if path.extension().is_some_and(|end| end == "json") {
                // One that cannot be read was cut off by a crash: its container is looked at again.
                all.extend(serde_json::from_slice::<KeptResults>(&fs::read(path).await?).ok());
            }
        }
        all.sort_by_key(|kept| kept.source);
        Ok(all)
    }

    /// Keeps what comes in `tar`, whose entries are below one directory, or what of it arrives and
    /// has room. What was kept of this container before is replaced only by more.
    ///
    /// # Errors
    /// When the disk does not take even what was there.
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
        let places = self.places(task, run);
        let text = |error: io::Error| format!("cannot write the results of {source}: {error}");
        fs::create_dir_all(&places.incoming).await.map_err(text)?;
        let arriving = tempfile::tempdir_in(&places.incoming).map_err(text)?;
        let into = arriving.path().join(source.to_string());
        let reader = StreamReader::new(Box::pin(tar));
        let unpacked = unpack::unpack(reader, &into, &budget).await;
        let kept = KeptResults {
            source,
            files: unpacked.files,
            bytes: unpacked.bytes,
            left_out: unpacked.left_out,
            problem: unpacked.stop.as_ref().map(|stop| stop.text().to_owned()),
        };
        let put = spawn_blocking(move || {
            let put = put(&places, kept, &into);
            // What did not get its place may be large: not on a thread that others wait for.
            drop(arriving);
            put
        });
        let put = put.await.map_err(|error| text(io::Error::other(error)))?;
        Ok((put.map_err(text)?, unpacked.stop))
    }

    /// Throws away what is left of results that never arrived.
    pub async fn forget_incoming(&self, task: &TaskName, run: &str) {
        let incoming = self.places(task, run).incoming;
        if let Err(error) = fs::remove_dir_all(&incoming).await
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(%task, %error, "cannot remove `{}`", incoming.display());
        }
    }
}

/// Gives what has arrived in `from` its place, and says what is kept then.
fn put(places: &Places, new: KeptResults, from: &Path) -> io::Result<KeptResults> {
    let note = places.kept.join(format!("{}.json", new.source));
    let to = places.results.join(new.source.to_string());
    let old = std::fs::read(&note)
        .ok()
        .and_then(|text| serde_json::from_slice::<KeptResults>(&text).ok());
    if let Some(old) = old
        && (old.problem.is_none() || (new.problem.is_some() && new.bytes <= old.bytes))
    {
        return Ok(old);
    }
    if new.files > 0 {
        // Containers go once this is noted: it must outlive the loss of power, too.
        flush_tree(from, new.files)?;
    }
    // Without its note, what is there counts for nothing should this be the Director's last moment.
    if_there(std::fs::remove_file(&note))?;
    if_there(std::fs::remove_dir_all(&to))?;
    if new.files > 0 {
        std::fs::create_dir_all(&places.results)?;
        std::fs::rename(from, &to)?;
    }
    write_atomic(&note, &serde_json::to_vec(&new)?, Mode::Private)?;
    Ok(new)
}

#[cfg(test)]
mod tests;
