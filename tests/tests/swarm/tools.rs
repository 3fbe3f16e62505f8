//! The examples of tools without a master, which `atq-sync` starts on all workers: by `atq init` and `atq run`, as a new user would. The
//! figures of each report are compared with the counters of its system under test.

use anyhow::{Result, ensure};
use atq_api_spec::report::Report;
use atq_tests::client::Client;
use atq_tests::counters::{counter, in_service, rabbitmq_messages, samples};
use atq_tests::example::{Example, Target, shell};
use atq_tests::fixture::Fixture;
use atq_tests::live::report;
use std::time::{Duration, Instant};

const WEB: &str = "atq-example-web";
const MQTT: &str = "atq-example-mqtt";
const COUNTERS_TIMEOUT: Duration = Duration::from_secs(30);

/// Runs an example as a new user would, and checks what holds for all of them.
async fn run(example: Example, client: &Client) -> Result<Report> {
    let dir = tempfile::tempdir()?;
    let folder = example.init(dir.path(), &client.url).await?;
    example.run_with_atq(&folder, client).await?;
    let report = report(client, &example.task()).await?;
    ensure!(report.total.errors == 0, "{:#?}", report.total);
    let log = client.logs(&example.task(), "?service=master").await?;
    ensure!(log.contains("2 tools started; skew"), "{log}");
    Ok(report)
}

/// Runs an example and compares its samples with the requests that the web server has answered. A request of each of `open`
/// connections may be answered without being counted.
async fn compare_requests(example: Example, open: u64, client: &Client) -> Result<()> {
    in_service(WEB, &["requests", "--reset"]).await?;
    let samples = run(example, client).await?.total.samples;
    let answered = counter(&in_service(WEB, &["requests"]).await?, "total")?;
    ensure!(
        (samples..=samples + open).contains(&answered),
        "{}: {samples} samples, {answered} requests",
        example.name
    );
    Ok(())
}

#[tokio::test]
async fn the_samples_of_tools_without_a_master_are_the_requests_that_the_server_answered()
-> Result<()> {
    let fixture = Fixture::start("test-tools").await?;
    let client = fixture.client();
    let target = Target::start(Example::new("vegeta"), &client.url).await?;
    for name in ["vegeta", "artillery", "gatling"] {
        compare_requests(Example::new(name), 0, &client).await?;
    }
    // wrk closes its connections while they wait for a response.
    compare_requests(Example::new("wrk"), 16, &client).await?;
    drop(target);
    fixture.finish().await
}

#[tokio::test]
async fn the_messages_of_perftest_are_those_that_the_broker_counted() -> Result<()> {
    let fixture = Fixture::start("test-perftest").await?;
    let client = fixture.client();
    let example = Example::new("perftest");
    let target = Target::start(example, &client.url).await?;
    let report = run(example, &client).await?;
    let counted = rabbitmq_messages().await?;
    let samples = ["publish", "confirm", "consume"].map(|label| samples(&report, label));
    ensure!(samples[0] > 0, "{:#?}", report.labels);
    ensure!(
        samples == counted,
        "{samples:?} samples, {counted:?} messages"
    );
    drop(target);
    fixture.finish().await
}

/// Waits until the broker has received so many messages; it updates its counters each second.
async fn expect_received(count: u64) -> Result<()> {
    let begun = Instant::now();
    loop {
        let counters = in_service(MQTT, &["counters"]).await?;
        let received = counter(&counters, "publish/messages/received")?;
        if received == count {
            return Ok(());
        }
        ensure!(
            received < count && begun.elapsed() < COUNTERS_TIMEOUT,
            "expected {count} received messages: {counters}"
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test]
async fn the_messages_of_mqtt_devices_are_those_that_the_broker_counted() -> Result<()> {
    let fixture = Fixture::start("test-mqtt").await?;
    let client = fixture.client();
    let example = Example::new("mqtt");
    let target = Target::start(example, &client.url).await?;
    let all = run(example, &client).await?;
    ensure!(samples(&all, "connect") == 500, "{:#?}", all.labels);
    // Twice in 30 s.
    ensure!(samples(&all, "publish") == 1000, "{:#?}", all.labels);
    expect_received(1000).await?;

    let dir = tempfile::tempdir()?;
    let folder = example.init(dir.path(), &client.url).await?;
    let logins = &example.blocks("Your own test")?[0];
    shell(logins, &folder, &client.url).await?;
    let logins = report(&client, "example-mqtt-logins").await?;
    ensure!(samples(&logins, "connect") == 10, "{:#?}", logins.labels);
    expect_received(1040).await?;
    drop(target);
    fixture.finish().await
}
