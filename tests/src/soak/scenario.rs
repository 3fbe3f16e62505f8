//! The scenario of one task: upload, PUT, stop or delete, and a check of its outcome.

use super::plan::{Action, ExpectedEnd, Phase, Planned, Trigger, Variant};
use super::{Soak, print};
use crate::bundle::zip;
use crate::docker::labelled;
use anyhow::{Context, Result, bail, ensure};
use atq_api_spec::task::{Step, Task, TaskStatus};
use std::time::{Duration, Instant};

const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// Large enough that an upload is not instantaneous.
const BUNDLE_BYTES: usize = 4_000_000;

/// Runs the scenario when a permit is free. An unexpected outcome is added to the problems.
pub async fn run(soak: &Soak, task: &Planned) -> Result<()> {
    let _permit = soak.permits.acquire().await?;
    let ended = match execute(soak, task).await {
        Ok(ended) => ended,
        Err(error) => {
            soak.problem(format!("{} ({}): {error:#}", task.name, task.summary()));
            "unexpected".to_owned()
        }
    };
    soak.tally(&ended);
    soak.progress.enter(&task.name, Phase::Ended);
    let count = format!("{}/{}", soak.progress.ended(), soak.plan.tasks.len());
    print(
        soak,
        &format!("{count:>8} {}: {ended} ({})", task.name, task.summary()),
    );
    Ok(())
}

async fn execute(soak: &Soak, task: &Planned) -> Result<String> {
    let fileid = match task.bundle {
        Some(_) => Some(upload(soak, task).await?),
        None => None,
    };
    put(soak, task, fileid.as_deref()).await?;
    if let Some((action, trigger)) = task.action {
        until(soak, task, trigger).await?;
        match action {
            Action::Stop => stop(soak, &task.name).await?,
            Action::Delete => delete(soak, &task.name).await?,
        }
    }
    let ended = match task.expected_end() {
        ExpectedEnd::Gone => "deleted".to_owned(),
        expected => {
            let done = poll_until(soak, &task.name, |task| task.step == Step::Done).await?;
            check(soak, task, expected, &done).await?;
            outcome(&done)
        }
    };
    if let Some(id) = fileid {
        delete_bundle(soak, &id).await?;
    }
    Ok(ended)
}

async fn upload(soak: &Soak, task: &Planned) -> Result<String> {
    soak.progress.enter(&task.name, Phase::Upload);
    let mut noise = vec![0; BUNDLE_BYTES];
    fastrand::Rng::new().fill(&mut noise);
    let bundle = zip(&[("name.txt", task.name.as_bytes()), ("noise", &noise)])?;
    let uploaded = soak
        .client
        .call(async |client| client.upload(bundle.clone()).await);
    Ok(uploaded.await?.value)
}

async fn put(soak: &Soak, task: &Planned, fileid: Option<&str>) -> Result<()> {
    let payload = task.payload(fileid);
    let put = soak.client.call(async |client| {
        let response = client.put(&payload).await?;
        Ok((response.status().as_u16(), response.text().await?))
    });
    let put = put.await?;
    match put.value {
        (200, _) => Ok(()),
        // The earlier attempt, whose response was lost, took effect, and the task has ended since.
        (409, body) if put.retried && body.contains("task_ended") => Ok(()),
        (status, body) => bail!("PUT: {status}: {body}"),
    }
}

