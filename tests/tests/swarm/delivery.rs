//! Delivery of bundles to the nodes, on the real Swarm.

use anyhow::{Context, Result, ensure};
use atq_api_spec::task::{Step, TaskStatus};
use atq_tests::bundle::zip;
use atq_tests::client::Client;
use atq_tests::docker::docker;
use atq_tests::fixture::{Fixture, RUN_TIMEOUT, small_task, with};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// The containers of a task's role.
async fn containers(task: &str, role: &str) -> Result<Vec<String>> {
    let (task, role) = (
        format!("label=com.atq.task={task}"),
        format!("label=com.atq.role={role}"),
    );
    let ids = docker(&["ps", "-q", "--filter", &task, "--filter", &role]).await?;
    Ok(ids.lines().map(str::to_owned).collect())
}

/// Runs a shell command in a container.
async fn sh(container: &str, line: &str) -> Result<String> {
    docker(&["exec", container, "/bin/sh", "-c", line]).await
}

async fn volumes(director: &str) -> Result<Vec<String>> {
    let label = format!("label=com.atq.director={director}");
    let names = docker(&["volume", "ls", "-q", "--filter", &label]).await?;
    Ok(names.lines().map(str::to_owned).collect())
}

/// Whether each node fetched the bundle.
async fn fetched(client: &Client, task: &str) -> Result<Vec<bool>> {
    let events = client.events(task, "bundlesDelivered").await?;
    let event = serde_json::to_value(events.first().context("nothing was delivered")?)?;
    let nodes = event
        .pointer("/data/nodes")
        .and_then(Value::as_array)
        .with_context(|| event.to_string())?;
    Ok(nodes
        .iter()
        .map(|node| node["fetched"] == json!(true))
        .collect())
}

fn long_task(name: &str, workers: u32) -> Value {
    with(
        small_task(name, workers),
        "/master/environment",
        json!(["HOLD=600"]),
    )
}

async fn stop(client: &Client, name: &str) -> Result<()> {
    client.stop(name).await?;
    let done = client.done(name, RUN_TIMEOUT).await?;
    ensure!(done.status == TaskStatus::Stopped, "{done:#?}");
    Ok(())
}

#[tokio::test]
async fn a_bundle_is_delivered_once_and_removed_with_its_upload() -> Result<()> {
    let fixture = Fixture::start("test-push").await?;
    let client = fixture.client();
    let id = client
        .upload(zip(&[("dir/hello.txt", b"from the bundle\n")])?)
        .await?;
    let task = with(long_task("push", 2), "/worker/fileid", id.as_str());
    let task = with(task, "/master/fileid", id.as_str());
    let task = with(
        task,
        "/waitCommand",
        json!({"command": "cat /atq/data/dir/hello.txt", "expectedResult": "from the bundle", "timeout": 5}),
    );
    client.start(&task).await?;
    client
        .until("push", RUN_TIMEOUT, |task| task.step >= Step::Running)
        .await?;
    let all = [
        containers("push", "worker").await?,
        containers("push", "master").await?,
    ]
    .concat();
    ensure!(all.len() == 3, "{all:?}");
    for container in &all {
        ensure!(sh(container, "cat /atq/data/dir/hello.txt").await? == "from the bundle");
        let refused = sh(container, "echo x > /atq/data/dir/hello.txt").await;
        ensure!(
            refused.is_err_and(|error| error.to_string().contains("Read-only")),
            "{container}"
        );
    }
    ensure!(fetched(&client, "push").await? == [true]);
    let (status, body) = client.delete_bundle(&id).await?;
    ensure!(status == 409, "{status} {body}");
    stop(&client, "push").await?;
    ensure!(volumes("test-push").await? == [format!("atq-bundle-test-pus-{id}")]);

    client.start(&with(task, "/name", "push-again")).await?;
    client
        .until("push-again", RUN_TIMEOUT, |task| task.step >= Step::Running)
        .await?;
    ensure!(fetched(&client, "push-again").await? == [false]);
    stop(&client, "push-again").await?;

    let (status, body) = client.delete_bundle(&id).await?;
    ensure!(status == 204, "{status} {body}");
    ensure!(volumes("test-push").await?.is_empty());
    fixture.finish().await
}

