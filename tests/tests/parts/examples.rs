//! The long tests of the examples: whole spec files of RabbitMQ PerfTest, twenty thousand MQTT connections, and a killed worker.

use anyhow::{Context, Result, ensure};
use atq_tests::client::Client;
use atq_tests::counters::{containers, counter, in_container, rabbitmq_messages, samples};
use atq_tests::docker::docker;
use atq_tests::example::{Example, Target, shell, shell_within};
use atq_tests::fixture::{Fixture, RUN_TIMEOUT};
use atq_tests::live::report;
use serde_json::{Value, json};
use std::path::Path;
use std::time::{Duration, Instant};

const PERFTEST: Example = Example::new("perftest");
const MQTT: Example = Example::new("mqtt");
const BROKERS: &str = "atq-example-mqtt";
/// Longer than the longest spec file.
const SPEC_TIMEOUT: Duration = Duration::from_secs(1800);
const DEVICES: u64 = 20_000;
/// After a ramp of 134 s, all devices are connected for more than two minutes.
const HOLD: &str = "150s";
const COUNTERS_TIMEOUT: Duration = Duration::from_secs(60);

/// The commands of a block; a line that ends with a backslash continues.
fn commands(block: &str) -> Vec<String> {
    let joined = block.replace("\\\n", " ");
    joined.lines().map(str::to_owned).collect()
}

/// The name that a command gives to its task.
fn name_in(command: &str) -> Result<&str> {
    let mut words = command.split_whitespace();
    words.find(|word| *word == "--name");
    words.next().with_context(|| format!("no name: {command}"))
}

#[tokio::test]
async fn perftest_runs_whole_spec_files_and_counts_what_the_broker_counted() -> Result<()> {
    let fixture = Fixture::start("test-specs").await?;
    let client = fixture.client();
    let target = Target::start(PERFTEST, &client.url).await?;
    let dir = tempfile::tempdir()?;
    let folder = PERFTEST.init(dir.path(), &client.url).await?;
    let block = &PERFTEST.blocks("Your own test")?[0];
    for command in commands(block) {
        let before = rabbitmq_messages().await?;
        shell_within(SPEC_TIMEOUT, &command, &folder, &client.url).await?;
        let after = rabbitmq_messages().await?;
        let name = name_in(&command)?;
        let report = report(&client, name).await?;
        let published = [samples(&report, "publish"), after[0] - before[0]];
        let consumed = [samples(&report, "consume"), after[2] - before[2]];
        println!(
            "perftest {name}: {} published, {} consumed, as many as the broker counted; {} labels",
            published[0],
            consumed[0],
            report.labels.len()
        );
        ensure!(
            published[0] > 0 && published[0] == published[1],
            "{published:?}"
        );
        ensure!(
            consumed[0] > 0 && consumed[0] == consumed[1],
            "{consumed:?}"
        );
    }
    drop(target);
    fixture.finish().await
}

/// Sets the value after an option in a list of arguments.
fn set_option(args: &mut Value, option: &str, value: &str) -> Result<()> {
    let args = args.as_array_mut().context("no list of arguments")?;
    let at = args.iter().position(|arg| arg == option);
    let next = at.and_then(|at| args.get_mut(at + 1));
    *next.with_context(|| format!("no `{option}`"))? = json!(value);
    Ok(())
}

/// The example with 20,000 devices.
fn twenty_thousand(folder: &Path) -> Result<Value> {
    let text = std::fs::read_to_string(folder.join("task.json"))?;
    let mut task: Value = serde_json::from_str(&text)?;
    set_option(&mut task["worker"]["args"], "--ramp", "150")?;
    set_option(&mut task["worker"]["args"], "--duration", HOLD)?;
    task["master"]["args"] = json!([
        "atq-sync",
        "master",
        "--share",
        format!("devices={DEVICES}")
    ]);
    let messages = DEVICES * 10;
    task["criteria"] = json!([
        "errors = 0",
        format!("samples of connect = {DEVICES}"),
        format!("samples of publish = {messages}"),
    ]);
    Ok(task)
}

/// The messages that all brokers have received; they update their counters each second.
async fn expect_received(count: u64) -> Result<()> {
    let begun = Instant::now();
    loop {
        let mut received = 0;
        for id in containers(BROKERS).await? {
            let counters = in_container(&id, &["counters"]).await?;
            received += counter(&counters, "publish/messages/received")?;
        }
        if received == count {
            return Ok(());
        }
        ensure!(
            received < count && begun.elapsed() < COUNTERS_TIMEOUT,
            "expected {count} received messages, {received} were counted"
        );
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

#[tokio::test]
async fn two_workers_hold_20000_mqtt_connections() -> Result<()> {
    let fixture = Fixture::start("test-devices").await?;
    let client = fixture.client();
    let target = Target::start(MQTT, &client.url).await?;
    docker(&["service", "scale", &format!("{BROKERS}=2")]).await?;
    let dir = tempfile::tempdir()?;
    let folder = MQTT.init(dir.path(), &client.url).await?;
    let task = twenty_thousand(&folder)?;
    std::fs::write(folder.join("task.json"), task.to_string())?;
    let command = "atq run task.json --bundle bundle";
    shell_within(SPEC_TIMEOUT, command, &folder, &client.url).await?;
    expect_received(DEVICES * 10).await?;
    let report = report(&client, &MQTT.task()).await?;
    println!(
        "20000 connections: {} connected, {} messages acknowledged, as many as the brokers counted",
        samples(&report, "connect"),
        samples(&report, "publish")
    );
    drop(target);
    fixture.finish().await
}

/// Waits until the tools of an example have started.
async fn until_started(client: &Client, task: &str) -> Result<()> {
    let begun = Instant::now();
    while !client
        .logs(task, "?service=master")
        .await
        .is_ok_and(|log| log.contains("tools started; skew"))
    {
        ensure!(begun.elapsed() < RUN_TIMEOUT, "`{task}` has not started");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Ok(())
}

async fn kill_worker(client: &Client, task: &str) -> Result<()> {
    until_started(client, task).await?;
    let filter = format!("label=com.atq.task={task}");
    let role = "label=com.atq.role=worker";
    let ids = docker(&["ps", "--quiet", "--filter", &filter, "--filter", role]).await?;
    let id = ids.lines().next().context("no worker runs")?;
    docker(&["kill", id]).await?;
    Ok(())
}

/// A killed worker is named, and the test does not pass.
async fn lose_worker(example: Example, client: &Client) -> Result<()> {
    let target = Target::start(example, &client.url).await?;
    let dir = tempfile::tempdir()?;
    let folder = example.init(dir.path(), &client.url).await?;
    let command = "atq run task.json --bundle bundle || echo exit code $?";
    let task = example.task();
    let (output, killed) = tokio::join!(
        shell(command, &folder, &client.url),
        kill_worker(client, &task)
    );
    killed?;
    let output = output?;
    ensure!(output.contains("exit code 3"), "{output}");
    let log = client.logs(&task, "?service=master").await?;
    let line = log.lines().find(|line| line.contains(": lost: "));
    println!("{}: {}", example.name, line.with_context(|| log.clone())?);
    drop(target);
    Ok(())
}

#[tokio::test]
async fn a_killed_worker_of_perftest_and_of_mqtt_is_named() -> Result<()> {
    let fixture = Fixture::start("test-lost-workers").await?;
    for example in [PERFTEST, MQTT] {
        lose_worker(example, &fixture.client()).await?;
    }
    fixture.finish().await
}
