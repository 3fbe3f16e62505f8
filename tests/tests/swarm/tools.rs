//! The examples of tools without a master, which `atq-sync` starts on all workers: by `atq init` and `atq run`, as a new user would. The
//! figures of each report are compared with the counters of its system under test.

use anyhow::{Context, Result, ensure};
use atq_api_spec::report::Report;
use atq_tests::client::Client;
use atq_tests::docker::docker;
use atq_tests::example::{Example, Target};
use atq_tests::fixture::Fixture;
use atq_tests::live::report;

const WEB: &str = "atq-example-web";

/// Runs a command in the only container of a service.
async fn in_service(service: &str, command: &[&str]) -> Result<String> {
    let filter = format!("label=com.docker.swarm.service.name={service}");
    let id = docker(&["ps", "--quiet", "--filter", &filter]).await?;
    ensure!(id.lines().count() == 1, "containers of `{service}`: {id}");
    let mut args = vec!["exec", id.trim()];
    args.extend(command);
    docker(&args).await
}

/// How many requests the web server has answered since its counters were reset.
async fn requests() -> Result<u64> {
    let counts = in_service(WEB, &["requests"]).await?;
    let total = counts
        .lines()
        .find_map(|line| line.strip_prefix("total "))
        .with_context(|| format!("no total in `{counts}`"))?;
    Ok(total.parse()?)
}

/// Runs an example as a new user would, and checks what holds for all of them.
async fn run(example: Example, client: &Client) -> Result<Report> {
    let dir = tempfile::tempdir()?;
    let folder = example.init(dir.path(), &client.url).await?;
    example.run_with_atq(&folder, client).await?;
    let report = report(client, &example.task()).await?;
    ensure!(report.total.errors == 0, "{:#?}", report.total);
    ensure!(report.workers.len() == 2, "{:#?}", report.workers);
    ensure!(report.sources.len() == 2, "{:#?}", report.sources);
    let log = client.logs(&example.task(), "?service=master").await?;
    ensure!(log.contains("started; skew"), "{log}");
    Ok(report)
}

/// Runs an example and compares its samples with the requests that the web server has answered. wrk ends its last requests
/// without counting them, so that `uncounted` may be missing.
async fn counts_are_equal(example: Example, uncounted: u64, client: &Client) -> Result<()> {
    in_service(WEB, &["requests", "--reset"]).await?;
    let samples = run(example, client).await?.total.samples;
    let answered = requests().await?;
    ensure!(
        (samples..=samples + uncounted).contains(&answered),
        "{}: {samples} samples, {answered} requests",
        example.name
    );
    Ok(())
}

#[tokio::test]
async fn the_samples_of_tools_without_a_master_are_those_that_the_server_answered() -> Result<()> {
    let fixture = Fixture::start("test-tools").await?;
    let client = fixture.client();
    let target = Target::start(Example::new("vegeta"), &client.url).await?;
    for name in ["vegeta", "artillery", "gatling"] {
        counts_are_equal(Example::new(name), 0, &client).await?;
    }
    counts_are_equal(Example::new("wrk"), 16, &client).await?;
    drop(target);
    fixture.finish().await
}
