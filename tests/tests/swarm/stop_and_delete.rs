//! Stop and delete in every step, on a real Swarm, and the output of containers after SIGTERM.

use anyhow::{Context, Result, bail, ensure};
use atq_api_spec::task::{Step, Task, TaskStatus};
use atq_tests::client::Client;
use atq_tests::docker::labelled;
use atq_tests::fixture::{Fixture, RUN_TIMEOUT, small_task, with};
use atq_tests::image::Image;
use futures_util::future::join_all;
use serde_json::{Value, json};

const AT_ONCE: &str = "maxConcurrentTasks: 32\n";

const STEPS: [Step; 10] = [
    Step::Network,
    Step::Discovery,
    Step::Workers,
    Step::Resolve,
    Step::WaitCommand,
    Step::Delay,
    Step::Master,
    Step::Running,
    Step::Collect,
    Step::Cleanup,
];

/// Behaves like the test image's worker; after SIGTERM it writes a line and exits with its own code.
const WORKER: &str = "trap 'echo worker: told to stop; exit 7' TERM; echo worker ready; \
                      nc -ll -p 7000 -e /bin/sh /testload.sh answer & while :; do wait; done";

/// A task that passes through every step. Its master runs until it is stopped, unless `step` comes later. `action` makes its
/// name unique among concurrent tests.
fn task_for(action: &str, step: Step, image: &Image) -> Value {
    let hold = if step > Step::Running { 1 } else { 600 };
    let name = format!("{action}-in-{step:?}").to_lowercase();
    let task = with(small_task(&name, 2), "/worker/image", image.name.as_str());
    let task = with(task, "/worker/args", json!([WORKER]));
    let hold = json!([format!("HOLD={hold}")]);
    let task = with(task, "/master/environment", hold);
    let wait = json!({"command": "sleep 2", "timeout": 5});
    with(with(task, "/waitCommand", wait), "/delay", 2)
}

async fn in_every_step<F>(
    action: &str,
    act: impl Fn(Client, String, Step) -> F,
    client: &Client,
    image: &Image,
) -> Result<()>
where
    F: Future<Output = Result<String>>,
{
    let runs = STEPS.map(|step| {
        let task = task_for(action, step, image);
        let name = task["name"].as_str().unwrap().to_owned();
        let (act, client) = (&act, client.clone());
        async move {
            client.start(&task).await?;
            let reached = client.until(&name, RUN_TIMEOUT, |task| task.step >= step);
            let seen = reached.await?.step;
            let result = act(client.clone(), name, seen).await;
            let result = result.with_context(|| format!("for {step:?}, in {seen:?}"))?;
            println!("for {step:?}, in {seen:?}: {result}");
            Ok(())
        }
    });
    let results: Vec<Result<()>> = join_all(runs).await;
    let failures: Vec<_> = results.into_iter().filter_map(Result::err).collect();
    match failures.is_empty() {
        true => Ok(()),
        false => bail!("{failures:#?}"),
    }
}

#[tokio::test]
async fn a_stop_ends_the_task_in_every_step_and_keeps_the_final_output() -> Result<()> {
    let fixture = Fixture::start_with("test-stop", AT_ONCE).await?;
    let image = Image::shell("atq-test-stop-shell:1").await?;
    in_every_step("stop", stop, &fixture.client(), &image).await?;
    fixture.finish().await
}

async fn stop(client: Client, name: String, step: Step) -> Result<String> {
    ensure!(client.stop(&name).await? == 202);
    ensure!(client.stop(&name).await? == 202, "the second stop");
    let task = client.done(&name, RUN_TIMEOUT).await?;
    let wanted = match step {
        Step::Collect | Step::Cleanup => TaskStatus::Finished,
        _ => TaskStatus::Stopped,
    };
    ensure!(
        task.status == wanted && task.failure.is_none() && task.leftovers.is_empty(),
        "{task:#?}"
    );
    let left = labelled(&format!("com.atq.task={name}")).await?;
    ensure!(left.is_empty(), "{left:?}");
    let log = client.logs(&name, "").await?;
    if step > Step::Resolve {
        check_final_output(&task, &log)?;
    }
    if step == Step::Running {
        ensure!(log.contains("master: told to stop"), "{log}");
        ensure!(task.exit_code == Some(143), "{task:#?}");
    }
    let codes: Vec<_> = task.workers.iter().map(|worker| worker.exit_code).collect();
    Ok(format!(
        "{:?}, {} log lines, workers' codes {codes:?}, master's {:?}",
        task.status,
        log.lines().count(),
        task.exit_code
    ))
}

