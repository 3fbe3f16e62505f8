//! Bundles are delivered to every node and removed from there.

use crate::{failure, long_task};
use anyhow::{Context, Result, ensure};
use atq_api_spec::task::{Step, TaskStatus};
use atq_tests::bundle::zip;
use atq_tests::fixture::{RUN_TIMEOUT, with};
use atq_tests::nodes::{ALL, Nodes, NodesFixture};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Write;
use std::time::Instant;

/// The volumes of bundles on a node.
async fn bundle_volumes(nodes: &Nodes, node: u8) -> Result<Vec<String>> {
    let args = ["volume", "ls", "-q", "--filter", "label=com.atq.bundle"];
    let names = nodes.docker(node, &args).await?;
    Ok(names.lines().map(str::to_owned).collect())
}

async fn check_no_volumes(nodes: &Nodes) -> Result<()> {
    for node in ALL {
        let left = bundle_volumes(nodes, node).await?;
        ensure!(left.is_empty(), "on node {node}: {left:?}");
    }
    Ok(())
}

/// Whether the bundle was fetched, by node.
async fn fetched(fixture: &NodesFixture<'_>, task: &str) -> Result<BTreeMap<u8, bool>> {
    let ids = fixture.nodes.by_id().await?;
    let events = fixture
        .director
        .client
        .events(task, "bundlesDelivered")
        .await?;
    let event = serde_json::to_value(events.first().context("nothing was delivered")?)?;
    let delivered = event.pointer("/data/nodes").and_then(Value::as_array);
    let delivered = delivered.with_context(|| event.to_string())?;
    let entry = |node: &Value| {
        let id = node["node"].as_str()?;
        Some((*ids.get(id)?, node["fetched"] == json!(true)))
    };
    Ok(delivered.iter().filter_map(entry).collect())
}

/// A long task with the bundle for workers and master.
fn task_with_bundle(name: &str, bundle: &str) -> Value {
    let task = with(long_task(name, 6), "/worker/fileid", bundle);
    with(task, "/master/fileid", bundle)
}

/// Reads a file of the bundle in every container of the task, on all nodes.
async fn read_everywhere(
    fixture: &NodesFixture<'_>,
    task: &str,
    path: &str,
) -> Result<Vec<String>> {
    let label = format!("label=com.atq.task={task}");
    let mut read = Vec::new();
    for node in ALL {
        for role in ["worker", "master"] {
            let role = format!("label=com.atq.role={role}");
            let args = ["ps", "-q", "--filter", &label, "--filter", &role];
            for container in fixture.nodes.docker(node, &args).await?.lines() {
                read.push(
                    fixture
                        .nodes
                        .docker(node, &["exec", container, "cat", path])
                        .await?,
                );
            }
        }
    }
    Ok(read)
}

async fn stop(fixture: &NodesFixture<'_>, task: &str) -> Result<()> {
    let client = &fixture.director.client;
    client.stop(task).await?;
    let done = client.done(task, RUN_TIMEOUT).await?;
    ensure!(done.status == TaskStatus::Stopped, "{done:#?}");
    Ok(())
}

async fn delete_bundle(fixture: &NodesFixture<'_>, id: &str) -> Result<()> {
    let (status, body) = fixture.director.client.delete_bundle(id).await?;
    ensure!(status == 204, "{status} {body}");
    check_no_volumes(fixture.nodes).await
}

pub async fn bundles_delivered(nodes: &Nodes) -> Result<String> {
    let fixture = NodesFixture::start(nodes, "nodes-push", "").await?;
    let client = &fixture.director.client;
    let rows: Vec<String> = (1..=60).map(|n| format!("user{n}\n")).collect();
    let users = format!("name\n{}", rows.concat());
    let id = client
        .upload(zip(&[
            ("hello.txt", b"from the bundle"),
            ("users.csv", users.as_bytes()),
        ])?)
        .await?;
    let task = task_with_bundle("push", &id);
    client.start(&task).await?;
    let running = client
        .until("push", RUN_TIMEOUT, |task| task.step >= Step::Running)
        .await?;
    ensure!(running.failure.is_none(), "{running:#?}");
    let read = read_everywhere(&fixture, "push", "/atq/data/hello.txt").await?;
    ensure!(read == ["from the bundle"; 7], "{read:?}");
    let first = fetched(&fixture, "push").await?;
    ensure!(first == ALL.map(|node| (node, true)).into(), "{first:?}");
    stop(&fixture, "push").await?;

    let split = json!([{"path": "users.csv", "header": true}]);
    let again = with(with(task, "/name", "push-split"), "/worker/split", split);
    client.start(&again).await?;
    client
        .until("push-split", RUN_TIMEOUT, |task| task.step >= Step::Running)
        .await?;
    let mut parts = read_everywhere(&fixture, "push-split", "/atq/data/users.csv").await?;
    parts.retain(|part| part.trim() != users.trim());
    ensure!(parts.len() == 6, "{parts:?}");
    let mut seen: Vec<&str> = parts.iter().flat_map(|part| part.lines().skip(1)).collect();
    seen.sort_unstable();
    let mut all: Vec<&str> = rows.iter().map(|row| row.trim_end()).collect();
    all.sort_unstable();
    ensure!(seen == all, "{seen:?}");
    stop(&fixture, "push-split").await?;
    let volumes = bundle_volumes(nodes, 3).await?.len();
    delete_bundle(&fixture, &id).await?;
    fixture.finish().await?;
    Ok(format!(
        "7 containers on three nodes read it; 60 rows split among 6 workers; {volumes} volumes on node 3, none after DELETE"
    ))
}

