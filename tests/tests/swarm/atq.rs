//! `atq run` on the real Swarm: exit codes and outputs for every kind of end.

use anyhow::{Context, Result, ensure};
use atq_api_spec::task::{Step, Task};
use atq_tests::cli::{Atq, AtqOutput};
use atq_tests::client::Client;
use atq_tests::director::free_port;
use atq_tests::fixture::{Fixture, RUN_TIMEOUT, small_task, with};
use atq_tests::image::Image;
use atq_tests::nodes::until;
use serde_json::{Value, json};

mod gateway;
mod outputs;

const IMAGE: &str = "atq-test-atq:dev";
/// All tasks run at once, and one log exceeds the limit.
const CONFIG: &str = "maxConcurrentTasks: 32\nlimits: {logBytes: 65536}\n";

/// A task whose master writes ten samples of 100 ms.
fn sampled(name: &str, criterion: &str) -> Value {
    let script = "mkdir -p /atq/results; now=$(date +%s)000; \
         { echo timestamp,elapsed,label,success; \
           for i in 1 2 3 4 5 6 7 8 9 10; do echo $now,100,Home,true; done; } >/atq/results/samples.csv; \
         echo 'summary =     10 in 00:00:01 =   10.0/s Avg:   100 Min:   100 Max:   100 Err:     0 (0.00%)'";
    let task = with(small_task(name, 1), "/master/image", IMAGE);
    let task = with(task, "/master/args", json!([script]));
    with(task, "/criteria", json!([criterion, "errors = 0"]))
}

/// A task whose master runs until it is stopped.
fn endless(name: &str) -> Value {
    with(
        small_task(name, 1),
        "/master/environment",
        json!(["HOLD=600"]),
    )
}

/// Runs the task and checks the exit code.
async fn run(atq: &Atq, task: &Value, more: &[&str], code: i32) -> Result<AtqOutput> {
    let file = atq.definition(task)?;
    let mut args = vec!["run", file.as_str()];
    args.extend(more);
    expect(atq.run(&args).await?, &task["name"], code)
}

fn expect(ended: AtqOutput, what: &Value, code: i32) -> Result<AtqOutput> {
    ensure!(
        ended.code == Some(code),
        "{what}: expected exit code {code}: {ended:#?}"
    );
    Ok(ended)
}

async fn passes(atq: &Atq) -> Result<()> {
    let task = sampled("atq-pass", "p95 < 500ms");
    let ended = run(atq, &task, &["--follow"], 0).await?;
    ensure!(ended.out.starts_with("PASS atq-pass"), "{ended:#?}");
    ensure!(ended.out.contains("ok     p95 < 500ms"), "{ended:#?}");
    for words in ["the test runs", "done", "master.1 | summary ="] {
        ensure!(ended.err.contains(words), "`{words}`: {ended:#?}");
    }
    ensure!(!ended.err.contains('\u{1b}'), "no colours: {ended:#?}");
    // The name is in use now.
    let ended = run(atq, &task, &[], 8).await?;
    ensure!(ended.err.contains("--replace"), "{ended:#?}");
    let ended = run(atq, &task, &["--replace", "--json"], 0).await?;
    let json = ended.json()?;
    ensure!(json["verdict"] == "pass", "{json:#}");
    ensure!(json["exit"] == "pass" && json["exitCode"] == 0, "{json:#}");
    ensure!(json["task"]["status"] == "finished", "{json:#}");
    Ok(())
}

async fn fails(atq: &Atq) -> Result<()> {
    let ended = run(atq, &sampled("atq-fail", "p95 < 10ms"), &[], 1).await?;
    ensure!(ended.out.starts_with("FAIL atq-fail"), "{ended:#?}");
    ensure!(ended.out.contains("FAILED p95 < 10ms"), "{ended:#?}");
    ensure!(ended.out.contains("seen 100 ms, wanted"), "{ended:#?}");
    Ok(())
}

