//! A Swarm of three nodes on this machine, brought up and down by `deploy/nodes.sh`: node 1 is the
//! manager, nodes 2 and 3 are workers. The Director of a test runs beside the manager's Engine.

use crate::director::{Director, binary};
use crate::docker::docker_at;
use anyhow::{Context, Result, bail, ensure};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The node on which the Director and the Swarm's manager are.
pub const MANAGER: u8 = 1;
/// All nodes.
pub const ALL: [u8; 3] = [1, 2, 3];
/// Where the Director listens. Nobody else is in the manager's network namespace.
const PORT: u16 = 8080;
/// Networks that an Engine in a Swarm has by itself.
const OWN_NETWORKS: [&str; 5] = ["bridge", "docker_gwbridge", "host", "ingress", "none"];

/// The nodes. They are taken down when this is dropped, or its process ends in another way.
#[derive(Debug)]
pub struct Nodes {
    hosts: BTreeMap<u8, String>,
    address: String,
}

impl Nodes {
    /// Brings the nodes up, in place of those that an earlier run has left.
    ///
    /// # Errors
    /// When this machine cannot do that; the script says on standard error what is missing.
    pub async fn up() -> Result<Self> {
        let nodes = Self {
            hosts: ALL
                .into_iter()
                .map(|node| Ok((node, script(&["host", &node.to_string()])?)))
                .collect::<Result<_>>()?,
            address: script(&["address", &MANAGER.to_string()])?,
        };
        nodes.anew()?;
        Ok(nodes)
    }

    /// Brings them up again, with nothing of before.
    ///
    /// # Errors
    /// When they do not come up.
    pub fn anew(&self) -> Result<()> {
        script(&["up", "--for", &std::process::id().to_string()]).map(drop)
    }

    /// Does to a node what a verb of the script says: `kill`, `stop`, `start`, `unplug`, `plug`.
    ///
    /// # Errors
    /// When the script fails.
    pub fn tell(&self, verb: &str, node: u8) -> Result<()> {
        script(&[verb, &node.to_string()]).map(drop)
    }

    /// Address of a node's Engine, for `DOCKER_HOST`.
    ///
    /// # Panics
    /// When there is no such node.
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

    /// Sets whether a node takes containers: `active` or `drain`.
    ///
    /// # Errors
    /// When the manager refuses.
    pub async fn availability(&self, node: u8, word: &str) -> Result<()> {
        let name = name_of(node);
        self.docker(
            MANAGER,
            &["node", "update", "--availability", word, name.as_str()],
        )
        .await
        .map(drop)
    }

    /// The nodes by Docker's ids.
    ///
    /// # Errors
    /// When the manager cannot be asked.
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

    /// Waits until the manager says `status` of a node: `Ready` or `Down`.
    ///
    /// # Errors
    /// When it does not within a minute.
    pub async fn until_status(&self, node: u8, status: &str) -> Result<()> {
        let format = "{{.Hostname}} {{.Status}}";
        let wanted = format!("{} {status}", name_of(node));
        let look = || async {
            let list = self
                .docker(MANAGER, &["node", "ls", "--format", format])
                .await?;
            Ok(list.lines().any(|line| line == wanted))
        };
        until(&wanted, Duration::from_secs(60), look).await
    }

    /// The nodes on which replicas of a service are, by Docker's list of its Swarm tasks.
    ///
    /// # Errors
    /// When the manager cannot be asked.
    pub async fn of_service(&self, service: &str) -> Result<Vec<u8>> {
        let args = ["service", "ps", service, "--format", "{{.Node}}"];
        let names = self.docker(MANAGER, &args).await?;
        let found = |name: &str| ALL.into_iter().find(|node| name_of(*node) == name);
        Ok(names.lines().filter_map(found).collect())
    }

    /// What there is on a node that is not there by itself.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub async fn present(&self, node: u8) -> Result<Vec<String>> {
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
                    .filter(|name| !OWN_NETWORKS.contains(name))
                    .map(|name| format!("{kind} {name} on node {node}")),
            );
        }
        match script(&["vxlans", &node.to_string()])?.as_str() {
            "0" => {}
            count => found.push(format!("{count} vxlan interface(s) on node {node}")),
        }
        Ok(found)
    }

    /// Waits until there is nothing on any of the nodes but what is there by itself.
    ///
    /// # Errors
    /// When something still is after a minute.
    pub async fn until_nothing(&self) -> Result<()> {
        let begun = Instant::now();
        loop {
            let mut left = Vec::new();
            for node in ALL {
                left.extend(self.present(node).await?);
            }
            if left.is_empty() {
                return Ok(());
            }
            if begun.elapsed() > Duration::from_secs(60) {
                bail!("still there: {left:?}");
            }
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        if let Err(error) = script(&["down"]) {
            eprintln!("the nodes are not down: {error:#}");
        }
    }
}

/// Host name of a node.
pub fn name_of(node: u8) -> String {
    format!("atq-node{node}")
}

/// Waits until `look` says yes.
///
/// # Errors
/// When it does not within `patience`, or cannot be asked.
pub async fn until<F, Fut>(what: &str, patience: Duration, look: F) -> Result<()>
where
    F: Fn() -> Fut,
    Fut: Future<Output = Result<bool>>,
{
    let begun = Instant::now();
    while !look().await? {
        ensure!(
            begun.elapsed() < patience,
            "not within {patience:?}: {what}"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

/// The Director of a test, beside the Engine of the manager; the nodes have nothing else to do.
#[derive(Debug)]
pub struct NodesStage<'n> {
    /// The nodes.
    pub nodes: &'n Nodes,
    /// The Director.
    pub director: Director,
    _dir: TempDir,
}

impl<'n> NodesStage<'n> {
    /// A Director with more lines of configuration.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn open(nodes: &'n Nodes, id: &str, more: &str) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let host = nodes.host(MANAGER);
        let more = format!("bind: 0.0.0.0\ndockerHost: {host}\ndirectorId: {id}\n{more}");
        // The script becomes the Director: same process.
        let mut command = Command::new(script_path());
        command
            .args(["exec", &MANAGER.to_string()])
            .arg(binary()?.canonicalize()?);
        let director = Director::launch(command, dir.path(), &nodes.address, PORT, &more).await?;
        Ok(Self {
            nodes,
            director,
            _dir: dir,
        })
    }

    /// Waits until the Director says that it can use Docker, or that it cannot; gives its words.
    ///
    /// # Errors
    /// When it does not within half a minute.
    pub async fn until_ready(&self, ready: bool) -> Result<String> {
        let begun = Instant::now();
        loop {
            let answer = self.director.client.get("/readyz").await?;
            let (status, words) = (answer.status(), answer.text().await?);
            if status.is_success() == ready {
                return Ok(words);
            }
            ensure!(
                begun.elapsed() < Duration::from_secs(30),
                "readiness is not {ready}: {status} {words}"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Ends the master of a task well: its image goes on when its `sleep` ends.
    ///
    /// # Errors
    /// When its container is not found.
    pub async fn end_master(&self, service: &str) -> Result<()> {
        let nodes = self.nodes.of_service(service).await?;
        let node = *nodes.first().context("the master is on no node")?;
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

    /// Ends the stage.
    ///
    /// # Errors
    /// When something is left on a node.
    pub async fn close(self) -> Result<()> {
        self.director.client.delete_bundles().await?;
        self.nodes.until_nothing().await
    }
}

fn script_path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/nodes.sh")
}

/// Runs the script and gives what it prints. What it complains about goes to standard error.
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