fn check_final_output(task: &Task, log: &str) -> Result<()> {
    for replica in 1..=2 {
        let source = format!(" worker.{replica} ");
        let own: Vec<_> = log.lines().filter(|line| line.contains(&source)).collect();
        for wanted in ["worker ready", "worker: told to stop"] {
            ensure!(
                own.iter().any(|line| line.ends_with(wanted)),
                "worker {replica} lacks `{wanted}`:\n{log}"
            );
        }
    }
    let known = |code: Option<i64>| code == Some(7);
    ensure!(
        task.workers.len() == 2 && task.workers.iter().all(|worker| known(worker.exit_code)),
        "{:#?}",
        task.workers
    );
    Ok(())
}

#[tokio::test]
async fn a_delete_removes_everything_in_every_step() -> Result<()> {
    let fixture = Fixture::start_with("test-delete", AT_ONCE).await?;
    let image = Image::shell("atq-test-delete-shell:1").await?;
    in_every_step("delete", delete, &fixture.client(), &image).await?;
    fixture.finish().await
}

/// Sends two concurrent requests; the second one waits for the same end or finds no task.
async fn delete(client: Client, name: String, _: Step) -> Result<String> {
    let (one, two) = tokio::join!(client.delete(&name), client.delete(&name));
    let (one, two) = (one?, two?);
    let is_expected =
        |(status, _): &(reqwest::StatusCode, String)| *status == 204 || *status == 404;
    ensure!(is_expected(&one) && is_expected(&two), "{one:?} {two:?}");
    ensure!(one.0 == 204 || two.0 == 204, "{one:?} {two:?}");
    let path = format!("/api/task/{name}");
    ensure!(client.get(&path).await?.status() == 404);
    let left = labelled(&format!("com.atq.task={name}")).await?;
    ensure!(left.is_empty(), "{left:?}");
    ensure!(client.delete(&name).await?.0 == 404);
    Ok(format!("{} and {}", one.0.as_u16(), two.0.as_u16()))
}

#[tokio::test]
async fn a_queued_task_is_stopped_and_deleted_without_leftovers() -> Result<()> {
    let fixture = Fixture::start_with("test-stop-queued", "maxConcurrentTasks: 1\n").await?;
    let client = fixture.client();
    let hold = json!(["HOLD=600"]);
    let first = with(small_task("first", 1), "/master/environment", hold);
    client.start(&first).await?;
    for name in ["waits-1", "waits-2", "waits-3"] {
        client.start(&small_task(name, 1)).await?;
    }
    for _ in 0..2 {
        ensure!(client.stop("waits-1").await? == 202);
    }
    let stopped = client.done("waits-1", RUN_TIMEOUT).await?;
    ensure!(stopped.status == TaskStatus::Stopped, "{stopped:#?}");
    ensure!(stopped.step == Step::Done && stopped.worker.id.is_empty());
    ensure!(client.delete("waits-2").await?.0 == 204);
    ensure!(client.delete("waits-2").await?.0 == 404);
    let third = client.task("waits-3").await?;
    ensure!(third.queue_position == Some(1), "{third:#?}");
    // Its name is free again, and the new task is queued last.
    client.start(&small_task("waits-2", 1)).await?;
    ensure!(client.task("waits-2").await?.queue_position == Some(2));

    ensure!(client.stop("first").await? == 202);
    for name in ["waits-2", "waits-3"] {
        let task = client.done(name, RUN_TIMEOUT).await?;
        ensure!(task.status == TaskStatus::Finished, "{task:#?}");
    }
    fixture.finish().await
}

