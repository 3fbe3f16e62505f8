//! The idle daemon: memory and time to the first response, with an empty store and with 1,000 tasks; sizes on disk.

use crate::baseline::START_TIMEOUT;
use crate::director;
use crate::engine::{DIRECTOR_LABEL, Engine};
use crate::orchestration::{started, stop, task};
use crate::replies::{HOLD_UNTIL_STOPPED, put_many, stop_many};
use crate::table::{Row, say};
use anyhow::{Context, Result, bail, ensure};
use atq_api_spec::task::Step;
use atq_tests::director::{Director, binary, free_port};
use atq_tests::docker::docker;
use atq_tests::stats::{median, ms};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const MEMORY_LIMIT: f64 = 24.0;
const START_LIMIT: f64 = 150.0;
const HOLDER: &str = "bench-holder";
const FIRST_RESPONSE_TIMEOUT: Duration = Duration::from_secs(20);

/// Measures memory and start with an empty store and with `tasks` tasks in it.
///
/// # Errors
/// When the Director does not start or rejects a task.
pub async fn measure(engine: &Engine, tasks: usize, starts: usize) -> Result<Vec<Row>> {
    let dir = director::temp_dir()?;
    let mut rows = state(dir.path(), "empty store", starts).await?;
    fill(engine, dir.path(), tasks).await?;
    rows.extend(state(dir.path(), &format!("{tasks} tasks stored"), starts).await?);
    Ok(rows)
}

async fn state(dir: &Path, what: &str, starts: usize) -> Result<Vec<Row>> {
    let director = director::start(dir, "").await?;
    // Lets the process settle; memory used only during the start is in the high-water mark.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (rss, peak) = (
        director::memory(director.pid(), "VmRSS")?,
        director::memory(director.pid(), "VmHWM")?,
    );
    director.terminate()?;
    let mut times = Vec::new();
    for _ in 0..starts {
        times.push(first_response(dir).await?);
    }
    let first = median(&times);
    let slowest = times.iter().fold(0.0_f64, |a, b| a.max(*b));
    Ok(vec![
        Row::with_limit(
            format!("idle memory, {what}"),
            format!("{rss:.1} MiB resident, peak {peak:.1} MiB"),
            "<= 24 MiB (aim 12)",
            rss <= MEMORY_LIMIT,
        )
        .print(),
        Row::with_limit(
            format!("process start -> first response, {what}"),
            format!("median {first:.0} ms, max {slowest:.0} ms (n={starts})"),
            "<= 150 ms (aim 20)",
            first <= START_LIMIT,
        )
        .print(),
    ])
}

/// Starts the Director, sends a request every millisecond, and returns the milliseconds until the first response.
async fn first_response(dir: &Path) -> Result<f64> {
    let port = free_port()?;
    let config = std::fs::read_to_string(dir.join("controller-config.yaml"))?;
    let rest: Vec<&str> = config
        .lines()
        .filter(|line| !line.starts_with("port:"))
        .collect();
    std::fs::write(
        dir.join("controller-config.yaml"),
        format!("port: {port}\n{}\n", rest.join("\n")),
    )?;
    let http = reqwest::Client::builder().no_proxy().build()?;
    let url = format!("http://127.0.0.1:{port}/monitoring/ping");
    let binary = binary()?;
    let begun = Instant::now();
    let child = Command::new(binary)
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let mut child = ChildGuard(child);
    loop {
        if http
            .get(&url)
            .send()
            .await
            .is_ok_and(|response| response.status().is_success())
        {
            break;
        }
        if begun.elapsed() > FIRST_RESPONSE_TIMEOUT {
            bail!("the Director does not respond {FIRST_RESPONSE_TIMEOUT:?} after its start");
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let first = ms(begun.elapsed());
    child.terminate()?;
    Ok(first)
}

/// Kills the process when dropped.
struct ChildGuard(Child);

impl ChildGuard {
    fn terminate(&mut self) -> Result<()> {
        Command::new("kill")
            .args(["-TERM", &self.0.id().to_string()])
            .status()?;
        self.0.wait()?;
        Ok(())
    }
}

impl Drop for ChildGuard {
    fn drop(&mut self) {
        // It may have exited already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Adds `tasks` ended tasks to the store: they queue behind a task that occupies the only slot, and are stopped.
async fn fill(engine: &Engine, dir: &Path, tasks: usize) -> Result<()> {
    let director = director::start(dir, "maxConcurrentTasks: 1\n").await?;
    let client = &director.client;
    client.start(&task(HOLDER, 1, HOLD_UNTIL_STOPPED)).await?;
    started(client, HOLDER, START_TIMEOUT).await?;
    put_many(client, "stored", tasks, Duration::ZERO).await?;
    say(format!("{tasks} tasks queued; {}", memory_now(&director)?));
    stop_many(client, "stored", tasks).await?;
    for number in 0..tasks {
        let ended = client
            .done(&format!("bench-stored-{number}"), START_TIMEOUT)
            .await?;
        ensure!(ended.step == Step::Done, "task {number} is not done");
    }
    stop(client, HOLDER).await?;
    client.done(HOLDER, START_TIMEOUT).await?;
    say(format!(
        "{tasks} tasks stopped and done; {}",
        memory_now(&director)?
    ));
    director.terminate()?;
    engine.remove_all(DIRECTOR_LABEL).await
}

fn memory_now(director: &Director) -> Result<String> {
    let pid = director.pid();
    Ok(format!(
        "memory {:.1} MiB, peak {:.1} MiB",
        director::memory(pid, "VmRSS")?,
        director::memory(pid, "VmHWM")?
    ))
}

/// Sizes of the released binaries and images.
///
/// # Errors
/// When the Director is not built.
pub async fn sizes() -> Result<Vec<Row>> {
    let director = binary()?;
    let mut rows = vec![size("binary `atq-director`", &director)?];
    let built = director
        .ancestors()
        .nth(2)
        .context("the binary has no build directory")?;
    for target in std::fs::read_dir(built)? {
        let target = target?;
        let file = target.path().join("release/atq-discovery");
        if target.file_name().to_string_lossy().contains("-musl") && file.is_file() {
            rows.push(size("binary `atq-discovery`, static", &file)?);
        }
    }
    for image in ["atq-director:dev", "atq-discovery:dev"] {
        let figure = match docker(&["image", "inspect", "--format", "{{.Size}}", image]).await {
            Ok(bytes) => megabytes(bytes.parse()?),
            Err(_) => "not built".to_owned(),
        };
        rows.push(Row::plain(format!("image `{image}`"), figure).print());
    }
    Ok(rows)
}

fn size(what: &str, path: &Path) -> Result<Row> {
    Ok(Row::plain(what, megabytes(std::fs::metadata(path)?.len())).print())
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}
