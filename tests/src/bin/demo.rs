//! `make demo`: a distributed JMeter test on the Swarm of this machine, from upload to figures.
//!
//! Exit codes: 0 all expected samples were counted, 1 failed, 130 interrupted.

use anyhow::{Context, Result, bail, ensure};
use atq_api_spec::report::{Report, Verdict};
use atq_api_spec::task::{Step, Task, TaskStatus};
use atq_tests::bundle::zip_directory;
use atq_tests::client::Client;
use atq_tests::director::{Director, binary, free_port};
use atq_tests::docker::{Target, docker, until_nothing};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

const TASK: &str = "atq-demo";
const TARGET: &str = "atq-demo-target";
const TARGET_LABEL: &str = "atq.demo=target";
const WORKERS: usize = 3;
/// 2 threads and 100 loops, as in `deploy/demo/task.json`.
const SAMPLES_PER_WORKER: u64 = 200;
const PORT: u16 = 8080;
const TIMEOUT: Duration = Duration::from_secs(300);

#[tokio::main]
async fn main() -> ExitCode {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = package.parent().unwrap_or(package).to_owned();
    let dir = std::env::var_os("ATQ_DEMO_DIR").map_or_else(|| root.join(".demo"), PathBuf::from);
    let outcome = tokio::select! {
        outcome = demo(&root, &dir) => outcome,
        _ = tokio::signal::ctrl_c() => {
            println!("\ninterrupted; removing task, target and network (Ctrl-C again aborts)");
            let removed = tokio::select! {
                removed = clean_up(&dir) => removed,
                _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("aborted; `make down` removes the rest")),
            };
            return match removed {
                Ok(()) => { println!("removed"); ExitCode::from(130) }
                Err(error) => { eprintln!("demo: {error:#}"); ExitCode::from(130) }
            };
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\ndemo: {error:#}");
            if let Err(error) = clean_up(&dir).await {
                eprintln!("demo: {error:#}");
            }
            ExitCode::FAILURE
        }
    }
}

async fn demo(root: &Path, dir: &Path) -> Result<()> {
    let begun = Instant::now();
    stop_earlier(dir)?;
    let director = start_director(dir).await?;
    let client = director.client.clone();
    say(
        begun,
        &format!(
            "Director ready at {}, log in {}",
            client.url,
            director.dir.join("director.log").display()
        ),
    );
    client.delete(TASK).await?;
    let target = Target::start(TARGET, TARGET_LABEL).await?;
    say(
        begun,
        &format!("system under test runs as `{TARGET}` on a network of its own"),
    );

    let zip = zip_directory(&root.join("deploy/demo/bundle"))?;
    std::fs::write(dir.join("bundle.zip"), &zip)?;
    let size = zip.len();
    let fileid = client.upload(zip).await?;
    say(
        begun,
        &format!("bundle uploaded: {size} bytes, fileid {fileid}"),
    );
    let payload = payload(root, dir, &fileid)?;
    client.start(&payload).await?;
    say(
        begun,
        &format!("task `{TASK}` accepted: {WORKERS} workers and a master, all Apache JMeter"),
    );

    let task = follow(&client, begun).await?;
    let log = client.logs(TASK, "?service=master").await?;
    if task.status != TaskStatus::Finished {
        let last: Vec<&str> = log.lines().rev().take(15).collect();
        let last: Vec<&str> = last.into_iter().rev().collect();
        bail!(
            "the task ended `{:?}`: {:?}\nlast lines of the master:\n{}",
            task.status,
            task.failure,
            last.join("\n")
        );
    }
    figures(&log)?;
    verdict(&client, &task, dir).await?;
    until_nothing(&format!("com.atq.task={TASK}"), Duration::from_secs(60)).await?;
    target.remove().await?;
    say(begun, "nothing of the test is left in Docker");
    let pid = director.leave_running();
    std::fs::write(dir.join("director.pid"), pid.to_string())?;
    print_next_command(&client, dir, pid);
    println!("\ndemo passed in {:.1} s", begun.elapsed().as_secs_f64());
    try_next(&client)?;
    Ok(())
}

async fn start_director(dir: &Path) -> Result<Director> {
    std::fs::create_dir_all(dir)?;
    let taken = std::net::TcpListener::bind(("127.0.0.1", PORT)).is_err();
    let port = if taken { free_port()? } else { PORT };
    // Starts with an empty log.
    let _ = std::fs::remove_file(dir.join("director.log"));
    let director = Director::start_on(&binary()?, dir, port, "").await?;
    std::fs::write(dir.join("director.pid"), director.pid().to_string())?;
    Ok(director)
}

