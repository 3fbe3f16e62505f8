//! Computes figures from the results of a run, and stores the report:
//! `evidence/<task>/<run>/report.json`.
//!
//! The master's files are read first; if they hold samples, those cover all workers. Otherwise the files of all workers
//! are read and merged. Reading streams on a blocking thread until its deadline or until it is cancelled. A file that
//! cannot be read is reported and never fails a run.

mod attempts;
mod figures;
mod so_far;

pub use so_far::{ConditionResult, SoFar};

use super::Evidence;
use atq_engine::Role;
use atq_files::if_there;
use atq_report::{Report, Tally};
use atq_task::rules::{Measured, OtherFiles};
use atq_task::spec::{TaskName, TaskSpec};
use attempts::Attempt;
use globset::{Glob, GlobSet};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::task::spawn_blocking;

/// Time limit for reading the result files of a run.
pub const READING_TIME: Duration = Duration::from_secs(15 * 60);

/// Cancels the reading when it is dropped.
struct CancelOnDrop(Arc<AtomicBool>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The results of one container.
struct ContainerResults {
    /// The container, for example `worker.3`.
    name: String,
    role: Role,
    dir: PathBuf,
    /// The reason for incomplete results.
    problem: Option<String>,
}

/// A job that reads all results of a run.
struct ReadJob {
    results: Vec<ContainerResults>,
    spec: TaskSpec,
    run: String,
    result_files: ResultFiles,
    cancelled: Arc<AtomicBool>,
    deadline: Instant,
}

impl Evidence {
    /// Computes the figures of a run. Dropping the future cancels the reading.
    ///
    /// # Errors
    /// If the results cannot be read, or if reading them has crashed the process twice.
    pub async fn figures(&self, spec: &TaskSpec, run: &str) -> Result<(Report, Measured), String> {
        let text = |error: io::Error| format!("the results cannot be read: {error}");
        let kept = self.results(&spec.name, run).await.map_err(text)?;
        let results = kept.into_iter().map(|kept| ContainerResults {
            name: kept.source.to_string(),
            role: kept.source.role,
            dir: self.results_dir(&spec.name, run, kept.source),
            problem: kept.problem,
        });
        let cancelled = CancelOnDrop(Arc::default());
        let job = ReadJob {
            results: results.collect(),
            spec: spec.clone(),
            run: run.to_owned(),
            result_files: ResultFiles::of(spec)?,
            cancelled: Arc::clone(&cancelled.0),
            deadline: Instant::now() + READING_TIME,
        };
        let _attempt = Attempt::begin(&self.run_dir(&spec.name, run))?;
        let done = spawn_blocking(move || job.run()).await;
        done.map_err(|error| format!("reading the results failed; this is a bug: {error}"))
    }

    /// Stores the report of a run.
    ///
    /// # Errors
    /// If writing fails.
    pub async fn keep_report(&self, report: &Report, task: &TaskName, run: &str) -> io::Result<()> {
        self.keep(task, run, "report.json", report).await
    }

    /// The stored report of a run, if there is one.
    ///
    /// # Errors
    /// If it cannot be read.
    pub async fn report(&self, task: &TaskName, run: &str) -> io::Result<Option<Report>> {
        let path = self.run_dir(task, run).join("report.json");
        let text = if_there(tokio::fs::read(path).await)?;
        Ok(text.map(|text| serde_json::from_slice(&text)).transpose()?)
    }
}

/// The files of a container that may have samples: those that match `resultFiles` of the definition, or all.
#[derive(Debug, Clone)]
pub struct ResultFiles(Option<GlobSet>);

impl ResultFiles {
    /// The files that a definition selects.
    ///
    /// # Errors
    /// If a pattern is invalid.
    pub fn of(spec: &TaskSpec) -> Result<Self, String> {
        let mut set = GlobSet::builder();
        let wrong = |error: globset::Error| format!("`resultFiles`: {error}");
        for text in &spec.result_files {
            set.add(Glob::new(text).map_err(wrong)?);
        }
        let set = set.build().map_err(wrong)?;
        Ok(Self((!set.is_empty()).then_some(set)))
    }

    /// Whether a file may have samples; `path` is that in the results of its container.
    pub fn contains(&self, path: &Path) -> bool {
        self.0.as_ref().is_none_or(|set| set.is_match(path))
    }

    /// Whether the definition selects files.
    pub fn are_selected(&self) -> bool {
        self.0.is_some()
    }
}

impl ReadJob {
    fn run(self) -> (Report, Measured) {
        let mut read = self.read(Role::Master);
        let mut master = None;
        if read.samples == 0 {
            let workers = self.read(Role::Worker);
            if workers.samples > 0 || read.files == 0 {
                master = Some(std::mem::replace(&mut read, workers));
            }
        }
        let incomplete = std::mem::take(&mut read.gaps);
        let missing = self.without_samples(&read);
        // The master's files come first.
        let mut others = match &mut master {
            Some(master) => std::mem::take(&mut master.others),
            None => OtherFiles::default(),
        };
        others.extend(std::mem::take(&mut read.others));
        let (finished, readings) = figures::finish(read.tally, &self.spec, &self.run, &others);
        let (mut report, mut doubts) = (finished.report, finished.doubts);
        let mut gaps = finished.gaps;
        gaps.extend(incomplete.into_iter().chain(missing));
        if let Some(master) = master {
            // Gaps in the master's files may concern samples of all workers.
            let finished = master.tally.finish("", "");
            let unreadable = finished.report.sources.into_iter();
            report
                .sources
                .extend(unreadable.filter(|source| source.problem.is_some()));
            doubts.extend(finished.doubts);
            gaps.extend(master.gaps.into_iter().chain(finished.gaps));
        }
        let measured = Measured {
            files: read.files,
            others,
            of_master: read.role == Role::Master,
            samples: report.total.samples,
            dates: figures::dates(&report),
            readings,
            gaps,
            doubts,
        };
        (report, measured)
    }

    fn read(&self, role: Role) -> RoleFigures {
        let mut figures = RoleFigures {
            tally: Tally::new(figures::options(&self.spec.criteria)),
            role,
            files: 0,
            samples: 0,
            others: OtherFiles::default(),
            with_samples: Vec::new(),
            gaps: Vec::new(),
        };
        for results in self.results.iter().filter(|results| results.role == role) {
            let before = figures.samples;
            for path in files_below(&results.dir) {
                self.file(results, &path, &mut figures);
            }
            if figures.samples > before {
                figures.with_samples.push(results.name.clone());
            }
            if let Some(problem) = &results.problem {
                let name = &results.name;
                figures
                    .gaps
                    .push(format!("the results of `{name}` are incomplete: {problem}"));
            }
        }
        figures
    }

    fn file(&self, results: &ContainerResults, path: &Path, figures: &mut RoleFigures) {
        let inner = path.strip_prefix(&results.dir).unwrap_or(path);
        let name = format!("{}/{}", results.name, inner.display());
        if !self.result_files.contains(inner) {
            figures.others.excluded.push(&name);
            return;
        }
        let worker = (results.role == Role::Worker).then_some(results.name.as_str());
        let bounded = |file| Bounded {
            file,
            cancelled: &self.cancelled,
            deadline: self.deadline,
        };
        let read = match File::open(path) {
            Ok(file) => figures.tally.read(&name, worker, bounded(file)),
            Err(error) => figures
                .tally
                .read(&name, worker, Unopened(error.to_string())),
        };
        match read {
            Ok(source) if source.format.is_empty() && source.problem.is_none() => {
                figures.others.unrecognised.push(&name);
                if self.result_files.are_selected() {
                    figures.gaps.push(format!(
                        "the result file `{name}` matches `resultFiles`, but its format is not recognised"
                    ));
                }
            }
            Ok(source) => {
                figures.files += 1;
                figures.samples += source.samples;
            }
            Err(_) => {
                figures.files += 1;
                // It may hold samples, so the workers' files must not replace it.
                figures.samples += 1;
            }
        }
    }

    /// Reports containers without samples, if others of their role have some.
    fn without_samples(&self, figures: &RoleFigures) -> Vec<String> {
        if figures.samples == 0 {
            return Vec::new();
        }
        let replicas = match figures.role {
            Role::Master => self.spec.master.replicas,
            _ => self.spec.worker.replicas,
        };
        let all = (1..=replicas).map(|replica| format!("{}.{replica}", figures.role));
        let missing = all.filter(|name| !figures.with_samples.contains(name));
        let missing: Vec<String> = missing.map(|name| format!("`{name}`")).collect();
        let named = missing.get(..10).unwrap_or(&missing).join(", ");
        match missing.len() {
            0 => Vec::new(),
            1..=10 => vec![format!("no samples from {named}")],
            all => vec![format!("no samples from {named} and {} more", all - 10)],
        }
    }
}

/// The figures from the files of one role.
struct RoleFigures {
    tally: Tally,
    role: Role,
    files: usize,
    samples: u64,
    /// Files without figures.
    others: OtherFiles,
    /// The containers with samples.
    with_samples: Vec<String>,
    gaps: Vec<String>,
}

/// The files below a directory, sorted by path; links are not followed.
fn files_below(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut open = vec![dir.to_owned()];
    while let Some(dir) = open.pop() {
        let entries = std::fs::read_dir(&dir).into_iter().flatten().flatten();
        for entry in entries {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => open.push(entry.path()),
                Ok(kind) if kind.is_file() => files.push(entry.path()),
                _ => {}
            }
        }
    }
    files.sort();
    files
}

/// Reads a file until the deadline, unless the reading is cancelled.
struct Bounded<'a> {
    file: File,
    cancelled: &'a AtomicBool,
    deadline: Instant,
}

impl Read for Bounded<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.cancelled.load(Ordering::Relaxed) {
            return Err(io::Error::other("the reading was cancelled"));
        }
        if Instant::now() >= self.deadline {
            let minutes = READING_TIME.as_secs() / 60;
            return Err(io::Error::other(format!(
                "reading the results timed out after {minutes} minutes"
            )));
        }
        self.file.read(into)
    }
}

/// A reader for a file that cannot be opened.
struct Unopened(String);

impl Read for Unopened {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::Error::other(self.0.clone()))
    }
}

#[cfg(test)]
mod tests;
