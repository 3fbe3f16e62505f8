//! The baseline: the same network, sidecar, workers and master, created by direct calls of Docker's API. The difference
//! to it is the overhead of the Director.

use crate::engine::{Engine, POLL_INTERVAL, reaction};
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

/// The image of workers and masters, on both sides.
pub const TOOL: &str = "atq-testload:dev";
/// The image of the sidecar, on both sides.
pub const SIDECAR: &str = "atq-discovery:dev";
/// Timeout of any start.
pub const START_TIMEOUT: Duration = Duration::from_secs(300);
const TOKEN: &str = "baseline";

/// One run of the baseline.
pub struct Baseline<'a> {
    /// The Engine.
    pub engine: &'a Engine,
    /// Number of workers.
    pub workers: u32,
    /// Whether a sidecar reports that the workers are ready, or the list of Swarm tasks.
    pub sidecar: bool,
    /// Interval between two polls of the list of Swarm tasks.
    pub poll_interval: Duration,
}

impl Baseline<'_> {
    /// Creates everything, waits until the master runs, and returns the time since the first call, and the
    /// [`reaction`].
    ///
    /// # Errors
    /// When Docker rejects a request or a container does not run.
    pub async fn until_master_runs(&self) -> Result<(Duration, f64)> {
        let number = next_number();
        let name = format!("bench-baseline-{number}");
        let own = format!("com.atq.bench={name}");
        let master = [own.as_str(), "com.atq.role=master"];
        let begun = Instant::now();
        // Polls from the start, as the measurement of the Director does.
        let running = self
            .engine
            .until_run(&master, 1, self.poll_interval, START_TIMEOUT);
        let ((), ()) = tokio::try_join!(self.make(&name, &own, number), async {
            running.await.map(|_| ())
        })?;
        let duration = begun.elapsed();
        let tasks = self.engine.tasks(&[own.as_str()]).await?;
        Ok((duration, reaction(&tasks)?))
    }

    async fn make(&self, name: &str, own: &str, number: u16) -> Result<()> {
        // 198.18.0.0/15 is reserved for benchmarks (RFC 2544).
        let subnet = format!("198.{}.{}.0/24", 18 + (number >> 8 & 1), number & 0xff);
        let network = self.engine.create_network(name, &subnet).await?;
        let make = Make {
            engine: self.engine,
            name,
            network: &network,
        };
        if self.sidecar {
            tokio::try_join!(make.sidecar(), make.workers(self.workers))?;
            let addresses = self.resolve(own, name).await?;
            return make.master(&addresses).await;
        }
        make.workers(self.workers).await?;
        let workers = [own, "com.atq.role=worker"];
        self.engine
            .until_run(
                &workers,
                self.workers as usize,
                self.poll_interval,
                START_TIMEOUT,
            )
            .await?;
        make.master(&[Ipv4Addr::LOCALHOST]).await
    }

    /// Polls the sidecar until it resolves all workers.
    async fn resolve(&self, own: &str, name: &str) -> Result<Vec<Ipv4Addr>> {
        let begun = Instant::now();
        let sidecar = [own, "com.atq.role=discovery"];
        let tasks = self
            .engine
            .until_tasks(&sidecar, self.poll_interval, START_TIMEOUT, |tasks| {
                tasks.iter().any(|task| task.port().is_some())
            })
            .await?;
        let port = tasks
            .first()
            .and_then(|task| task.port())
            .context("the sidecar has no port")?;
        let http = reqwest::Client::builder().no_proxy().build()?;
        let url = format!(
            "http://127.0.0.1:{port}/api/{}?replicas={}&timeout=5",
            service(name, "worker"),
            self.workers
        );
        while begun.elapsed() < START_TIMEOUT {
            match http.get(&url).bearer_auth(TOKEN).send().await {
                Ok(response) if response.status() == reqwest::StatusCode::OK => {
                    let addresses: Vec<Ipv4Addr> = response.json().await?;
                    if addresses.len() == self.workers as usize {
                        return Ok(addresses);
                    }
                }
                // It listens shortly after its container runs.
                Ok(_) | Err(_) => tokio::time::sleep(POLL_INTERVAL).await,
            }
        }
        bail!(
            "the sidecar does not resolve {} workers after {START_TIMEOUT:?}",
            self.workers
        )
    }
}

struct Make<'a> {
    engine: &'a Engine,
    name: &'a str,
    network: &'a str,
}

impl Make<'_> {
    async fn sidecar(&self) -> Result<()> {
        let mut body = self.service("discovery", SIDECAR, 1);
        body["TaskTemplate"]["ContainerSpec"]["Env"] =
            json!([format!("ATQ_DISCOVERY_TOKEN={TOKEN}")]);
        body["EndpointSpec"]["Ports"] =
            json!([{"Protocol": "tcp", "TargetPort": 9090, "PublishMode": "host"}]);
        self.engine.create_service(body).await.map(|_| ())
    }

    async fn workers(&self, replicas: u32) -> Result<()> {
        let mut body = self.service("worker", TOOL, replicas);
        body["TaskTemplate"]["ContainerSpec"]["Args"] = json!(["worker"]);
        self.engine.create_service(body).await.map(|_| ())
    }

    async fn master(&self, workers: &[Ipv4Addr]) -> Result<()> {
        let addresses: Vec<String> = workers.iter().map(Ipv4Addr::to_string).collect();
        let mut body = self.service("master", TOOL, 1);
        body["TaskTemplate"]["ContainerSpec"]["Args"] = json!(["master"]);
        body["TaskTemplate"]["ContainerSpec"]["Env"] = json!([
            format!("WORKER_CSV_VIPS={}", addresses.join(",")),
            format!("HOLD={}", crate::orchestration::HOLD),
        ]);
        // Like the Director's master, which has a virtual address.
        body["EndpointSpec"]["Mode"] = json!("vip");
        self.engine.create_service(body).await.map(|_| ())
    }

    fn service(&self, role: &str, image: &str, replicas: u32) -> Value {
        let labels =
            json!({"com.atq.test": "bench", "com.atq.bench": self.name, "com.atq.role": role});
        json!({
            "Name": service(self.name, role),
            "Labels": labels,
            "TaskTemplate": {
                "ContainerSpec": {
                    "Image": image, "Labels": labels, "Init": true, "StopGracePeriod": 10_000_000_000_u64,
                },
                "RestartPolicy": {"Condition": "none"},
                "Networks": [{"Target": self.network}],
            },
            "Mode": {"Replicated": {"Replicas": replicas}},
            "EndpointSpec": {"Mode": "dnsrr"},
        })
    }
}

fn service(name: &str, role: &str) -> String {
    format!("{name}-{role}")
}

/// Numbers for names, starting from the process id: a name remains in conflict for seconds after its removal.
fn next_number() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = std::process::id() as u16;
    start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed))
}
