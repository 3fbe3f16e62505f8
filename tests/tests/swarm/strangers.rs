//! The API's description in the hands of strangers: a public generator makes a client of it that works,
//! a public tester finds nothing in the running Director that it does not say, and its examples run.
//!
//! The programs come from `deploy/setup.sh strangers`; the Python in `tests/tests/swarm/strangers` is what they
//! are told. `ATQ_STRANGERS_SEED` and `ATQ_STRANGERS_EXAMPLES` make the tester try other and more requests.

use anyhow::{Context, Result, ensure};
use atq_api_spec::report::Verdict;
use atq_api_spec::task::{TaskList, TaskStatus};
use atq_tests::bundle::zip;
use atq_tests::client::Client;
use atq_tests::stage::{PATIENCE, Stage, with};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::process::Command;

/// The description that is handed out.
const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../api-spec/openapi.json");
/// What the programs are told.
const OURS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/swarm/strangers");
/// How long no program takes.
const HANGS: Duration = Duration::from_secs(900);
/// Requests for each operation and phase, which takes less than a minute in all.
const EXAMPLES: &str = "30";

#[tokio::test]
async fn every_example_is_what_its_schema_says() -> Result<()> {
    let mut check = Command::new(program("python")?);
    run(check.arg(ours("examples.py")).arg(DOCUMENT)).await?;
    Ok(())
}

#[tokio::test]
async fn a_generated_client_uploads_runs_and_deletes() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let mut generate = Command::new(program("openapi-python-client")?);
    generate.args(["generate", "--meta", "none", "--fail-on-warning", "--path"]);
    generate.arg(DOCUMENT).arg("--config");
    generate.arg(ours("generator.yaml")).arg("--output-path");
    run(generate.arg(dir.path().join("atq"))).await?;

    let stage = Stage::open("test-generated-client").await?;
    let mut client = Command::new(program("python")?);
    client.arg(ours("client.py")).arg(dir.path());
    client.arg(format!("{}/api", stage.client().url));
    run(&mut client).await?;
    let left = stage.client().get("/api/databind/list").await?;
    ensure!(left.status() == 204, "the client removed its bundle");
    stage.close().await
}

#[tokio::test]
async fn the_example_runs() -> Result<()> {
    let stage = Stage::open("test-example").await?;
    let client = stage.client();
    let plan = include_bytes!("../../data/sleep.jmx");
    let fileid = client.upload(zip(&[("checkout.jmx", plan)])?).await?;
    let document: Value = serde_json::from_slice(&std::fs::read(DOCUMENT)?)?;
    let example = "/paths/~1task/put/requestBody/content/application~1json/example";
    let task = document
        .pointer(example)
        .context("the description has an example of a definition")?;
    // Only the id of the bundle is another one.
    let task = with(task.clone(), "/master/fileid", fileid);
    let name = task["name"].as_str().unwrap().to_owned();
    client.start(&task).await?;
    let done = client.done(&name, PATIENCE).await?;
    let log = client.logs(&name, "").await?;
    ensure!(done.status == TaskStatus::Finished, "{done:#?}\n{log}");
    ensure!(done.verdict == Some(Verdict::Pass), "{done:#?}\n{log}");
    ensure!(client.delete(&name).await?.0 == 204);
    stage.close().await
}

#[tokio::test]
async fn the_running_director_is_what_the_description_says() -> Result<()> {
    // Most of what is made up is refused; what is not runs one after the other.
    let stage = Stage::open_with("test-description", "maxConcurrentTasks: 1\n").await?;
    let dir = tempfile::tempdir()?;
    let mut tester = Command::new(program("schemathesis")?);
    // Hooks are a module that Python finds on its path, and its cache and notes stay in the directory.
    tester.current_dir(dir.path()).env("PYTHONPATH", OURS);
    tester.env("PYTHONDONTWRITEBYTECODE", "1");
    tester.arg("--config-file").arg(ours("schemathesis.toml"));
    tester.args(["--no-color", "run", DOCUMENT, "--url"]);
    tester.arg(format!("{}/api", stage.client().url));
    tester.args(["--seed", &setting("ATQ_STRANGERS_SEED", "1")]);
    tester.arg("--max-examples");
    tester.arg(setting("ATQ_STRANGERS_EXAMPLES", EXAMPLES));
    tester.args(["--phases", "examples,coverage,fuzzing,stateful"]);
    tester.args(["--checks", "all"]);
    let said = run(&mut tester).await;
    delete_tasks(&stage.client()).await?;
    let said = said?;
    println!("{said}");
    // A tester that reached nothing would find nothing, too.
    for reached in ["Stateful (in", "19 selected / 19 total"] {
        ensure!(said.contains(reached), "`{reached}` is not in:\n{said}");
    }
    ensure!(
        !said.contains("API Links:    0 covered"),
        "no link was followed:\n{said}"
    );
    stage.close().await
}

/// Deletes the tasks that are there, page after page.
async fn delete_tasks(client: &Client) -> Result<()> {
    loop {
        let page: TaskList = client.get("/api/task").await?.json().await?;
        if page.tasks.is_empty() {
            return Ok(());
        }
        // The oldest last, which is the one that runs: none of the others gets to start then.
        for task in page.tasks {
            let (status, words) = client.delete(&task.id).await?;
            ensure!(status == 204, "DELETE {}: {status} {words}", task.id);
        }
    }
}

fn setting(variable: &str, default: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| default.to_owned())
}

fn ours(name: &str) -> PathBuf {
    Path::new(OURS).join(name)
}

/// A program of the environment that the set-up has made: in `tools` of Cargo's directory.
fn program(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let found = own
        .ancestors()
        .map(|dir| dir.join("tools/strangers/bin").join(name))
        .find(|program| program.is_file());
    found.with_context(|| format!("`{name}` is missing; run `deploy/setup.sh strangers` first"))
}

/// Runs a program to its end; gives what it said. One that hangs is killed.
async fn run(command: &mut Command) -> Result<String> {
    let done = tokio::time::timeout(HANGS, command.kill_on_drop(true).output())
        .await
        .with_context(|| format!("{command:?} is not over after {HANGS:?}"))?
        .with_context(|| format!("cannot run {command:?}"))?;
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    ensure!(
        done.status.success(),
        "{command:?} ended with {}:\n{said}{}",
        done.status,
        String::from_utf8_lossy(&done.stderr)
    );
    Ok(said)
}
