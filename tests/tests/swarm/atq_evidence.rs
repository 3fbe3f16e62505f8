//! Evidence of a real run through `atq`: log lines and events over two restarts of the Director, result files, figures.

use anyhow::{Context, Result, ensure};
use atq_api_spec::report::Report;
use atq_api_spec::task::{LogEntry, Step, TaskEvent};
use atq_tests::director::{Director, binary, free_port};
use atq_tests::docker::until_nothing;
use atq_tests::fixture::{CleanupGuard, RUN_TIMEOUT, remove_earlier, small_task, with};
use atq_tests::image::Image;
use serde_json::{Value, json};
use std::fs::{self, File};
use std::io::{Cursor, Read};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

const LABEL: &str = "com.atq.director=test-atq-evidence";
/// The master's results; `$now` stands for the seconds since 1970.
const SAMPLES: &str = "timeStamp,elapsed,label,responseCode,success\\n\
    ${now}000,120,Login,200,true\\n${now}100,300,Login,200,true\\n${now}200,80,Search,500,false\\n";

fn atq(url: &str, args: &[&str]) -> Result<Command> {
    let mut command = Command::new(binary()?.with_file_name("atq"));
    command
        .args(["--url", url])
        .args(args)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    Ok(command)
}

/// Standard output of `atq`, which must succeed.
async fn output(url: &str, args: &[&str]) -> Result<Vec<u8>> {
    let ended = timeout(RUN_TIMEOUT, atq(url, args)?.output()).await??;
    let stderr = String::from_utf8_lossy(&ended.stderr);
    ensure!(
        ended.status.success(),
        "{args:?}: {}: {stderr}",
        ended.status
    );
    Ok(ended.stdout)
}

async fn text(url: &str, args: &[&str]) -> Result<String> {
    Ok(String::from_utf8(output(url, args).await?)?)
}

fn follow(url: &str, args: &[&str], to: &Path) -> Result<Child> {
    let file = File::create(to)?;
    Ok(atq(url, args)?.stdout(file).spawn()?)
}

async fn until_written(file: &Path, text: &str) -> Result<()> {
    let begun = Instant::now();
    loop {
        let seen = fs::read_to_string(file)?;
        if seen.contains(text) {
            return Ok(());
        }
        ensure!(begun.elapsed() < RUN_TIMEOUT, "no `{text}` in:\n{seen}");
        sleep(Duration::from_millis(50)).await;
    }
}

/// The lines grouped by container, in their order.
fn by_source(log: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = log.lines().collect();
    lines.sort_by_key(|line| line.split(' ').nth(1).map(str::to_owned));
    lines
}

fn task(image: &Image) -> Value {
    let worker = "trap 'echo sum; exit 0' TERM; echo ready >&2; while :; do sleep 0.1; done";
    let master = format!(
        "for i in $(seq 1 30); do echo step $i; echo and $i >&2; sleep 0.2; done; \
         now=$(date +%s); printf \"{SAMPLES}\" >/atq/results/results.jtl; seq 1 500"
    );
    let task = with(
        small_task("evidence", 2),
        "/worker/image",
        image.name.as_str(),
    );
    let task = with(task, "/worker/args", json!([worker]));
    let task = with(task, "/master/image", image.name.as_str());
    let task = with(task, "/master/args", json!([master]));
    with(task, "/criteria", json!(["p95 < 10s", "errors = 0"]))
}

#[tokio::test]
async fn evidence_is_complete_over_restarts_of_the_director() -> Result<()> {
    let image = Image::shell("atq-test-evidence:1").await?;
    let dir = tempfile::tempdir()?;
    remove_earlier("test-atq-evidence").await?;
    let _cleanup = CleanupGuard(LABEL.to_owned());
    let port = free_port()?;
    let more = "directorId: test-atq-evidence\n";
    let start =
        || async { Director::start_on(&binary()?, &dir.path().join("d"), port, more).await };
    let director = start().await?;
    let client = director.client.clone();
    let url = client.url.clone();

    client.start(&task(&image)).await?;
    let logs = dir.path().join("logs");
    let lines = dir.path().join("ndjson");
    let events = dir.path().join("events");
    let mut followers = [
        follow(&url, &["logs", "evidence", "--follow"], &logs)?,
        follow(
            &url,
            &["logs", "evidence", "-f", "--json", "--service", "master"],
            &lines,
        )?,
        follow(&url, &["events", "evidence", "-f", "--json"], &events)?,
    ];
    until_written(&logs, "master.1 step 4\n").await?;
    // Lines and states arrive independently: the line may arrive first.
    let running = client.until("evidence", RUN_TIMEOUT, |task| task.step >= Step::Running);
    ensure!(running.await?.step == Step::Running);
    // One graceful restart, one crash.
    director.terminate()?;
    let director = start().await?;
    until_written(&logs, "master.1 step 12\n").await?;
    director.crash()?;
    let director = start().await?;
    for follower in &mut followers {
        let status = timeout(RUN_TIMEOUT, follower.wait())
            .await
            .context("it does not end")??;
        ensure!(status.success(), "{status}");
    }
    client.done("evidence", RUN_TIMEOUT).await?;

    let kept = client.logs("evidence", "").await?;
    ensure!(
        kept.contains("worker.2 sum\n") && kept.contains("master.1 500\n"),
        "{kept}"
    );
    let followed = fs::read_to_string(&logs)?;
    ensure!(
        by_source(&followed) == by_source(&kept),
        "followed:\n{followed}\nkept:\n{kept}"
    );
    ensure!(text(&url, &["logs", "evidence"]).await? == kept);
    let tail = text(
        &url,
        &["logs", "evidence", "--service", "master", "--tail", "1"],
    )
    .await?;
    ensure!(
        tail.ends_with(" master.1 500\n") && tail.lines().count() == 1,
        "{tail}"
    );
    let own = client.logs("evidence", "?service=master").await?;
    let entries = fs::read_to_string(&lines)?;
    for (line, own) in entries.lines().zip(own.lines()) {
        let entry: LogEntry = serde_json::from_str(line)?;
        ensure!(
            format!("{} master.1 {}", entry.at, entry.text) == own,
            "{line}: {own}"
        );
    }
    ensure!(entries.lines().count() == own.lines().count());

    let text_of_events = fs::read_to_string(&events)?;
    let followed: Vec<TaskEvent> = text_of_events
        .lines()
        .map(|line| Ok(serde_json::from_str(line)?))
        .collect::<Result<_>>()?;
    let ids: Vec<u64> = followed.iter().map(|event| event.id).collect();
    ensure!(ids == (1..=ids.len() as u64).collect::<Vec<_>>(), "{ids:?}");
    ensure!(
        followed
            .last()
            .is_some_and(|event| event.step == Step::Done),
        "{followed:#?}"
    );
    let listed = text(&url, &["events", "evidence"]).await?;
    ensure!(
        listed.lines().count() == followed.len() && listed.contains(" master running\n"),
        "{listed}"
    );

    results(&url, dir.path()).await?;
    report(&url, dir.path()).await?;
    ensure!(client.delete("evidence").await?.0 == 204);
    let gone = atq(&url, &["results", "evidence"])?.output().await?;
    ensure!(gone.status.code() == Some(8), "{gone:?}");
    drop(director);
    let unreachable = atq(&url, &["logs", "evidence", "-f"])?.output().await?;
    ensure!(unreachable.status.code() == Some(9), "{unreachable:?}");
    until_nothing(LABEL, Duration::from_secs(60)).await
}

