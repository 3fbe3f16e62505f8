//! The examples, run with the commands of their READMEs: all three concurrently with curl, then with `atq`.

use anyhow::{Context, Result, ensure};
use atq_api_spec::report::{Report, Verdict};
use atq_api_spec::task::TaskStatus;
use atq_tests::client::Client;
use atq_tests::director::built;
use atq_tests::docker::{docker, labelled};
use atq_tests::fixture::Fixture;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::process::Command;

const EXAMPLES: [&str; 3] = ["jmeter", "locust", "plain"];
const TARGET: &str = "atq-example-target";
const TIMEOUT: Duration = Duration::from_secs(240);

pub(crate) fn folder(example: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../deploy/examples")
        .join(example)
}

/// The code blocks with commands below a heading of an example's README.
pub(crate) fn blocks(example: &str, heading: &str) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(folder(example).join("README.md"))?;
    let (_, section) = text
        .split_once(&format!("\n## {heading}\n"))
        .with_context(|| format!("`{example}` has no `{heading}`"))?;
    let (section, _) = section.split_once("\n## ").unwrap_or((section, ""));
    let parts: Vec<&str> = section.split("```").collect();
    Ok(parts
        .iter()
        .filter_map(|part| part.strip_prefix("sh\n"))
        .map(str::to_owned)
        .collect())
}

/// The PATH of this process, extended by the built `atq`.
fn path() -> Result<OsString> {
    let atq = built("atq")?;
    let own = std::env::var_os("PATH").unwrap_or_default();
    let dir = atq.parent().context("a program is in a directory")?;
    let all = std::iter::once(dir.to_owned()).chain(std::env::split_paths(&own));
    Ok(std::env::join_paths(all)?)
}

/// Runs shell commands in `dir` and returns their output.
pub(crate) async fn shell(commands: &str, dir: &Path, url: &str) -> Result<String> {
    let running = Command::new("sh")
        .args(["-euc", commands])
        .current_dir(dir)
        .env("ATQ_URL", url)
        .env("PATH", path()?)
        .env("NO_PROXY", "127.0.0.1")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(TIMEOUT, running)
        .await
        .with_context(|| format!("timeout of {TIMEOUT:?}: {commands}"))??;
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    ensure!(
        output.status.success(),
        "{}: {commands}\n{out}\n{err}",
        output.status
    );
    Ok(out.into_owned())
}

/// The target of the READMEs. Removed when dropped, also when the test fails.
struct Target;

impl Drop for Target {
    fn drop(&mut self) {
        let remove = format!(
            "docker service rm {TARGET}; for i in 1 2 3 4 5 6 7 8 9 10; do \
             docker network inspect {TARGET} || break; docker network rm {TARGET} || sleep 1; done"
        );
        let _ = std::process::Command::new("sh")
            .args(["-c", &remove])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
    }
}

/// Runs an example with curl in a copy of its folder and checks the outcome.
async fn run_with_curl(example: &str, client: &Client) -> Result<Report> {
    let name = format!("example-{example}");
    let dir = tempfile::tempdir()?;
    let copied = copy(&folder(example), dir.path()).await?;
    let commands = blocks(example, "With curl")?.join("\n");
    let output = shell(&commands, &copied, &client.url).await?;
    let task = client.task(&name).await?;
    println!("{name}: {:?}", task.timings);
    let log = client.logs(&name, "").await?;
    ensure!(task.status == TaskStatus::Finished, "{task:#?}\n{log}");
    ensure!(task.verdict == Some(Verdict::Pass), "{task:#?}\n{log}");
    ensure!(
        output.replace(' ', "").contains("\"verdict\":\"pass\""),
        "{output}"
    );
    let page = std::fs::read_to_string(copied.join("report.html"))?;
    ensure!(page.starts_with("<!DOCTYPE html>"), "{page}");
    let results = std::fs::read(copied.join("results.zip"))?;
    ensure!(results.starts_with(b"PK"), "the results are a zip");
    let response = client.get(&format!("/task/{name}/report")).await?;
    Ok(response.json().await?)
}

/// Runs an example with `atq` in another copy of its folder.
async fn run_with_atq(example: &str, client: &Client) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let copied = copy(&folder(example), dir.path()).await?;
    let commands = blocks(example, "With atq")?.join("\n");
    let commands = commands.replace("atq run task.json", "atq run task.json --replace");
    let output = shell(&commands, &copied, &client.url).await?;
    ensure!(
        output.contains(&format!("PASS example-{example}")),
        "{output}"
    );
    for kept in ["report.html", "junit.xml", "logs/master.1.log"] {
        ensure!(
            copied.join("results").join(kept).exists(),
            "no `{kept}`: {output}"
        );
    }
    Ok(())
}

pub(crate) async fn copy(from: &Path, to: &Path) -> Result<PathBuf> {
    let status = Command::new("cp").arg("-R").args([from, to]).status();
    ensure!(status.await?.success(), "cp of `{}`", from.display());
    Ok(to.join(from.file_name().context("an example has a name")?))
}

/// Waits until the target's network, which the README removes, is gone.
async fn until_gone() -> Result<()> {
    let begun = Instant::now();
    loop {
        let networks = docker(&["network", "ls", "--format", "{{.Name}}"]).await?;
        if !networks.lines().any(|name| name == TARGET) {
            return Ok(());
        }
        ensure!(begun.elapsed() < TIMEOUT, "`{TARGET}` is still there");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test]
async fn every_example_passes_with_the_commands_of_its_readme() -> Result<()> {
    let fixture = Fixture::start("test-examples").await?;
    let client = fixture.client();
    let setup = blocks("jmeter", "Something to load")?;
    ensure!(
        setup == blocks("locust", "Something to load")?,
        "the READMEs name one target"
    );
    // Removes leftovers of an interrupted run.
    drop(Target);
    let target = Target;
    shell(&setup.join("\n"), &folder("jmeter"), &client.url).await?;

    let (jmeter, locust, plain) = tokio::try_join!(
        run_with_curl("jmeter", &client),
        run_with_curl("locust", &client),
        run_with_curl("plain", &client)
    )?;
    ensure!(jmeter.total.samples == 200, "{:#?}", jmeter.total);
    ensure!(jmeter.sources[0].format == "jtl-csv");
    ensure!(locust.total.samples >= 20, "{:#?}", locust.total);
    ensure!(locust.sources.iter().all(|file| file.format == "locust"));
    ensure!(plain.total.samples == 100, "{:#?}", plain.total);
    ensure!(plain.sources[0].format == "csv");
    for report in [&jmeter, &locust, &plain] {
        ensure!(report.total.errors == 0, "{:#?}", report.total);
    }
    ensure!(plain.workers.len() == 2, "{:#?}", plain.workers);

    for example in ["jmeter", "plain"] {
        run_with_atq(example, &client).await?;
    }

    for example in EXAMPLES {
        let tidy = blocks(example, "Tidy up")?;
        shell(&tidy[0], &folder(example), &client.url).await?;
        let path = format!("/task/example-{example}");
        ensure!(client.get(&path).await?.status() == 404, "`{path}` is gone");
        let left = labelled(&format!("com.atq.task=example-{example}")).await?;
        ensure!(left.is_empty(), "{left:?}");
    }
    shell(
        &blocks("locust", "Tidy up")?[1],
        &folder("locust"),
        &client.url,
    )
    .await?;
    until_gone().await?;
    drop(target);
    fixture.finish().await
}
