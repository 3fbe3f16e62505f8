//! A client of the Engine's API over its socket, used by the baseline and to observe the Swarm tasks of both sides. It is
//! independent of the Director's client.

use anyhow::{Context, Result, bail};
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use time::OffsetDateTime;

/// Label of all objects of the baseline.
pub const BASELINE_LABEL: &str = "com.atq.test=bench";
/// Label of all objects of the measured Director.
pub const DIRECTOR_LABEL: &str = "com.atq.director=bench";
/// Interval between two polls of Docker's list of Swarm tasks.
pub const POLL_INTERVAL: Duration = Duration::from_millis(20);
const REMOVE_TIMEOUT: Duration = Duration::from_secs(120);

/// A client of the Engine. Cheap to clone; keeps its connections open.
#[derive(Clone)]
pub struct Engine {
    http: reqwest::Client,
}

/// The fields of a Swarm task that the benchmark needs.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct SwarmTask {
    /// Its state.
    pub status: Status,
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
    #[serde(default)]
    spec: Spec,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Spec {
    #[serde(default)]
    container_spec: ContainerSpec,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ContainerSpec {
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

/// State of a Swarm task.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Status {
    /// Docker's name of it, for example `running`.
    pub state: String,
    #[serde(with = "time::serde::rfc3339")]
    timestamp: OffsetDateTime,
    #[serde(default)]
    err: Option<String>,
    #[serde(default)]
    port_status: PortStatus,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PortStatus {
    #[serde(default)]
    ports: Option<Vec<Port>>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Port {
    #[serde(default)]
    published_port: u16,
}

impl SwarmTask {
    /// Whether its container runs or has completed.
    pub fn has_run(&self) -> bool {
        matches!(self.status.state.as_str(), "running" | "complete")
    }

    /// Whether it has ended successfully.
    pub fn complete(&self) -> bool {
        self.status.state == "complete"
    }

    /// Its published port on the node.
    pub fn port(&self) -> Option<u16> {
        let ports = self.status.port_status.ports.as_ref()?;
        ports
            .iter()
            .map(|port| port.published_port)
            .find(|port| *port != 0)
    }

    /// Whether its container has the role `role` in a run.
    fn is(&self, role: &str) -> bool {
        let labels = &self.spec.container_spec.labels;
        labels.get("com.atq.role").is_some_and(|own| own == role)
    }

    fn failed(&self) -> bool {
        matches!(
            self.status.state.as_str(),
            "failed" | "rejected" | "orphaned"
        )
    }
}

/// Milliseconds from the start of the last worker to the creation of the master's Swarm task, by Docker's own times.
/// Unlike the times of whole starts, it does not depend on how long containers take.
///
/// # Errors
/// When the workers or the master are missing.
pub fn reaction(tasks: &[SwarmTask]) -> Result<f64> {
    let workers = tasks.iter().filter(|task| task.is("worker"));
    let last = workers.map(|task| task.status.timestamp).max();
    let last = last.context("there is no worker")?;
    let master = tasks.iter().find(|task| task.is("master"));
    let master = master.context("there is no master")?;
    Ok((master.created_at - last).as_seconds_f64() * 1000.0)
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Created {
    #[serde(alias = "ID")]
    id: String,
}

impl Engine {
    /// The local Engine, through the socket in `DOCKER_HOST` or the default one.
    ///
    /// # Errors
    /// When `DOCKER_HOST` is not a socket.
    pub fn local() -> Result<Self> {
        let host = std::env::var("DOCKER_HOST").unwrap_or_default();
        let socket = match host.strip_prefix("unix://") {
            Some(path) => PathBuf::from(path),
            None if host.is_empty() => PathBuf::from("/var/run/docker.sock"),
            None => bail!(
                "DOCKER_HOST is `{host}`; expected `unix://...`: only a local Engine can be measured"
            ),
        };
        // An error means that a provider is already installed.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().unix_socket(socket).build()?;
        Ok(Self { http })
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, String)],
        body: Option<Value>,
    ) -> Result<(StatusCode, String)> {
        let mut request = self
            .http
            .request(method.clone(), format!("http://docker{path}"))
            .query(query);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request
            .send()
            .await
            .with_context(|| format!("{method} {path} of Docker"))?;
        Ok((response.status(), response.text().await?))
    }

    async fn list<T: serde::de::DeserializeOwned>(
        &self,
        path: &str,
        filters: Value,
    ) -> Result<Vec<T>> {
        let query = [("filters", filters.to_string()), ("all", "1".to_owned())];
        let (status, body) = self.call(Method::GET, path, &query, None).await?;
        if !status.is_success() {
            bail!("GET {path} of Docker: {status}: {body}");
        }
        serde_json::from_str(&body).with_context(|| format!("GET {path} of Docker"))
    }

    async fn create(&self, path: &str, body: Value) -> Result<String> {
        let (status, response) = self.call(Method::POST, path, &[], Some(body)).await?;
        if status != StatusCode::CREATED {
            bail!("POST {path} of Docker: {status}: {response}");
        }
        Ok(serde_json::from_str::<Created>(&response)?.id)
    }

    /// Creates an overlay network and returns its id.
    ///
    /// # Errors
    /// When Docker rejects it.
    pub async fn create_network(&self, name: &str, subnet: &str) -> Result<String> {
        let body = json!({
            "Name": name, "Driver": "overlay", "Attachable": true, "CheckDuplicate": true,
            "Labels": {"com.atq.test": "bench"},
            "IPAM": {"Driver": "default", "Config": [{"Subnet": subnet}]},
        });
        self.create("/networks/create", body).await
    }

    /// Creates a service and returns its id.
    ///
    /// # Errors
    /// When Docker rejects it.
    pub async fn create_service(&self, body: Value) -> Result<String> {
        self.create("/services/create", body).await
    }

    /// Swarm tasks of the services with all these labels.
    ///
    /// # Errors
    /// When Docker does not respond.
    pub async fn tasks(&self, labels: &[&str]) -> Result<Vec<SwarmTask>> {
        self.list("/tasks", json!({ "label": labels })).await
    }

    /// Waits until `expected` Swarm tasks with these labels run or have completed, and returns them.
    ///
    /// # Errors
    /// When one fails, or on a timeout.
    pub async fn until_run(
        &self,
        labels: &[&str],
        expected: usize,
        interval: Duration,
        timeout: Duration,
    ) -> Result<Vec<SwarmTask>> {
        self.until_tasks(labels, interval, timeout, |tasks| {
            tasks.iter().filter(|task| task.has_run()).count() >= expected
        })
        .await
    }

    /// Polls the Swarm tasks with these labels until `reached` returns true.
    ///
    /// # Errors
    /// When one fails, or on a timeout.
    pub async fn until_tasks(
        &self,
        labels: &[&str],
        interval: Duration,
        timeout: Duration,
        reached: impl Fn(&[SwarmTask]) -> bool,
    ) -> Result<Vec<SwarmTask>> {
        let begun = Instant::now();
        loop {
            let tasks = self.tasks(labels).await?;
            if reached(&tasks) {
                return Ok(tasks);
            }
            if let Some(task) = tasks.iter().find(|task| task.failed()) {
                let status = &task.status;
                let why = status.err.as_deref().unwrap_or("no reason given");
                bail!(
                    "a Swarm task with {labels:?} ended `{}`: {why}",
                    status.state
                );
            }
            if begun.elapsed() > timeout {
                bail!(
                    "timeout of {timeout:?}: {} Swarm tasks with {labels:?} are not in the expected state",
                    tasks.len()
                );
            }
            tokio::time::sleep(interval).await;
        }
    }

    async fn ids(&self, path: &str, label: &str) -> Result<Vec<String>> {
        #[derive(Deserialize)]
        struct Object {
            #[serde(alias = "ID", alias = "Id")]
            id: String,
        }
        let objects: Vec<Object> = self.list(path, json!({ "label": [label] })).await?;
        Ok(objects.into_iter().map(|object| object.id).collect())
    }

    /// Removes all objects with this label and waits until their containers are gone.
    ///
    /// # Errors
    /// When something is left after two minutes.
    pub async fn remove_all(&self, label: &str) -> Result<()> {
        for id in self.ids("/services", label).await? {
            self.call(Method::DELETE, &format!("/services/{id}"), &[], None)
                .await?;
        }
        let begun = Instant::now();
        loop {
            // Removing a network before its last container leaks addresses.
            let containers = self.ids("/containers/json", label).await?.len()
                + self.ids("/tasks", label).await?.len();
            let networks = self.ids("/networks", label).await?;
            if containers == 0 && networks.is_empty() {
                return Ok(());
            }
            if containers == 0 {
                for id in &networks {
                    // After an error ("in use"), the next iteration retries.
                    self.call(Method::DELETE, &format!("/networks/{id}"), &[], None)
                        .await?;
                }
            }
            if begun.elapsed() > REMOVE_TIMEOUT {
                bail!(
                    "{containers} containers and {} networks with the label `{label}` are left after {REMOVE_TIMEOUT:?}",
                    networks.len()
                );
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}
