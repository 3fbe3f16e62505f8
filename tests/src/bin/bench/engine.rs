//! The Engine's own API over its socket: what the floor is made of, and the clock of all
//! measurements. Not the Director's client, so that a mistake there is not measured away.

use anyhow::{Context, Result, bail};
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Label of everything that the floor makes.
pub const FLOOR_LABEL: &str = "com.atq.test=bench";
/// Label of everything that the measured Director makes.
pub const DIRECTOR_LABEL: &str = "com.atq.director=bench";
/// Time between two looks at Docker's list of Swarm tasks.
pub const LOOK: Duration = Duration::from_millis(20);
const GONE: Duration = Duration::from_secs(120);

/// Docker's Engine. Cheap to clone; keeps its connections.
#[derive(Clone)]
pub struct Engine {
    http: reqwest::Client,
}

/// A Swarm task, as far as the benchmark cares.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct SwarmTask {
    /// Its state.
    pub status: Status,
}

/// State of a Swarm task.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Status {
    /// Docker's word, for example `running`.
    pub state: String,
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
    /// Whether its container runs, or has run to its end.
    pub fn has_run(&self) -> bool {
        matches!(self.status.state.as_str(), "running" | "complete")
    }

    /// Whether it has ended by itself and well.
    pub fn complete(&self) -> bool {
        self.status.state == "complete"
    }

    /// Port of the node under which its port is published.
    pub fn port(&self) -> Option<u16> {
        let ports = self.status.port_status.ports.as_ref()?;
        ports
            .iter()
            .map(|port| port.published_port)
            .find(|port| *port != 0)
    }

    fn broken(&self) -> bool {
        matches!(
            self.status.state.as_str(),
            "failed" | "rejected" | "orphaned"
        )
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Created {
    #[serde(alias = "ID")]
    id: String,
}

impl Engine {
    /// The Engine of this machine: the socket in `DOCKER_HOST`, else the usual one.
    ///
    /// # Errors
    /// When `DOCKER_HOST` names no socket.
    pub fn local() -> Result<Self> {
        let host = std::env::var("DOCKER_HOST").unwrap_or_default();
        let socket = match host.strip_prefix("unix://") {
            Some(path) => PathBuf::from(path),
            None if host.is_empty() => PathBuf::from("/var/run/docker.sock"),
            None => bail!(
                "DOCKER_HOST is `{host}`; expected `unix://...`: only an Engine of this machine can be measured"
            ),
        };
        // An error means that a provider is installed already.
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
        let answer = request
            .send()
            .await
            .with_context(|| format!("{method} {path} of Docker"))?;
        Ok((answer.status(), answer.text().await?))
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
        let (status, answer) = self.call(Method::POST, path, &[], Some(body)).await?;
        if status != StatusCode::CREATED {
            bail!("POST {path} of Docker: {status}: {answer}");
        }
        Ok(serde_json::from_str::<Created>(&answer)?.id)
    }

    /// Creates an overlay network; gives its id.
    ///
    /// # Errors
    /// When Docker refuses.
    pub async fn create_network(&self, name: &str, subnet: &str) -> Result<String> {
        let body = json!({
            "Name": name, "Driver": "overlay", "Attachable": true, "CheckDuplicate": true,
            "Labels": {"com.atq.test": "bench"},
            "IPAM": {"Driver": "default", "Config": [{"Subnet": subnet}]},
        });
        self.create("/networks/create", body).await
    }

    /// Creates a service; gives its id.
    ///
    /// # Errors
    /// When Docker refuses.
    pub async fn create_service(&self, body: Value) -> Result<String> {
        self.create("/services/create", body).await
    }

    /// Swarm tasks of the services with all these labels.
    ///
    /// # Errors
    /// When Docker does not answer.
    pub async fn tasks(&self, labels: &[&str]) -> Result<Vec<SwarmTask>> {
        self.list("/tasks", json!({ "label": labels })).await
    }

    /// Waits until `wanted` Swarm tasks under these labels run or have run, and gives them.
    ///
    /// # Errors
    /// When one fails, or `patience` is over.
    pub async fn until_run(
        &self,
        labels: &[&str],
        wanted: usize,
        pause: Duration,
        patience: Duration,
    ) -> Result<Vec<SwarmTask>> {
        self.until_tasks(labels, pause, patience, |tasks| {
            tasks.iter().filter(|task| task.has_run()).count() >= wanted
        })
        .await
    }

    /// Waits until the list of Swarm tasks under these labels is as `reached` wants it.
    ///
    /// # Errors
    /// When one fails, or `patience` is over.
    pub async fn until_tasks(
        &self,
        labels: &[&str],
        pause: Duration,
        patience: Duration,
        reached: impl Fn(&[SwarmTask]) -> bool,
    ) -> Result<Vec<SwarmTask>> {
        let begun = Instant::now();
        loop {
            let tasks = self.tasks(labels).await?;
            if reached(&tasks) {
                return Ok(tasks);
            }
            if let Some(task) = tasks.iter().find(|task| task.broken()) {
                let status = &task.status;
                let why = status.err.as_deref().unwrap_or("no reason given");
                bail!(
                    "a Swarm task under {labels:?} ended `{}`: {why}",
                    status.state
                );
            }
            if begun.elapsed() > patience {
                bail!(
                    "{} Swarm tasks under {labels:?} are not there yet after {patience:?}",
                    tasks.len()
                );
            }
            tokio::time::sleep(pause).await;
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

    /// Removes all that has this label, and waits until also its containers are gone.
    ///
    /// # Errors
    /// When something is left after two minutes.
    pub async fn sweep(&self, label: &str) -> Result<()> {
        for id in self.ids("/services", label).await? {
            self.call(Method::DELETE, &format!("/services/{id}"), &[], None)
                .await?;
        }
        let begun = Instant::now();
        loop {
            // A network that goes before the last container leaks addresses: containers first.
            let containers = self.ids("/containers/json", label).await?.len()
                + self.ids("/tasks", label).await?.len();
            let networks = self.ids("/networks", label).await?;
            if containers == 0 && networks.is_empty() {
                return Ok(());
            }
            if containers == 0 {
                for id in &networks {
                    // "Still in use" is looked at again.
                    self.call(Method::DELETE, &format!("/networks/{id}"), &[], None)
                        .await?;
                }
            }
            if begun.elapsed() > GONE {
                bail!(
                    "{containers} containers and {} networks with the label `{label}` are left after {GONE:?}",
                    networks.len()
                );
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}