/// Polls a task until `reached` returns true, and records its phases.
async fn poll_until(soak: &Soak, name: &str, reached: impl Fn(&Task) -> bool) -> Result<Task> {
    loop {
        let task = soak
            .client
            .call(async |client| client.task(name).await)
            .await?;
        soak.progress.enter(name, Phase::In(task.value.step));
        if reached(&task.value) {
            return Ok(task.value);
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

async fn until(soak: &Soak, task: &Planned, trigger: Trigger) -> Result<()> {
    let begun = Instant::now();
    let reached = |task: &Task| match trigger {
        Trigger::In(step) => task.step >= step,
        Trigger::After(time) => begun.elapsed() >= time || task.step == Step::Done,
    };
    poll_until(soak, &task.name, reached).await.map(drop)
}

async fn stop(soak: &Soak, name: &str) -> Result<()> {
    let stopped = soak
        .client
        .call(async |client| client.stop(name).await)
        .await?;
    ensure!(stopped.value == 202, "POST stop: {}", stopped.value);
    Ok(())
}

/// Deletes a task and checks that nothing of it is left.
///
/// # Errors
/// When it cannot be deleted or something is left.
pub async fn delete(soak: &Soak, name: &str) -> Result<()> {
    soak.progress.enter(name, Phase::Delete);
    let mut retried = false;
    loop {
        let deleted = soak
            .client
            .call(async |client| client.delete(name).await)
            .await?;
        retried |= deleted.retried;
        match (deleted.value.0.as_u16(), deleted.value.1) {
            (204, _) => break,
            // The earlier attempt, whose response was lost, took effect.
            (404, _) if retried => break,
            // DELETE waits for a limited time; a repeated request continues to wait.
            (500, body) => print(soak, &format!("DELETE {name} is not complete: {body}")),
            (status, body) => bail!("DELETE: {status}: {body}"),
        }
    }
    let path = format!("/api/task/{name}");
    let status = soak
        .client
        .call(async |client| Ok(client.get(&path).await?.status()));
    let status = status.await?.value;
    ensure!(status == 404, "GET after DELETE: {status}");
    let left = labelled(&format!("com.atq.task={name}")).await?;
    ensure!(left.is_empty(), "left after DELETE: {left:?}");
    Ok(())
}

async fn delete_bundle(soak: &Soak, id: &str) -> Result<()> {
    let deleted = soak
        .client
        .call(async |client| client.delete_bundle(id).await);
    let deleted = deleted.await?;
    let (status, body) = deleted.value;
    let gone = status == 204 || (deleted.retried && status == 404);
    ensure!(gone, "DELETE of bundle `{id}`: {status}: {body}");
    Ok(())
}

fn outcome(task: &Task) -> String {
    match &task.failure {
        Some(failure) => format!("errored, {}", failure.code),
        None => format!("{:?}", task.status).to_lowercase(),
    }
}

async fn check(soak: &Soak, task: &Planned, expected: ExpectedEnd, done: &Task) -> Result<()> {
    ensure!(done.leftovers.is_empty(), "leftovers: {:?}", done.leftovers);
    let code = done.failure.as_ref().map(|failure| failure.code.as_str());
    let as_expected = match expected {
        ExpectedEnd::Finished => done.status == TaskStatus::Finished && done.exit_code == Some(0),
        ExpectedEnd::Errored(code) => {
            let failure = done.failure.as_ref();
            done.status == TaskStatus::Errored
                && failure.is_some_and(|failure| failure.code == code)
        }
        ExpectedEnd::Stopped => done.status == TaskStatus::Stopped && code.is_none(),
        ExpectedEnd::StoppedOrFinished => {
            matches!(done.status, TaskStatus::Stopped | TaskStatus::Finished)
        }
        ExpectedEnd::Gone => false,
    };
    ensure!(as_expected, "expected {expected:?}, is {done:#?}");
    if expected == ExpectedEnd::Errored("master_exit") {
        ensure!(done.exit_code == Some(3), "exit code {:?}", done.exit_code);
    }
    check_starts(soak, task, expected).await
}

/// Checks with Docker's events that no container was started twice.
async fn check_starts(soak: &Soak, task: &Planned, expected: ExpectedEnd) -> Result<()> {
    let workers = task.workers as usize;
    let name = task.name.as_str();
    if matches!(
        expected,
        ExpectedEnd::Finished | ExpectedEnd::Errored("master_exit")
    ) {
        let all = [("discovery", 1), ("worker", workers), ("master", 1)];
        for (role, number) in all {
            soak.starts.until(name, role, number).await?;
        }
        return check_log(soak, task, expected).await;
    }
    let max_masters = match task.variant {
        Variant::MissingImage(_) => 0,
        _ => 1,
    };
    for (role, max) in [
        ("discovery", 1),
        ("worker", workers),
        ("master", max_masters),
    ] {
        let seen = soak.starts.starts(name, role);
        ensure!(seen <= max, "{seen} containers of `{role}` were started");
    }
    Ok(())
}

/// Checks with the kept log that the master reached each worker once.
async fn check_log(soak: &Soak, task: &Planned, expected: ExpectedEnd) -> Result<()> {
    let name = &task.name;
    let log = soak
        .client
        .call(async |client| client.logs(name, "?service=master").await);
    let log = log.await.context("the master's log")?.value;
    let answers = log.matches(" answered ").count();
    let done = log.matches("master done").count();
    ensure!(
        (answers, done) == (task.workers as usize, 1),
        "expected {expected:?} with {} answers, the master's log is\n{log}",
        task.workers
    );
    Ok(())
}
