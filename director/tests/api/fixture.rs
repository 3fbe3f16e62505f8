//! Fixture: a Director without a port, and requests to it.

use async_trait::async_trait;
use atq_access::{Role, Token};
use atq_director::api::{Access, App, Slots, StoreCheck, carriers, router};
use atq_director::config::Config;
use atq_director::metrics::Metrics;
use atq_director::tokens::NewToken;
use atq_director::{Ports, assemble, assemble_with};
use atq_engine::growing::{Growing, GrowingFiles};
use atq_engine_swarm::discovery::{Discovery, DiscoveryError, Probe, Probed};
use atq_engine_swarm::fake::FakeSwarm;
use atq_engine_swarm::node_door::fake::FakeDoor;
use atq_engine_swarm::self_check::fake::FakeSelfCheck;
use atq_engine_swarm::{Swarm, SwarmTask};
use atq_run::Orchestrator;
use atq_run::clock::Clock;
use atq_task::spec::TaskName;
use atq_task::state::State;
use atq_task::timestamp::Timestamp;
use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode, header};
use serde_json::{Value, json};
use std::io::Write;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::watch;
use tower::ServiceExt;

/// Image of all tasks.
pub const IMAGE: &str = "load:1";
/// A secret that no response may contain.
pub const SECRET: &str = "hunter2-is-secret";

/// A Director.
pub struct Director {
    pub router: Router,
    pub access: Access,
    pub metrics: Metrics,
    /// The routes of the port for carriers.
    pub carriers: Router,
    pub swarm: FakeSwarm,
    pub orchestrator: Orchestrator,
    pub recovered: watch::Sender<bool>,
    pub dir: TempDir,
}

/// A response.
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.body)))
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body.to_vec()).unwrap()
    }

    pub fn kind(&self) -> &str {
        self.headers
            .get(header::CONTENT_TYPE)
            .map_or("", |kind| kind.to_str().unwrap())
    }

    pub fn error(&self) -> String {
        self.json()["error"]
            .as_str()
            .unwrap_or_else(|| panic!("no `error`: {}", self.text()))
            .to_owned()
    }
}

impl Director {
    /// A Director with a working Docker.
    pub async fn new() -> Self {
        Self::with("").await
    }

    /// A Director with additional configuration.
    pub async fn with(more: &str) -> Self {
        let swarm = FakeSwarm::new();
        swarm.image("atq-discovery:dev");
        swarm.image("atq-carrier:dev").exits(0);
        swarm.image(IMAGE);
        Self::on(swarm, more).await
    }

    /// A Director whose containers write these result files; its clock follows tokio's time.
    pub async fn with_files(more: &str, files: &GrowingFiles) -> Self {
        let swarm = FakeSwarm::new();
        swarm.image("atq-discovery:dev");
        swarm.image("atq-carrier:dev").exits(0);
        swarm.image(IMAGE);
        Self::assembled(swarm, more, Some(files)).await
    }

    /// A Director on this Swarm.
    pub async fn on(swarm: FakeSwarm, more: &str) -> Self {
        Self::assembled(swarm, more, None).await
    }

    async fn assembled(swarm: FakeSwarm, more: &str, files: Option<&GrowingFiles>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().display();
        // The self-check expects the Director with this id.
        let id = match more.contains("directorId") {
            true => "",
            false => "directorId: any\n",
        };
        let text =
            format!("port: 0\nglusterpath: {path}/bundles\ndatadir: {path}/data\n{id}{more}");
        let config = Config::parse(&text, |_| None).unwrap();
        let ports = Ports {
            self_check: Arc::new(FakeSelfCheck::new("any")),
            swarm: Arc::new(swarm.clone()),
            discovery: Arc::new(FakeSidecars(swarm.clone())),
            node_door: Some(Arc::new(FakeDoor::default())),
        };
        let assembled = match files {
            None => assemble(&config, ports),
            Some(files) => {
                let now = Timestamp::from(time::OffsetDateTime::now_utc());
                assemble_with(&config, ports, Clock::tokio(now), |engine| {
                    Arc::new(Growing::new(engine, files.clone()))
                })
            }
        };
        let assembled = assembled.unwrap();
        let orchestrator = assembled.orchestrator;
        orchestrator.shared().health.wait_for_check().await;
        orchestrator.recover().await.unwrap();
        let (recovered, seen) = watch::channel(true);
        let app = App {
            orchestrator: orchestrator.clone(),
            access: assembled.access.clone(),
            config: Arc::new(config),
            recovered: seen.clone(),
            slots: Slots::default(),
            store_check: StoreCheck::default(),
            metrics: assembled.metrics.clone(),
        };
        Self {
            router: router(app),
            carriers: carriers(
                assembled.engine_routes,
                seen,
                assembled.access.clone(),
                assembled.metrics.http().clone(),
            ),
            metrics: assembled.metrics,
            access: assembled.access,
            swarm,
            orchestrator,
            recovered,
            dir,
        }
    }

    pub async fn send(&self, request: Request<Body>) -> Answer {
        Self::answer(&self.router, request).await
    }

    /// Sends a request to the port for carriers.
    pub async fn send_to_carriers(&self, request: Request<Body>) -> Answer {
        Self::answer(&self.carriers, request).await
    }

    async fn answer(router: &Router, request: Request<Body>) -> Answer {
        let response = router.clone().oneshot(request).await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        Answer {
            status,
            headers,
            body,
        }
    }

    /// Sends a request with a token.
    pub async fn send_as(&self, token: &str, mut request: Request<Body>) -> Answer {
        let value = format!("Bearer {token}").parse().unwrap();
        request.headers_mut().insert(header::AUTHORIZATION, value);
        self.send(request).await
    }

