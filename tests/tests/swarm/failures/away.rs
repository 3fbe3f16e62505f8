//! A Docker that is not there.

use anyhow::{Result, bail, ensure};
use atq_api_spec::task::TaskStatus;
use atq_tests::client::Client;
use atq_tests::director::{binary, free_port};
use atq_tests::engine::Proxy;
use atq_tests::stage::{PATIENCE, Stage, small_task};
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
            ensure!(begun.elapsed() < Duration::from_secs(30), "not alive");
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

/// The answer to a PUT without Docker, after which there is nothing.
async fn refused(client: &Client, docker_host: &str) -> Result<()> {
    let refused = client.put(&small_task("away", 1)).await?;
    ensure!(refused.status() == 503, "{}", refused.status());
    let body: Value = refused.json().await?;
    let error = body["error"].as_str().unwrap_or_default();
    println!("PUT without Docker: 503: {error}");
    ensure!(error.contains(docker_host), "{body}");
    ensure!(client.get("/api/task/away").await?.status() == 404);
    Ok(())
}

#[tokio::test]
async fn a_socket_that_is_not_there_is_named() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let host = format!("unix://{}/no.sock", dir.path().display());
    let director = Unready::start(dir.path(), &host).await?;
    refused(&director.client, &host).await
}

#[tokio::test]
async fn nothing_is_taken_while_docker_is_away() -> Result<()> {
    let mut proxy = Proxy::start()?;
    let more = format!("dockerHost: {}\n", proxy.url());
    let stage = Stage::open_with("test-away", &more).await?;
    let client = stage.client();
    proxy.stop();
    until_readiness_is(&client, 503).await?;
    refused(&client, &proxy.url()).await?;

    proxy.resume()?;
    until_readiness_is(&client, 200).await?;
    client.start(&small_task("away", 1)).await?;
    let task = client.done("away", PATIENCE).await?;
    ensure!(task.status == TaskStatus::Finished, "{task:#?}");
    stage.close().await
}