/// Ends the Director of an earlier demo. The process id may have been reused: only an `atq-director` in this directory is
/// ended.
fn stop_earlier(dir: &Path) -> Result<()> {
    let Ok(pid) = std::fs::read_to_string(dir.join("director.pid")) else {
        return Ok(());
    };
    let pid = pid.trim();
    let process = PathBuf::from("/proc").join(pid);
    let same_program = std::fs::read_to_string(process.join("comm"))
        .is_ok_and(|name| name.trim() == "atq-director");
    let same_place = std::fs::read_link(process.join("cwd")).ok() == dir.canonicalize().ok();
    if same_program && same_place {
        std::process::Command::new("kill")
            .args(["-TERM", pid])
            .status()?;
        let begun = Instant::now();
        while process.exists() && !is_zombie(&process) {
            ensure!(
                begun.elapsed() < Duration::from_secs(10),
                "the Director of an earlier demo (process {pid}) does not exit"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    std::fs::remove_file(dir.join("director.pid"))?;
    Ok(())
}

fn is_zombie(process: &Path) -> bool {
    std::fs::read_to_string(process.join("stat")).is_ok_and(|stat| stat.contains(") Z "))
}

/// Removes the objects of an interrupted or failed demo.
async fn clean_up(dir: &Path) -> Result<()> {
    stop_earlier(dir)?;
    if dir.join("controller-config.yaml").is_file() {
        let director = start_director(dir).await?;
        let (status, body) = director.client.delete(TASK).await?;
        ensure!(
            matches!(status.as_u16(), 204 | 404),
            "the task could not be removed: {status} {body}"
        );
        director.terminate()?;
        let _ = std::fs::remove_file(dir.join("director.pid"));
    }
    docker(&["info", "--format", "{{.ServerVersion}}"]).await?;
    let target = Target::known(TARGET, TARGET_LABEL);
    target.remove().await
}

fn payload(root: &Path, dir: &Path, fileid: &str) -> Result<Value> {
    let path = root.join("deploy/demo/task.json");
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read `{}`", path.display()))?;
    let text = text.replace("FILEID", fileid);
    std::fs::write(dir.join("task.json"), &text)?;
    serde_json::from_str(&text).with_context(|| format!("`{}` is not JSON", path.display()))
}

/// Prints each step as it begins, and progress of long steps, until the task is done.
async fn follow(client: &Client, begun: Instant) -> Result<Task> {
    let mut printed = 0;
    let mut progress = Instant::now();
    let mut summary = String::new();
    loop {
        let steps = client.steps(TASK).await?;
        for step in steps.iter().skip(printed) {
            say(begun, &format!("step {step:<12} {}", describe(step)));
            progress = Instant::now();
        }
        printed = steps.len();
        let task = client.task(TASK).await?;
        if task.step == Step::Done && steps.last().is_some_and(|step| step == "done") {
            timings(&task);
            return Ok(task);
        }
        if progress.elapsed() > Duration::from_secs(3) {
            progress = Instant::now();
            let latest = latest_summary(client).await.unwrap_or_default();
            let text = match latest.is_empty() || latest == summary {
                true => "...".to_owned(),
                false => latest.clone(),
            };
            summary = latest;
            say(begun, &format!("     {text}"));
        }
        ensure!(
            begun.elapsed() < TIMEOUT,
            "the task is still in step {:?} after {TIMEOUT:?}",
            task.step
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// JMeter's latest summary line.
async fn latest_summary(client: &Client) -> Result<String> {
    let log = client.logs(TASK, "?service=master&tail=20").await?;
    let line = log.lines().rev().find(|line| line.contains(" summary "));
    Ok(line
        .and_then(|line| line.find("summary").map(|at| line[at..].to_owned()))
        .unwrap_or_default())
}

fn describe(step: &str) -> &'static str {
    match step {
        "delivery" => "brings the bundle to the nodes",
        "network" => "creates an isolated network",
        "discovery" => "starts the sidecar that resolves names inside it",
        "workers" => "creates the workers",
        "resolve" => "waits until all workers run and resolve",
        "readiness" => "waits until every worker accepts connections on port 1099",
        "delay" => "sleeps the delay",
        "master" => "starts the master",
        "running" => "the test runs",
        "collect" => "keeps logs, results and exit codes",
        "report" => "computes figures and verdict",
        "cleanup" => "removes everything from Docker",
        _ => "",
    }
}

fn timings(task: &Task) {
    let parts: Vec<String> = task
        .timings
        .iter()
        .filter(|(step, _)| *step != "startSkew")
        .map(|(step, ms)| format!("{step} {:.1}", *ms as f64 / 1000.0))
        .collect();
    println!("          seconds by step: {}", parts.join(", "));
    if let Some(skew) = task.timings.get("startSkew") {
        println!("          the last worker started {skew} ms after the first");
    }
}

/// Prints the figures that the image has computed from its result file, and checks the counts.
fn figures(log: &str) -> Result<()> {
    println!("\n  result of the test, from the result file of JMeter:");
    let mut counts = BTreeMap::new();
    let mut total = None;
    for line in log
        .lines()
        .filter_map(|line| line.split_once("atq: ").map(|(_, rest)| rest.trim()))
    {
        if let Some(rest) = line.strip_prefix("samples ") {
            let fields = fields(rest);
            let worker = fields.get("worker").copied().unwrap_or("?").to_owned();
            counts.insert(worker, number(&fields, "count")?);
            println!("    worker {}", rest.trim_start_matches("worker="));
        } else if let Some(rest) = line.strip_prefix("total ") {
            total = Some((
                number(&fields(rest), "samples")?,
                number(&fields(rest), "errors")?,
            ));
            println!("    total  {rest}   (times in ms)");
        }
    }
    let (samples, errors) = total.context("the master's log has no figures")?;
    ensure!(
        counts.len() == WORKERS,
        "{} workers sent samples; expected {WORKERS}",
        counts.len()
    );
    ensure!(
        counts.values().all(|count| *count == SAMPLES_PER_WORKER),
        "samples by worker: {counts:?}; expected {SAMPLES_PER_WORKER} of each"
    );
    ensure!(
        samples == SAMPLES_PER_WORKER * WORKERS as u64,
        "{samples} samples in total; expected {}",
        SAMPLES_PER_WORKER * WORKERS as u64
    );
    ensure!(errors == 0, "{errors} samples failed");
    println!(
        "    as expected: {SAMPLES_PER_WORKER} samples of each of {WORKERS} workers, no errors\n"
    );
    Ok(())
}

/// Prints the Director's verdict and figures, and saves the report page in the demo's directory.
async fn verdict(client: &Client, task: &Task, dir: &Path) -> Result<()> {
    let verdict = task.verdict.context("the task has no verdict")?;
    println!("  verdict of the Director: {verdict:?}");
    let judgement = task
        .judgement
        .as_ref()
        .context("the task has no judgement")?;
    for result in &judgement.criteria {
        let mark = if result.holds {
            "holds"
        } else {
            "does not hold"
        };
        println!("    {:<28} {mark}: {}", result.criterion, result.seen);
    }
    for reason in &judgement.reasons {
        println!("    {reason}");
    }
    ensure!(
        verdict == Verdict::Pass,
        "the verdict is {verdict:?}; expected Pass"
    );
    let report: Report = client
        .get(&format!("/task/{TASK}/report"))
        .await?
        .json()
        .await?;
    let total = &report.total;
    println!(
        "    {} samples, {} errors, {:.1}/s; ms: mean {:.1}, p95 {:.1}, max {:.1}",
        total.samples, total.errors, total.throughput, total.mean, total.p95, total.max
    );
    let page = client
        .get(&format!("/task/{TASK}/report?format=html"))
        .await?;
    let file = dir.join("report.html");
    std::fs::write(&file, page.bytes().await?)?;
    println!("    the report as a page: {}\n", file.display());
    Ok(())
}

fn fields(text: &str) -> BTreeMap<&str, &str> {
    text.split_whitespace()
        .filter_map(|field| field.split_once('='))
        .collect()
}

fn number(fields: &BTreeMap<&str, &str>, name: &str) -> Result<u64> {
    let text = fields
        .get(name)
        .with_context(|| format!("the figures lack `{name}`"))?;
    text.parse()
        .with_context(|| format!("`{name}` is `{text}`; expected a number"))
}

fn print_next_command(client: &Client, dir: &Path, pid: u32) {
    let (url, dir) = (
        &client.url,
        dir.canonicalize().unwrap_or_else(|_| dir.to_path_buf()),
    );
    let dir = dir.display();
    println!(
        "\nNext steps (the Director keeps running as process {pid}; `make down` ends it):
  Swagger UI   {url}/swagger-ui/
  the task     curl -s {url}/api/task/{TASK}
  its log      curl -s '{url}/api/task/{TASK}/logs?service=master'
  its results  curl -s -o results.zip {url}/api/task/{TASK}/results
  its history  curl -s {url}/api/task/{TASK}/events
  its report   {url}/api/task/{TASK}/report (a page in a browser)
The requests of the demo (its target is removed; use your own):
  curl -s -F file=@{dir}/bundle.zip {url}/api/databind/upload
  curl -s -X PUT -d @{dir}/task.json {url}/api/task/
  curl -s -X DELETE {url}/api/task/{TASK}"
    );
}

/// Prints a command to copy: it runs an example with the `atq` beside this program.
fn try_next(client: &Client) -> Result<()> {
    let programs = std::env::current_exe()?;
    let programs = programs.parent().context("this program has no directory")?;
    println!("Try a test of your own, from an example to its verdict:\n");
    println!(
        "  export PATH={}:$PATH ATQ_URL={}; atq init plain first && cd first && atq run task.json --bundle bundle --results out",
        programs.display(),
        client.url
    );
    Ok(())
}

fn say(begun: Instant, text: &str) {
    println!("{:>7.1} s  {text}", begun.elapsed().as_secs_f64());
}
