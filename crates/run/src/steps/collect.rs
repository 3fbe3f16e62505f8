//! The step `collect`: keeps the logs and the final status of all containers before anything is removed. Logs that
//! cannot be kept are listed and never block the end of the run.

use super::{of_group, results, shutdown, status};
use crate::interruption::{Deadline, StepResult};
use crate::manifest;
use crate::run::Run;
use atq_engine::{EngineError, LogLines, LogQuery, Member, Role, RunContext, Source};
use atq_retry::{Pauses, retry};
use atq_task::event::{Event, FailureCode};
use atq_task::state::{LostWorker, Outcome};
use futures_util::future::BoxFuture;
use futures_util::{StreamExt, stream};
use std::time::Duration;

/// Timeout for reading logs.
const LOG_TIMEOUT: Duration = Duration::from_secs(60);
/// Additional time for writing to the disk.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// Retries of listing the containers.
const LIST_BACKOFF: Pauses = Pauses {
    first: Duration::from_millis(500),
    longest: Duration::from_millis(500),
};
/// Number of last lines of a failed master that are stored with the failure.
const LAST_LINES: usize = 10;
/// Maximum length of each of them.
const LAST_LINE_CHARS: usize = 500;
/// Number of logs read concurrently.
const MAX_CONCURRENT_LOGS: usize = 8;

/// Stops a test that still runs, then keeps the logs, including those written during the stop.
///
/// # Errors
/// When skipping grace periods is newly requested; the step is then repeated.
pub async fn collect(run: &mut Run) -> StepResult {
    run.keep_usage().await;
    shutdown::stop_test(run).await?;
    let skips_last_bytes = run.state.forced || run.desired().is_deleted();
    run.following = std::mem::take(&mut run.following).ending(skips_last_bytes);
    Ok(keep_all(run, LOG_TIMEOUT).await)
}

/// Keeps the logs of all containers, as far as they can be read within `timeout`, and the results of those that have
/// ended.
pub async fn keep_all(run: &mut Run, timeout: Duration) -> Event {
    let deadline = Deadline::after(timeout);
    let (containers, exit_code) = match list_containers(run, deadline).await {
        Ok(listed) => listed,
        Err(missing) => {
            let workers = run.known_workers();
            return Event::EvidenceKept {
                logs: 0,
                missing: vec![missing],
                workers,
                exit_code: None,
                lost: Vec::new(),
                results: Vec::new(),
                last_lines: Vec::new(),
            };
        }
    };
    let run = &*run;
    let lost = undetected_losses(run, &containers);
    let ((logs, mut missing), fetched) = tokio::join!(
        keep_logs(run, containers.clone(), timeout),
        results::fetch(run, &containers)
    );
    missing.extend(fetched.missing);
    missing.sort();
    Box::pin(manifest::record_end(run, &containers)).await;
    let last_lines = failed_masters_lines(run, &containers).await;
    Event::EvidenceKept {
        logs,
        missing,
        workers: run.known_workers(),
        exit_code,
        lost,
        results: fetched.results,
        last_lines,
    }
}

/// Workers whose loss was not detected during the test. An engine reports a lost node only after some seconds, and does
/// not list the containers of a group that was removed from outside.
fn undetected_losses(run: &Run, containers: &[Member]) -> Vec<LostWorker> {
    if run.state.started_at.is_none() || run.state.outcome != Some(Outcome::Finished) {
        return Vec::new();
    }
    let of = |replica| {
        let own = Source::new(Role::Worker, replica);
        containers.iter().find(|container| container.source == own)
    };
    let engine = run.shared.engine.name();
    let reason = |container: Option<&Member>| match container {
        None => Some(format!("{engine} no longer lists its container")),
        Some(known) if known.lost && !known.has_ended() => Some("its node was lost".to_owned()),
        Some(_) => None,
    };
    (1..=run.spec.worker.replicas)
        .filter_map(|replica| {
            let reason = reason(of(replica))?;
            Some(LostWorker { replica, reason })
        })
        .collect()
}

