//! The file of a run: samples are appended, and merged from time to time.

use super::row::{self, HEADER};
use super::series::ContainerSeries;
use atq_engine::ContainerSample;
use atq_files::{Mode, if_there, write_atomic};
use atq_task::timestamp::Timestamp;
use parking_lot::Mutex;
use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::{self, Read, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::task::spawn_blocking;

/// A larger file is not one of the Director's.
const MAX_BYTES: u64 = 64 << 20;
/// Rows that may be appended before the file is rewritten, in addition to twice those that remain.
const MAX_APPENDED: usize = 2000;
/// Rows that wait for the disk. With more of them the file is rewritten.
const MAX_PENDING: usize = 20_000;

/// The resource usage of a run's containers, and its file. Continues the file of an earlier process. Cheap to clone.
#[derive(Debug, Clone)]
pub struct MetricsLog(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    samples: Mutex<Samples>,
    file: Mutex<MetricsFile>,
}

#[derive(Debug, Default)]
struct Samples {
    series: ContainerSeries,
    /// Rows that are not in the file yet.
    pending: Vec<row::Row>,
}

#[derive(Debug)]
struct MetricsFile {
    path: PathBuf,
    /// Whether the rows of an earlier process were read.
    is_continued: bool,
    /// Number of rows in the file; `None` if it must be rewritten.
    rows: Option<usize>,
}

impl MetricsLog {
    /// Continues the file at `path`; it is read with the first flush.
    pub(super) fn new(path: PathBuf) -> Self {
        Self(Arc::new(Inner {
            samples: Mutex::default(),
            file: Mutex::new(MetricsFile {
                path,
                is_continued: false,
                rows: None,
            }),
        }))
    }

    /// Adds a sample that was taken at this time.
    pub fn add(&self, at: Timestamp, sample: &ContainerSample<'_>) {
        let mut samples = self.0.samples.lock();
        if let Some(row) = samples.series.add(at, sample)
            && samples.pending.len() < MAX_PENDING
        {
            samples.pending.push(row);
        }
    }

    /// Writes the samples to the file.
    ///
    /// # Errors
    /// When reading or writing fails. No sample is lost: the next flush writes it.
    pub async fn flush(&self) -> io::Result<()> {
        self.blocking(|inner, file| file.flush(&inner.samples))
            .await
    }

    /// Writes the samples, with all samples of an interval in one row.
    ///
    /// # Errors
    /// As for [`MetricsLog::flush`].
    pub async fn finish(&self) -> io::Result<()> {
        let finish = |inner: &Inner, file: &mut MetricsFile| {
            file.rows = None;
            file.flush(&inner.samples)
        };
        self.blocking(finish).await
    }

    async fn blocking<W>(&self, write: W) -> io::Result<()>
    where
        W: FnOnce(&Inner, &mut MetricsFile) -> io::Result<()> + Send + 'static,
    {
        let inner = Arc::clone(&self.0);
        let write = move || write(&inner, &mut inner.file.lock());
        spawn_blocking(write).await.map_err(io::Error::other)?
    }
}

impl MetricsFile {
    fn flush(&mut self, samples: &Mutex<Samples>) -> io::Result<()> {
        if !self.is_continued {
            let earlier = if_there(read(&self.path))?.unwrap_or_default();
            let mut samples = samples.lock();
            row::parse(&earlier).for_each(|row| samples.series.merge(row));
            self.is_continued = true;
        }
        let (series, pending) = {
            let mut samples = samples.lock();
            let pending = std::mem::take(&mut samples.pending);
            let appended = self.rows.map(|rows| rows + pending.len());
            let most = samples.series.len() * 2 + MAX_APPENDED;
            let fits = pending.len() < MAX_PENDING && appended.is_some_and(|rows| rows <= most);
            ((!fits).then(|| samples.series.clone()), pending)
        };
        // Until it succeeds, a part of the rows may be missing.
        let rows = self.rows.take();
        self.rows = match (series, rows) {
            (None, Some(rows)) => {
                append(&self.path, &pending)?;
                Some(rows + pending.len())
            }
            (series, _) => self.rewrite(&series.unwrap_or_default())?,
        };
        Ok(())
    }

    /// Writes all rows; returns their number. Without rows there is no file.
    fn rewrite(&self, series: &ContainerSeries) -> io::Result<Option<usize>> {
        let rows = series.len();
        if rows == 0 {
            return Ok(None);
        }
        let text = series.rows().fold(HEADER.to_owned(), |mut text, row| {
            // Writing to a string does not fail.
            let _ = write!(text, "{row}");
            text
        });
        write_atomic(&self.path, text.as_bytes(), Mode::Private)?;
        Ok(Some(rows))
    }
}

fn append(path: &Path, rows: &[row::Row]) -> io::Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let text: String = rows.iter().map(row::Row::to_string).collect();
    let mut file = OpenOptions::new().append(true).open(path)?;
    file.write_all(text.as_bytes())
}

/// The text of a file.
pub(super) fn read(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path)?;
    file.take(MAX_BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