/// The results are the same unpacked, as an archive, and through a pipe.
async fn results(url: &str, dir: &Path) -> Result<()> {
    let (to, zip) = (dir.join("results"), dir.join("r.zip"));
    let listed = text(url, &["results", "evidence", "-o", to.to_str().unwrap()]).await?;
    ensure!(
        listed.trim().ends_with("results/master.1/results.jtl"),
        "{listed}"
    );
    let unpacked = fs::read_to_string(to.join("master.1/results.jtl"))?;
    ensure!(
        unpacked.lines().count() == 4 && unpacked.ends_with("80,Search,500,false\n"),
        "{unpacked}"
    );
    output(url, &["results", "evidence", "-o", zip.to_str().unwrap()]).await?;
    let piped = output(url, &["results", "evidence", "-o", "-"]).await?;
    for zip in [fs::read(&zip)?, piped] {
        let mut zip = zip::ZipArchive::new(Cursor::new(zip))?;
        ensure!(zip.len() == 1);
        let mut text = String::new();
        zip.by_index(0)?.read_to_string(&mut text)?;
        ensure!(text == unpacked, "{text}");
    }
    let mut again = atq(
        url,
        &["results", "evidence", "--json", "-o", to.to_str().unwrap()],
    )?;
    let again = again.output().await?;
    let listed: Value = serde_json::from_slice(&again.stdout)?;
    ensure!(listed["replaced"] == 1, "{listed}");
    let stderr = String::from_utf8(again.stderr)?;
    ensure!(stderr.contains("replaced"), "{stderr}");
    Ok(())
}

/// The figures are computed from the three samples.
async fn report(url: &str, dir: &Path) -> Result<()> {
    let [html, junit, gitlab] = ["r.html", "j.xml", "g.json"].map(|name| dir.join(name));
    let files = [
        ("--html", &html),
        ("--junit", &junit),
        ("--gitlab", &gitlab),
    ];
    let mut args = vec!["report", "evidence", "--baseline", "evidence"];
    for (option, file) in &files {
        args.extend([option, file.to_str().unwrap()]);
    }
    let shown = text(url, &args).await?;
    ensure!(
        shown.starts_with("evidence: fail, 3 samples in 0.4 s\n"),
        "{shown}"
    );
    let login = shown
        .lines()
        .find(|line| line.starts_with("Login"))
        .context("no label")?;
    let cells: Vec<&str> = login.split_whitespace().collect();
    ensure!(
        cells[1..3] == ["2", "0.00%"] && cells[4] == "210",
        "{shown}"
    );
    ensure!(shown.contains("fails  errors = 0: seen 1"), "{shown}");
    ensure!(shown.contains("compared with evidence\n"), "{shown}");
    ensure!(fs::read_to_string(&html)?.starts_with("<!DOCTYPE html>"));
    let junit = fs::read_to_string(&junit)?;
    ensure!(
        junit.contains("tests=\"3\" failures=\"1\" errors=\"0\""),
        "{junit}"
    );
    let gitlab: Value = serde_json::from_slice(&fs::read(&gitlab)?)?;
    ensure!(gitlab["metrics"]["checks"]["passes"] == 2, "{gitlab}");
    let json: Report =
        serde_json::from_slice(&output(url, &["report", "evidence", "--json"]).await?)?;
    ensure!(
        json.total.samples == 3 && json.comparison.is_none(),
        "{json:#?}"
    );
    Ok(())
}
