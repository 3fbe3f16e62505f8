//! Following log lines and events of a running test, and the manifest of a run.

use anyhow::{Context, Result, ensure};
use atq_api_spec::manifest::Manifest;
use atq_api_spec::task::{Step, TaskStatus};
use atq_tests::bundle::zip;
use atq_tests::fixture::{Fixture, RUN_TIMEOUT, small_task, with};
use atq_tests::image::Image;
use futures_util::StreamExt;
use reqwest::Response;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// Reads a response until `enough`, or its end.
async fn read(response: &mut Response, enough: impl Fn(&str) -> bool) -> Result<String> {
    let mut text = String::new();
    let reading = async {
        while !enough(&text) {
            match response.chunk().await? {
                Some(chunk) => text.push_str(&String::from_utf8(chunk.to_vec())?),
                None => break,
            }
        }
        anyhow::Ok(())
    };
    timeout(RUN_TIMEOUT, reading)
        .await
        .context("the response does not end")??;
    Ok(text)
}

/// The lines grouped by container, in their order.
fn by_source(log: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = log.lines().collect();
    lines.sort_by_key(|line| line.split(' ').nth(1).map(str::to_owned));
    lines
}

fn chatty_task(name: &str, image: &Image) -> Value {
    let worker = "trap 'echo sum; exit 0' TERM; i=0; \
                  while :; do i=$((i+1)); [ $i -gt 30 ] || echo tick $i; sleep 0.1; done";
    let master =
        "echo begin >&2; for i in 1 2 3 4 5 6; do echo step $i; sleep 0.5; done; seq 1 3000";
    let task = small_task(name, 2);
    let task = with(task, "/worker/image", image.name.as_str());
    let task = with(task, "/worker/args", json!([worker]));
    let task = with(task, "/master/image", image.name.as_str());
    with(task, "/master/args", json!([master]))
}

#[tokio::test]
async fn lines_arrive_as_they_are_written_and_end_with_the_containers() -> Result<()> {
    let image = Image::shell("atq-test-follow:1").await?;
    let fixture = Fixture::start("test-follow").await?;
    let client = fixture.client();
    client.start(&chatty_task("follow", &image)).await?;
    // Before any container exists.
    let mut all = client.get("/api/task/follow/logs?follow=1").await?;
    let mut master = client
        .get("/api/task/follow/logs?follow=1&service=master")
        .await?;
    let begun = read(&mut master, |text| text.contains("step 2\n")).await?;
    ensure!(!begun.contains("step 5"), "lines are delayed:\n{begun}");
    ensure!(client.task("follow").await?.step == Step::Running);
    let rest = read(&mut master, |_| false).await?;
    let after = client.task("follow").await?;
    ensure!(
        after.step >= Step::Collect,
        "it ended before the master: {after:#?}"
    );
    let followed = read(&mut all, |_| false).await?;

    client.done("follow", RUN_TIMEOUT).await?;
    let kept = client.logs("follow", "").await?;
    ensure!(
        kept.contains("worker.2 sum\n") && kept.contains("master.1 3000\n"),
        "{kept}"
    );
    ensure!(
        by_source(&followed) == by_source(&kept),
        "followed:\n{followed}\nkept:\n{kept}"
    );
    let own = client.logs("follow", "?service=master").await?;
    ensure!(begun + &rest == own, "the master's lines");
    ensure!(client.logs("follow", "?follow=1").await? == kept);
    ensure!(client.delete("follow").await?.0 == 204);
    fixture.finish().await
}