pub async fn bundle_to_late_node(nodes: &Nodes) -> Result<String> {
    let fixture = NodesFixture::start(nodes, "nodes-late", "").await?;
    let client = &fixture.director.client;
    let id = client.upload(zip(&[("hello.txt", b"hi")])?).await?;
    nodes.control("stop", 3)?;
    nodes.until_status(3, "Down").await?;
    client.start(&task_with_bundle("late-1", &id)).await?;
    let running = client
        .until("late-1", RUN_TIMEOUT, |task| task.step >= Step::Running)
        .await?;
    ensure!(running.failure.is_none(), "{running:#?}");
    ensure!(fetched(&fixture, "late-1").await? == [(1, true), (2, true)].into());
    stop(&fixture, "late-1").await?;
    nodes.control("start", 3)?;
    nodes.until_status(3, "Ready").await?;
    client.start(&task_with_bundle("late-2", &id)).await?;
    let running = client
        .until("late-2", RUN_TIMEOUT, |task| task.step >= Step::Running)
        .await?;
    ensure!(running.failure.is_none(), "{running:#?}");
    let second = fetched(&fixture, "late-2").await?;
    ensure!(
        second == [(1, false), (2, false), (3, true)].into(),
        "{second:?}"
    );
    let read = read_everywhere(&fixture, "late-2", "/atq/data/hello.txt").await?;
    ensure!(read == ["hi"; 7], "{read:?}");
    stop(&fixture, "late-2").await?;

    // A node that is down keeps its volume, is named in the message, and removes the volume after it rejoins.
    nodes.control("stop", 3)?;
    nodes.until_status(3, "Down").await?;
    let (status, body) = client.delete_bundle(&id).await?;
    ensure!(
        status == 500 && body.contains("node `atq-node3` is down"),
        "{status} {body}"
    );
    nodes.control("start", 3)?;
    nodes.until_status(3, "Ready").await?;
    delete_bundle(&fixture, &id).await?;
    fixture.finish().await?;
    Ok(
        "it got the bundle before the next task, and kept its volume only while it was down"
            .to_owned(),
    )
}

/// The volume on node 2 is too small.
pub async fn bundle_on_full_disk(nodes: &Nodes) -> Result<String> {
    let fixture = NodesFixture::start(nodes, "nodes-full", "").await?;
    let client = &fixture.director.client;
    let root = nodes
        .docker(2, &["info", "--format", "{{.DockerRootDir}}"])
        .await?;
    let mut noise = vec![0; 8 << 20];
    fastrand::Rng::new().fill(&mut noise);
    let id = client.upload(zip(&[("noise", &noise)])?).await?;
    let name = format!("atq-bundle-nodes-fu-{id}");
    let labels = [
        "com.atq.director=nodes-full".to_owned(),
        format!("com.atq.bundle={id}"),
    ];
    let args = [
        "volume",
        "create",
        "--label",
        &labels[0],
        "--label",
        &labels[1],
        "--opt",
        "type=tmpfs",
        "--opt",
        "device=tmpfs",
        "--opt",
        "o=size=1m",
        &name,
    ];
    nodes.docker(2, &args).await?;
    client.start(&task_with_bundle("full", &id)).await?;
    let done = client.done("full", RUN_TIMEOUT).await?;
    let failure = failure(&done)?;
    ensure!(failure.code == "delivery_failed", "{failure:?}");
    ensure!(
        failure
            .message
            .starts_with("2 of 3 nodes have the bundle; node `atq-node2` ("),
        "{failure:?}"
    );
    ensure!(failure.message.contains("no space left"), "{failure:?}");
    delete_bundle(&fixture, &id).await?;
    fixture.finish().await?;
    Ok(format!("reported: {} (data root {root})", failure.message))
}

