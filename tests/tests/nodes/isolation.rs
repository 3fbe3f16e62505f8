//! What containers of tasks can do at the ports of the Director: nothing without a token, and with a token of a carrier
//! only what that carrier does.

use crate::{long_task, workers_by_node};
use anyhow::{Context, Result, ensure};
use atq_api_spec::task::Step;
use atq_tests::bundle::zip;
use atq_tests::fixture::{RUN_TIMEOUT, with};
use atq_tests::isolation::{Attempt, addresses_in, open_ports, send};
use atq_tests::netns::of_container;
use atq_tests::nodes::{ALL, MANAGER, NODE_PORT, Nodes, NodesFixture, PORT, until};
use reqwest::Method;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::process::Command;
use std::time::Duration;

const TASK: &str = "isolated";

pub async fn containers_isolated(nodes: &Nodes) -> Result<String> {
    let fixture = NodesFixture::start(nodes, "nodes-isolation", "").await?;
    let client = fixture.director.client.clone();
    let bundle = client.upload(zip(&[("secret.txt", b"x")])?).await?;
    let task = with(long_task(TASK, 3), "/worker/fileid", bundle.as_str());
    // The criterion makes the Director sample the CPU usage, by carriers on the other nodes.
    let task = with(task, "/criteria", json!(["errors < 1%"]));
    client.start(&task).await?;
    let running = client
        .until(TASK, RUN_TIMEOUT, |task| task.step == Step::Running)
        .await?;
    let on = workers_by_node(nodes, &running).await?;
    ensure!(on.len() == 3, "workers on every node: {on:?}");
    let watcher = watcher(nodes).await?;
    let ids: BTreeMap<u8, String> = nodes
        .by_id()
        .await?
        .into_iter()
        .map(|(id, node)| (node, id))
        .collect();

    let url = format!("https://{}:{NODE_PORT}", nodes.address);
    ensure!(watcher.order["url"] == url, "{}", watcher.order["url"]);
    let run = watcher.order["run"].as_str().context("no run")?;
    let mut tried = 0;
    for node in ALL {
        let id = container(nodes, node).await?;
        let namespace = of_container(&id)?;
        let environment = nodes.docker(node, &["exec", &id, "env"]).await?;
        ensure!(!environment.contains("ATQ_CARRIER"), "{environment}");

        // Of all ports, only that for carriers is open, on the manager's address.
        let targets = targets(nodes, node)?;
        let open = open_ports(&namespace, targets.clone()).await?;
        let only: SocketAddr = format!("{}:{NODE_PORT}", nodes.address).parse()?;
        ensure!(
            open.iter().all(|one| *one == only),
            "node {node} reaches {open:?}"
        );
        ensure!(open.contains(&only), "{only} is closed");

        let attempts = attempts(run, &bundle, &watcher.token, &ids, node);
        let answers = send(&namespace, url.clone(), attempts.clone()).await?;
        for (attempt, (status, body)) in attempts.iter().zip(&answers) {
            ensure!(
                *status == 403 && body.contains("not_authorized"),
                "{attempt:?} from node {node}: {status} {body}"
            );
        }
        tried += targets.len() + attempts.len();
    }
    let own = carrier_report(nodes, run, &watcher.token, &ids).await?;
    ensure!(own == 204, "the watcher's own request: {own}");
    let log = fixture.director.log();
    ensure!(
        log.contains("refused a request at the port for carriers"),
        "{log}"
    );

    client.stop(TASK).await?;
    let done = client.done(TASK, RUN_TIMEOUT).await?;
    ensure!(done.step == Step::Done, "{done:#?}");
    let results = client.get(&format!("/task/{TASK}/results")).await?;
    ensure!(results.status() == 200);
    let zip = ::zip::ZipArchive::new(std::io::Cursor::new(results.bytes().await?))?;
    let names = zip.file_names().map(|name| Ok(name?.into_owned()));
    let names = names.collect::<Result<Vec<String>>>()?;
    ensure!(
        (1..=3).all(|worker| names.contains(&format!("worker.{worker}/worker.csv"))),
        "{names:?}"
    );
    ensure!(client.delete(TASK).await?.0 == 204);
    fixture.finish().await?;
    Ok(format!(
        "{tried} attempts from containers on 3 nodes, all refused"
    ))
}

/// The order and the token of the carriers that sample CPU usage.
struct Watcher {
    order: Value,
    token: String,
}

/// Their service's environment, which only managers can read.
async fn watcher(nodes: &Nodes) -> Result<Watcher> {
    let list = [
        "service",
        "ls",
        "-q",
        "--filter",
        "label=com.atq.role=watcher",
    ];
    let exists = async || Ok(!nodes.docker(MANAGER, &list).await?.is_empty());
    until("a watcher", Duration::from_secs(20), exists).await?;
    let service = nodes.docker(MANAGER, &list).await?;
    let args = [
        "service",
        "inspect",
        service.as_str(),
        "--format",
        "{{json .Spec.TaskTemplate.ContainerSpec.Env}}",
    ];
    let environment: Vec<String> = serde_json::from_str(&nodes.docker(MANAGER, &args).await?)?;
    let value = |name: &str| {
        let value = environment.iter().find_map(|one| one.strip_prefix(name));
        value.with_context(|| format!("no {name}"))
    };
    Ok(Watcher {
        // Braces are escaped for Docker's templates; the order has no others.
        order: serde_json::from_str(&unescape(value("ATQ_CARRIER_ORDER=")?))?,
        token: value("ATQ_CARRIER_TOKEN=")?.to_owned(),
    })
}

