//! A Docker that is not there.

use anyhow::{Result, bail, ensure};
use atq_api_spec::task::TaskStatus;
use atq_tests::client::Client;
use atq_tests::engine::Proxy;
use atq_tests::stage::{PATIENCE, Stage, small_task};
use serde_json::Value;
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

#[tokio::test]
async fn nothing_is_taken_while_docker_is_away() -> Result<()> {
    let mut proxy = Proxy::start()?;
    let more = format!("dockerHost: {}\n", proxy.url());
    let stage = Stage::open_with("test-away", &more).await?;
    let client = stage.client();
    proxy.stop();
    until_readiness_is(&client, 503).await?;
    let refused = client.put(&small_task("away", 1)).await?;
    ensure!(refused.status() == 503, "{}", refused.status());
    let body: Value = refused.json().await?;
    let error = body["error"].as_str().unwrap_or_default();
    ensure!(error.contains(&proxy.url()), "{body}");
    println!("PUT without Docker: 503: {error}");
    ensure!(client.get("/api/task/away").await?.status() == 404);

    proxy.resume()?;
    until_readiness_is(&client, 200).await?;
    client.start(&small_task("away", 1)).await?;
    let task = client.done("away", PATIENCE).await?;
    ensure!(task.status == TaskStatus::Finished, "{task:#?}");
    stage.close().await
}
