//! Delivery of a bundle to three nodes, compared with copying the same bytes to one node after another with
//! `docker save | docker load`.

use crate::director;
use crate::table::{Row, say};
use anyhow::{Context, Result, ensure};
use atq_api_spec::task::Step;
use atq_tests::docker::{docker, docker_at};
use atq_tests::fixture::{RUN_TIMEOUT, small_task, with};
use atq_tests::nodes::{ALL, Nodes, NodesFixture};
use atq_tests::stats::median;
use serde_json::json;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::process::Command;
use zip::CompressionMethod;
use zip::write::SimpleFileOptions;

const LIMIT: f64 = 1.5;
/// An image with the same bytes.
const IMAGE: &str = "atq-bench-payload:dev";
/// Number of files in the bundle.
const FILES: u64 = 8;

/// Measures `rounds` deliveries of an incompressible bundle of `megabytes`.
///
/// # Errors
/// When the nodes do not start or the test fails.
pub async fn measure(megabytes: u64, rounds: usize) -> Result<Vec<Row>> {
    let nodes = Nodes::up().await.context("three nodes")?;
    let fixture = NodesFixture::start(&nodes, "bench-push", "").await?;
    let dir = director::temp_dir()?;
    let (mut ours, mut theirs, mut pings) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=rounds {
        // Different bytes in each round, because a bundle is delivered to a node only once.
        let (zip, context) = (dir.path().join("bundle.zip"), dir.path().join("context"));
        let payload = (zip.clone(), context.clone());
        tokio::task::spawn_blocking(move || generate(&payload.0, &payload.1, megabytes)).await??;
        let (delivery, slow) = deliver(&fixture, &zip, round).await?;
        let copy = copy(&nodes, &context).await;
        remove_image(&nodes).await;
        let copy = copy?;
        say(format!(
            "push round {round}: delivery {delivery:.2} s, docker save | docker load {copy:.2} s"
        ));
        ours.push(delivery);
        theirs.push(copy);
        pings.push(slow);
    }
    let peak = director::memory(fixture.director.pid(), "VmHWM")?;
    fixture.finish().await?;
    let (ours, theirs) = (median(&ours), median(&theirs));
    let ratio = ours / theirs;
    Ok(vec![
        Row::with_limit(
            format!("push of {megabytes} MB to three nodes"),
            format!(
                "{ours:.2} s; docker save | docker load to one after another {theirs:.2} s; ratio {ratio:.2} (n={rounds})"
            ),
            "<= 1.5",
            ratio <= LIMIT,
        )
        .print(),
        Row::plain(
            "slowest ping while three nodes fetch; the Director's peak memory, upload included",
            format!("{:.1} ms; {peak:.1} MiB", median(&pings)),
        )
        .print(),
    ])
}

/// Writes the bundle, and the same files as the build context of an image.
fn generate(zip: &Path, context: &Path, megabytes: u64) -> Result<()> {
    let _ = std::fs::remove_dir_all(context);
    std::fs::create_dir_all(context.join("payload"))?;
    std::fs::write(
        context.join("Dockerfile"),
        "FROM scratch\nLABEL com.atq.image=test\nCOPY payload /payload\n",
    )?;
    let mut archive = zip::ZipWriter::new(BufWriter::new(File::create(zip)?));
    let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    let mut random = fastrand::Rng::new();
    let mut block = vec![0; 1 << 20];
    for number in 0..FILES {
        let name = format!("part-{number}.bin");
        archive.start_file(&name, stored)?;
        let mut file = File::create(context.join("payload").join(&name))?;
        for _ in 0..megabytes.div_ceil(FILES) {
            random.fill(&mut block);
            archive.write_all(&block[..1_000_000])?;
            file.write_all(&block[..1_000_000])?;
        }
    }
    archive.finish()?.flush()?;
    Ok(())
}

/// Returns the seconds of the delivery step and the milliseconds of the slowest ping meanwhile.
async fn deliver(fixture: &NodesFixture<'_>, zip: &Path, round: usize) -> Result<(f64, f64)> {
    let client = &fixture.director.client;
    let id = client.upload(std::fs::read(zip)?).await?;
    let name = format!("push-{round}");
    let task = with(small_task(&name, 3), "/worker/fileid", json!(id));
    client.start(&task).await?;
    let mut slowest = 0.0_f64;
    while client.task(&name).await?.step <= Step::Delivery {
        let begun = Instant::now();
        client.get("/monitoring/ping").await?;
        slowest = slowest.max(begun.elapsed().as_secs_f64() * 1000.0);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let done = client.done(&name, RUN_TIMEOUT).await?;
    let delivery = done.timings.get("delivery").copied();
    ensure!(done.failure.is_none(), "{:?}", done.failure);
    client.delete(&name).await?;
    let (status, body) = client.delete_bundle(&id).await?;
    ensure!(status.is_success(), "DELETE of the bundle: {status} {body}");
    let millis = delivery.context("nothing was delivered")?;
    Ok((millis as f64 / 1000.0, slowest))
}

/// Copies the image with `docker save | docker load` to one node after another and returns the seconds.
async fn copy(nodes: &Nodes, context: &Path) -> Result<f64> {
    let path = context.to_string_lossy();
    docker(&["build", "--quiet", "--force-rm", "--tag", IMAGE, &path]).await?;
    let begun = Instant::now();
    for node in ALL {
        let mut save = Command::new("docker")
            .args(["save", IMAGE])
            .stdout(Stdio::piped())
            .spawn()?;
        let image: Stdio = save.stdout.take().context("no output")?.try_into()?;
        let load = Command::new("docker")
            .args(["load", "--quiet"])
            .env("DOCKER_HOST", nodes.host(node))
            .stdin(image)
            .stdout(Stdio::null())
            .status()
            .await?;
        let saved = save.wait().await?;
        ensure!(
            load.success() && saved.success(),
            "docker save | docker load to node {node}"
        );
    }
    Ok(begun.elapsed().as_secs_f64())
}

async fn remove_image(nodes: &Nodes) {
    let args = ["image", "rm", "--force", IMAGE];
    for node in ALL {
        // A missing image is fine.
        let _ = docker_at(nodes.host(node), &args).await;
    }
    let _ = docker(&args).await;
}
