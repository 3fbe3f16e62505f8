//! Collection of `/atq/results`, on the real Swarm.

use anyhow::{Context, Result, ensure};
use atq_api_spec::task::{Step, TaskStatus};
use atq_tests::client::Client;
use atq_tests::docker::docker;
use atq_tests::fixture::{Fixture, RUN_TIMEOUT, small_task, with};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Cursor, Read};
use tokio::sync::RwLock;

/// The files in the results zip, with their contents.
async fn results(client: &Client, id: &str, query: &str) -> Result<BTreeMap<String, String>> {
    let response = client.get(&format!("/task/{id}/results{query}")).await?;
    let status = response.status();
    let body = response.bytes().await?;
    ensure!(
        status == 200,
        "{status}: {}",
        String::from_utf8_lossy(&body)
    );
    let mut zip = zip::ZipArchive::new(Cursor::new(body))?;
    let mut files = BTreeMap::new();
    for index in 0..zip.len() {
        let mut file = zip.by_index(index)?;
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        files.insert(file.name()?.into_owned(), text);
    }
    Ok(files)
}

fn names(files: &BTreeMap<String, String>) -> Vec<&str> {
    files.keys().map(String::as_str).collect()
}

/// Checks the files of all containers, including the line that workers write after SIGTERM.
fn check(files: &BTreeMap<String, String>) -> Result<()> {
    let all = [
        "master.1/results.csv",
        "worker.1/worker.csv",
        "worker.2/worker.csv",
    ];
    ensure!(names(files) == all, "{files:#?}");
    for replica in ["1", "2"] {
        let text = &files[&format!("worker.{replica}/worker.csv")];
        let lines: Vec<&str> = text.lines().collect();
        ensure!(lines.len() == 3 && lines[1].starts_with(replica), "{text}");
        ensure!(lines[2] == "told", "{text}");
    }
    ensure!(
        files["master.1/results.csv"].lines().count() == 3,
        "{files:#?}"
    );
    Ok(())
}

fn holding(name: &str, seconds: u32) -> Value {
    let hold = format!("HOLD={seconds}");
    with(small_task(name, 2), "/master/environment", json!([hold]))
}

async fn volumes() -> Result<BTreeSet<String>> {
    let names = docker(&["volume", "ls", "-q"]).await?;
    Ok(names.lines().map(str::to_owned).collect())
}

/// Volumes of results have no label, so a test that counts all volumes must run alone.
static VOLUMES: RwLock<()> = RwLock::const_new(());

#[tokio::test]
async fn results_are_available_after_every_end() -> Result<()> {
    let _shared = VOLUMES.read().await;
    let fixture = Fixture::start("test-results").await?;
    let client = fixture.client();
    client.start(&small_task("left-finished", 2)).await?;
    let early = client.get("/task/left-finished/results").await?;
    ensure!(early.status() == 409, "{}", early.status());
    // A request right after the outcome blocks until the collection completes.
    let ended = client.outcome("left-finished", RUN_TIMEOUT).await?;
    ensure!(ended.status == TaskStatus::Finished, "{ended:#?}");
    check(&results(&client, "left-finished", "").await?)?;
    let master = results(&client, "left-finished", "?service=master").await?;
    ensure!(names(&master) == ["master.1/results.csv"], "{master:#?}");

    let errored = with(
        small_task("left-errored", 2),
        "/master/environment",
        json!(["EXIT=3"]),
    );
    client.start(&errored).await?;
    let ended = client.outcome("left-errored", RUN_TIMEOUT).await?;
    ensure!(ended.exit_code == Some(3), "{ended:#?}");
    check(&results(&client, "left-errored", "").await?)?;

    client.start(&holding("left-stopped", 600)).await?;
    client
        .until("left-stopped", RUN_TIMEOUT, |task| {
            task.status == TaskStatus::Started
        })
        .await?;
    // The master writes its file shortly after its start.
    let done = async |log: &str| log.matches(" answered ").count() == 2;
    let begun = std::time::Instant::now();
    while !done(&client.logs("left-stopped", "?service=master").await?).await {
        ensure!(
            begun.elapsed() < RUN_TIMEOUT,
            "the master does not reach its workers"
        );
    }
    client.stop("left-stopped").await?;
    client.outcome("left-stopped", RUN_TIMEOUT).await?;
    check(&results(&client, "left-stopped", "").await?)?;

    let long = with(holding("left-long", 600), "/maxDuration", 3);
    client.start(&long).await?;
    let ended = client.outcome("left-long", RUN_TIMEOUT).await?;
    ensure!(ended.status == TaskStatus::Errored, "{ended:#?}");
    check(&results(&client, "left-long", "").await?)?;
    for name in ["left-finished", "left-errored", "left-stopped", "left-long"] {
        client.done(name, RUN_TIMEOUT).await?;
    }
    fixture.finish().await
}

#[tokio::test]
async fn results_survive_a_kill_of_the_director_and_are_deleted_with_the_task() -> Result<()> {
    let _shared = VOLUMES.read().await;
    let mut fixture = Fixture::start("test-results-crash").await?;
    for step in [Step::Running, Step::Collect, Step::Report, Step::Cleanup] {
        let client = fixture.client();
        client.start(&holding("left-crashed", 3)).await?;
        client
            .until("left-crashed", RUN_TIMEOUT, |task| task.step >= step)
            .await?;
        fixture.take().crash()?;
        fixture.restart().await?;
        let client = fixture.client();
        client.done("left-crashed", RUN_TIMEOUT).await?;
        let files = results(&client, "left-crashed", "").await?;
        check(&files).with_context(|| format!("killed in {step:?}"))?;
        ensure!(client.delete("left-crashed").await?.0 == 204);
        let gone = client.get("/task/left-crashed/results").await?;
        ensure!(gone.status() == 404, "{}", gone.status());
    }
    fixture.finish().await
}

#[tokio::test]
async fn no_volume_is_left_and_large_results_are_complete() -> Result<()> {
    let _exclusive = VOLUMES.write().await;
    let before = volumes().await?;
    let fixture = Fixture::start("test-results-large").await?;
    let client = fixture.client();
    let bytes = 200 << 20;
    let task = with(
        small_task("left-large", 1),
        "/master/environment",
        json!([format!("BYTES={bytes}")]),
    );
    client.start(&task).await?;
    client.done("left-large", RUN_TIMEOUT).await?;
    let status = std::fs::read_to_string(format!("/proc/{}/status", fixture.director().pid()))?;
    let peak = status.lines().find(|line| line.starts_with("VmHWM"));
    println!("200 MB of results; the Director's peak: {peak:?}");
    let response = client
        .get("/task/left-large/results?service=master")
        .await?;
    let zip = zip::ZipArchive::new(Cursor::new(response.bytes().await?))?;
    let mut zip = zip;
    let large = zip.by_name("master.1/large")?;
    ensure!(large.size() == bytes, "{}", large.size());
    drop(large);
    let status = std::fs::read_to_string(format!("/proc/{}/status", fixture.director().pid()))?;
    let peak = status.lines().find(|line| line.starts_with("VmHWM"));
    println!("and after they were sent: {peak:?}");
    fixture.finish().await?;
    let left: Vec<_> = volumes().await?.difference(&before).cloned().collect();
    ensure!(left.is_empty(), "{left:?}");
    Ok(())
}