/// Node 3 does not have the image of the carrier.
pub async fn bundle_without_carrier(nodes: &Nodes) -> Result<String> {
    let own = "atq-carrier:elsewhere";
    for node in [1, 2] {
        nodes.docker(node, &["tag", "atq-carrier:dev", own]).await?;
    }
    let more = format!("carrierImage: {own}\n");
    let fixture = NodesFixture::start(nodes, "nodes-image", &more).await?;
    let client = &fixture.director.client;
    let id = client.upload(zip(&[("hello.txt", b"hi")])?).await?;
    client.start(&task_with_bundle("image", &id)).await?;
    let done = client.done("image", RUN_TIMEOUT).await?;
    let failure = failure(&done)?;
    ensure!(
        failure
            .message
            .starts_with("2 of 3 nodes have the bundle; node `atq-node3` ("),
        "{failure:?}"
    );
    ensure!(failure.message.contains("No such image"), "{failure:?}");
    ensure!(failure.hint.contains("`carrierImage`"), "{failure:?}");
    nodes.docker(3, &["tag", "atq-carrier:dev", own]).await?;
    delete_bundle(&fixture, &id).await?;
    fixture.finish().await?;
    for node in ALL {
        nodes.docker(node, &["rmi", own]).await?;
    }
    Ok(format!("reported: {}", failure.message))
}

/// The Director's peak memory does not depend on the size of a bundle, which `ATQ_BUNDLE_MB` sets (300).
pub async fn large_bundle(nodes: &Nodes) -> Result<String> {
    let megabytes = match std::env::var("ATQ_BUNDLE_MB") {
        Ok(text) => text.parse().context("ATQ_BUNDLE_MB is not a number")?,
        Err(_) => 300,
    };
    let fixture = NodesFixture::start(nodes, "nodes-large", "").await?;
    let client = &fixture.director.client;
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("large.zip");
    let zip_path = path.clone();
    tokio::task::spawn_blocking(move || noise_zip(&zip_path, megabytes)).await??;
    let idle = peak_memory(&fixture)?;
    let begun = Instant::now();
    let id = client.upload_file(&path).await?;
    let uploaded = begun.elapsed();
    client.start(&task_with_bundle("large", &id)).await?;
    let timeout = RUN_TIMEOUT * 5;
    let running = client
        .until("large", timeout, |task| task.step >= Step::Running)
        .await?;
    ensure!(running.failure.is_none(), "{running:#?}");
    let all = fetched(&fixture, "large").await?;
    ensure!(all == ALL.map(|node| (node, true)).into(), "{all:?}");
    stop(&fixture, "large").await?;
    // Only the growth counts, because a debug build uses more memory by itself.
    let more = peak_memory(&fixture)? - idle;
    ensure!(more < 32 << 10, "{more} kB more than {idle} kB");
    delete_bundle(&fixture, &id).await?;
    fixture.finish().await?;
    Ok(format!(
        "{megabytes} MB uploaded in {:.1} s, delivered to three nodes in {:.1} s, the Director used {:.1} MiB more than {:.1} MiB when idle",
        uploaded.as_secs_f64(),
        running.timings["delivery"] as f64 / 1000.0,
        more as f64 / 1024.0,
        idle as f64 / 1024.0
    ))
}

/// The Director's peak memory in kB.
fn peak_memory(fixture: &NodesFixture<'_>) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", fixture.director.pid()))?;
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .and_then(|rest| rest.trim().strip_suffix("kB")?.trim().parse().ok())
        .context("no VmHWM")
}

/// Writes a zip with a few incompressible files.
fn noise_zip(path: &std::path::Path, megabytes: usize) -> Result<()> {
    let mut zip = zip::ZipWriter::new(std::io::BufWriter::new(std::fs::File::create(path)?));
    let stored =
        zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    let mut random = fastrand::Rng::new();
    let mut block = vec![0; 1_000_000];
    for number in 0..4 {
        zip.start_file(format!("part-{number}"), stored)?;
        for _ in 0..megabytes / 4 {
            random.fill(&mut block);
            zip.write_all(&block)?;
        }
    }
    zip.add_directory("empty", stored)?;
    zip.start_file("hello.txt", stored)?;
    zip.write_all(b"hi")?;
    zip.finish()?.flush()?;
    Ok(())
}
