//! Bundles are brought to every node, and removed from there.

use crate::{failure, long_task};
use anyhow::{Context, Result, ensure};
use atq_api_spec::task::{Step, TaskStatus};
use atq_tests::bundle::zip;
use atq_tests::nodes::{ALL, Nodes, NodesStage};
use atq_tests::stage::{PATIENCE, with};
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

async fn no_volumes(nodes: &Nodes) -> Result<()> {
    for node in ALL {
        let left = bundle_volumes(nodes, node).await?;
        ensure!(left.is_empty(), "on node {node}: {left:?}");
    }
    Ok(())
}

/// By node, whether it had to fetch.
async fn fetched(stage: &NodesStage<'_>, task: &str) -> Result<BTreeMap<u8, bool>> {
    let ids = stage.nodes.by_id().await?;
    let events = stage
        .director
        .client
        .events(task, "bundlesDelivered")
        .await?;
    let event = serde_json::to_value(events.first().context("nothing was delivered")?)?;
    let told = event.pointer("/data/nodes").and_then(Value::as_array);
    let told = told.with_context(|| event.to_string())?;
    let entry = |node: &Value| {
        let id = node["node"].as_str()?;
        Some((*ids.get(id)?, node["fetched"] == json!(true)))
    };
    Ok(told.iter().filter_map(entry).collect())
}

/// A task whose workers and master read the bundle, and whose workers print it in the wait command.
fn reading(name: &str, bundle: &str) -> Value {
    let task = with(long_task(name, 6), "/worker/fileid", bundle);
    with(task, "/master/fileid", bundle)
}

/// Reads a file of the bundle in every container of the task, on whichever node.
async fn read_everywhere(stage: &NodesStage<'_>, task: &str, path: &str) -> Result<Vec<String>> {
    let label = format!("label=com.atq.task={task}");
    let mut read = Vec::new();
    for node in ALL {
        for role in ["worker", "master"] {
            let role = format!("label=com.atq.role={role}");
            let args = ["ps", "-q", "--filter", &label, "--filter", &role];
            for container in stage.nodes.docker(node, &args).await?.lines() {
                read.push(
                    stage
                        .nodes
                        .docker(node, &["exec", container, "cat", path])
                        .await?,
                );
            }
        }
    }
    Ok(read)
}

async fn stopped(stage: &NodesStage<'_>, task: &str) -> Result<()> {
    let client = &stage.director.client;
    client.stop(task).await?;
    let done = client.done(task, PATIENCE).await?;
    ensure!(done.status == TaskStatus::Stopped, "{done:#?}");
    Ok(())
}

async fn bundle_gone(stage: &NodesStage<'_>, id: &str) -> Result<()> {
    let (status, words) = stage.director.client.delete_bundle(id).await?;
    ensure!(status == 204, "{status} {words}");
    no_volumes(stage.nodes).await
}

pub async fn bundles_brought(nodes: &Nodes) -> Result<String> {
    let stage = NodesStage::open(nodes, "nodes-push", "").await?;
    let client = &stage.director.client;
    let rows: Vec<String> = (1..=60).map(|n| format!("user{n}\n")).collect();
    let users = format!("name\n{}", rows.concat());
    let id = client
        .upload(zip(&[
            ("hello.txt", b"from the bundle"),
            ("users.csv", users.as_bytes()),
        ])?)
        .await?;
    let task = reading("push", &id);
    client.start(&task).await?;
    let running = client
        .until("push", PATIENCE, |task| task.step >= Step::Running)
        .await?;
    ensure!(running.failure.is_none(), "{running:#?}");
    let read = read_everywhere(&stage, "push", "/atq/data/hello.txt").await?;
    ensure!(read == ["from the bundle"; 7], "{read:?}");
    let first = fetched(&stage, "push").await?;
    ensure!(first == ALL.map(|node| (node, true)).into(), "{first:?}");
    stopped(&stage, "push").await?;

    let split = json!([{"path": "users.csv", "header": true}]);
    let again = with(with(task, "/name", "push-split"), "/worker/split", split);
    client.start(&again).await?;
    client
        .until("push-split", PATIENCE, |task| task.step >= Step::Running)
        .await?;
    let mut parts = read_everywhere(&stage, "push-split", "/atq/data/users.csv").await?;
    parts.retain(|part| part.trim() != users.trim());
    ensure!(parts.len() == 6, "{parts:?}");
    let mut seen: Vec<&str> = parts.iter().flat_map(|part| part.lines().skip(1)).collect();
    seen.sort_unstable();
    let mut all: Vec<&str> = rows.iter().map(|row| row.trim_end()).collect();
    all.sort_unstable();
    ensure!(seen == all, "{seen:?}");
    stopped(&stage, "push-split").await?;
    let made = bundle_volumes(nodes, 3).await?.len();
    bundle_gone(&stage, &id).await?;
    stage.close().await?;
    Ok(format!(
        "7 containers on three nodes read it; 60 rows dealt to 6 workers; {made} volumes on node 3, none after DELETE"
    ))
}

