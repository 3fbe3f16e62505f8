//! A witness of its own to what runs: Docker's events. The Director's records cannot tell that it has
//! started something twice and forgotten about it.

use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// Events come within milliseconds; a loaded Engine may be slower.
const PATIENCE: Duration = Duration::from_secs(10);

type Starts = Arc<Mutex<BTreeMap<(String, String), usize>>>;

/// Counts the starts of containers.
#[derive(Debug)]
pub struct Witness {
    starts: Starts,
    _events: Child,
}

impl Witness {
    /// Counts from now on, for the Director with this id. Containers on other nodes are not seen.
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
        let output = events.stdout.take().context("`docker events` is silent")?;
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

    /// How many containers of a task's role were started so far.
    pub fn starts(&self, task: &str, role: &str) -> usize {
        let key = (task.to_owned(), role.to_owned());
        let starts = self.starts.lock().unwrap_or_else(PoisonError::into_inner);
        starts.get(&key).copied().unwrap_or_default()
    }

    /// Containers that were started in all.
    pub fn total(&self) -> usize {
        let starts = self.starts.lock().unwrap_or_else(PoisonError::into_inner);
        starts.values().sum()
    }

    /// Waits until so many containers of a task's role were started.
    ///
    /// # Errors
    /// When there are more, or still fewer after a while.
    pub async fn until(&self, task: &str, role: &str, wanted: usize) -> Result<()> {
        let begun = Instant::now();
        loop {
            let seen = self.starts(task, role);
            if seen == wanted {
                return Ok(());
            }
            if seen > wanted || begun.elapsed() > PATIENCE {
                bail!("{seen} containers of `{role}` were started instead of {wanted}");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
