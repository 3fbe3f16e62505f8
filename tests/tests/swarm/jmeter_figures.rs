//! Compares the Director's figures with JMeter's dashboard of the same file.

use anyhow::{Context, Result, ensure};
use atq_api_spec::report::Figures;
use atq_report::{Options, Tally};
use atq_tests::jmeter;
use atq_tests::jtl::Rows;
use serde_json::Value;
use std::fs::File;
use std::io::BufWriter;

#[tokio::test]
async fn figures_equal_those_of_jmeter() -> Result<()> {
    for (seed, samples) in [(1, 10_000), (2, 300), (3, 60_000)] {
        compare(seed, samples)
            .await
            .with_context(|| format!("seed {seed}, {samples} samples"))?;
    }
    Ok(())
}

async fn compare(seed: u64, samples: u64) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("results.jtl");
    Rows::new(seed).write(samples, BufWriter::new(File::create(&path)?))?;
    let mut tally = Tally::new(Options::default());
    let source = tally.read("results.jtl", None, File::open(&path)?)?;
    ensure!(
        source.problem.is_none() && source.samples == samples,
        "{source:?}"
    );
    let report = tally.finish("t", "r").report;
    // By default, JMeter's percentiles only cover the last 20,000 samples.
    let window = "jmeter.reportgenerator.statistic_window=1000000";
    let name = format!("atq-figures-{}-{seed}", std::process::id());
    let theirs = jmeter::dashboard(dir.path(), &name, &[window]).await?;
    let theirs = theirs.as_object().context("not an object")?;
    ensure!(
        theirs.len() == report.labels.len() + 1,
        "{:?}",
        theirs.keys()
    );
    for (name, theirs) in theirs {
        let label = report.labels.iter().find(|label| label.name == *name);
        let ours = match name.as_str() {
            "Total" => &report.total,
            _ => &label.with_context(|| format!("no label `{name}`"))?.figures,
        };
        equal(ours, theirs).with_context(|| format!("`{name}`"))?;
    }
    Ok(())
}

/// Compares counts and extremes exactly, quotients up to the precision of JMeter (percentages are in single precision
/// there), and percentiles to three digits.
#[allow(clippy::cast_precision_loss)]
fn equal(ours: &Figures, theirs: &Value) -> Result<()> {
    let seconds = ours.samples as f64 / ours.throughput;
    let kilobytes = |bytes: u64| bytes as f64 / 1024.0 / seconds;
    for (key, ours, precision) in [
        ("sampleCount", ours.samples as f64, 0.0),
        ("errorCount", ours.errors as f64, 0.0),
        ("minResTime", ours.min, 0.0),
        ("maxResTime", ours.max, 0.0),
        ("meanResTime", ours.mean, 1e-11),
        ("errorPct", ours.error_percent, 1e-6),
        ("throughput", ours.throughput, 1e-11),
        (
            "receivedKBytesPerSec",
            kilobytes(ours.received_bytes),
            1e-11,
        ),
        ("sentKBytesPerSec", kilobytes(ours.sent_bytes), 1e-11),
        ("medianResTime", ours.p50, 1e-3),
        ("pct1ResTime", ours.p90, 1e-3),
        ("pct2ResTime", ours.p95, 1e-3),
        ("pct3ResTime", ours.p99, 1e-3),
    ] {
        let theirs = theirs[key]
            .as_f64()
            .with_context(|| format!("no `{key}`"))?;
        let allowed = precision * theirs.abs();
        ensure!(
            (ours - theirs).abs() <= allowed,
            "{key}: {ours} here, {theirs} there"
        );
    }
    Ok(())
}
