//! Figures of a running test: how late they are, and what they cost on the node and in the Director.

use crate::director;
use crate::table::{Row, say};
use anyhow::{Context, Result, ensure};
use atq_api_spec::live::LiveTask;
use atq_api_spec::report::Report;
use atq_api_spec::task::Step;
use atq_tests::client::Client;
use atq_tests::docker::docker;
use atq_tests::fixture::{small_task, with};
use atq_tests::stats::median;
use serde_json::json;
use std::time::{Duration, Instant};

const TASK: &str = "bench-live";
/// Samples that the worker writes ten times a second, less the time that it takes to write them.
const BATCH: u64 = 2200;
const POLL_INTERVAL: Duration = Duration::from_millis(250);
const START_TIMEOUT: Duration = Duration::from_secs(60);
const LAG_LIMIT: u64 = 2000;
const MEMORY_LIMIT: f64 = 16.0;
const CPU_LIMIT: f64 = 10.0;
/// Ticks of CPU times per second; the same on all Linux systems.
const TICKS: f64 = 100.0;

#[derive(Default)]
struct Seen {
    lags: Vec<f64>,
    most_memory: f64,
    /// CPU seconds of the carrier.
    carrier: f64,
    last: u64,
}

/// Measures a test of `seconds` whose worker writes about 20,000 samples a second.
///
/// # Errors
/// When the test does not run, or figures and report differ from what was written.
pub async fn measure(seconds: u64) -> Result<Vec<Row>> {
    let dir = director::temp_dir()?;
    let director = director::start(dir.path(), "").await?;
    let client = &director.client;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let idle = director::memory(director.pid(), "VmRSS")?;
    let turns = seconds * 10;
    let written = turns * BATCH;
    let task = small_task(TASK, 1);
    let rows = json!([format!("TURNS={turns}"), format!("BATCH={BATCH}")]);
    let task = with(task, "/worker/environment", rows);
    let hold = json!([format!("HOLD={}", seconds + seconds / 2 + 5)]);
    client
        .start(&with(task, "/master/environment", hold))
        .await?;
    let running = |task: &atq_api_spec::task::Task| task.step >= Step::Running;
    client.until(TASK, START_TIMEOUT, running).await?;
    let before = cpu(director.pid())?;
    let begun = Instant::now();
    let limit = Duration::from_secs(seconds * 2 + 60);
    let mut seen = Seen::default();
    while seen.last < written {
        ensure!(
            begun.elapsed() < limit,
            "{} of {written} samples",
            seen.last
        );
        tokio::time::sleep(POLL_INTERVAL).await;
        let live = live(client).await?;
        ensure!(!live.is_final, "{} of {written} samples", seen.last);
        let rss = director::memory(director.pid(), "VmRSS")?;
        seen.most_memory = seen.most_memory.max(rss);
        let Some(figures) = live.figures else {
            continue;
        };
        seen.last = figures.total.samples;
        #[expect(clippy::cast_precision_loss)]
        seen.lags.extend(live.lag_ms.map(|lag| lag as f64));
        if let Some(used) = carrier_cpu().await? {
            seen.carrier = used;
        }
    }
    let took = begun.elapsed().as_secs_f64();
    let own = cpu(director.pid())? - before;
    client.stop(TASK).await?;
    client.done(TASK, START_TIMEOUT).await?;
    let report: Report = client
        .get(&format!("/task/{TASK}/report"))
        .await?
        .json()
        .await?;
    ensure!(
        report.total.samples == written,
        "the report has {} of {written} samples",
        report.total.samples
    );
    say(format!(
        "{written} samples were counted while the test ran, and by the report"
    ));
    Ok(rows_of(&seen, written, took, own, idle))
}

#[expect(clippy::cast_precision_loss)]
fn rows_of(seen: &Seen, written: u64, took: f64, own: f64, idle: f64) -> Vec<Row> {
    let rate = written as f64 / took;
    let lag = seen.lags.iter().fold(0.0_f64, |most, lag| most.max(*lag));
    let each = |seconds: f64| seconds * 1e6 / written as f64;
    let more = seen.most_memory - idle;
    vec![
        Row::with_limit(
            format!("figures of a running test, {rate:.0} samples/s"),
            format!(
                "at most {lag:.0} ms late, median {:.0} ms",
                median(&seen.lags)
            ),
            format!("<= {LAG_LIMIT} ms"),
            lag <= LAG_LIMIT as f64,
        )
        .print(),
        Row::with_limit(
            "memory of the Director meanwhile",
            format!("+{more:.1} MiB"),
            format!("<= +{MEMORY_LIMIT:.0} MiB"),
            more <= MEMORY_LIMIT,
        )
        .print(),
        Row::with_limit(
            "CPU of the node for each sample",
            format!("{:.2} us", each(seen.carrier)),
            format!("<= {CPU_LIMIT:.0} us"),
            each(seen.carrier) <= CPU_LIMIT,
        )
        .print(),
        Row::plain(
            "CPU of the Director for each sample",
            format!("{:.2} us", each(own)),
        )
        .print(),
    ]
}

async fn live(client: &Client) -> Result<LiveTask> {
    let response = client.get(&format!("/task/{TASK}/live")).await?;
    ensure!(response.status() == 200, "{}", response.status());
    Ok(response.json().await?)
}

/// CPU seconds of the carrier that reads the results; `None` before it runs.
async fn carrier_cpu() -> Result<Option<f64>> {
    let role = "label=com.atq.role=tail";
    let ids = docker(&["ps", "-q", "--filter", role]).await?;
    let Some(id) = ids.lines().next() else {
        return Ok(None);
    };
    let pid = docker(&["inspect", "--format", "{{.State.Pid}}", id]).await?;
    Ok(Some(cpu(pid.parse()?)?))
}

/// CPU seconds that a process has used.
fn cpu(pid: u32) -> Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name of the program, in parentheses, may contain spaces.
    let (_, fields) = stat.rsplit_once(')').context("no name")?;
    let mut times = fields.split_whitespace().skip(11).take(2);
    let mut next = || -> Result<f64> { Ok(times.next().context("no time")?.parse()?) };
    Ok((next()? + next()?) / TICKS)
}
