//! The examples with a master of their own, run with the commands of their READMEs: all three concurrently with curl, then with `atq`.

use anyhow::{Result, ensure};
use atq_api_spec::report::{Report, Verdict};
use atq_api_spec::task::TaskStatus;
use atq_tests::client::Client;
use atq_tests::docker::{docker, labelled};
use atq_tests::example::{Example, Target, shell};
use atq_tests::fixture::Fixture;
use std::time::{Duration, Instant};

const JMETER: Example = Example::new("jmeter");
const LOCUST: Example = Example::new("locust");
const PLAIN: Example = Example::new("plain");
const TARGET: &str = "atq-example-target";
const TIMEOUT: Duration = Duration::from_secs(240);

/// Runs an example with curl in a copy of its folder and checks the outcome.
async fn run_with_curl(example: Example, client: &Client) -> Result<Report> {
    let name = example.task();
    let dir = tempfile::tempdir()?;
    let copied = example.copy(dir.path()).await?;
    let commands = example.blocks("With curl")?.join("\n");
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
async fn run_with_atq(example: Example, client: &Client) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let copied = example.copy(dir.path()).await?;
    example.run_with_atq(&copied, client).await?;
    Ok(())
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
    ensure!(
        JMETER.blocks("Something to load")? == LOCUST.blocks("Something to load")?,
        "the READMEs name one target"
    );
    let target = Target::start(JMETER, &client.url).await?;

    let (jmeter, locust, plain) = tokio::try_join!(
        run_with_curl(JMETER, &client),
        run_with_curl(LOCUST, &client),
        run_with_curl(PLAIN, &client)
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

    for example in [JMETER, PLAIN] {
        run_with_atq(example, &client).await?;
    }

    for example in [JMETER, LOCUST, PLAIN] {
        let tidy = example.blocks("Tidy up")?;
        shell(&tidy[0], &example.folder(), &client.url).await?;
        let path = format!("/task/{}", example.task());
        ensure!(client.get(&path).await?.status() == 404, "`{path}` is gone");
        let left = labelled(&format!("com.atq.task={}", example.task())).await?;
        ensure!(left.is_empty(), "{left:?}");
    }
    shell(&LOCUST.blocks("Tidy up")?[1], &LOCUST.folder(), &client.url).await?;
    until_gone().await?;
    drop(target);
    fixture.finish().await
}
