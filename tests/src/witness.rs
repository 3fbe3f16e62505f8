//! When Docker knew: a witness beside the Director, who notes what Docker says about each Swarm task
//! and the time that Docker gives for it.

use crate::engine;
use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::task::JoinHandle;

const LOOK: Duration = Duration::from_millis(100);

/// A Swarm task in trouble: ended, or without a node.
#[derive(Debug, Clone)]
pub struct Trouble {
    /// Name of the task that it belongs to.
    pub task: String,
    /// What it is for, for example `worker`.
    pub role: String,
    /// Docker's word for its state.
    pub state: String,
    /// Docker's own reason.
    pub reason: String,
    /// Docker's time of that state: of the node on which it came about.
    pub at: OffsetDateTime,
    /// When it was first seen in the manager's list, which is a little later.
    pub listed: OffsetDateTime,
}

/// Watches the Swarm tasks of one Director. Ends when dropped.
pub struct Witness {
    seen: Arc<Mutex<BTreeMap<String, Trouble>>>,
    watching: JoinHandle<()>,
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SwarmTask {
    #[serde(rename = "ID")]
    id: String,
    spec: Spec,
    status: Status,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Spec {
    container_spec: ContainerSpec,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ContainerSpec {
    labels: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Status {
    timestamp: String,
    state: String,
    #[serde(default)]
    err: String,
}

impl Witness {
    /// Watches what carries the label of the Director `id`.
    ///
    /// # Errors
    /// When there is no way to the Engine.
    pub fn of(id: &str) -> Result<Self> {
        let http = engine::client()?;
        let seen = Arc::<Mutex<BTreeMap<String, Trouble>>>::default();
        let (notes, label) = (Arc::clone(&seen), format!("com.atq.director={id}"));
        let watching = tokio::spawn(async move {
            loop {
                // A look that fails is followed by the next one.
                for (id, trouble) in look(&http, &label).await.unwrap_or_default() {
                    let mut notes = notes.lock().unwrap_or_else(PoisonError::into_inner);
                    notes.entry(id).or_insert(trouble);
                }
                tokio::time::sleep(LOOK).await;
            }
        });
        Ok(Self { seen, watching })
    }

    /// The trouble of the containers of a task in this role that made its failure certain, before
    /// `told`: the first one, but the last try of a wait command.
    pub fn decisive(&self, task: &str, role: &str, told: OffsetDateTime) -> Option<Trouble> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let own = |it: &&Trouble| it.task == task && it.role == role && it.at <= told;
        let own = seen.values().filter(own);
        match role {
            "wait" => own.max_by_key(|it| it.at).cloned(),
            _ => own.min_by_key(|it| it.at).cloned(),
        }
    }
}

async fn look(http: &reqwest::Client, label: &str) -> Result<Vec<(String, Trouble)>> {
    let filters = json!({"label": [label]}).to_string();
    let answer = http
        .get("http://docker/tasks")
        .query(&[("filters", filters)])
        .send()
        .await?;
    let tasks: Vec<SwarmTask> = serde_json::from_str(&answer.text().await?)?;
    tasks
        .into_iter()
        .filter(|task| in_trouble(&task.status))
        .map(|task| Ok((task.id.clone(), trouble(task)?)))
        .collect()
}

fn in_trouble(status: &Status) -> bool {
    let ended = ["complete", "failed", "rejected", "shutdown", "orphaned"];
    ended.contains(&status.state.as_str()) || status.state == "pending" && !status.err.is_empty()
}

fn trouble(task: SwarmTask) -> Result<Trouble> {
    let labels = task.spec.container_spec.labels;
    let label = |name: &str| labels.get(name).cloned().unwrap_or_default();
    Ok(Trouble {
        task: label("com.atq.task"),
        role: label("com.atq.role"),
        state: task.status.state,
        reason: task.status.err,
        at: moment(&task.status.timestamp)?,
        listed: OffsetDateTime::now_utc(),
    })
}

/// A point in time as Docker and the Director write it.
///
/// # Errors
/// When it is none.
pub fn moment(text: &str) -> Result<OffsetDateTime> {
    OffsetDateTime::parse(text, &Rfc3339).with_context(|| format!("`{text}` is no time"))
}
