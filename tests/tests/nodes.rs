//! Runs on a Swarm of three nodes, of which some are lost, drained or restarted meanwhile.
//!
//! The nodes come up once, and the stories are told on them one after the other. One that fails does
//! not keep the others from being told: they get new nodes. `ATQ_STORY=word` tells only those with
//! that word in their name.
#![allow(missing_docs, clippy::unwrap_used)]

use anyhow::{Context, Result, ensure};
use atq_api_spec::task::{Failure, Step, Task, TaskStatus};
use atq_tests::bundle::zip;
use atq_tests::nodes::{ALL, MANAGER, Nodes, NodesStage, until};
use atq_tests::stage::{PATIENCE, small_task, with};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::time::{Duration, Instant};

#[tokio::test]
async fn a_swarm_of_three_nodes() -> Result<()> {
    let mut teller = Teller::start().await?;
    teller.tell("workers spread", workers_spread).await?;
    teller.tell("results brought", results_brought).await?;
    teller.tell("manager drained", manager_drained).await?;
    teller.tell("node killed", node_killed).await?;
    teller.tell("node unplugged", node_unplugged).await?;
    teller.tell("Docker restarted", docker_restarted).await?;
    teller
        .tell("Docker restarted in four steps", docker_restarted_in_steps)
        .await?;
    teller.tell("Docker stopped", docker_stopped).await?;
    teller.tell("bundles brought", bundles_brought).await?;
    teller
        .tell("bundle to a node that comes later", bundle_to_late_node)
        .await?;
    teller
        .tell("bundle without room", bundle_without_room)
        .await?;
    teller
        .tell("bundle without carrier", bundle_without_carrier)
        .await?;
    teller.tell("large bundle", large_bundle).await?;
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

async fn workers_spread(nodes: &Nodes) -> Result<String> {
    let stage = NodesStage::open(nodes, "nodes-spread", "").await?;
    let client = stage.director.client.clone();
    client.start(&small_task("spread", 6)).await?;
    let done = client.done("spread", PATIENCE).await?;
    ensure!(done.status == TaskStatus::Finished, "{done:#?}");
    let on = spread(nodes, &done).await?;
    let seen: BTreeSet<u8> = on.keys().copied().collect();
    ensure!(seen == BTreeSet::from(ALL), "workers by node: {on:?}");
    let log = client.logs("spread", "?service=master").await?;
    ensure!(log.matches(" answered ").count() == 6, "{log}");
    stage.close().await?;
    Ok(format!(
        "6 workers by node {on:?}, all answered the master; nothing left on any node"
    ))
}

/// Results come from nodes where the Director cannot reach into containers.
async fn results_brought(nodes: &Nodes) -> Result<String> {
    let stage = NodesStage::open(nodes, "nodes-results", "").await?;
    let client = stage.director.client.clone();
    let task = with(
        small_task("results", 6),
        "/master/environment",
        json!(["HOLD=12"]),
    );
    client.start(&task).await?;
    let done = client.done("results", PATIENCE).await?;
    ensure!(done.status == TaskStatus::Finished, "{done:#?}");
    let on = spread(nodes, &done).await?;
    ensure!(on.len() == 3, "workers on every node: {on:?}");
    let answer = client.get("/task/results/results").await?;
    ensure!(answer.status() == 200, "{}", answer.text().await?);
    let zip = zip::ZipArchive::new(std::io::Cursor::new(answer.bytes().await?))?;
    let names = zip.file_names().map(|name| Ok(name?.into_owned()));
    let names = names.collect::<Result<BTreeSet<String>>>()?;
    let mut all: BTreeSet<String> = (1..=6).map(|n| format!("worker.{n}/worker.csv")).collect();
    all.insert("master.1/results.csv".to_owned());
    ensure!(names == all, "{names:?}");
    ensure!(client.delete("results").await?.0 == 204);
    stage.close().await?;
    Ok("results of 6 workers on 3 nodes".to_owned())
}

async fn manager_drained(nodes: &Nodes) -> Result<String> {
    nodes.availability(MANAGER, "drain").await?;
    let stage = NodesStage::open(nodes, "nodes-drained", "").await?;
    let client = stage.director.client.clone();
    client
        .start(&with(small_task("drained", 2), "/delay", 3))
        .await?;
    client
        .until("drained", PATIENCE, |task| task.step >= Step::Resolve)
        .await?;
    let role = "label=com.atq.role=discovery";
    let service = nodes
        .docker(MANAGER, &["service", "ls", "-q", "--filter", role])
        .await?;
    let sidecar = nodes.of_service(&service).await?;
    ensure!(
        sidecar.len() == 1 && sidecar != [MANAGER],
        "the sidecar is on {sidecar:?}"
    );
    let done = client.done("drained", PATIENCE).await?;
    ensure!(done.status == TaskStatus::Finished, "{done:#?}");
    let on = spread(nodes, &done).await?;
    ensure!(!on.contains_key(&MANAGER), "workers by node: {on:?}");
    stage.close().await?;
    nodes.availability(MANAGER, "active").await?;
    Ok(format!(
        "the sidecar ran on node {}, workers by node {on:?}, finished",
        sidecar[0]
    ))
}

/// A node is lost like a machine without power while two tasks run, of which one puts up with that and
/// the other does not, and a third one waits for the end of its delay; then it comes back.
async fn node_killed(nodes: &Nodes) -> Result<String> {
    let stage = NodesStage::open(nodes, "nodes-killed", "").await?;
    let client = stage.director.client.clone();
    client.start(&long_task("goes-on", 3)).await?;
    client
        .start(&with(long_task("gives-up", 3), "/onWorkerLoss", "abort"))
        .await?;
    client
        .start(&with(small_task("too-soon", 3), "/delay", 600))
        .await?;
    let gives_up = client
        .until("gives-up", PATIENCE, |task| task.step == Step::Running)
        .await?;
    let running = client
        .until("goes-on", PATIENCE, |task| task.step == Step::Running)
        .await?;
    let waiting = client
        .until("too-soon", PATIENCE, |task| task.step == Step::Delay)
        .await?;
    let master = nodes.of_service(&running.master.id).await?;
    // A node with a worker of each, but without the master.
    let victim = [2, 3]
        .into_iter()
        .find(|node| !master.contains(node))
        .context("which node?")?;
    for task in [&running, &gives_up, &waiting] {
        let on = spread(nodes, task).await?;
        ensure!(on.get(&victim) == Some(&1), "workers by node: {on:?}");
    }
    nodes.tell("kill", victim)?;
    let killed = Instant::now();
    nodes.until_status(victim, "Down").await?;
    let down = killed.elapsed();

    let errored = client.outcome("too-soon", Duration::from_secs(10)).await?;
    let told = killed.elapsed();
    let why = failure(&errored)?;
    ensure!(
        why.code == "worker_failed" && why.step == Step::Delay,
        "{why:?}"
    );
    ensure!(
        why.message.contains("2 of 3 workers run; replica ")
            && why.message.contains("its node was lost"),
        "{}",
        why.message
    );
    let lost = lost_workers(&stage, "goes-on", 1).await?;
    lost_workers(&stage, "gives-up", 1).await?;
    let aborted = client.outcome("gives-up", Duration::from_secs(60)).await?;
    let aborted = failure(&aborted)?;
    ensure!(
        aborted.code == "worker_lost" && aborted.step == Step::Running,
        "{aborted:?}"
    );
    let goes_on = client.task("goes-on").await?;
    ensure!(goes_on.status == TaskStatus::Started, "{goes_on:#?}");
    stage.end_master(&running.master.id).await?;
    let mut cleaned = 0;
    for (name, outcome) in [
        ("goes-on", TaskStatus::Finished),
        ("gives-up", TaskStatus::Errored),
        ("too-soon", TaskStatus::Errored),
    ] {
        let done = client.done(name, PATIENCE).await?;
        ensure!(
            done.status == outcome && done.leftovers.is_empty(),
            "{done:#?}"
        );
        cleaned = cleaned.max(done.timings["cleanup"]);
    }
    for node in ALL.into_iter().filter(|node| *node != victim) {
        let left = nodes.present(node).await?;
        ensure!(left.is_empty(), "while node {victim} is away: {left:?}");
    }
    nodes.tell("start", victim)?;
    nodes.until_status(victim, "Ready").await?;
    stage.close().await?;
    Ok(format!(
        "node {victim} down after {:.1} s; before the master `{}` {:.1} s later; while it runs {lost:?}, finished, \
         or with `abort` `{}`; \
         clean-up without the node took {cleaned} ms at most; nothing left before and after it is back",
        down.as_secs_f32(),
        why.message,
        (told - down).as_secs_f32(),
        aborted.message
    ))
}

/// Waits for `count` events `workerLost` and gives their words.
async fn lost_workers(stage: &NodesStage<'_>, task: &str, count: usize) -> Result<Vec<String>> {
    let client = &stage.director.client;
    let look = || async { Ok(client.events(task, "workerLost").await?.len() >= count) };
    until("the event `workerLost`", Duration::from_secs(30), look).await?;
    let events = client.events(task, "workerLost").await?;
    ensure!(events.len() == count, "{events:#?}");
    let words = events.iter().map(|event| {
        let replica = event.data["replica"].as_u64().context("no replica")?;
        let reason = event.data["reason"].as_str().context("no reason")?;
        ensure!(reason.starts_with("its node was lost"), "{reason}");
        Ok(format!("replica {replica}: {reason}"))
    });
    words.collect()
}

/// A node is out of reach, but its containers run on and must end when it is back.
async fn node_unplugged(nodes: &Nodes) -> Result<String> {
    let stage = NodesStage::open(nodes, "nodes-unplugged", "").await?;
    let client = stage.director.client.clone();
    client.start(&long_task("unplugged", 3)).await?;
    let running = client
        .until("unplugged", PATIENCE, |task| task.step == Step::Running)
        .await?;
    let master = nodes.of_service(&running.master.id).await?;
    let victim = [3, 2]
        .into_iter()
        .find(|node| !master.contains(node))
        .context("which node?")?;
    nodes.tell("unplug", victim)?;
    let lost = lost_workers(&stage, "unplugged", 1).await?;
    stage.end_master(&running.master.id).await?;
    let done = client.done("unplugged", PATIENCE).await?;
    ensure!(
        done.status == TaskStatus::Finished && done.leftovers.is_empty(),
        "{done:#?}"
    );
    // Its Engine knows nothing of the end. Without this the rest would prove nothing.
    let left = nodes.present(victim).await?;
    ensure!(
        left.iter().any(|object| object.starts_with("container ")),
        "on node {victim}: {left:?}"
    );
    nodes.tell("plug", victim)?;
    nodes.until_status(victim, "Ready").await?;
    stage.close().await?;
    Ok(format!(
        "{lost:?}, finished; while node {victim} was away it kept {} object(s), none after it was back",
        left.len()
    ))
}

/// The manager's own Engine is stopped and started while master and workers run on other nodes.
async fn docker_restarted(nodes: &Nodes) -> Result<String> {
    nodes.availability(MANAGER, "drain").await?;
    let stage = NodesStage::open(nodes, "nodes-restarted", "").await?;
    let client = stage.director.client.clone();
    client.start(&long_task("restarted", 3)).await?;
    let running = client
        .until("restarted", PATIENCE, |task| task.step == Step::Running)
        .await?;
    nodes.tell("stop", MANAGER)?;
    let words = stage.until_ready(false).await?;
    ensure!(words.contains("cannot reach Docker"), "{words}");
    let refused = client.put(&small_task("refused", 1)).await?;
    let (status, body) = (refused.status(), refused.text().await?);
    ensure!(status == 503, "PUT: {status} {body}");
    ensure!(
        client.get("/api/task/refused").await?.status() == 404,
        "something was stored"
    );
    let meanwhile = client.task("restarted").await?;
    ensure!(meanwhile.status == TaskStatus::Started, "{meanwhile:#?}");
    nodes.tell("start", MANAGER)?;
    stage.until_ready(true).await?;
    for node in [2, 3] {
        nodes.until_status(node, "Ready").await?;
    }
    stage.end_master(&running.master.id).await?;
    let done = client.done("restarted", PATIENCE).await?;
    ensure!(done.status == TaskStatus::Finished, "{done:#?}");
    let lost = client.events("restarted", "workerLost").await?;
    ensure!(lost.is_empty(), "{lost:#?}");
    stage.close().await?;
    nodes.availability(MANAGER, "active").await?;
    Ok(format!(
        "meanwhile /readyz and PUT 503, nothing stored, the run `started`; then finished: {}",
        body.replace('\n', " ")
    ))
}

/// The same while one task waits for its workers, another for its wait command, a third one for the
/// end of its delay, and a fourth one for workers that never listen. The last one needs its sidecar,
/// whose port Docker has forgotten by then, so it gets another one.
async fn docker_restarted_in_steps(nodes: &Nodes) -> Result<String> {
    nodes.availability(MANAGER, "drain").await?;
    let stage = NodesStage::open(nodes, "nodes-steps", "").await?;
    let client = stage.director.client.clone();
    client
        .start(&with(small_task("in-delay", 1), "/delay", 20))
        .await?;
    let wait = json!({"command": "sleep 20", "expectedResult": "", "timeout": 0});
    client
        .start(&with(small_task("in-wait", 1), "/waitCommand", wait))
        .await?;
    let at = async |name: &str, step: Step| {
        let reached = move |task: &Task| task.step >= step;
        client.until(name, PATIENCE, reached).await
    };
    let readiness = json!({"tcp": 7001, "timeout": 30});
    client
        .start(&with(
            small_task("in-readiness", 1),
            "/worker/readiness",
            readiness,
        ))
        .await?;
    at("in-delay", Step::Delay).await?;
    at("in-readiness", Step::Readiness).await?;
    at("in-wait", Step::WaitCommand).await?;
    client.start(&small_task("in-resolve", 6)).await?;
    at("in-resolve", Step::Resolve).await?;
    nodes.tell("stop", MANAGER)?;
    stage.until_ready(false).await?;
    let steps = [
        ("in-delay", Step::Delay),
        ("in-wait", Step::WaitCommand),
        ("in-readiness", Step::Readiness),
        ("in-resolve", Step::Resolve),
    ];
    for (name, step) in steps {
        let task = client.task(name).await?;
        ensure!(
            task.step == step,
            "Docker was not away in {step:?}: {task:#?}"
        );
    }
    nodes.tell("start", MANAGER)?;
    let mut ends = Vec::new();
    for (name, _) in steps {
        let done = client.done(name, PATIENCE).await?;
        let end = match done.status {
            TaskStatus::Finished => "finished".to_owned(),
            TaskStatus::Errored => {
                let why = failure(&done)?;
                format!("errored `{}` {}", why.code, why.message)
            }
            _ => anyhow::bail!("{done:#?}"),
        };
        ends.push(format!("{name} {end}"));
    }
    let sidecars = client.events("in-readiness", "discoveryPlaced").await?;
    ensure!(sidecars.len() == 2, "it was not replaced: {sidecars:#?}");
    stage.close().await?;
    nodes.availability(MANAGER, "active").await?;
    Ok(ends.join(", "))
}

/// Docker stays away for longer than the preparation may take.
async fn docker_stopped(nodes: &Nodes) -> Result<String> {
    nodes.availability(MANAGER, "drain").await?;
    let stage = NodesStage::open(nodes, "nodes-stopped", "orchestrationTimeout: 10\n").await?;
    let client = stage.director.client.clone();
    client.start(&small_task("cut-off", 6)).await?;
    client
        .until("cut-off", PATIENCE, |task| task.step >= Step::Resolve)
        .await?;
    nodes.tell("stop", MANAGER)?;
    let failed = client
        .until("cut-off", Duration::from_secs(30), |task| {
            task.failure.is_some()
        })
        .await?;
    let why = failure(&failed)?;
    ensure!(
        why.code == "docker_unavailable" && why.step == Step::Resolve,
        "{why:?}"
    );
    let refused = client.put(&small_task("refused", 1)).await?;
    ensure!(refused.status() == 503, "PUT: {}", refused.status());
    ensure!(
        client.get("/api/task/refused").await?.status() == 404,
        "something was stored"
    );
    nodes.tell("start", MANAGER)?;
    let done = client.done("cut-off", PATIENCE).await?;
    ensure!(
        done.status == TaskStatus::Errored && done.leftovers.is_empty(),
        "{done:#?}"
    );
    stage.close().await?;
    nodes.availability(MANAGER, "active").await?;
    Ok(format!(
        "in the middle of resolve: `{}` {}; PUT 503; all removed once it was back",
        why.code, why.message
    ))
}

/// The volumes of bundles on a node.
async fn bundle_volumes(nodes: &Nodes, node: u8) -> Result<Vec<String>> {
    let args = ["volume", "ls", "-q", "--filter", "label=com.atq.bundle"];
    let names = nodes.docker(node, &args).await?;
    Ok(names.lines().map(str::to_owned).collect())
}

async fn no_volumes(nodes: &Nodes) -> Result<()> {
    for node in ALL {
        let left = bundle_volumes(nodes, node).await?;
        ensure!(left.is_empty(), "on node {node}: {left:?}");
    }
    Ok(())
}

/// By node, whether it had to fetch.
async fn fetched(stage: &NodesStage<'_>, task: &str) -> Result<BTreeMap<u8, bool>> {
    let ids = stage.nodes.by_id().await?;
    let events = stage
        .director
        .client
        .events(task, "bundlesDelivered")
        .await?;
    let event = serde_json::to_value(events.first().context("nothing was delivered")?)?;
    let told = event.pointer("/data/nodes").and_then(Value::as_array);
    let told = told.with_context(|| event.to_string())?;
    let entry = |node: &Value| {
        let id = node["node"].as_str()?;
        Some((*ids.get(id)?, node["fetched"] == json!(true)))
    };
    Ok(told.iter().filter_map(entry).collect())
}

/// A task whose workers and master read the bundle, and whose workers print it in the wait command.
fn reading(name: &str, bundle: &str) -> Value {
    let task = with(long_task(name, 6), "/worker/fileid", bundle);
    with(task, "/master/fileid", bundle)
}

/// Reads a file of the bundle in every container of the task, on whichever node.
async fn read_everywhere(stage: &NodesStage<'_>, task: &str, path: &str) -> Result<Vec<String>> {
    let label = format!("label=com.atq.task={task}");
    let mut read = Vec::new();
    for node in ALL {
        for role in ["worker", "master"] {
            let role = format!("label=com.atq.role={role}");
            let args = ["ps", "-q", "--filter", &label, "--filter", &role];
            for container in stage.nodes.docker(node, &args).await?.lines() {
                read.push(
                    stage
                        .nodes
                        .docker(node, &["exec", container, "cat", path])
                        .await?,
                );
            }
        }
    }
    Ok(read)
}

async fn stopped(stage: &NodesStage<'_>, task: &str) -> Result<()> {
    let client = &stage.director.client;
    client.stop(task).await?;
    let done = client.done(task, PATIENCE).await?;
    ensure!(done.status == TaskStatus::Stopped, "{done:#?}");
    Ok(())
}

async fn bundle_gone(stage: &NodesStage<'_>, id: &str) -> Result<()> {
    let (status, words) = stage.director.client.delete_bundle(id).await?;
    ensure!(status == 204, "{status} {words}");
    no_volumes(stage.nodes).await
}

async fn bundles_brought(nodes: &Nodes) -> Result<String> {
    let stage = NodesStage::open(nodes, "nodes-push", "").await?;
    let client = &stage.director.client;
    let rows: Vec<String> = (1..=60).map(|n| format!("user{n}\n")).collect();
    let users = format!("name\n{}", rows.concat());
    let id = client
        .upload(zip(&[
            ("hello.txt", b"from the bundle"),
            ("users.csv", users.as_bytes()),
        ])?)
        .await?;
    let task = reading("push", &id);
    client.start(&task).await?;
    let running = client
        .until("push", PATIENCE, |task| task.step >= Step::Running)
        .await?;
    ensure!(running.failure.is_none(), "{running:#?}");
    let read = read_everywhere(&stage, "push", "/atq/data/hello.txt").await?;
    ensure!(read == ["from the bundle"; 7], "{read:?}");
    let first = fetched(&stage, "push").await?;
    ensure!(first == ALL.map(|node| (node, true)).into(), "{first:?}");
    stopped(&stage, "push").await?;

    let split = json!([{"path": "users.csv", "header": true}]);
    let again = with(with(task, "/name", "push-split"), "/worker/split", split);
    client.start(&again).await?;
    client
        .until("push-split", PATIENCE, |task| task.step >= Step::Running)
        .await?;
    let mut parts = read_everywhere(&stage, "push-split", "/atq/data/users.csv").await?;
    parts.retain(|part| part.trim() != users.trim());
    ensure!(parts.len() == 6, "{parts:?}");
    let mut seen: Vec<&str> = parts.iter().flat_map(|part| part.lines().skip(1)).collect();
    seen.sort_unstable();
    let mut all: Vec<&str> = rows.iter().map(|row| row.trim_end()).collect();
    all.sort_unstable();
    ensure!(seen == all, "{seen:?}");
    stopped(&stage, "push-split").await?;
    let made = bundle_volumes(nodes, 3).await?.len();
    bundle_gone(&stage, &id).await?;
    stage.close().await?;
    Ok(format!(
        "7 containers on three nodes read it; 60 rows dealt to 6 workers; {made} volumes on node 3, none after DELETE"
    ))
}

async fn bundle_to_late_node(nodes: &Nodes) -> Result<String> {
    let stage = NodesStage::open(nodes, "nodes-late", "").await?;
    let client = &stage.director.client;
    let id = client.upload(zip(&[("hello.txt", b"hi")])?).await?;
    nodes.tell("stop", 3)?;
    nodes.until_status(3, "Down").await?;
    client.start(&reading("late-1", &id)).await?;
    let running = client
        .until("late-1", PATIENCE, |task| task.step >= Step::Running)
        .await?;
    ensure!(running.failure.is_none(), "{running:#?}");
    ensure!(fetched(&stage, "late-1").await? == [(1, true), (2, true)].into());
    stopped(&stage, "late-1").await?;
    nodes.tell("start", 3)?;
    nodes.until_status(3, "Ready").await?;
    client.start(&reading("late-2", &id)).await?;
    let running = client
        .until("late-2", PATIENCE, |task| task.step >= Step::Running)
        .await?;
    ensure!(running.failure.is_none(), "{running:#?}");
    let second = fetched(&stage, "late-2").await?;
    ensure!(
        second == [(1, false), (2, false), (3, true)].into(),
        "{second:?}"
    );
    let read = read_everywhere(&stage, "late-2", "/atq/data/hello.txt").await?;
    ensure!(read == ["hi"; 7], "{read:?}");
    stopped(&stage, "late-2").await?;

    // A node that is away keeps its volume, is named, and gives it up when it is back.
    nodes.tell("stop", 3)?;
    nodes.until_status(3, "Down").await?;
    let (status, words) = client.delete_bundle(&id).await?;
    ensure!(
        status == 500 && words.contains("node `atq-node3` is down"),
        "{status} {words}"
    );
    nodes.tell("start", 3)?;
    nodes.until_status(3, "Ready").await?;
    bundle_gone(&stage, &id).await?;
    stage.close().await?;
    Ok(
        "it got the bundle before the next task, and kept its volume only while it was away"
            .to_owned(),
    )
}

/// The volumes of node 2 are on a tiny disk.
async fn bundle_without_room(nodes: &Nodes) -> Result<String> {
    let stage = NodesStage::open(nodes, "nodes-full", "").await?;
    let client = &stage.director.client;
    let root = nodes
        .docker(2, &["info", "--format", "{{.DockerRootDir}}"])
        .await?;
    let mut noise = vec![0; 8 << 20];
    fastrand::Rng::new().fill(&mut noise);
    let id = client.upload(zip(&[("noise", &noise)])?).await?;
    let name = format!("atq-bundle-nodes-fu-{id}");
    let labels = [
        "com.atq.director=nodes-full".to_owned(),
        format!("com.atq.bundle={id}"),
    ];
    let args = [
        "volume",
        "create",
        "--label",
        &labels[0],
        "--label",
        &labels[1],
        "--opt",
        "type=tmpfs",
        "--opt",
        "device=tmpfs",
        "--opt",
        "o=size=1m",
        &name,
    ];
    nodes.docker(2, &args).await?;
    client.start(&reading("full", &id)).await?;
    let done = client.done("full", PATIENCE).await?;
    let failure = failure(&done)?;
    ensure!(failure.code == "delivery_failed", "{failure:?}");
    ensure!(
        failure
            .message
            .starts_with("2 of 3 nodes have the bundle; node `atq-node2` ("),
        "{failure:?}"
    );
    ensure!(failure.message.contains("no space left"), "{failure:?}");
    bundle_gone(&stage, &id).await?;
    stage.close().await?;
    Ok(format!("told: {} (data root {root})", failure.message))
}

/// Node 3 does not have the image of the carrier.
async fn bundle_without_carrier(nodes: &Nodes) -> Result<String> {
    let own = "atq-carrier:elsewhere";
    for node in [1, 2] {
        nodes.docker(node, &["tag", "atq-carrier:dev", own]).await?;
    }
    let more = format!("carrierImage: {own}\n");
    let stage = NodesStage::open(nodes, "nodes-image", &more).await?;
    let client = &stage.director.client;
    let id = client.upload(zip(&[("hello.txt", b"hi")])?).await?;
    client.start(&reading("image", &id)).await?;
    let done = client.done("image", PATIENCE).await?;
    let failure = failure(&done)?;
    ensure!(
        failure
            .message
            .starts_with("2 of 3 nodes have the bundle; node `atq-node3` ("),
        "{failure:?}"
    );
    ensure!(failure.message.contains("No such image"), "{failure:?}");
    ensure!(failure.hint.contains("`carrierImage`"), "{failure:?}");
    nodes.docker(3, &["tag", "atq-carrier:dev", own]).await?;
    bundle_gone(&stage, &id).await?;
    stage.close().await?;
    for node in ALL {
        nodes.docker(node, &["rmi", own]).await?;
    }
    Ok(format!("told: {}", failure.message))
}

/// A bundle of 1 GB, and the memory that the Director takes for it at most.
async fn large_bundle(nodes: &Nodes) -> Result<String> {
    const MEGABYTES: usize = 1000;
    let stage = NodesStage::open(nodes, "nodes-large", "").await?;
    let client = &stage.director.client;
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("large.zip");
    let made = path.clone();
    tokio::task::spawn_blocking(move || noise_zip(&made, MEGABYTES)).await??;
    let idle = peak_memory(&stage)?;
    let begun = Instant::now();
    let id = client.upload_file(&path).await?;
    let uploaded = begun.elapsed();
    client.start(&reading("large", &id)).await?;
    let patience = PATIENCE * 5;
    let running = client
        .until("large", patience, |task| task.step >= Step::Running)
        .await?;
    ensure!(running.failure.is_none(), "{running:#?}");
    let all = fetched(&stage, "large").await?;
    ensure!(all == ALL.map(|node| (node, true)).into(), "{all:?}");
    stopped(&stage, "large").await?;
    // What a build with debug information takes by itself says nothing: the growth counts.
    let more = peak_memory(&stage)? - idle;
    ensure!(more < 20 << 10, "{more} kB more than {idle} kB");
    bundle_gone(&stage, &id).await?;
    stage.close().await?;
    Ok(format!(
        "uploaded in {:.1} s, delivered to three nodes in {:.1} s, the Director took {:.1} MiB more than the {:.1} MiB of before",
        uploaded.as_secs_f64(),
        running.timings["delivery"] as f64 / 1000.0,
        more as f64 / 1024.0,
        idle as f64 / 1024.0
    ))
}

/// The most memory that the Director has taken so far, in kB.
fn peak_memory(stage: &NodesStage<'_>) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", stage.director.pid()))?;
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .and_then(|rest| rest.trim().strip_suffix("kB")?.trim().parse().ok())
        .context("no VmHWM")
}

/// Noise, so that nothing can be compressed, in a few files.
fn noise_zip(path: &std::path::Path, megabytes: usize) -> Result<()> {
    let mut zip = zip::ZipWriter::new(std::io::BufWriter::new(std::fs::File::create(path)?));
    let stored =
        zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    let mut random = fastrand::Rng::new();
    let mut block = vec![0; 1_000_000];
    for number in 0..4 {
        zip.start_file(format!("part-{number}"), stored)?;
        for _ in 0..megabytes / 4 {
            random.fill(&mut block);
            zip.write_all(&block)?;
        }
    }
    zip.add_directory("empty", stored)?;
    zip.start_file("hello.txt", stored)?;
    zip.write_all(b"hi")?;
    zip.finish()?.flush()?;
    Ok(())
}
