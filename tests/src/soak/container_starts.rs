//! Counts container starts by Docker's events, independently of the Director: its records would not show a container
//! that it started twice.

use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// Events arrive within milliseconds; a loaded Engine may be slower.
const EVENT_TIMEOUT: Duration = Duration::from_secs(10);

type Starts = Arc<Mutex<BTreeMap<(String, String), usize>>>;

/// Counts the starts of containers.
#[derive(Debug)]
pub struct ContainerStarts {
    starts: Starts,
    _events: Child,
}

impl ContainerStarts {
    /// Starts counting, for the Director with this id. Only containers on this node are counted.
    ///
    /// # Errors
    /// When Docker's command line cannot be run.
    pub fn begin(director: &str) -> Result<Self> {
        let label = format!("label=com.atq.director={director}");
        let format = "{{index .Actor.Attributes \"com.atq.task\"}} {{index .Actor.Attributes \"com.atq.role\"}}";
        let mut events = Command::new("docker")
            .args(["events", "--filter", "type=container", "--filter"])
            .args(["event=start", "--filter", &label, "--format", format])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .spawn()
            .context("cannot run `docker events`")?;
        let output = events
            .stdout
            .take()
            .context("`docker events` has no standard output")?;
        let starts = Starts::default();
        let seen = Arc::clone(&starts);
        tokio::spawn(async move {
            let mut lines = BufReader::new(output).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                if let Some((task, role)) = line.split_once(' ') {
                    let key = (task.to_owned(), role.to_owned());
                    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                    *seen.entry(key).or_insert(0) += 1;
                }
            }
        });
        Ok(Self {
            starts,
            _events: events,
        })
    }

    /// Number of started containers of a task's role.
    pub fn starts(&self, task: &str, role: &str) -> usize {
        let key = (task.to_owned(), role.to_owned());
        let starts = self.starts.lock().unwrap_or_else(PoisonError::into_inner);
        starts.get(&key).copied().unwrap_or_default()
    }

    /// Total number of started containers.
    pub fn total(&self) -> usize {
        let starts = self.starts.lock().unwrap_or_else(PoisonError::into_inner);
        starts.values().sum()
    }

    /// Waits until `expected` containers of a task's role were started.
    ///
    /// # Errors
    /// When there are more, or fewer after the timeout.
    pub async fn until(&self, task: &str, role: &str, expected: usize) -> Result<()> {
        let begun = Instant::now();
        loop {
            let seen = self.starts(task, role);
            if seen == expected {
                return Ok(());
            }
            if seen > expected || begun.elapsed() > EVENT_TIMEOUT {
                bail!("{seen} containers of `{role}` were started instead of {expected}");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
