//! Runs on a Swarm of three nodes, some of which are lost, drained or restarted meanwhile.
//!
//! The nodes are created once, and the scenarios run on them one after the other. After a failed scenario the nodes are
//! recreated, and the others still run. `ATQ_SCENARIO=text` selects the scenarios whose name contains that text.
#![allow(missing_docs, clippy::unwrap_used)]

mod bundle_delivery;
mod docker_restart;
mod isolation;
mod live_figures;
mod node_loss;
mod placement;
mod sync;

use anyhow::{Context, Result, ensure};
use atq_api_spec::task::{Failure, Task};
use atq_tests::fixture::{small_task, with};
use atq_tests::nodes::Nodes;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Write;
use std::time::Instant;

#[tokio::test]
async fn a_swarm_of_three_nodes() -> Result<()> {
    let mut runner = Runner::start().await?;
    runner
        .run("workers spread", placement::workers_spread)
        .await?;
    runner
        .run("results collected", placement::results_collected)
        .await?;
    runner
        .run("force-stopped", placement::force_stopped)
        .await?;
    runner
        .run("containers isolated", isolation::containers_isolated)
        .await?;
    runner
        .run("manager drained", placement::manager_drained)
        .await?;
    runner
        .run("figures followed", live_figures::figures_followed)
        .await?;
    runner
        .run(
            "samples of a lost node",
            live_figures::samples_of_a_lost_node,
        )
        .await?;
    runner
        .run("tools started together", sync::tools_started_together)
        .await?;
    runner.run("node killed", node_loss::node_killed).await?;
    runner
        .run("node unplugged", node_loss::node_unplugged)
        .await?;
    runner
        .run("Docker restarted", docker_restart::docker_restarted)
        .await?;
    runner
        .run(
            "Docker restarted in four steps",
            docker_restart::docker_restarted_in_steps,
        )
        .await?;
    runner
        .run("Docker stopped", docker_restart::docker_stopped)
        .await?;
    runner
        .run("bundles delivered", bundle_delivery::bundles_delivered)
        .await?;
    runner
        .run(
            "bundle to a node that joins later",
            bundle_delivery::bundle_to_late_node,
        )
        .await?;
    runner
        .run(
            "bundle on a full disk",
            bundle_delivery::bundle_on_full_disk,
        )
        .await?;
    runner
        .run(
            "bundle without carrier",
            bundle_delivery::bundle_without_carrier,
        )
        .await?;
    runner
        .run("large bundle", bundle_delivery::large_bundle)
        .await?;
    runner
        .run("tools on a lost node", sync::tools_on_a_lost_node)
        .await?;
    runner.finish()
}

/// Runs the scenarios and collects the failures.
struct Runner {
    nodes: Nodes,
    only: Option<String>,
    count: usize,
    failures: Vec<String>,
}

impl Runner {
    async fn start() -> Result<Self> {
        print("creating three nodes");
        let nodes = Nodes::up().await?;
        Ok(Self {
            nodes,
            only: std::env::var("ATQ_SCENARIO").ok(),
            count: 0,
            failures: Vec::new(),
        })
    }

    async fn run(
        &mut self,
        name: &str,
        scenario: impl AsyncFnOnce(&Nodes) -> Result<String>,
    ) -> Result<()> {
        if self.only.as_ref().is_some_and(|word| !name.contains(word)) {
            return Ok(());
        }
        let begun = Instant::now();
        let result = scenario(&self.nodes).await;
        let seconds = begun.elapsed().as_secs_f32();
        self.count += 1;
        match result {
            Ok(summary) => print(&format!("{name}: {summary} ({seconds:.1} s)")),
            Err(error) => {
                print(&format!("{name}: FAILED after {seconds:.1} s: {error:#}"));
                self.failures.push(format!("{name}: {error:#}"));
                self.nodes.recreate()?;
            }
        }
        Ok(())
    }

    fn finish(self) -> Result<()> {
        ensure!(
            self.count > 0,
            "no scenario name contains the text of ATQ_SCENARIO"
        );
        ensure!(self.failures.is_empty(), "{}", self.failures.join("\n"));
        Ok(())
    }
}

/// Prints a line immediately: the test harness captures `println!`.
fn print(line: &str) {
    let _ = writeln!(std::io::stderr(), "nodes: {line}");
}

fn failure(task: &Task) -> Result<&Failure> {
    task.failure
        .as_ref()
        .with_context(|| format!("no failure: {task:#?}"))
}

/// A task whose master runs until it is stopped.
fn long_task(name: &str, workers: u32) -> Value {
    with(
        small_task(name, workers),
        "/master/environment",
        json!(["HOLD=600"]),
    )
}

/// Number of workers by node.
async fn workers_by_node(nodes: &Nodes, task: &Task) -> Result<BTreeMap<u8, usize>> {
    let ids = nodes.by_id().await?;
    let mut found = BTreeMap::new();
    for worker in &task.workers {
        let id = worker.node.as_ref().context("a worker without a node")?;
        *found
            .entry(*ids.get(id).context("unknown node")?)
            .or_default() += 1;
    }
    Ok(found)
}
