//! Third-party tools on the OpenAPI description: a public client generator creates a working client, a public API tester
//! finds no difference between the description and the running Director, and the examples run.
//!
//! `deploy/setup.sh openapi-clients` installs the tools; their Python scripts and settings are in
//! `tests/tests/swarm/openapi_clients`. `ATQ_OPENAPI_SEED` and `ATQ_OPENAPI_EXAMPLES` set the seed and the number of
//! requests of the tester.

use anyhow::{Context, Result, ensure};
use atq_api_spec::report::Verdict;
use atq_api_spec::task::{TaskList, TaskStatus};
use atq_tests::bundle::zip;
use atq_tests::client::Client;
use atq_tests::fixture::{Fixture, RUN_TIMEOUT, with};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::process::Command;

/// The published description.
const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../api-spec/openapi.json");
/// Scripts and settings of the tools.
const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/swarm/openapi_clients");
/// Timeout of each tool.
const TOOL_TIMEOUT: Duration = Duration::from_secs(900);
/// Requests for each operation and phase; less than a minute in total.
const EXAMPLES: &str = "30";

#[tokio::test]
async fn every_example_matches_its_schema() -> Result<()> {
    let mut check = Command::new(program("python")?);
    run(check.arg(script("examples.py")).arg(DOCUMENT)).await?;
    Ok(())
}

#[tokio::test]
async fn a_generated_client_uploads_runs_and_deletes() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let mut generate = Command::new(program("openapi-python-client")?);
    generate.args(["generate", "--meta", "none", "--fail-on-warning", "--path"]);
    generate.arg(DOCUMENT).arg("--config");
    generate.arg(script("generator.yaml")).arg("--output-path");
    run(generate.arg(dir.path().join("atq"))).await?;

    let fixture = Fixture::start("test-generated-client").await?;
    let mut client = Command::new(program("python")?);
    client.arg(script("client.py")).arg(dir.path());
    client.arg(format!("{}/api", fixture.client().url));
    run(&mut client).await?;
    let left = fixture.client().get("/api/databind/list").await?;
    ensure!(left.status() == 204, "the client must remove its bundle");
    fixture.finish().await
}

#[tokio::test]
async fn the_example_definition_runs() -> Result<()> {
    let fixture = Fixture::start("test-example").await?;
    let client = fixture.client();
    let plan = include_bytes!("../../data/sleep.jmx");
    let fileid = client.upload(zip(&[("checkout.jmx", plan)])?).await?;
    let document: Value = serde_json::from_slice(&std::fs::read(DOCUMENT)?)?;
    let example = "/paths/~1task/put/requestBody/content/application~1json/example";
    let task = document
        .pointer(example)
        .context("the description has an example of a definition")?;
    // Only the id of the bundle differs.
    let task = with(task.clone(), "/master/fileid", fileid);
    let name = task["name"].as_str().unwrap().to_owned();
    client.start(&task).await?;
    let done = client.done(&name, RUN_TIMEOUT).await?;
    let log = client.logs(&name, "").await?;
    ensure!(done.status == TaskStatus::Finished, "{done:#?}\n{log}");
    ensure!(done.verdict == Some(Verdict::Pass), "{done:#?}\n{log}");
    ensure!(client.delete(&name).await?.0 == 204);
    fixture.finish().await
}

#[tokio::test]
async fn the_running_director_conforms_to_the_description() -> Result<()> {
    // Most generated definitions are rejected; the others run one after the other.
    let fixture = Fixture::start_with("test-description", "maxConcurrentTasks: 1\n").await?;
    let dir = tempfile::tempdir()?;
    let mut tester = Command::new(program("schemathesis")?);
    // The hooks module is found through PYTHONPATH; caches stay in the temporary directory.
    tester.current_dir(dir.path()).env("PYTHONPATH", SCRIPTS);
    tester.env("PYTHONDONTWRITEBYTECODE", "1");
    tester.arg("--config-file").arg(script("schemathesis.toml"));
    tester.args(["--no-color", "run", DOCUMENT, "--url"]);
    tester.arg(format!("{}/api", fixture.client().url));
    tester.args(["--seed", &setting("ATQ_OPENAPI_SEED", "1")]);
    tester.arg("--max-examples");
    tester.arg(setting("ATQ_OPENAPI_EXAMPLES", EXAMPLES));
    tester.args(["--phases", "examples,coverage,fuzzing,stateful"]);
    // This Director has `auth: off`; `director/tests/api/access_table.rs` checks each route with tokens.
    tester.args(["--checks", "all", "--exclude-checks", "ignored_auth"]);
    let output = run(&mut tester).await;
    delete_tasks(&fixture.client()).await?;
    let output = output?;
    println!("{output}");
    // Guards against a tester that sends no requests.
    for reached in ["Stateful (in", "27 selected / 27 total"] {
        ensure!(output.contains(reached), "`{reached}` is not in:\n{output}");
    }
    ensure!(
        !output.contains("API Links:    0 covered"),
        "no link was followed:\n{output}"
    );
    fixture.finish().await
}

/// Deletes all tasks, page by page.
async fn delete_tasks(client: &Client) -> Result<()> {
    loop {
        let page: TaskList = client.get("/api/task").await?.json().await?;
        if page.tasks.is_empty() {
            return Ok(());
        }
        // Deletes the oldest last: it runs, so none of the others starts.
        for task in page.tasks {
            let (status, body) = client.delete(&task.id).await?;
            ensure!(status == 204, "DELETE {}: {status} {body}", task.id);
        }
    }
}

fn setting(variable: &str, default: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| default.to_owned())
}

fn script(name: &str) -> PathBuf {
    Path::new(SCRIPTS).join(name)
}

/// Finds a program of the Python environment in `tools` of Cargo's target directory, where the set-up script installs it.
fn program(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let found = own
        .ancestors()
        .map(|dir| dir.join("tools/openapi-clients/bin").join(name))
        .find(|program| program.is_file());
    found.with_context(|| {
        format!("`{name}` is missing; run `deploy/setup.sh openapi-clients` first")
    })
}

/// Runs a program and returns its standard output. Kills it on a timeout.
async fn run(command: &mut Command) -> Result<String> {
    let done = tokio::time::timeout(TOOL_TIMEOUT, command.kill_on_drop(true).output())
        .await
        .with_context(|| format!("{command:?} timed out after {TOOL_TIMEOUT:?}"))?
        .with_context(|| format!("cannot run {command:?}"))?;
    let stdout = String::from_utf8_lossy(&done.stdout).into_owned();
    ensure!(
        done.status.success(),
        "{command:?} exited with {}:\n{stdout}{}",
        done.status,
        String::from_utf8_lossy(&done.stderr)
    );
    Ok(stdout)
}
