//! Reading of results: speed on one core, compared with JMeter's report generator on the same file, and memory for a file
//! of any size.

use crate::director;
use crate::table::{Row, say};
use anyhow::{Context, Result, ensure};
use atq_report::{Options, Tally};
use atq_tests::jmeter;
use atq_tests::jtl::{Endless, Rows};
use serde_json::{Value, json};
use std::fs::File;
use std::io::{BufWriter, Read};
use std::path::Path;
use std::process::Stdio;
use std::time::Instant;
use tokio::process::Command;

const SPEED_LIMIT: f64 = 1e6;
const RATIO_LIMIT: f64 = 5.0;
const MEMORY_LIMIT: f64 = 64.0;

/// Reads a JTL of this many samples, and one of this many megabytes that is generated while it is read.
///
/// # Errors
/// When either side cannot read it, or their counts differ.
pub async fn measure(samples: u32, megabytes: u64) -> Result<Vec<Row>> {
    let dir = director::temp_dir()?;
    let path = dir.path().join("results.jtl");
    let file = BufWriter::new(File::create(&path)?);
    tokio::task::spawn_blocking(move || Rows::new(1).write(samples.into(), file)).await??;
    let size = std::fs::metadata(&path)?.len() / 1_000_000;
    say(format!("{samples} samples, {size} MB"));
    let ours = fastest(&path).await?;
    let begun = Instant::now();
    let theirs = jmeter::dashboard(dir.path(), "atq-bench-report", &[]).await?;
    let their_seconds = begun.elapsed().as_secs_f64();
    ensure!(
        theirs["Total"]["sampleCount"] == ours["samples"],
        "{} samples here, {} there",
        ours["samples"],
        theirs["Total"]["sampleCount"]
    );
    let (seconds, peak) = (number(&ours, "seconds")?, number(&ours, "peak")?);
    let (speed, ratio) = (f64::from(samples) / seconds, their_seconds / seconds);
    let endless = child(&(megabytes * 1_000_000).to_string()).await?;
    let flat = number(&endless, "peak")?;
    Ok(vec![
        Row::with_limit(
            format!("JTL of {samples} samples ({size} MB) to figures"),
            format!(
                "{:.2} million samples/s, {seconds:.2} s, {peak:.0} MiB",
                speed / 1e6
            ),
            ">= 1 million/s",
            speed >= SPEED_LIMIT,
        )
        .print(),
        Row::with_limit(
            "JMeter's report generator on the same file",
            format!("{their_seconds:.1} s, {ratio:.0} x ours"),
            ">= 5 x",
            ratio >= RATIO_LIMIT,
        )
        .print(),
        Row::with_limit(
            format!(
                "memory for a JTL of {megabytes} MB, {} samples",
                endless["samples"]
            ),
            format!("{flat:.0} MiB"),
            "<= 64 MiB",
            flat <= MEMORY_LIMIT,
        )
        .print(),
    ])
}

/// The fastest of three readings: other load on the machine can only slow a reading down.
async fn fastest(path: &Path) -> Result<Value> {
    let mut best: Option<Value> = None;
    for _ in 0..3 {
        let found = child(&path.to_string_lossy()).await?;
        let is_faster = |best: &Value| found["seconds"].as_f64() < best["seconds"].as_f64();
        if best.as_ref().is_none_or(is_faster) {
            best = Some(found);
        }
    }
    best.context("nothing was read")
}

/// Reads in a separate process, whose peak memory is that of the reading alone.
async fn child(from: &str) -> Result<Value> {
    let output = Command::new(std::env::current_exe()?)
        .args(["--read-results", from])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .output()
        .await?;
    ensure!(
        output.status.success(),
        "reading `{from}`: {}",
        output.status
    );
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn number(found: &Value, name: &str) -> Result<f64> {
    found[name]
        .as_f64()
        .with_context(|| format!("no `{name}` in {found}"))
}

/// The work of that process: reads on one thread and prints samples, seconds and peak memory as JSON.
///
/// # Errors
/// When it cannot be read.
pub fn read(from: &str) -> Result<()> {
    let reader: Box<dyn Read> = match from.parse::<u64>() {
        Ok(bytes) => Box::new(Endless::new(bytes)),
        Err(_) => Box::new(File::open(from)?),
    };
    let begun = Instant::now();
    let mut tally = Tally::new(Options::default());
    let source = tally.read("results.jtl", None, reader)?;
    let report = tally.finish("bench", "bench").report;
    let seconds = begun.elapsed().as_secs_f64();
    ensure!(source.problem.is_none(), "{:?}", source.problem);
    let peak = director::memory(std::process::id(), "VmHWM")?;
    println!(
        "{}",
        json!({"samples": report.total.samples, "seconds": seconds, "peak": peak})
    );
    Ok(())
}