pub async fn bundle_to_late_node(nodes: &Nodes) -> Result<String> {
    let stage = NodesStage::open(nodes, "nodes-late", "").await?;
    let client = &stage.director.client;
    let id = client.upload(zip(&[("hello.txt", b"hi")])?).await?;
    nodes.tell("stop", 3)?;
    nodes.until_status(3, "Down").await?;
    client.start(&reading("late-1", &id)).await?;
    let running = client
        .until("late-1", PATIENCE, |task| task.step >= Step::Running)
        .await?;
    ensure!(running.failure.is_none(), "{running:#?}");
    ensure!(fetched(&stage, "late-1").await? == [(1, true), (2, true)].into());
    stopped(&stage, "late-1").await?;
    nodes.tell("start", 3)?;
    nodes.until_status(3, "Ready").await?;
    client.start(&reading("late-2", &id)).await?;
    let running = client
        .until("late-2", PATIENCE, |task| task.step >= Step::Running)
        .await?;
    ensure!(running.failure.is_none(), "{running:#?}");
    let second = fetched(&stage, "late-2").await?;
    ensure!(
        second == [(1, false), (2, false), (3, true)].into(),
        "{second:?}"
    );
    let read = read_everywhere(&stage, "late-2", "/atq/data/hello.txt").await?;
    ensure!(read == ["hi"; 7], "{read:?}");
    stopped(&stage, "late-2").await?;

    // A node that is away keeps its volume, is named, and gives it up when it is back.
    nodes.tell("stop", 3)?;
    nodes.until_status(3, "Down").await?;
    let (status, words) = client.delete_bundle(&id).await?;
    ensure!(
        status == 500 && words.contains("node `atq-node3` is down"),
        "{status} {words}"
    );
    nodes.tell("start", 3)?;
    nodes.until_status(3, "Ready").await?;
    bundle_gone(&stage, &id).await?;
    stage.close().await?;
    Ok(
        "it got the bundle before the next task, and kept its volume only while it was away"
            .to_owned(),
    )
}

/// The volumes of node 2 are on a tiny disk.
pub async fn bundle_without_room(nodes: &Nodes) -> Result<String> {
    let stage = NodesStage::open(nodes, "nodes-full", "").await?;
    let client = &stage.director.client;
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
    client.start(&reading("full", &id)).await?;
    let done = client.done("full", PATIENCE).await?;
    let failure = failure(&done)?;
    ensure!(failure.code == "delivery_failed", "{failure:?}");
    ensure!(
        failure
            .message
            .starts_with("2 of 3 nodes have the bundle; node `atq-node2` ("),
        "{failure:?}"
    );
    ensure!(failure.message.contains("no space left"), "{failure:?}");
    bundle_gone(&stage, &id).await?;
    stage.close().await?;
    Ok(format!("told: {} (data root {root})", failure.message))
}

/// Node 3 does not have the image of the carrier.
pub async fn bundle_without_carrier(nodes: &Nodes) -> Result<String> {
    let own = "atq-carrier:elsewhere";
    for node in [1, 2] {
        nodes.docker(node, &["tag", "atq-carrier:dev", own]).await?;
    }
    let more = format!("carrierImage: {own}\n");
    let stage = NodesStage::open(nodes, "nodes-image", &more).await?;
    let client = &stage.director.client;
    let id = client.upload(zip(&[("hello.txt", b"hi")])?).await?;
    client.start(&reading("image", &id)).await?;
    let done = client.done("image", PATIENCE).await?;
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
    bundle_gone(&stage, &id).await?;
    stage.close().await?;
    for node in ALL {
        nodes.docker(node, &["rmi", own]).await?;
    }
    Ok(format!("told: {}", failure.message))
}

/// A large bundle, and the memory that the Director takes for it at most, which does not depend on its size:
/// `ATQ_BUNDLE_MB=1000` makes it 1 GB.
pub async fn large_bundle(nodes: &Nodes) -> Result<String> {
    let megabytes = match std::env::var("ATQ_BUNDLE_MB") {
        Ok(text) => text.parse().context("ATQ_BUNDLE_MB is no number")?,
        Err(_) => 300,
    };
    let stage = NodesStage::open(nodes, "nodes-large", "").await?;
    let client = &stage.director.client;
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("large.zip");
    let made = path.clone();
    tokio::task::spawn_blocking(move || noise_zip(&made, megabytes)).await??;
    let idle = peak_memory(&stage)?;
    let begun = Instant::now();
    let id = client.upload_file(&path).await?;
    let uploaded = begun.elapsed();
    client.start(&reading("large", &id)).await?;
    let patience = PATIENCE * 5;
    let running = client
        .until("large", patience, |task| task.step >= Step::Running)
        .await?;
    ensure!(running.failure.is_none(), "{running:#?}");
    let all = fetched(&stage, "large").await?;
    ensure!(all == ALL.map(|node| (node, true)).into(), "{all:?}");
    stopped(&stage, "large").await?;
    // What a build with debug information takes by itself says nothing: the growth counts.
    let more = peak_memory(&stage)? - idle;
    ensure!(more < 32 << 10, "{more} kB more than {idle} kB");
    bundle_gone(&stage, &id).await?;
    stage.close().await?;
    Ok(format!(
        "{megabytes} MB uploaded in {:.1} s, delivered to three nodes in {:.1} s, the Director took {:.1} MiB more than the {:.1} MiB of before",
        uploaded.as_secs_f64(),
        running.timings["delivery"] as f64 / 1000.0,
        more as f64 / 1024.0,
        idle as f64 / 1024.0
    ))
}

/// The most memory that the Director has taken so far, in kB.
fn peak_memory(stage: &NodesStage<'_>) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", stage.director.pid()))?;
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .and_then(|rest| rest.trim().strip_suffix("kB")?.trim().parse().ok())
        .context("no VmHWM")
}

/// Noise, so that nothing can be compressed, in a few files.
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