fn unescape(template: &str) -> String {
    template
        .replace("{{\"{{\"}}", "{{")
        .replace("{{`{{`}}", "{{")
}

/// The full id of a worker's container on a node.
async fn container(nodes: &Nodes, node: u8) -> Result<String> {
    let task = format!("label=com.atq.task={TASK}");
    let role = "label=com.atq.role=worker";
    let args = [
        "ps",
        "-q",
        "--no-trunc",
        "--filter",
        &task,
        "--filter",
        role,
    ];
    let ids = nodes.docker(node, &args).await?;
    Ok(ids.lines().next().context("no container")?.to_owned())
}

/// Both ports of the Director, on every address of the manager and of the container's node.
fn targets(nodes: &Nodes, node: u8) -> Result<Vec<SocketAddr>> {
    let mut addresses = vec![IpAddr::from([127, 0, 0, 1]), nodes.address.parse()?];
    for node in [MANAGER, node] {
        let name = atq_tests::nodes::name_of(node);
        let args = ["-n", &name, "-4", "-o", "addr", "show"];
        let shown = Command::new("ip").args(args).output()?;
        addresses.extend(addresses_in(&String::from_utf8_lossy(&shown.stdout)));
    }
    addresses.sort_unstable();
    addresses.dedup();
    let both = |address| [PORT, NODE_PORT].map(|port| SocketAddr::new(address, port));
    Ok(addresses.into_iter().flat_map(both).collect())
}

/// Requests that must be refused: routes of the API, and errands other than the watcher's.
fn attempts(
    run: &str,
    bundle: &str,
    token: &str,
    ids: &BTreeMap<u8, String>,
    node: u8,
) -> Vec<Attempt> {
    let attempt = |method: Method, path: &str, token: &str, node: &str, body: &str| Attempt {
        method,
        path: path.to_owned(),
        token: token.to_owned(),
        node: node.to_owned(),
        body: body.to_owned(),
    };
    let mut all = Vec::new();
    let api = [
        (Method::GET, "/task"),
        (Method::PUT, "/task"),
        (Method::GET, "/swarm"),
        (Method::GET, "/api/databind/list"),
        (Method::GET, "/readyz"),
        (Method::POST, "/carrier/ready"),
    ];
    for (method, path) in api {
        for token in ["", token] {
            all.push(attempt(method.clone(), path, token, &ids[&node], "{}"));
        }
    }
    let fetch = format!("/carrier/{run}/bundle/{bundle}");
    let load = format!("/carrier/{run}/load");
    for token in ["", "wrong", token] {
        all.push(attempt(Method::GET, &fetch, token, &ids[&node], ""));
        for worker in 1..=3 {
            for id in ids.values() {
                let results = format!("/carrier/{run}/results/worker.{worker}");
                all.push(attempt(Method::PUT, &results, token, id, "forged"));
            }
        }
    }
    // With the watcher's token: containers that are not on the node, another run.
    let sample = |source: &str| {
        json!({
            "at": 1, "cpus": 2, "nodePercent": 1.0,
            "containers": [{"id": "forged", "source": source, "percent": 1.0}],
        })
        .to_string()
    };
    for source in ["worker.1", "worker.99", "master.1"] {
        for id in ids.values() {
            all.push(attempt(Method::POST, &load, token, id, &sample(source)));
        }
    }
    let empty = json!({"at": 1, "cpus": 2, "nodePercent": 1.0, "containers": []}).to_string();
    all.push(attempt(Method::POST, &load, token, "nobody", &empty));
    let other = "/carrier/abc123/load";
    all.push(attempt(Method::POST, other, token, &ids[&node], &empty));
    all.push(attempt(Method::POST, &load, "wrong", &ids[&node], &empty));
    all
}

/// The status of the only request for which the watcher's token is valid.
async fn carrier_report(
    nodes: &Nodes,
    run: &str,
    token: &str,
    ids: &BTreeMap<u8, String>,
) -> Result<u16> {
    let namespace = of_container(&container(nodes, 2).await?)?;
    let body = json!({"at": 1, "cpus": 2, "nodePercent": 1.0, "containers": []});
    let attempt = Attempt {
        method: Method::POST,
        path: format!("/carrier/{run}/load"),
        token: token.to_owned(),
        node: ids[&2].clone(),
        body: body.to_string(),
    };
    let url = format!("https://{}:{NODE_PORT}", nodes.address);
    let answers = send(&namespace, url, vec![attempt]).await?;
    Ok(answers[0].0)
}
