//! A Swarm of three nodes on this machine, created and removed by `deploy/nodes.sh`: node 1 is the manager, nodes 2
//! and 3 are workers. The Director of a test runs in the network namespace of the manager.

use crate::client::Client;
use crate::director::{Director, binary};
use crate::docker::docker_at;
use crate::netns::Forwarder;
use anyhow::{Context, Result, bail, ensure};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The node of the Swarm manager and of the Director.
pub const MANAGER: u8 = 1;
/// All nodes.
pub const ALL: [u8; 3] = [1, 2, 3];
/// Ports of the Director: on the manager's loopback for clients, and for carriers. Nothing else uses the manager's
/// network namespace.
pub const PORT: u16 = 8080;
/// See [`PORT`].
pub const NODE_PORT: u16 = 8081;
/// Networks that every Engine in a Swarm has.
const BUILT_IN_NETWORKS: [&str; 5] = ["bridge", "docker_gwbridge", "host", "ingress", "none"];

/// The nodes. They are removed when this value is dropped or its process exits.
#[derive(Debug)]
pub struct Nodes {
    hosts: BTreeMap<u8, String>,
    /// The manager's address.
    pub address: String,
}

impl Nodes {
    /// Creates the nodes and replaces leftovers of an earlier run.
    ///
    /// # Errors
    /// When the script fails; it writes the reason to standard error.
    pub async fn up() -> Result<Self> {
        let nodes = Self {
            hosts: ALL
                .into_iter()
                .map(|node| Ok((node, script(&["host", &node.to_string()])?)))
                .collect::<Result<_>>()?,
            address: script(&["address", &MANAGER.to_string()])?,
        };
        nodes.recreate()?;
        Ok(nodes)
    }

    /// Creates the nodes again, without any earlier state.
    ///
    /// # Errors
    /// When the script fails.
    pub fn recreate(&self) -> Result<()> {
        script(&["up", "--for", &std::process::id().to_string()]).map(drop)
    }

    /// Applies a command of the script to a node: `kill`, `stop`, `start`, `unplug`, `plug`.
    ///
    /// # Errors
    /// When the script fails.
    pub fn control(&self, command: &str, node: u8) -> Result<()> {
        script(&[command, &node.to_string()]).map(drop)
    }

    /// Address of a node's Engine, for `DOCKER_HOST`.
    ///
    /// # Panics
    /// When the node does not exist.
    pub fn host(&self, node: u8) -> &str {
        &self.hosts[&node]
    }

    /// Runs `docker ARGS` on a node.
    ///
    /// # Errors
    /// When it fails.
    pub async fn docker(&self, node: u8, args: &[&str]) -> Result<String> {
        docker_at(self.host(node), args).await
    }

    /// Copies an image from the host to every node.
    ///
    /// # Errors
    /// When the host's Engine does not have it, or a node does not take it.
    pub async fn load(&self, image: &str) -> Result<()> {
        let file = tempfile::NamedTempFile::new()?;
        let path = file.path().to_str().context("a path that is not UTF-8")?;
        crate::docker::docker(&["save", "-o", path, image]).await?;
        for node in ALL {
            self.docker(node, &["load", "-q", "-i", path]).await?;
        }
        Ok(())
    }

    /// Sets the availability of a node: `active` or `drain`.
    ///
    /// # Errors
    /// When the manager rejects it.
    pub async fn set_availability(&self, node: u8, availability: &str) -> Result<()> {
        let name = name_of(node);
        self.docker(
            MANAGER,
            &[
                "node",
                "update",
                "--availability",
                availability,
                name.as_str(),
            ],
        )
        .await
        .map(drop)
    }

    /// The nodes by Docker's node ids.
    ///
    /// # Errors
    /// When the manager does not respond.
    pub async fn by_id(&self) -> Result<BTreeMap<String, u8>> {
        let format = "{{.ID}} {{.Hostname}}";
        let list = self
            .docker(MANAGER, &["node", "ls", "--format", format])
            .await?;
        let entry = |line: &str| {
            let (id, name) = line.split_once(' ')?;
            let node = ALL.into_iter().find(|node| name_of(*node) == name)?;
            Some((id.to_owned(), node))
        };
        Ok(list.lines().filter_map(entry).collect())
    }

    /// Waits until the manager reports `status` for a node: `Ready` or `Down`.
    ///
    /// # Errors
    /// On a timeout of a minute.
    pub async fn until_status(&self, node: u8, status: &str) -> Result<()> {
        let format = "{{.Hostname}} {{.Status}}";
        let expected = format!("{} {status}", name_of(node));
        let has_status = || async {
            let list = self
                .docker(MANAGER, &["node", "ls", "--format", format])
                .await?;
            Ok(list.lines().any(|line| line == expected))
        };
        until(&expected, Duration::from_secs(60), has_status).await
    }

    /// The nodes that run replicas of a service, by Docker's list of its Swarm tasks.
    ///
    /// # Errors
    /// When the manager does not respond.
    pub async fn of_service(&self, service: &str) -> Result<Vec<u8>> {
        let args = ["service", "ps", service, "--format", "{{.Node}}"];
        let names = self.docker(MANAGER, &args).await?;
        let found = |name: &str| ALL.into_iter().find(|node| name_of(*node) == name);
        Ok(names.lines().filter_map(found).collect())
    }

