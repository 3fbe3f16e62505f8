//! Figures from what the containers of a run left in `/atq/results`, and the report that is kept of them:
//! `evidence/<task>/<run>/report.json`.
//!
//! The master's files are read if there are samples in them: a coordinator has those of all its workers.
//! Else every worker's are read, and added up. Reading is streaming, off the runtime, and ends at its
//! deadline or when nobody wants it any more; a file that cannot be read is told, and never fails a run.

mod attempts;
mod figures;

use super::Evidence;
use atq_engine::Role;
use atq_files::if_there;
use atq_report::{Report, Tally};
use atq_task::judge::Measured;
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

/// How long the result files of a run are read.
pub const READING_TIME: Duration = Duration::from_secs(15 * 60);

/// Ends the reading when it is dropped.
struct Unwanted(Arc<AtomicBool>);

impl Drop for Unwanted {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What a container left.
struct Left {
    /// The container, for example `worker.3`.
    name: String,
    role: Role,
    dir: PathBuf,
    /// Why it is not all.
    problem: Option<String>,
}

/// The work of reading all results of a run.
struct Work {
    left: Vec<Left>,
    spec: TaskSpec,
    run: String,
    patterns: Option<GlobSet>,
    unwanted: Arc<AtomicBool>,
    deadline: Instant,
}

impl Evidence {
    /// Works out the figures of a run. Dropped, it ends soon.
    ///
    /// # Errors
    /// When the results cannot be read at all, or reading them has ended the process twice.
    pub async fn figures(&self, spec: &TaskSpec, run: &str) -> Result<(Report, Measured), String> {
        let text = |error: io::Error| format!("the results cannot be read: {error}");
        let kept = self.results(&spec.name, run).await.map_err(text)?;
        let left = kept.into_iter().map(|kept| Left {
            name: kept.source.to_string(),
            role: kept.source.role,
            dir: self.results_dir(&spec.name, run, kept.source),
            problem: kept.problem,
        });
        let unwanted = Unwanted(Arc::default());
        let work = Work {
            left: left.collect(),
            spec: spec.clone(),
            run: run.to_owned(),
            patterns: patterns(&spec.result_files)?,
            unwanted: Arc::clone(&unwanted.0),
            deadline: Instant::now() + READING_TIME,
        };
        let _attempt = Attempt::begin(&self.run_dir(&spec.name, run))?;
        let done = spawn_blocking(move || work.all()).await;
        done.map_err(|error| format!("reading the results failed; this is a bug: {error}"))
    }

    /// Keeps the report of a run.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub async fn keep_report(&self, report: &Report, task: &TaskName, run: &str) -> io::Result<()> {
        self.keep(task, run, "report.json", report).await
    }

    /// The report that is kept of a run.
    ///
    /// # Errors
    /// When it cannot be read; one that is not there is `None`.
    pub async fn report(&self, task: &TaskName, run: &str) -> io::Result<Option<Report>> {
        let path = self.run_dir(task, run).join("report.json");
        let text = if_there(tokio::fs::read(path).await)?;
        Ok(text.map(|text| serde_json::from_slice(&text)).transpose()?)
    }
}

/// `None`: no pattern, so that every file fits.
fn patterns(texts: &[String]) -> Result<Option<GlobSet>, String> {
    let mut set = GlobSet::builder();
    for text in texts {
        set.add(Glob::new(text).map_err(|error| format!("`resultFiles`: {error}"))?);
    }
    let set = set
        .build()
        .map_err(|error| format!("`resultFiles`: {error}"))?;
    Ok((!set.is_empty()).then_some(set))
}

impl Work {
    fn all(self) -> (Report, Measured) {
        let mut read = self.read(Role::Master);
        let mut beside = None;
        if read.samples == 0 {
            let workers = self.read(Role::Worker);
            if workers.samples > 0 || read.files == 0 {
                beside = Some(std::mem::replace(&mut read, workers));
            }
        }
        let incomplete = std::mem::take(&mut read.gaps);
        let silent = self.silent(&read);
        let (finished, readings) =
            figures::finish(read.tally, &self.spec, &self.run, self.patterns.is_some());
        let (mut report, mut doubts) = (finished.report, finished.doubts);
        let mut gaps = finished.gaps;
        gaps.extend(incomplete.into_iter().chain(silent));
        if let Some(beside) = beside {
            // What is missing of the master may have been the samples of all.
            let master = beside.tally.finish("", "");
            let troubled = master.report.sources.into_iter();
            report
                .sources
                .extend(troubled.filter(|source| source.problem.is_some()));
            doubts.extend(master.doubts);
            gaps.extend(beside.gaps.into_iter().chain(master.gaps));
        }
        let measured = Measured {
            files: read.files,
            of_master: read.role == Role::Master,
            samples: report.total.samples,
            dates: figures::dates(&report),
            readings,
            gaps,
            doubts,
        };
        (report, measured)
    }