#[tokio::test]
async fn late_followers_get_the_tail_and_closed_ones_leave_no_connection() -> Result<()> {
    let image = Image::shell("atq-test-follow-leak:1").await?;
    let fixture = Fixture::start("test-follow-leak").await?;
    let client = fixture.client();
    let task = with(
        chatty_task("leak", &image),
        "/master/args",
        json!(["seq 1 50; sleep 6; echo last"]),
    );
    client.start(&task).await?;
    client
        .until("leak", RUN_TIMEOUT, |task| task.step == Step::Running)
        .await?;
    let tail = client.get("/api/task/leak/logs?follow=1&service=master&tail=2");
    let none = client.get("/api/task/leak/logs?follow=1&service=master&tail=0");
    let (mut tail, mut none) = (tail.await?, none.await?);

    let sockets = || -> Result<usize> {
        let fds = std::fs::read_dir(format!("/proc/{}/fd", fixture.director().pid()))?;
        let links = fds.filter_map(|fd| std::fs::read_link(fd.ok()?.path()).ok());
        Ok(links
            .filter(|link| link.to_string_lossy().starts_with("socket:"))
            .count())
    };
    let before = sockets()?;
    let mut open = Vec::new();
    for _ in 0..20 {
        let mut response = client.get("/api/task/leak/logs?follow=1").await?;
        read(&mut response, |text| {
            text.contains("worker.1") && text.contains("master.1")
        })
        .await?;
        open.push(response);
    }
    let during = sockets()?;
    ensure!(
        during >= before + 60,
        "only {during} sockets: the followers are not counted"
    );
    drop(open);
    let begun = Instant::now();
    while sockets()? > before + 5 {
        ensure!(
            begun.elapsed() < RUN_TIMEOUT,
            "{} sockets, before {before}",
            sockets()?
        );
        sleep(Duration::from_millis(50)).await;
    }

    let texts = |text: String| {
        text.lines()
            .map(|line| line.rsplit(' ').next().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    ensure!(texts(read(&mut tail, |_| false).await?) == ["49", "50", "last"]);
    ensure!(texts(read(&mut none, |_| false).await?) == ["last"]);
    ensure!(client.delete("leak").await?.0 == 204);
    fixture.finish().await
}

/// Numbers of the events of a stream.
fn numbers(stream: &str) -> Vec<u64> {
    let ids = stream.lines().filter_map(|line| line.strip_prefix("id: "));
    ids.map(|id| id.parse().unwrap()).collect()
}

#[tokio::test]
async fn events_are_resumed_after_a_restart() -> Result<()> {
    let mut fixture = Fixture::start("test-sse").await?;
    let client = fixture.client();
    let task = with(
        small_task("sse", 2),
        "/master/environment",
        json!(["HOLD=5"]),
    );
    client.start(&task).await?;
    let mut events = client.stream_events("sse", None).await?;
    let logs = client.get("/api/task/sse/logs?follow=1").await?;
    let mut seen =
        numbers(&read(&mut events, |text| text.contains("event: masterStarted\n")).await?);
    ensure!(client.task("sse").await?.step >= Step::Running);

    let (code, took) = fixture.take().terminate()?;
    ensure!(
        code == Some(0) && took < Duration::from_secs(5),
        "{code:?} after {took:?}"
    );
    seen.extend(numbers(&read(&mut events, |_| false).await?));
    let cut = logs
        .bytes_stream()
        .any(|part| async move { part.is_err() })
        .await;
    ensure!(cut, "an incomplete log must end with an error");

    fixture.restart().await?;
    let client = fixture.client();
    let mut events = client.stream_events("sse", seen.last().copied()).await?;
    let rest = read(&mut events, |_| false).await?;
    ensure!(rest.contains(r#""step":"done""#), "{rest}");
    seen.extend(numbers(&rest));
    let all: Vec<u64> = (1..=seen.len() as u64).collect();
    ensure!(
        seen == all,
        "expected each event once, without gaps: {seen:?}"
    );
    ensure!(client.task("sse").await?.status == TaskStatus::Finished);
    ensure!(client.delete("sse").await?.0 == 204);
    fixture.finish().await
}

#[tokio::test]
async fn the_manifest_describes_the_environment_of_a_run() -> Result<()> {
    let fixture = Fixture::start("test-manifest").await?;
    let client = fixture.client();
    let fileid = client.upload(zip(&[("plan", b"12345")])?).await?;
    let task = with(small_task("manifest", 2), "/worker/fileid", fileid.as_str());
    let task = with(task, "/master/environment", json!(["SECRET=hunter2"]));
    client.start(&task).await?;
    client.done("manifest", RUN_TIMEOUT).await?;
    let text = client
        .get("/api/task/manifest/manifest")
        .await?
        .text()
        .await?;
    ensure!(!text.contains("hunter2"));
    let manifest: Manifest = serde_json::from_str(&text)?;
    let image = &manifest.images["atq-testload:dev"];
    ensure!(
        image
            .id
            .as_ref()
            .is_some_and(|id| id.starts_with("sha256:")),
        "{text}"
    );
    let node = &manifest.nodes[&manifest.manager];
    ensure!(
        !node.engine_version.is_empty() && node.cpus > 0.0 && node.memory > 0,
        "{text}"
    );
    ensure!(node.platform.starts_with("linux/"), "{text}");
    ensure!(manifest.bundles[&fileid].files[0].bytes == 5);
    let names: Vec<&String> = manifest.containers.keys().collect();
    ensure!(names == ["master.1", "worker.1", "worker.2"], "{text}");
    let master = &manifest.containers["master.1"];
    ensure!(
        master.exit_code == Some(0) && master.node.as_ref() == Some(&manifest.manager),
        "{text}"
    );
    ensure!(manifest.worker_addresses.len() == 2 && manifest.start_skew.is_some());
    ensure!(manifest.network.is_some() && manifest.finished_at.is_some());

    // The definition in the manifest runs again once its secret is added.
    ensure!(client.delete("manifest").await?.0 == 204);
    let mut again = serde_json::to_value(&manifest.definition)?;
    ensure!(again["master"]["environment"] == json!(["SECRET"]));
    again["master"]["environment"] = json!(["SECRET=hunter2"]);
    client.start(&again).await?;
    let done = client.done("manifest", RUN_TIMEOUT).await?;
    ensure!(done.status == TaskStatus::Finished, "{done:#?}");
    ensure!(client.delete("manifest").await?.0 == 204);
    fixture.finish().await
}