#[tokio::test]
async fn a_master_has_its_grace_period_unless_the_stop_is_forced() -> Result<()> {
    let fixture = Fixture::start("test-grace").await?;
    let client = fixture.client();
    let image = Image::shell("atq-test-grace-shell:1").await?;
    let script = "trap 'echo ending; sleep 12; echo ended well; exit 5' TERM; echo begun; \
                  sleep 600 & while :; do wait; done";
    let slow = |name: &str| {
        let task = with(small_task(name, 1), "/master/image", image.name.as_str());
        with(task, "/master/args", json!([script]))
    };
    let with_grace = with(slow("grace-20"), "/master/stopGracePeriod", 20);
    let cases = [(slow("grace-default"), false), (with_grace, true)];
    let runs = cases.map(|(task, ends_well)| {
        let client = client.clone();
        async move {
            let name = task["name"].as_str().unwrap().to_owned();
            client.start(&task).await?;
            client
                .until(&name, RUN_TIMEOUT, |task| task.step == Step::Running)
                .await?;
            ensure!(client.stop(&name).await? == 202);
            let task = client.done(&name, RUN_TIMEOUT).await?;
            ensure!(task.status == TaskStatus::Stopped, "{task:#?}");
            let log = client.logs(&name, "?service=master").await?;
            ensure!(log.contains("begun") && log.contains("ending"), "{log}");
            ensure!(log.contains("ended well") == ends_well, "{name}:\n{log}");
            let code = if ends_well { 5 } else { 137 };
            ensure!(task.exit_code == Some(code), "{task:#?}");
            println!("{name}: code {:?}, {:?}", task.exit_code, task.timings);
            Ok(())
        }
    });
    let (results, forced) = tokio::join!(join_all(runs), force_stop(&client, &image));
    results.into_iter().collect::<Result<()>>()?;
    forced?;
    fixture.finish().await
}

/// Master and worker ignore SIGTERM and have a grace period of an hour: without force the test would time out.
async fn force_stop(client: &Client, image: &Image) -> Result<()> {
    let script =
        "trap '' TERM; echo half >/atq/results/half.csv; echo begun; while :; do sleep 0.1; done";
    let ignoring_sigterm = |name: &str| {
        let mut task = small_task(name, 1);
        for role in ["master", "worker"] {
            task = with(task, &format!("/{role}/image"), image.name.as_str());
            task = with(task, &format!("/{role}/args"), json!([script]));
            task = with(task, &format!("/{role}/stopGracePeriod"), 3600);
        }
        task
    };
    let (stopped, deleted) = ("force-stop", "force-delete");
    for name in [stopped, deleted] {
        client.start(&ignoring_sigterm(name)).await?;
    }
    for name in [stopped, deleted] {
        let reached = client.until(name, RUN_TIMEOUT, |task| task.step == Step::Running);
        reached.await?;
    }
    // A forced stop accelerates a normal stop in progress.
    ensure!(client.stop(stopped).await? == 202);
    let collects = client.until(stopped, RUN_TIMEOUT, |task| task.step == Step::Collect);
    collects.await?;
    ensure!(client.stop_by_force(stopped).await? == 202);
    let task = client.done(stopped, RUN_TIMEOUT).await?;
    ensure!(
        task.status == TaskStatus::Stopped && task.exit_code == Some(137),
        "{task:#?}"
    );
    ensure!(task.workers[0].exit_code == Some(137), "{task:#?}");
    ensure!(!client.events(stopped, "forced").await?.is_empty());
    let log = client.logs(stopped, "").await?;
    ensure!(log.matches("begun").count() == 2, "{log}");
    let results = client.get(&format!("/task/{stopped}/results")).await?;
    ensure!(results.status() == 200, "{results:?}");

    let removed = client.delete_by_force(deleted).await?;
    ensure!(removed.0 == 204, "{removed:?}");
    let left = labelled(&format!("com.atq.task={deleted}")).await?;
    ensure!(left.is_empty(), "{left:?}");
    println!("by force: {:?}", task.timings);
    Ok(())
}
