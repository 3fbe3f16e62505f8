//! Evidence: the logs of all containers and the last words of the engine about them, before anything is
//! removed. What cannot be kept is named; it never holds up the end.

use super::{judge, of_group, results, wind_down};
use crate::run::Run;
use crate::wait::{Deadline, StepResult};
use atq_engine::{Course, EngineError, LogLines, LogQuery, Member, Role, Source};
use atq_patience::{Pauses, retry};
use atq_task::event::{Event, FailureCode};
use atq_task::state::{LostWorker, Outcome};
use futures_util::future::BoxFuture;
use futures_util::{StreamExt, stream};
use std::time::Duration;

/// How long logs are read.
const PATIENCE: Duration = Duration::from_secs(60);
/// How much longer the disk may take.
const TO_THE_DISK: Duration = Duration::from_secs(10);
/// Before the engine is asked again for what there is.
const TROUBLE: Pauses = Pauses {
    first: Duration::from_millis(500),
    longest: Duration::from_millis(500),
};
/// How many lines of a failed master stand with the failure.
const LAST_LINES: usize = 10;
/// How much of each.
const LAST_LINE_CHARS: usize = 500;
/// How many logs are read at once.
const AT_ONCE: usize = 8;

/// Keeps the logs and says what was kept. A test that still runs is told to end first, so that what
/// its tools write then is kept too.
///
/// # Errors
/// When grace periods are to be skipped from now on: the step is to be begun again.
pub async fn collect(run: &mut Run) -> StepResult {
    run.keep_load().await;
    wind_down::end_test(run).await?;
    Ok(keep_all(run, PATIENCE).await)
}

/// Keeps the logs of all containers there are, or what of them can be read within `patience`, and
/// what those that have ended left as results.
pub async fn keep_all(run: &mut Run, patience: Duration) -> Event {
    let deadline = Deadline::after(patience);
    let (wanted, exit_code) = match wanted(run, deadline).await {
        Ok(wanted) => wanted,
        Err(missing) => {
            let workers = run.last_seen_workers();
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
    let lost = found_lost(run, &wanted);
    let ((logs, mut missing), fetched) = tokio::join!(
        keep_logs(run, wanted.clone(), patience),
        results::fetch(run, &wanted)
    );
    missing.extend(fetched.missing);
    missing.sort();
    let last_lines = failed_masters_lines(run, &wanted).await;
    Event::EvidenceKept {
        logs,
        missing,
        workers: run.last_seen_workers(),
        exit_code,
        lost,
        results: fetched.results,
        last_lines,
    }
}

/// Workers that a test which has begun lost without anybody seeing it: an engine reports a lost node only after
/// some seconds, and forgets the tasks of a service that somebody removes.
fn found_lost(run: &Run, wanted: &[Member]) -> Vec<LostWorker> {
    if run.state.started_at.is_none() || run.state.outcome != Some(Outcome::Finished) {
        return Vec::new();
    }
    let of = |replica| {
        let own = Source {
            role: Role::Worker,
            replica,
        };
        wanted.iter().find(|container| container.source == own)
    };
    let engine = run.shared.engine.name();
    let reason = |container: Option<&Member>| match container {
        None => Some(format!("{engine} does not list its container any more")),
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

/// The number of logs that were kept, and what could not be.
async fn keep_logs(run: &Run, wanted: Vec<Member>, patience: Duration) -> (u32, Vec<String>) {
    let deadline = Deadline::after(patience);
    // A log that is cut off must still be written to its end.
    let bound = Deadline::after(patience + TO_THE_DISK);
    let mut open: Vec<Source> = wanted.iter().map(|wanted| wanted.source).collect();
    let mut results = stream::iter(wanted)
        .map(|wanted| keep(run, wanted, deadline))
        .buffer_unordered(AT_ONCE);
    let mut missing = Vec::new();
    let mut logs = 0;
    while !open.is_empty() {
        match tokio::time::timeout(bound.left(), results.next()).await {
            Ok(Some((source, result))) => {
                open.retain(|waiting| *waiting != source);
                logs += u32::from(result.is_ok());
                missing.extend(result.err());
            }
            Ok(None) => break,
            Err(_) => {
                let late = |source| {
                    format!(
                        "the log of {source} could not be read within {} s",
                        deadline.seconds()
                    )
                };
                missing.extend(open.drain(..).map(late));
            }
        }
    }
    (logs, missing)
}

/// A run that never got as far as a service has nothing to keep. On the way the workers are looked at
/// for the last time, and the master's exit code is noted: a test that was ended has one only now.
async fn wanted(run: &Run, deadline: Deadline) -> Result<(Vec<Member>, Option<i64>), String> {
    if run.state.subnets_tried == 0 {
        return Ok((Vec::new(), None));
    }
    let engine = &run.shared.engine;
    let look = async || {
        let members = engine.observe(run.facts()).await?;
        run.saw_workers(&of_group(&members, run.state.worker.as_deref()));
        let masters = of_group(&members, run.state.master.as_deref());
        let exit_code = judge::end(&masters, run.spec.master.replicas).flatten();
        Ok((engine.logged(run.facts()).await?, exit_code))
    };
    retry(TROUBLE, deadline, look, EngineError::is_temporary)
        .await
        .map_err(|error| format!("no log could be read: {error}"))
}

async fn keep(run: &Run, wanted: Member, deadline: Deadline) -> (Source, Result<(), String>) {
    let source = wanted.source;
    if wanted.lost {
        let problem = format!("the log of {source} could not be read: its node was lost");
        return (source, Err(problem));
    }
    let (engine, query) = (&run.shared.engine, LogQuery::default());
    let lines = match engine.logs(&wanted.id, wanted.tty, query).await {
        Ok(lines) => lines,
        Err(error) => {
            return (
                source,
                Err(format!("the log of {source} could not be read: {error}")),
            );
        }
    };
    let run_of = (&run.spec.name, run.state.run.as_str());
    let last = |count| last_lines(run, &wanted.id, wanted.tty, count);
    let evidence = &run.shared.evidence;
    let kept = evidence.keep_log(run_of, source, lines, Some(&last), deadline.at());
    (source, kept.await)
}

/// The end of the log of a container.
pub fn last_lines<'a>(
    run: &'a Run,
    id: &'a str,
    tty: bool,
    count: u32,
) -> BoxFuture<'a, Result<LogLines, EngineError>> {
    let query = LogQuery {
        tail: Some(count),
        ..LogQuery::default()
    };
    run.shared.engine.logs(id, tty, query)
}

/// The last lines of a master that failed: they say why, and stand with the failure.
async fn failed_masters_lines(run: &Run, wanted: &[Member]) -> Vec<String> {
    let code = run.state.failure.as_ref().map(|failure| failure.code);
    if !matches!(
        code,
        Some(FailureCode::MasterExit | FailureCode::MasterFailed)
    ) {
        return Vec::new();
    }
    let masters = wanted.iter().filter(|one| one.source.role == Role::Master);
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
