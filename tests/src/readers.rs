//! Readers of the API: they send requests while other work is in progress, check every response, and measure its
//! latency.

use crate::client::Client;
use crate::stats::ms;
use anyhow::{Context, Result, ensure};
use atq_api_spec::task::{Task, TaskList};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// The request of a reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Read {
    /// `GET /monitoring/ping`.
    Ping,
    /// `GET /task/{id}`, for each task in turn.
    Task,
    /// `GET /task?limit=20`.
    List,
}

impl Read {
    /// All requests.
    pub const ALL: [Self; 3] = [Self::Ping, Self::Task, Self::List];

    /// Method and path, for output.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ping => "GET /monitoring/ping",
            Self::Task => "GET /task/{id}",
            Self::List => "GET /task?limit=20",
        }
    }

    fn path(self, id: &str) -> String {
        match self {
            Self::Ping => "/api/monitoring/ping".to_owned(),
            Self::Task => format!("/api/task/{id}"),
            Self::List => "/api/task?limit=20".to_owned(),
        }
    }

    fn check(self, id: &str, body: &str) -> Result<()> {
        match self {
            Self::Ping => ensure!(body == "pong", "`{body}`"),
            Self::Task => {
                let task: Task = serde_json::from_str(body)?;
                ensure!(task.id == id, "the task is `{}`", task.id);
            }
            Self::List => {
                let list: TaskList = serde_json::from_str(body)?;
                ensure!(!list.tasks.is_empty(), "the list is empty");
            }
        }
        Ok(())
    }
}

/// Latencies in milliseconds, by request.
pub type Latencies = Vec<(Read, Vec<f64>)>;

/// Runs `work` while readers request the tasks `ids`, which must exist, with `interval` between two requests of a
/// reader.
///
/// # Errors
/// When the work fails or a response is not as expected.
pub async fn while_reading<T>(
    client: &Client,
    ids: &[String],
    interval: Duration,
    work: impl Future<Output = Result<T>>,
) -> Result<(T, Latencies)> {
    let stop = Arc::new(AtomicBool::new(false));
    // Separate tasks, so that the work does not delay them. Aborted when dropped.
    let mut readers: JoinSet<Result<(Read, Vec<f64>)>> = JoinSet::new();
    for read in Read::ALL {
        let reader = Reader {
            client: client.clone(),
            ids: ids.to_vec(),
            interval,
            stop: Arc::clone(&stop),
        };
        readers.spawn(async move { Ok((read, reader.read(read).await?)) });
    }
    let work = async {
        let done = work.await;
        stop.store(true, Ordering::Relaxed);
        done
    };
    let latencies = async {
        let mut latencies: Latencies = Vec::new();
        while let Some(read) = readers.join_next().await {
            latencies.push(read??);
        }
        latencies.sort_by_key(|(read, _)| *read);
        Ok(latencies)
    };
    tokio::try_join!(work, latencies)
}

struct Reader {
    client: Client,
    ids: Vec<String>,
    interval: Duration,
    stop: Arc<AtomicBool>,
}

impl Reader {
    async fn read(&self, read: Read) -> Result<Vec<f64>> {
        let mut latencies = Vec::new();
        for id in self.ids.iter().cycle() {
            if self.stop.load(Ordering::Relaxed) {
                break;
            }
            let begun = Instant::now();
            let response = self.client.get(&read.path(id)).await?;
            let status = response.status();
            let body = response.text().await?;
            latencies.push(ms(begun.elapsed()));
            ensure!(status == 200, "{}: {status}: {body}", read.name());
            read.check(id, &body)
                .with_context(|| format!("{}: {body}", read.name()))?;
            tokio::time::sleep(self.interval).await;
        }
        Ok(latencies)
    }
}