#[tokio::test]
async fn rows_are_split_without_loss_or_duplicates() -> Result<()> {
    let fixture = Fixture::start("test-split").await?;
    let client = fixture.client();
    let rows: Vec<String> = (1..=100)
        .map(|n| format!("user{n},\"a {n}, b\"\r\n"))
        .collect();
    let text = format!("name,words\r\n{}", rows.concat());
    let bundle = zip(&[("data/users.csv", text.as_bytes()), ("plan.txt", b"x")])?;
    let id = client.upload(bundle).await?;
    let split = json!([{"path": "data/users.csv", "header": true}]);
    let task = with(long_task("split", 3), "/worker/fileid", id.as_str());
    let task = with(
        with(task, "/worker/split", split),
        "/master/fileid",
        id.as_str(),
    );
    client.start(&task).await?;
    let running = client
        .until("split", RUN_TIMEOUT, |task| task.step >= Step::Running)
        .await?;
    ensure!(running.failure.is_none(), "{running:#?}");
    let mut seen = BTreeSet::new();
    let mut count = 0;
    let workers = containers("split", "worker").await?;
    ensure!(workers.len() == 3, "{workers:?}");
    for container in workers {
        let part = sh(
            &container,
            "cat /atq/data/data/users.csv; cat /atq/data/plan.txt",
        )
        .await?;
        let part = part.strip_prefix("name,words\r\n").context("no header")?;
        let part: Vec<&str> = part
            .strip_suffix('x')
            .context("the rest")?
            .split_inclusive('\n')
            .collect();
        ensure!([33, 34].contains(&part.len()), "{part:?}");
        count += part.len();
        seen.extend(part.into_iter().map(str::to_owned));
    }
    ensure!(count == 100 && seen == rows.iter().cloned().collect());
    let master = containers("split", "master").await?;
    let whole = sh(&master[0], "cat /atq/data/data/users.csv").await?;
    ensure!(
        whole.trim_end() == text.trim_end(),
        "the master has the whole file: {whole}"
    );
    stop(&client, "split").await?;
    let (status, body) = client.delete_bundle(&id).await?;
    ensure!(status == 204, "{status} {body}");
    ensure!(volumes("test-split").await?.is_empty());
    fixture.finish().await
}

#[tokio::test]
async fn fewer_rows_than_replicas_are_reported() -> Result<()> {
    let fixture = Fixture::start("test-few-rows").await?;
    let client = fixture.client();
    let id = client
        .upload(zip(&[("users.csv", b"name\na\nb\n")])?)
        .await?;
    let split = json!([{"path": "users.csv", "header": true}]);
    let task = with(small_task("few-rows", 3), "/worker/fileid", id.as_str());
    client.start(&with(task, "/worker/split", split)).await?;
    let done = client.done("few-rows", RUN_TIMEOUT).await?;
    let failure = done.failure.context("no failure")?;
    ensure!(failure.code == "delivery_failed", "{failure:?}");
    ensure!(
        failure
            .message
            .contains("`users.csv` has 2 rows for 3 replicas"),
        "{failure:?}"
    );
    fixture.finish().await
}

#[tokio::test]
async fn the_api_does_not_serve_carriers() -> Result<()> {
    let fixture = Fixture::start("test-carrier-door").await?;
    let client = fixture.client();
    let id = client.upload(zip(&[("a", b"a")])?).await?;
    for path in ["/carrier/ready", &format!("/carrier/abc123/bundle/{id}")] {
        let response = client.get(path).await?;
        ensure!(response.status() == 404, "{path}");
    }
    fixture.finish().await
}

#[tokio::test]
async fn containers_run_as_the_given_user() -> Result<()> {
    let fixture = Fixture::start("test-user").await?;
    let client = fixture.client();
    let task = with(long_task("user", 1), "/worker/user", "1000:1001");
    client.start(&task).await?;
    client
        .until("user", RUN_TIMEOUT, |task| task.step >= Step::Running)
        .await?;
    let workers = containers("user", "worker").await?;
    ensure!(sh(&workers[0], "id -u; id -g").await? == "1000\n1001");
    stop(&client, "user").await?;
    fixture.finish().await
}