    fn read(&self, role: Role) -> Told {
        let mut told = Told {
            tally: Tally::new(figures::options(&self.spec.criteria)),
            role,
            files: 0,
            samples: 0,
            tellers: Vec::new(),
            gaps: Vec::new(),
        };
        for left in self.left.iter().filter(|left| left.role == role) {
            let before = told.samples;
            for path in files_below(&left.dir) {
                self.file(left, &path, &mut told);
            }
            if told.samples > before {
                told.tellers.push(left.name.clone());
            }
            if let Some(problem) = &left.problem {
                let name = &left.name;
                told.gaps
                    .push(format!("the results of `{name}` are incomplete: {problem}"));
            }
        }
        told
    }

    fn file(&self, left: &Left, path: &Path, told: &mut Told) {
        let inner = path.strip_prefix(&left.dir).unwrap_or(path);
        if self
            .patterns
            .as_ref()
            .is_some_and(|set| !set.is_match(inner))
        {
            return;
        }
        let name = format!("{}/{}", left.name, inner.display());
        let worker = (left.role == Role::Worker).then_some(left.name.as_str());
        let bounded = |file| Bounded {
            file,
            unwanted: &self.unwanted,
            deadline: self.deadline,
        };
        let read = match File::open(path) {
            Ok(file) => told.tally.read(&name, worker, bounded(file)),
            Err(error) => told.tally.read(&name, worker, Unopened(error.to_string())),
        };
        match read {
            Ok(source) if source.format.is_empty() && source.problem.is_none() => {
                if self.patterns.is_some() {
                    told.gaps.push(format!(
                        "the result file `{name}`: it fits `resultFiles`, but is in none of the known formats"
                    ));
                }
            }
            Ok(source) => {
                told.files += 1;
                told.samples += source.samples;
            }
            Err(_) => {
                told.files += 1;
                // It may have some, whose place nobody else's take.
                told.samples += 1;
            }
        }
    }

    /// Containers without a sample, when others of their role have some: theirs are missing.
    fn silent(&self, told: &Told) -> Vec<String> {
        if told.samples == 0 {
            return Vec::new();
        }
        let replicas = match told.role {
            Role::Master => self.spec.master.replicas,
            _ => self.spec.worker.replicas,
        };
        let all = (1..=replicas).map(|replica| format!("{}.{replica}", told.role));
        let silent: Vec<String> = all.filter(|name| !told.tellers.contains(name)).collect();
        let named: Vec<String> = silent
            .iter()
            .take(10)
            .map(|name| format!("`{name}`"))
            .collect();
        match silent.len() - named.len() {
            _ if silent.is_empty() => Vec::new(),
            0 => vec![format!("there is no sample of {}", named.join(", "))],
            more => vec![format!(
                "there is no sample of {} and {more} more",
                named.join(", ")
            )],
        }
    }
}

/// What the files of a role have told.
struct Told {
    tally: Tally,
    role: Role,
    files: usize,
    samples: u64,
    /// The containers that have samples.
    tellers: Vec<String>,
    gaps: Vec<String>,
}

/// The files below a directory in the order of their paths; links are not followed.
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

/// A file that is read until the deadline, and as long as somebody wants it.
struct Bounded<'a> {
    file: File,
    unwanted: &'a AtomicBool,
    deadline: Instant,
}

impl Read for Bounded<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.unwanted.load(Ordering::Relaxed) {
            return Err(io::Error::other("nobody wants the figures any more"));
        }
        if Instant::now() >= self.deadline {
            let minutes = READING_TIME.as_secs() / 60;
            return Err(io::Error::other(format!(
                "the results of a run are read for {minutes} minutes at most"
            )));
        }
        self.file.read(into)
    }
}

/// A file that cannot be opened.
struct Unopened(String);

impl Read for Unopened {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::Error::other(self.0.clone()))
    }
}

#[cfg(test)]
mod tests;