    /// Objects on a node, except those that every Engine has.
    ///
    /// # Errors
    /// When the node does not respond.
    pub async fn objects(&self, node: u8) -> Result<Vec<String>> {
        let mut kinds: Vec<(&str, &[&str])> = vec![
            ("container", &["ps", "-a", "--format", "{{.Names}}"]),
            ("network", &["network", "ls", "--format", "{{.Name}}"]),
            ("volume", &["volume", "ls", "--format", "{{.Name}}"]),
        ];
        if node == MANAGER {
            kinds.push(("service", &["service", "ls", "--format", "{{.Name}}"]));
        }
        let mut found = Vec::new();
        for (kind, args) in kinds {
            let names = self.docker(node, args).await?;
            found.extend(
                names
                    .lines()
                    .filter(|name| !BUILT_IN_NETWORKS.contains(name))
                    .map(|name| format!("{kind} {name} on node {node}")),
            );
        }
        match script(&["vxlans", &node.to_string()])?.as_str() {
            "0" => {}
            count => found.push(format!("{count} vxlan interface(s) on node {node}")),
        }
        Ok(found)
    }

    /// Waits until no node has objects except those that every Engine has.
    ///
    /// # Errors
    /// When some remain after a minute.
    pub async fn until_nothing(&self) -> Result<()> {
        let begun = Instant::now();
        loop {
            let mut remaining = Vec::new();
            for node in ALL {
                remaining.extend(self.objects(node).await?);
            }
            if remaining.is_empty() {
                return Ok(());
            }
            if begun.elapsed() > Duration::from_secs(60) {
                bail!("still on the nodes: {remaining:?}");
            }
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        if let Err(error) = script(&["down"]) {
            eprintln!("cannot remove the nodes: {error:#}");
        }
    }
}

/// Host name of a node.
pub fn name_of(node: u8) -> String {
    format!("atq-node{node}")
}

/// Polls `condition` until it returns true.
///
/// # Errors
/// On a timeout, or when the condition fails.
pub async fn until<F, Fut>(what: &str, timeout: Duration, condition: F) -> Result<()>
where
    F: Fn() -> Fut,
    Fut: Future<Output = Result<bool>>,
{
    let begun = Instant::now();
    while !condition().await? {
        ensure!(begun.elapsed() < timeout, "timeout of {timeout:?}: {what}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

/// The Director of a test, in the network namespace of the manager. The nodes run nothing else.
#[derive(Debug)]
pub struct NodesFixture<'n> {
    /// The nodes.
    pub nodes: &'n Nodes,
    /// The Director.
    pub director: Director,
    /// Leads to the Director's API, which listens on the manager's loopback only.
    _api: Forwarder,
    _dir: TempDir,
}

impl<'n> NodesFixture<'n> {
    /// Starts a Director with additional lines of configuration.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start(nodes: &'n Nodes, id: &str, more: &str) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let host = nodes.host(MANAGER);
        let more = format!("nodePort: {NODE_PORT}\ndockerHost: {host}\ndirectorId: {id}\n{more}");
        let namespace = PathBuf::from("/run/netns").join(name_of(MANAGER));
        let api = Forwarder::start(&namespace, ([127, 0, 0, 1], PORT).into())?;
        // The script replaces itself by the Director, which keeps the process id.
        let mut command = Command::new(script_path());
        command
            .args(["exec", &MANAGER.to_string()])
            .arg(binary()?.canonicalize()?);
        let url = format!("http://{}", api.address);
        let director =
            Director::launch(command, dir.path(), Client::new(&url)?, PORT, &more).await?;
        Ok(Self {
            nodes,
            director,
            _api: api,
            _dir: dir,
        })
    }

    /// Waits until the Director is ready (or not ready) and returns the body of `/readyz`.
    ///
    /// # Errors
    /// On a timeout of 30 s.
    pub async fn until_ready(&self, ready: bool) -> Result<String> {
        let begun = Instant::now();
        loop {
            let response = self.director.client.get("/readyz").await?;
            let (status, body) = (response.status(), response.text().await?);
            if status.is_success() == ready {
                return Ok(body);
            }
            ensure!(
                begun.elapsed() < Duration::from_secs(30),
                "readiness is not {ready}: {status} {body}"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Ends the master of a task with exit code 0: its script continues when its `sleep` is killed.
    ///
    /// # Errors
    /// When its container is not found.
    pub async fn end_master(&self, service: &str) -> Result<()> {
        let nodes = self.nodes.of_service(service).await?;
        let node = *nodes.first().context("no node runs the master")?;
        let filter = format!("label=com.docker.swarm.service.id={service}");
        let container = self
            .nodes
            .docker(node, &["ps", "-q", "--filter", &filter])
            .await?;
        self.nodes
            .docker(node, &["exec", &container, "killall", "sleep"])
            .await
            .map(drop)
    }

    /// Deletes the bundles and checks that no object is left on any node.
    ///
    /// # Errors
    /// When one is left.
    pub async fn finish(self) -> Result<()> {
        self.director.client.delete_bundles().await?;
        self.nodes.until_nothing().await
    }
}

fn script_path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/nodes.sh")
}

/// Runs the script and returns its standard output. Its errors go to standard error.
fn script(args: &[&str]) -> Result<String> {
    let output = Command::new(script_path())
        .args(args)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run `deploy/nodes.sh`")?;
    ensure!(
        output.status.success(),
        "deploy/nodes.sh {}: {}",
        args.join(" "),
        output.status
    );
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
