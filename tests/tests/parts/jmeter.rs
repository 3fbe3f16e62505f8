//! JMeter with `atq` on the Engine that `DOCKER_HOST` names. Needs the images `atq-testload:dev`, `atq-discovery:dev`,
//! `atq-carrier:dev` and `atq-jmeter:5.6.3` there.

use anyhow::{Context, Result, ensure};
use atq_tests::cli::Atq;
use atq_tests::docker::Target;
use atq_tests::fixture::{Fixture, with};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::Instant;

const TASK: &str = "parts-jmeter";
const TARGET: &str = "atq-parts-target";
const TARGET_LABEL: &str = "atq.test=parts";
/// Two workers, each with 2 threads and 50 loops, as in `deploy/examples/jmeter/task.json`.
const SAMPLES: u64 = 200;

fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/examples/jmeter")
}

/// The example's definition under another name and with another target.
fn task() -> Result<Value> {
    let text = std::fs::read_to_string(example().join("task.json"))?;
    let task: Value = serde_json::from_str(&text.replace("atq-example-target", TARGET))?;
    let task = with(task, "/name", TASK);
    Ok(with(
        task,
        "/criteria",
        json!([format!("samples = {SAMPLES}"), "errors = 0", "p95 < 2s"]),
    ))
}

#[tokio::test]
async fn a_distributed_jmeter_test_by_atq_from_upload_to_report() -> Result<()> {
    let begun = Instant::now();
    let fixture = Fixture::start("test-parts").await?;
    let target = Target::start(TARGET, TARGET_LABEL).await?;
    let atq = Atq::at(&fixture.client().url)?;
    let file = atq.definition(&task()?)?;
    let bundle = example().join("bundle");
    let bundle = bundle.to_str().context("a path of UTF-8")?;
    let ended = atq
        .run(&["run", &file, "--bundle", bundle, "--results", "out"])
        .await?;
    ensure!(ended.code == Some(0), "{ended:#?}");
    ensure!(ended.out.starts_with(&format!("PASS {TASK}")), "{ended:#?}");
    let out = atq.dir.path().join("out");
    for kept in [
        "report.html",
        "junit.xml",
        "logs/master.1.log",
        "logs/worker.2.log",
    ] {
        ensure!(out.join(kept).is_file(), "no `{kept}`: {ended:#?}");
    }
    let report: Value = fixture
        .client()
        .get(&format!("/task/{TASK}/report"))
        .await?
        .json()
        .await?;
    ensure!(report["total"]["samples"] == SAMPLES, "{report:#}");
    ensure!(report["total"]["errors"] == 0, "{report:#}");
    let task = fixture.client().task(TASK).await?;
    println!(
        "{SAMPLES} samples of two JMeter workers, no errors; {:.1} s; {:?}",
        begun.elapsed().as_secs_f64(),
        task.timings
    );
    fixture.client().delete(TASK).await?;
    target.remove().await?;
    fixture.finish().await
}
