//! Runs on a Swarm of three nodes, of which some are lost, drained or restarted meanwhile.
//!
//! The nodes come up once, and the stories are told on them one after the other. One that fails does
//! not keep the others from being told: they get new nodes. `ATQ_STORY=word` tells only those with
//! that word in their name.
#![allow(missing_docs, clippy::unwrap_used)]

mod bundles;
mod docker;
mod losses;
mod spreading;

use anyhow::{Context, Result, ensure};
use atq_api_spec::task::{Failure, Task};
use atq_tests::nodes::Nodes;
use atq_tests::stage::{small_task, with};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Write;
use std::time::Instant;

#[tokio::test]
async fn a_swarm_of_three_nodes() -> Result<()> {
    let mut teller = Teller::start().await?;
    teller
        .tell("workers spread", spreading::workers_spread)
        .await?;
    teller
        .tell("results brought", spreading::results_brought)
        .await?;
    teller
        .tell("ended by force", spreading::ended_by_force)
        .await?;
    teller
        .tell("manager drained", spreading::manager_drained)
        .await?;
    teller.tell("node killed", losses::node_killed).await?;
    teller
        .tell("node unplugged", losses::node_unplugged)
        .await?;
    teller
        .tell("Docker restarted", docker::docker_restarted)
        .await?;
    teller
        .tell(
            "Docker restarted in four steps",
            docker::docker_restarted_in_steps,
        )
        .await?;
    teller
        .tell("Docker stopped", docker::docker_stopped)
        .await?;
    teller
        .tell("bundles brought", bundles::bundles_brought)
        .await?;
    teller
        .tell(
            "bundle to a node that comes later",
            bundles::bundle_to_late_node,
        )
        .await?;
    teller
        .tell("bundle without room", bundles::bundle_without_room)
        .await?;
    teller
        .tell("bundle without carrier", bundles::bundle_without_carrier)
        .await?;
    teller.tell("large bundle", bundles::large_bundle).await?;
    teller.end()
}

/// Tells the stories and remembers those that went wrong.
struct Teller {
    nodes: Nodes,
    only: Option<String>,
    told: usize,
    wrong: Vec<String>,
}

impl Teller {
    async fn start() -> Result<Self> {
        say("bringing up three nodes");
        let nodes = Nodes::up().await?;
        Ok(Self {
            nodes,
            only: std::env::var("ATQ_STORY").ok(),
            told: 0,
            wrong: Vec::new(),
        })
    }

    async fn tell(
        &mut self,
        name: &str,
        story: impl AsyncFnOnce(&Nodes) -> Result<String>,
    ) -> Result<()> {
        if self.only.as_ref().is_some_and(|word| !name.contains(word)) {
            return Ok(());
        }
        let begun = Instant::now();
        let told = story(&self.nodes).await;
        let seconds = begun.elapsed().as_secs_f32();
        self.told += 1;
        match told {
            Ok(saw) => say(&format!("{name}: {saw} ({seconds:.1} s)")),
            Err(error) => {
                say(&format!("{name}: FAILED after {seconds:.1} s: {error:#}"));
                self.wrong.push(format!("{name}: {error:#}"));
                self.nodes.anew()?;
            }
        }
        Ok(())
    }

    fn end(self) -> Result<()> {
        ensure!(self.told > 0, "no story has that word in its name");
        ensure!(self.wrong.is_empty(), "{}", self.wrong.join("\n"));
        Ok(())
    }
}

/// A line that is seen at once: the test harness holds back what is printed in the usual way.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "nodes: {line}");
}

fn failure(task: &Task) -> Result<&Failure> {
    task.failure
        .as_ref()
        .with_context(|| format!("no failure: {task:#?}"))
}

/// A task whose master runs until it is told to end.
fn long_task(name: &str, workers: u32) -> Value {
    with(
        small_task(name, workers),
        "/master/environment",
        json!(["HOLD=600"]),
    )
}

/// How many workers are on which node.
async fn spread(nodes: &Nodes, task: &Task) -> Result<BTreeMap<u8, usize>> {
    let ids = nodes.by_id().await?;
    let mut found = BTreeMap::new();
    for worker in &task.workers {
        let id = worker.node.as_ref().context("a worker without a node")?;
        *found
            .entry(*ids.get(id).context("which node?")?)
            .or_default() += 1;
    }
    Ok(found)
}