async fn breaks(atq: &Atq) -> Result<()> {
    let tool = with(
        small_task("atq-tool", 1),
        "/master/environment",
        json!(["EXIT=3"]),
    );
    let absent = with(
        small_task("atq-absent", 1),
        "/worker/image",
        "atq-no-such-image:1",
    );
    let unmeasured = with(
        small_task("atq-invalid", 1),
        "/criteria",
        json!(["errors = 0"]),
    );
    let (tool, absent, unmeasured) = tokio::try_join!(
        run(atq, &tool, &[], 3),
        run(atq, &absent, &["--json"], 4),
        run(atq, &unmeasured, &[], 7),
    )?;
    ensure!(tool.out.contains("`master_exit`"), "{tool:#?}");
    let json = absent.json()?;
    ensure!(
        json["task"]["failure"]["code"] == "worker_failed",
        "{json:#}"
    );
    ensure!(json["exit"] == "infrastructureFailed", "{json:#}");
    ensure!(
        unmeasured.out.contains("there is no sample"),
        "{unmeasured:#?}"
    );
    Ok(())
}

async fn takes_too_long(atq: &Atq) -> Result<()> {
    let bounded = with(endless("atq-bounded"), "/maxDuration", 1);
    let endless = endless("atq-timeout");
    let (ended, _) = tokio::try_join!(
        run(atq, &endless, &["--timeout", "4s"], 5),
        run(atq, &bounded, &[], 5),
    )?;
    ensure!(ended.out.starts_with("TIMED OUT atq-timeout"), "{ended:#?}");
    Ok(())
}

async fn is_stopped(atq: &Atq, name: &str, signal: &str) -> Result<()> {
    let file = atq.definition(&endless(name))?;
    let args = ["run", file.as_str(), "--json"];
    let ended = atq.run_until(&args, "the test runs", signal).await?;
    let ended = expect(ended, &name.into(), 6)?;
    let json = ended.json()?;
    ensure!(json["task"]["status"] == "stopped", "{json:#}");
    ensure!(json["task"]["step"] == "done", "{json:#}");
    Ok(())
}

async fn is_refused(atq: &Atq) -> Result<()> {
    let unknown = "0123456789abcdef0123456789abcdef";
    let task = with(small_task("atq-refused", 1), "/worker/fileid", unknown);
    let ended = run(atq, &task, &[], 8).await?;
    ensure!(ended.err.contains("`worker.fileid`"), "{ended:#?}");
    let unreachable = Atq::at(&format!("http://127.0.0.1:{}", free_port()?))?;
    let ended = run(&unreachable, &task, &["--json"], 9).await?;
    ensure!(ended.json()?["exitCode"] == 9, "{ended:#?}");
    Ok(())
}

async fn is_detached(atq: &Atq) -> Result<()> {
    let task = small_task("atq-detached", 1);
    let ended = run(atq, &task, &["--detach"], 0).await?;
    ensure!(ended.out == "atq-detached initializing\n", "{ended:#?}");
    // The same definition again refers to the same task, which is watched until its end.
    run(atq, &task, &[], 0).await?;
    Ok(())
}

/// A killed client cannot stop its test; the Director does.
async fn outlives_its_client(atq: &Atq, client: &Client, name: &str, limit: &str) -> Result<()> {
    let file = atq.definition(&endless(name))?;
    let args = ["run", file.as_str(), limit];
    // Before the timeout, however slow the machine is.
    let ended = atq.run_until(&args, "creates the network", "KILL").await?;
    ensure!(ended.code.is_none(), "{ended:#?}");
    let done = client.done(name, RUN_TIMEOUT).await?;
    let failure = done.failure.as_ref().context("it has no failure")?;
    let code = match limit.starts_with("--lease") {
        true => "lease_expired",
        false => "timeout",
    };
    ensure!(failure.code == code, "{name}: {failure:?}");
    Ok(())
}

/// Waits until the task is in the step `running`.
async fn until_running(client: &Client, name: &str) -> Result<()> {
    let is_running = async || {
        let response = client.get(&format!("/api/task/{name}")).await?;
        Ok(response.status().is_success() && response.json::<Task>().await?.step == Step::Running)
    };
    until(&format!("`{name}` runs"), RUN_TIMEOUT, is_running).await
}

