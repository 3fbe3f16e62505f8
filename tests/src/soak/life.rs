//! The life of one task: upload, PUT, what somebody does to it, and whether it ended as it had to.

use super::plan::{Deed, Phase, Planned, Twist, Want, When};
use super::{Soak, say};
use crate::bundle::zip;
use crate::docker::labelled;
use anyhow::{Context, Result, bail, ensure};
use atq_api_spec::task::{Step, Task, TaskStatus};
use std::time::{Duration, Instant};

/// How often a task is looked at.
const LOOK: Duration = Duration::from_millis(50);
/// Enough that an upload takes a while.
const BUNDLE_BYTES: usize = 4_000_000;

/// Lives a task when there is room. What is wrong with its end goes to the list of problems.
pub async fn live(soak: &Soak, task: &Planned) -> Result<()> {
    let _room = soak.room.acquire().await?;
    let ended = match lived(soak, task).await {
        Ok(ended) => ended,
        Err(error) => {
            soak.problem(format!("{} ({}): {error:#}", task.name, task.words()));
            "wrong".to_owned()
        }
    };
    soak.tally(&ended);
    soak.board.enter(&task.name, Phase::Ended);
    let count = format!("{}/{}", soak.board.ended(), soak.plan.tasks.len());
    say(
        soak,
        &format!("{count:>8} {}: {ended} ({})", task.name, task.words()),
    );
    Ok(())
}

async fn lived(soak: &Soak, task: &Planned) -> Result<String> {
    let fileid = match task.bundle {
        Some(_) => Some(upload(soak, task).await?),
        None => None,
    };
    put(soak, task, fileid.as_deref()).await?;
    if let Some((deed, when)) = task.deed {
        until(soak, task, when).await?;
        match deed {
            Deed::Stop => stop(soak, &task.name).await?,
            Deed::Delete => delete(soak, &task.name).await?,
        }
    }
    let ended = match task.want() {
        Want::Gone => "deleted".to_owned(),
        want => {
            let done = follow(soak, &task.name, |task| task.step == Step::Done).await?;
            judge(soak, task, want, &done).await?;
            outcome(&done)
        }
    };
    if let Some(id) = fileid {
        delete_bundle(soak, &id).await?;
    }
    Ok(ended)
}

async fn upload(soak: &Soak, task: &Planned) -> Result<String> {
    soak.board.enter(&task.name, Phase::Upload);
    let mut noise = vec![0; BUNDLE_BYTES];
    fastrand::Rng::new().fill(&mut noise);
    let bundle = zip(&[("name.txt", task.name.as_bytes()), ("noise", &noise)])?;
    let uploaded = soak
        .post
        .call(async |client| client.upload(bundle.clone()).await);
    Ok(uploaded.await?.answer)
}

async fn put(soak: &Soak, task: &Planned, fileid: Option<&str>) -> Result<()> {
    let payload = task.payload(fileid);
    let put = soak.post.call(async |client| {
        let answer = client.put(&payload).await?;
        Ok((answer.status().as_u16(), answer.text().await?))
    });
    let put = put.await?;
    match put.answer {
        (200, _) => Ok(()),
        // The try that was not answered took effect, and the task has ended since.
        (409, body) if put.again && body.contains("task_ended") => Ok(()),
        (status, body) => bail!("PUT: {status}: {body}"),
    }
}

