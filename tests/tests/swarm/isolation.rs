//! What containers of tasks can reach of the Director.

use anyhow::{Context, Result, ensure};
use atq_api_spec::task::Step;
use atq_tests::bundle::zip;
use atq_tests::director::free_port;
use atq_tests::docker::docker;
use atq_tests::fixture::{Fixture, RUN_TIMEOUT, small_task, with};
use atq_tests::isolation::{addresses_in, open_ports};
use atq_tests::netns::of_container;
use serde_json::{Value, json};
use std::net::{IpAddr, SocketAddr};
use std::process::Command;

/// A task whose master runs until it is stopped, with a bundle.
async fn start(fixture: &Fixture, name: &str) -> Result<()> {
    let client = fixture.client();
    let bundle = client.upload(zip(&[("secret.txt", b"x")])?).await?;
    let task = with(small_task(name, 1), "/worker/fileid", bundle.as_str());
    let task = with(task, "/master/environment", json!(["HOLD=600"]));
    client.start(&task).await?;
    client
        .until(name, RUN_TIMEOUT, |task| task.step >= Step::Running)
        .await?;
    Ok(())
}

async fn container(task: &str, role: &str) -> Result<String> {
    let task = format!("label=com.atq.task={task}");
    let role = format!("label=com.atq.role={role}");
    let args = [
        "ps",
        "-q",
        "--no-trunc",
        "--filter",
        &task,
        "--filter",
        &role,
    ];
    let ids = docker(&args).await?;
    Ok(ids.lines().next().context("no container")?.to_owned())
}

#[tokio::test]
async fn a_container_of_a_task_reaches_no_port_of_the_director() -> Result<()> {
    if !atq_tests::netns::can_enter() {
        println!("skipped: network namespaces of containers need root");
        return Ok(());
    }
    let fixture = Fixture::start("test-isolation").await?;
    start(&fixture, "isolated").await?;
    let director = fixture.director();
    let port: u16 = director
        .client
        .url
        .rsplit(':')
        .next()
        .context("no port")?
        .parse()?;
    let node_port = std::fs::read_to_string(director.dir.join("data/node-port"))?;
    let node_port: u16 = node_port.trim().parse()?;

    let shown = Command::new("ip")
        .args(["-4", "-o", "addr", "show"])
        .output()?;
    let mut addresses = addresses_in(&String::from_utf8_lossy(&shown.stdout));
    ensure!(addresses.len() > 1, "{addresses:?}");
    addresses.push(IpAddr::from([127, 0, 0, 1]));
    let targets: Vec<SocketAddr> = addresses
        .iter()
        .flat_map(|address| [port, node_port].map(|port| SocketAddr::new(*address, port)))
        .collect();
    // Both ports are open on this machine.
    for port in [port, node_port] {
        tokio::net::TcpStream::connect(("127.0.0.1", port)).await?;
    }
    for role in ["worker", "master"] {
        let id = container("isolated", role).await?;
        let open = open_ports(&of_container(&id)?, targets.clone()).await?;
        ensure!(open.is_empty(), "{role} reaches {open:?}");
        let environment = docker(&["exec", &id, "env"]).await?;
        ensure!(!environment.contains("ATQ_CARRIER"), "{environment}");
    }
    fixture.client().delete_by_force("isolated").await?;
    fixture.finish().await
}

#[tokio::test]
async fn a_task_cannot_join_the_network_of_another_one() -> Result<()> {
    let fixture = Fixture::start("test-foreign-network").await?;
    let client = fixture.client();
    start(&fixture, "victim").await?;
    let args = [
        "network",
        "ls",
        "--no-trunc",
        "--filter",
        "label=com.atq.task=victim",
        "--format",
        "{{.Name}} {{.ID}}",
    ];
    let network = docker(&args).await?;
    // Docker accepts a network's id as well.
    for wanted in network.split_whitespace() {
        let task = with(
            small_task("intruder", 1),
            "/worker/networks",
            json!([wanted]),
        );
        let refused = client.put(&task).await?;
        ensure!(refused.status() == 417, "{wanted}");
        let body: Value = refused.json().await?;
        ensure!(body["errors"][0]["field"] == "worker.networks[0]", "{body}");
    }
    client.delete_by_force("victim").await?;
    fixture.finish().await
}

#[tokio::test]
async fn the_port_for_carriers_must_be_free_at_the_start() -> Result<()> {
    let taken = std::net::TcpListener::bind("127.0.0.1:0")?;
    let port = taken.local_addr()?.port();
    ensure!(port != free_port()?);
    let started = Fixture::start_with("test-node-port", &format!("nodePort: {port}\n")).await;
    let error = started.err().map(|error| format!("{error:#}"));
    let error = error.context("started")?;
    let expected = format!(
        "cannot listen for carriers on 127.0.0.1:{port} (`nodePort` and `nodeBind` of the configuration)"
    );
    ensure!(error.contains(&expected), "{error}");
    Ok(())
}
