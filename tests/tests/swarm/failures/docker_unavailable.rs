//! Docker is unavailable.

use anyhow::{Result, bail, ensure};
use atq_api_spec::task::TaskStatus;
use atq_tests::client::Client;
use atq_tests::director::{binary, free_port};
use atq_tests::engine::Proxy;
use atq_tests::fixture::{Fixture, RUN_TIMEOUT, small_task};
use serde_json::Value;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

async fn until_readiness_is(client: &Client, wanted: u16) -> Result<()> {
    let begun = Instant::now();
    loop {
        let status = client.get("/readyz").await?.status().as_u16();
        if status == wanted {
            return Ok(());
        }
        if begun.elapsed() > Duration::from_secs(30) {
            bail!("/readyz is {status}, not {wanted}");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A Director that cannot become ready. Killed when dropped.
struct Unready {
    child: Child,
    client: Client,
}

impl Unready {
    async fn start(dir: &Path, docker_host: &str) -> Result<Self> {
        let port = free_port()?;
        let config = format!(
            "port: {port}\nglusterpath: {0}/bundles\ndatadir: {0}/data\ndockerHost: {docker_host}\n",
            dir.display()
        );
        std::fs::write(dir.join("controller-config.yaml"), config)?;
        let child = Command::new(binary()?)
            .current_dir(dir)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let client = Client::new(format!("http://127.0.0.1:{port}"))?;
        let director = Self { child, client };
        let begun = Instant::now();
        while director.client.get("/healthz").await.is_err() {
            ensure!(
                begun.elapsed() < Duration::from_secs(30),
                "the Director does not respond"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(director)
    }
}

impl Drop for Unready {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Checks that a PUT without Docker is rejected and stores nothing.
async fn check_rejected(client: &Client, docker_host: &str) -> Result<()> {
    let rejected = client.put(&small_task("unavailable", 1)).await?;
    ensure!(rejected.status() == 503, "{}", rejected.status());
    let body: Value = rejected.json().await?;
    let error = body["error"].as_str().unwrap_or_default();
    println!("PUT without Docker: 503: {error}");
    ensure!(error.contains(docker_host), "{body}");
    ensure!(client.get("/api/task/unavailable").await?.status() == 404);
    Ok(())
}

#[tokio::test]
async fn a_missing_socket_is_named() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let host = format!("unix://{}/no.sock", dir.path().display());
    let director = Unready::start(dir.path(), &host).await?;
    check_rejected(&director.client, &host).await
}

#[tokio::test]
async fn tasks_are_rejected_while_docker_is_unavailable() -> Result<()> {
    let mut proxy = Proxy::start()?;
    let more = format!("dockerHost: {}\n", proxy.url());
    let fixture = Fixture::start_with("test-unavailable", &more).await?;
    let client = fixture.client();
    proxy.stop();
    until_readiness_is(&client, 503).await?;
    check_rejected(&client, &proxy.url()).await?;

    proxy.resume()?;
    until_readiness_is(&client, 200).await?;
    client.start(&small_task("unavailable", 1)).await?;
    let task = client.done("unavailable", RUN_TIMEOUT).await?;
    ensure!(task.status == TaskStatus::Finished, "{task:#?}");
    fixture.finish().await
}