/// Returns the number of kept logs, and a message for each missing one.
async fn keep_logs(run: &Run, containers: Vec<Member>, timeout: Duration) -> (u32, Vec<String>) {
    let deadline = Deadline::after(timeout);
    // A truncated log must still be written completely.
    let write_deadline = Deadline::after(timeout + WRITE_TIMEOUT);
    let mut open: Vec<Source> = containers.iter().map(|one| one.source).collect();
    let mut results = stream::iter(containers)
        .map(|one| async move { (one.source, keep(run, &one, deadline).await) })
        .buffer_unordered(MAX_CONCURRENT_LOGS);
    let mut missing = Vec::new();
    let mut logs = 0;
    while !open.is_empty() {
        match tokio::time::timeout(write_deadline.left(), results.next()).await {
            Ok(Some((source, result))) => {
                open.retain(|waiting| *waiting != source);
                logs += u32::from(result.is_ok());
                missing.extend(result.err());
            }
            Ok(None) => break,
            Err(_) => {
                let seconds = deadline.seconds();
                let late =
                    |source| format!("the log of {source} could not be read within {seconds} s");
                missing.extend(open.drain(..).map(late));
            }
        }
    }
    (logs, missing)
}

/// The containers with logs, and the master's exit code, which for a stopped test was not known before. Also updates
/// the status of the workers for the last time. Empty for a run without objects.
async fn list_containers(
    run: &Run,
    deadline: Deadline,
) -> Result<(Vec<Member>, Option<i64>), String> {
    if run.state.subnets_tried == 0 {
        return Ok((Vec::new(), None));
    }
    let engine = &run.shared.engine;
    let list = async || {
        let members = engine.observe(run.facts()).await?;
        run.update_workers(&of_group(&members, run.state.worker.as_deref()));
        let masters = of_group(&members, run.state.master.as_deref());
        let exit_code = status::master_exit(&masters, run.spec.master.replicas).flatten();
        Ok((engine.logged(run.facts()).await?, exit_code))
    };
    retry(LIST_BACKOFF, deadline, list, EngineError::is_temporary)
        .await
        .map_err(|error| format!("no logs could be read: {error}"))
}

async fn keep(run: &Run, container: &Member, deadline: Deadline) -> Result<(), String> {
    let source = container.source;
    let unread = |reason: &str| format!("the log of {source} could not be read: {reason}");
    if container.lost {
        return Err(unread("its node was lost"));
    }
    let (engine, query) = (&run.shared.engine, LogQuery::default());
    let lines = engine.logs(&container.id, container.tty, query).await;
    let lines = lines.map_err(|error| unread(&error.to_string()))?;
    let run_of = (&run.spec.name, run.state.run.as_str());
    let last = |count| last_lines(run, &container.id, container.tty, count);
    let evidence = &run.shared.evidence;
    let kept = evidence.keep_log(run_of, source, lines, Some(&last), deadline.at());
    kept.await
}

/// The last lines of the log of a container.
pub fn last_lines<'a>(
    run: &'a Run,
    id: &'a str,
    tty: bool,
    count: u32,
) -> BoxFuture<'a, Result<LogLines, EngineError>> {
    run.shared.engine.logs(id, tty, LogQuery::tail(count))
}

/// The last lines of a failed master, which usually show the cause. They are stored with the failure.
async fn failed_masters_lines(run: &Run, containers: &[Member]) -> Vec<String> {
    let codes = [FailureCode::MasterExit, FailureCode::MasterFailed];
    let failure = run.state.failure.as_ref();
    if !failure.is_some_and(|failure| codes.contains(&failure.code)) {
        return Vec::new();
    }
    let masters = containers
        .iter()
        .filter(|one| one.source.role == Role::Master);
    let has_failed = |one: &&Member| one.exit_code != Some(0);
    let Some(failed) = masters.clone().find(has_failed).or(masters.clone().next()) else {
        return Vec::new();
    };
    let run_of = (&run.spec.name, run.state.run.as_str());
    let evidence = &run.shared.evidence;
    evidence
        .last_texts(run_of, failed.source, LAST_LINES, LAST_LINE_CHARS)
        .await
}