/// SIGTERM reaches the tool that a script waits for, and the tool's final results are kept.
async fn reaches_the_tool_of_a_script(atq: &Atq) -> Result<()> {
    let bundle = atq.dir.path().join("scripts");
    std::fs::create_dir(&bundle)?;
    let tool =
        "trap 'echo sum >/atq/results/sum; exit 0' TERM; while :; do sleep 1 & wait $!; done";
    std::fs::write(bundle.join("tool.sh"), tool)?;
    std::fs::write(
        bundle.join("master.sh"),
        "sh /atq/data/tool.sh\necho over\n",
    )?;
    let task = with(
        small_task("atq-script", 1),
        "/master/image",
        "atq-shell:dev",
    );
    let task = with(
        task,
        "/master/args",
        json!(["/bin/sh", "/atq/data/master.sh"]),
    );
    let task = with(task, "/master/stopGracePeriod", 60);
    let file = atq.definition(&task)?;
    let args = [
        "run",
        &file,
        "--bundle",
        "scripts",
        "--results",
        "of-script",
    ];
    let ended = atq.run_until(&args, "the test runs", "TERM").await?;
    let ended = expect(ended, &task["name"], 6)?;
    let sum = atq.dir.path().join("of-script/results/master.1/sum");
    ensure!(sum.is_file(), "{ended:#?}");
    Ok(())
}

/// The end of a log is kept when the log exceeds the limit.
async fn keeps_the_end_of_a_large_log(atq: &Atq) -> Result<()> {
    let script = "yes 0123456789012345678901234567890123456789 | head -n 200000; echo the summary";
    let task = with(small_task("atq-log", 1), "/master/image", IMAGE);
    let task = with(task, "/master/args", json!([script]));
    run(atq, &task, &[], 0).await?;
    let ended = atq.run(&["logs", "atq-log", "--service", "master"]).await?;
    let lines: Vec<&str> = ended.out.lines().collect();
    ensure!(lines.len() < 2000, "{} lines were kept", lines.len());
    let last = lines.last().context("no line was kept")?;
    ensure!(last.ends_with(" the summary"), "{last}");
    Ok(())
}

/// A second invocation with an equal definition only watches; cancelling it does not stop the test.
async fn is_watched_by_two(atq: &Atq, client: &Client) -> Result<()> {
    let task = endless("atq-two");
    let file = atq.definition(&task)?;
    let args = ["run", file.as_str(), "--json"];
    let first = async {
        let ended = atq.run(&args).await?;
        expect(ended, &"the first of two".into(), 6)
    };
    let second = async {
        until_running(client, "atq-two").await?;
        let ended = atq.run_until(&args, "another", "TERM").await?;
        let task = client.task("atq-two").await?;
        ensure!(task.step == Step::Running, "{ended:#?} {task:#?}");
        client.stop("atq-two").await?;
        Ok(())
    };
    tokio::try_join!(first, second).map(drop)
}

#[tokio::test]
async fn every_end_has_its_exit_code() -> Result<()> {
    let image = Image::shell(IMAGE).await?;
    let fixture = Fixture::start_with("test-atq", CONFIG).await?;
    let client = fixture.client();
    let atq = Atq::at(&client.url)?;
    tokio::try_join!(
        passes(&atq),
        fails(&atq),
        breaks(&atq),
        takes_too_long(&atq),
        is_stopped(&atq, "atq-term", "TERM"),
        is_stopped(&atq, "atq-int", "INT"),
        is_refused(&atq),
        is_detached(&atq),
        outlives_its_client(&atq, &client, "atq-killed", "--timeout=8s"),
        outlives_its_client(&atq, &client, "atq-lease", "--lease=5s"),
        is_watched_by_two(&atq, &client),
        outputs::keep_files_of_others(&atq),
        outputs::are_checked_first(&atq, &client),
        outputs::do_not_change_the_exit_code(&atq, &client),
        reaches_the_tool_of_a_script(&atq),
        keeps_the_end_of_a_large_log(&atq),
        gateway::is_busy(&client.url),
        gateway::is_closed(&client.url),
        gateway::redirects(&client.url),
    )?;
    fixture.finish().await?;
    drop(image);
    Ok(())
}