/// Looks at a task until `reached` holds, and tells the board what is seen.
async fn follow(soak: &Soak, name: &str, reached: impl Fn(&Task) -> bool) -> Result<Task> {
    loop {
        let task = soak
            .post
            .call(async |client| client.task(name).await)
            .await?;
        soak.board.enter(name, Phase::In(task.answer.step));
        if reached(&task.answer) {
            return Ok(task.answer);
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn until(soak: &Soak, task: &Planned, when: When) -> Result<()> {
    let begun = Instant::now();
    let reached = |task: &Task| match when {
        When::In(step) => task.step >= step,
        When::After(time) => begun.elapsed() >= time || task.step == Step::Done,
    };
    follow(soak, &task.name, reached).await.map(drop)
}

async fn stop(soak: &Soak, name: &str) -> Result<()> {
    let told = soak
        .post
        .call(async |client| client.stop(name).await)
        .await?;
    ensure!(told.answer == 202, "POST stop: {}", told.answer);
    Ok(())
}

/// Deletes a task, and looks that nothing of it is left.
///
/// # Errors
/// When it cannot be deleted, or something is left.
pub async fn delete(soak: &Soak, name: &str) -> Result<()> {
    soak.board.enter(name, Phase::Delete);
    let mut again = false;
    loop {
        let gone = soak
            .post
            .call(async |client| client.delete(name).await)
            .await?;
        again |= gone.again;
        match (gone.answer.0.as_u16(), gone.answer.1) {
            (204, _) => break,
            // The try that was not answered took effect.
            (404, _) if again => break,
            // It waits for a while only; a repeat goes on.
            (500, body) => say(soak, &format!("DELETE {name} is not over: {body}")),
            (status, body) => bail!("DELETE: {status}: {body}"),
        }
    }
    let path = format!("/api/task/{name}");
    let looked = soak
        .post
        .call(async |client| Ok(client.get(&path).await?.status()));
    let status = looked.await?.answer;
    ensure!(status == 404, "GET after DELETE: {status}");
    let left = labelled(&format!("com.atq.task={name}")).await?;
    ensure!(left.is_empty(), "left after DELETE: {left:?}");
    Ok(())
}

async fn delete_bundle(soak: &Soak, id: &str) -> Result<()> {
    let deleted = soak
        .post
        .call(async |client| client.delete_bundle(id).await);
    let deleted = deleted.await?;
    let (status, body) = deleted.answer;
    let gone = status == 204 || (deleted.again && status == 404);
    ensure!(gone, "DELETE of bundle `{id}`: {status}: {body}");
    Ok(())
}

fn outcome(task: &Task) -> String {
    match &task.failure {
        Some(failure) => format!("errored, {}", failure.code),
        None => format!("{:?}", task.status).to_lowercase(),
    }
}

async fn judge(soak: &Soak, task: &Planned, want: Want, done: &Task) -> Result<()> {
    ensure!(done.leftovers.is_empty(), "leftovers: {:?}", done.leftovers);
    let code = done.failure.as_ref().map(|failure| failure.code.as_str());
    let right = match want {
        Want::Finished => done.status == TaskStatus::Finished && done.exit_code == Some(0),
        Want::Errored(code) => {
            let failure = done.failure.as_ref();
            done.status == TaskStatus::Errored
                && failure.is_some_and(|failure| failure.code == code)
        }
        Want::Stopped => done.status == TaskStatus::Stopped && code.is_none(),
        Want::StoppedOrFinished => {
            matches!(done.status, TaskStatus::Stopped | TaskStatus::Finished)
        }
        Want::Gone => false,
    };
    ensure!(right, "wanted {want:?}, is {done:#?}");
    if want == Want::Errored("master_exit") {
        ensure!(done.exit_code == Some(3), "exit code {:?}", done.exit_code);
    }
    ran(soak, task, want).await
}

/// By Docker's events, not by the Director's word: nothing was started twice.
async fn ran(soak: &Soak, task: &Planned, want: Want) -> Result<()> {
    let workers = task.workers as usize;
    let name = task.name.as_str();
    if matches!(want, Want::Finished | Want::Errored("master_exit")) {
        let all = [("discovery", 1), ("worker", workers), ("master", 1)];
        for (role, number) in all {
            soak.witness.until(name, role, number).await?;
        }
        return answered(soak, task, want).await;
    }
    let most = match task.twist {
        Twist::MissingImage(_) => 0,
        _ => 1,
    };
    for (role, most) in [("discovery", 1), ("worker", workers), ("master", most)] {
        let seen = soak.witness.starts(name, role);
        ensure!(seen <= most, "{seen} containers of `{role}` were started");
    }
    Ok(())
}

/// The log is kept, and says that the master reached each worker once.
async fn answered(soak: &Soak, task: &Planned, want: Want) -> Result<()> {
    let name = &task.name;
    let log = soak
        .post
        .call(async |client| client.logs(name, "?service=master").await);
    let log = log.await.context("the master's log")?.answer;
    let answers = log.matches(" answered ").count();
    let done = log.matches("master done").count();
    ensure!(
        (answers, done) == (task.workers as usize, 1),
        "wanted {want:?} with {} answers, the master's log is\n{log}",
        task.workers
    );
    Ok(())
}
