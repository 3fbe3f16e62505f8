//! Readers of the API: they ask all the time while something else happens, check every answer, and
//! note how long it took.

use crate::client::Client;
use crate::stats::ms;
use anyhow::{Context, Result, ensure};
use atq_api_spec::task::{Task, TaskList};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// What is asked, by one reader each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Read {
    /// `GET /monitoring/ping`.
    Ping,
    /// `GET /task/{id}`, one task after the other.
    Task,
    /// `GET /task?limit=20`.
    List,
}

impl Read {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Ping, Self::Task, Self::List];

    /// As it is asked.
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
                ensure!(task.id == id, "it is `{}`", task.id);
            }
            Self::List => {
                let list: TaskList = serde_json::from_str(body)?;
                ensure!(!list.tasks.is_empty(), "the list is empty");
            }
        }
        Ok(())
    }
}

/// Milliseconds of each answer, by what was asked.
pub type Answers = Vec<(Read, Vec<f64>)>;

/// Does `work`, and meanwhile asks for the tasks `ids`, which must be there, with `pause` between two
/// questions of the same kind.
///
/// # Errors
/// When the work fails or an answer is not good.
pub async fn while_reading<T>(
    client: &Client,
    ids: &[String],
    pause: Duration,
    work: impl Future<Output = Result<T>>,
) -> Result<(T, Answers)> {
    let over = Arc::new(AtomicBool::new(false));
    // Tasks of their own, so that the work does not hold them up. Aborted when dropped.
    let mut readers: JoinSet<Result<(Read, Vec<f64>)>> = JoinSet::new();
    for read in Read::ALL {
        let reader = Reader {
            client: client.clone(),
            ids: ids.to_vec(),
            pause,
            over: Arc::clone(&over),
        };
        readers.spawn(async move { Ok((read, reader.read(read).await?)) });
    }
    let work = async {
        let done = work.await;
        over.store(true, Ordering::Relaxed);
        done
    };
    let answers = async {
        let mut answers: Answers = Vec::new();
        while let Some(read) = readers.join_next().await {
            answers.push(read??);
        }
        answers.sort_by_key(|(read, _)| *read);
        Ok(answers)
    };
    tokio::try_join!(work, answers)
}

struct Reader {
    client: Client,
    ids: Vec<String>,
    pause: Duration,
    over: Arc<AtomicBool>,
}

impl Reader {
    async fn read(&self, read: Read) -> Result<Vec<f64>> {
        let mut answers = Vec::new();
        for id in self.ids.iter().cycle() {
            if self.over.load(Ordering::Relaxed) {
                break;
            }
            let begun = Instant::now();
            let answer = self.client.get(&read.path(id)).await?;
            let status = answer.status();
            let body = answer.text().await?;
            answers.push(ms(begun.elapsed()));
            ensure!(status == 200, "{}: {status}: {body}", read.name());
            read.check(id, &body)
                .with_context(|| format!("{}: {body}", read.name()))?;
            tokio::time::sleep(self.pause).await;
        }
        Ok(answers)
    }
}