    /// A token of a client with this name, valid until this time in seconds since the Unix epoch.
    pub async fn token_until(&self, name: &str, role: Role, expires: Option<u64>) -> Token {
        let new = NewToken {
            name: name.to_owned(),
            role,
            expires,
        };
        self.access.tokens().create(new).await.unwrap().0
    }

    /// The text of a token that never expires.
    pub async fn token(&self, name: &str, role: Role) -> String {
        self.token_until(name, role, None).await.reveal()
    }

    /// The lines of the audit log.
    pub async fn audit(&self) -> Vec<Value> {
        self.access.audit().flush().await;
        let text = std::fs::read_to_string(self.dir.path().join("data/audit.log")).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    pub async fn call(&self, method: &str, path: &str) -> Answer {
        self.send(request(method, path, Body::empty())).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.call("GET", path).await
    }

    pub async fn get_as(&self, path: &str, accept: &str) -> Answer {
        let mut request = request("GET", path, Body::empty());
        request
            .headers_mut()
            .insert(header::ACCEPT, accept.parse().unwrap());
        self.send(request).await
    }

    pub async fn put(&self, payload: &Value) -> Answer {
        self.send(request("PUT", "/task", Body::from(payload.to_string())))
            .await
    }

    pub async fn upload(&self, name: &str, content: &[u8]) -> Answer {
        self.send(form_request(form(name, content))).await
    }

    /// The internal state of a task.
    pub async fn state(&self, name: &str) -> State {
        let name = TaskName::parse(name).unwrap();
        self.orchestrator.get(&name).await.unwrap().unwrap().state
    }

    /// Polls a task until it is as expected.
    pub async fn until(&self, id: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        for _ in 0..20_000 {
            last = self.get(&format!("/task/{id}")).await.json();
            if wanted(&last) {
                return last;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("never as expected: {last:#}");
    }

    /// Docker's id of the container of a role and slot.
    pub async fn container(&self, role: &str, slot: u32) -> String {
        let tasks = self.swarm.tasks(&Default::default()).await.unwrap();
        let has_role =
            |task: &SwarmTask| task.labels.get("com.atq.role").is_some_and(|r| r == role);
        let task = tasks
            .iter()
            .find(|task| task.slot == slot && has_role(task));
        task.unwrap().container_id.clone().unwrap()
    }

    /// Number of files and directories below the bundles' directory, without the store's own.
    pub fn files(&self) -> usize {
        fn count(dir: &std::path::Path) -> usize {
            let entries = std::fs::read_dir(dir)
                .unwrap()
                .map(|entry| entry.unwrap().path());
            entries
                .map(|path| 1 + if path.is_dir() { count(&path) } else { 0 })
                .sum()
        }
        count(&self.dir.path().join("bundles")) - 3
    }
}

pub fn request(method: &str, path: &str, body: Body) -> Request<Body> {
    Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, "127.0.0.1:8080")
        .body(body)
        .unwrap()
}

const BOUNDARY: &str = "----atq-boundary";

/// A form with one file.
pub fn form(name: &str, content: &[u8]) -> Vec<u8> {
    [
        part("file", name, content),
        format!("--{BOUNDARY}--\r\n").into_bytes(),
    ]
    .concat()
}

/// A part of a form.
pub fn part(field: &str, name: &str, content: &[u8]) -> Vec<u8> {
    let head = format!(
        "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{field}\"; filename=\"{name}\"\r\nContent-Type: application/zip\r\n\r\n"
    );
    [head.as_bytes(), content, b"\r\n"].concat()
}

pub fn form_request(body: impl Into<Body>) -> Request<Body> {
    let mut request = request("POST", "/databind/upload", body.into());
    let kind = format!("multipart/form-data; boundary={BOUNDARY}");
    request
        .headers_mut()
        .insert(header::CONTENT_TYPE, kind.parse().unwrap());
    request
}

/// The last bytes of a form.
pub fn form_end() -> Vec<u8> {
    format!("--{BOUNDARY}--\r\n").into_bytes()
}

/// A zip of these files.
pub fn zip(files: &[(&str, &str)]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, content) in files {
        zip.start_file(*name, zip::write::SimpleFileOptions::default())
            .unwrap();
        zip.write_all(content.as_bytes()).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// A definition.
pub fn payload(name: &str) -> Value {
    let secret = format!("PASSWORD={SECRET}");
    json!({
        "name": name,
        "master": {"alias": "Coordinator", "image": IMAGE, "environment": [secret.clone()]},
        "worker": {"alias": "Minions", "image": IMAGE, "environment": [secret], "replicas": 2},
    })
}

/// Sidecars that resolve the names of the simulated Swarm.
struct FakeSidecars(FakeSwarm);

#[async_trait]
impl Discovery for FakeSidecars {
    async fn health(&self, _: &str) -> Result<(), DiscoveryError> {
        Ok(())
    }

    async fn addresses(
        &self,
        _: &str,
        _: &str,
        name: &str,
        replicas: u32,
        timeout: Duration,
    ) -> Result<Vec<Ipv4Addr>, DiscoveryError> {
        let deadline = tokio::time::Instant::now() + timeout;
        loop {
            let mut found = Vec::new();
            for network in self.0.networks().await.unwrap_or_default() {
                found.extend(self.0.addresses_of(name, &network.id));
            }
            if found.len() >= replicas as usize || tokio::time::Instant::now() >= deadline {
                found.sort_unstable();
                return Ok(found);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    async fn probe(
        &self,
        _: &str,
        _: &str,
        addresses: &[Ipv4Addr],
        _: &Probe,
        _: Duration,
    ) -> Result<Vec<Probed>, DiscoveryError> {
        let ready = |address: &Ipv4Addr| Probed {
            address: *address,
            reason: None,
        };
        Ok(addresses.iter().map(ready).collect())
    }
}
