//! The example of MQTT devices, with the commands of its README, against a real broker that counts.

use crate::examples::{blocks, copy, folder, shell};
use anyhow::{Context, Result, ensure};
use atq_api_spec::report::Report;
use atq_tests::client::Client;
use atq_tests::docker::docker;
use atq_tests::fixture::Fixture;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

const EXAMPLE: &str = "mqtt";
const BROKER: &str = "atq-example-mqtt";
const TIMEOUT: Duration = Duration::from_secs(60);

/// The broker of the README. Removed when dropped, also when the test fails.
struct Broker;

impl Drop for Broker {
    fn drop(&mut self) {
        let remove = format!(
            "docker service rm {BROKER}; for i in 1 2 3 4 5 6 7 8 9 10; do \
             docker network inspect {BROKER} || break; docker network rm {BROKER} || sleep 1; done"
        );
        let _ = std::process::Command::new("sh")
            .args(["-c", &remove])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
    }
}

/// Waits until the broker's own counter of received messages has a value.
async fn expect_received(count: u64) -> Result<()> {
    let label = format!("label=com.docker.swarm.service.name={BROKER}");
    let id = docker(&["ps", "-q", "--filter", &label]).await?;
    let begun = Instant::now();
    loop {
        let counters = docker(&["exec", id.trim(), "counters"]).await?;
        if counters.contains(&format!("publish/messages/received {count}\n")) {
            return Ok(());
        }
        ensure!(
            begun.elapsed() < TIMEOUT,
            "expected {count} received messages: {counters}"
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn samples(client: &Client, task: &str, label: &str) -> Result<u64> {
    let report: Report = client
        .get(&format!("/task/{task}/report"))
        .await?
        .json()
        .await?;
    let found = report.labels.iter().find(|figures| figures.name == label);
    Ok(found
        .with_context(|| format!("no label `{label}`"))?
        .figures
        .samples)
}

async fn run_block(heading: &str, folder: &Path, client: &Client) -> Result<()> {
    let command = &blocks(EXAMPLE, heading)?[0];
    let output = shell(command, folder, &client.url).await?;
    ensure!(output.contains("PASS example-mqtt"), "{output}");
    Ok(())
}

#[tokio::test]
async fn the_report_of_mqtt_devices_equals_the_counters_of_the_broker() -> Result<()> {
    let fixture = Fixture::start("test-mqtt-devices").await?;
    let client = fixture.client();
    drop(Broker);
    let broker = Broker;
    let setup = blocks(EXAMPLE, "Something to load")?.join("\n");
    shell(&setup, &folder(EXAMPLE), &client.url).await?;
    let dir = tempfile::tempdir()?;
    let copied = copy(&folder(EXAMPLE), dir.path()).await?;

    run_block("With atq", &copied, &client).await?;
    ensure!(samples(&client, "example-mqtt", "publish").await? == 1000);
    ensure!(samples(&client, "example-mqtt", "connect").await? == 500);
    expect_received(1000).await?;

    run_block("Your own test", &copied, &client).await?;
    ensure!(samples(&client, "example-mqtt-logins", "connect").await? == 10);
    expect_received(1040).await?;

    shell("atq rm example-mqtt-logins", &copied, &client.url).await?;
    shell(&blocks(EXAMPLE, "Tidy up")?[0], &copied, &client.url).await?;
    shell(&blocks(EXAMPLE, "Tidy up")?[1], &copied, &client.url).await?;
    drop(broker);
    fixture.finish().await
}
