//! The step `readiness`: waits until every worker passes its probe: a connection, an HTTP status, or a command. A
//! running worker is not necessarily ready: a JVM accepts connections only seconds after its start.

use super::command::{self, CommandEnd, excerpt};
use super::delay::{check_same_workers, check_workers};
use super::status::shortened;
use super::{engine_of, step_deadline};
use crate::interruption::{Deadline, StepError, StepResult};
use crate::run::Run;
use atq_engine::{Part, Probed, Resolver, Role, RunContext, Source};
use atq_task::event::{Event, FailureCode};
use atq_task::spec::{ReadinessProbe, ReadinessSpec};
use std::net::Ipv4Addr;
use std::time::Duration;

/// Maximum duration of a single probe request.
const MAX_PROBE_TIME: Duration = Duration::from_secs(5);
/// Minimum duration of a single probe request: one attempt takes up to 2 s.
const MIN_PROBE_TIME: Duration = Duration::from_secs(2);
const WORKER_CHECK_INTERVAL: Duration = Duration::from_millis(500);
const RETRY_INTERVAL: Duration = Duration::from_millis(100);

/// Waits until every worker passes the probe.
pub async fn readiness(run: &mut Run) -> StepResult {
    let Some(spec) = run.spec.readiness.clone() else {
        return Ok(Event::WorkersProbed);
    };
    match &spec.probe {
        ReadinessProbe::Tcp(_) | ReadinessProbe::Http { .. } => probe_all(run, &spec).await,
        ReadinessProbe::Exec(command) => run_command(run, &spec, command).await,
    }
}

async fn probe_all(run: &mut Run, spec: &ReadinessSpec) -> StepResult {
    let deadline = step_deadline(run, Duration::from_secs(spec.timeout));
    let mut waiting = run.state.addresses.clone();
    let mut result = Err("no probe was sent".to_owned());
    let mut resolver = engine_of(run).resolver();
    loop {
        match probe_once(run, &waiting, &spec.probe, &mut *resolver, deadline).await? {
            Ok(not_ready) if not_ready.is_empty() => return Ok(Event::WorkersProbed),
            // A worker that was ready once is not probed again.
            Ok(not_ready) => {
                waiting = not_ready.iter().map(|worker| worker.address).collect();
                result = Ok(not_ready);
            }
            Err(error) => result = result.or(Err(error)),
        }
        if deadline.passed() {
            return Err(match result {
                Ok(late) => not_ready(run, spec, &late),
                Err(reason) => not_probed(run, &*resolver, &reason),
            });
        }
        run.pause(RETRY_INTERVAL).await?;
    }
}

/// Probes all workers once and returns those that are not ready; the inner error describes why the probe could not be sent.
async fn probe_once(
    run: &mut Run,
    addresses: &[Ipv4Addr],
    probe: &ReadinessProbe,
    resolver: &mut dyn Resolver,
    deadline: Deadline,
) -> Result<Result<Vec<Probed>, String>, StepError> {
    let Some(members) = resolver.observe(run, deadline).await? else {
        let reason = format!("{} did not respond", run.shared.engine.name());
        return Ok(Err(reason));
    };
    check_same_workers(run, &members)?;
    let bounds = (MIN_PROBE_TIME, MAX_PROBE_TIME);
    let probes = resolver.probes(run, addresses, probe, bounds, deadline);
    let requests = match probes.await? {
        Ok(requests) => requests,
        Err(reason) => return Ok(Err(reason)),
    };
    let mut error = String::new();
    for request in requests {
        match while_checking_workers(run, request).await? {
            Ok(mut answers) => {
                answers.retain(|worker| worker.reason.is_some());
                return Ok(Ok(answers));
            }
            Err(reason) => error = reason,
        }
    }
    Ok(Err(error))
}

/// Waits for a response and checks the workers meanwhile: a worker that has ended never responds.
async fn while_checking_workers<T>(
    run: &mut Run,
    request: impl Future<Output = T>,
) -> Result<T, StepError> {
    tokio::pin!(request);
    loop {
        tokio::select! {
            response = &mut request => return Ok(response),
            paused = run.pause(WORKER_CHECK_INTERVAL) => paused?,
        }
        check_workers(run).await?;
    }
}

/// The command runs in its own container, which checks all workers concurrently.
async fn run_command(run: &mut Run, spec: &ReadinessSpec, command: &str) -> StepResult {
    let length = Duration::from_secs(spec.timeout) + run.orchestration_timeout(1);
    let deadline = step_deadline(run, length);
    let seconds = spec.timeout;
    let part = Part::Readiness { command, seconds };
    let group = engine_of(run).start(run, part, deadline).await?;
    let (member, in_time) = match command::wait_for_end(run, &group, deadline).await? {
        CommandEnd::Exited(member) => (Some(member), true),
        CommandEnd::TimedOut { member, .. } => (member, false),
    };
    let Some(member) = member else {
        return Err(not_started(run, "its container was not started"));
    };
    let source = Source::new(Role::Readiness, 1);
    let output = command::keep_log(run, &member, source).await;
    if in_time && member.exit_code == Some(0) {
        // If this fails, clean-up removes it.
        let _ = run.shared.engine.dismiss(&group).await;
        return Ok(Event::WorkersProbed);
    }
    if member.container.is_none() {
        return Err(not_started(run, &member.reason));
    }
    let late = unready_workers(&output.stdout, &run.state.addresses, in_time);
    Err(not_ready(run, spec, &late))
}

/// Parses the output of the command's container: `ready ADDRESS`, or `not-ready ADDRESS CODE LAST-LINE`.
fn unready_workers(output: &str, workers: &[Ipv4Addr], in_time: bool) -> Vec<Probed> {
    let word = |line: &str, at: usize| line.split(' ').nth(at).map(str::to_owned);
    let missing = match in_time {
        true => "the command returned no result; check that the image has `sh`, `date` and `sleep`",
        false => "the command did not end",
    };
    workers
        .iter()
        .filter_map(|address| {
            let own = |line: &&str| word(line, 1) == Some(address.to_string());
            let line = output.lines().find(own);
            let reason = match line.map(|line| (line.split(' ').next(), line)) {
                Some((Some("ready"), _)) => return None,
                Some((Some("not-ready"), line)) => {
                    let code = word(line, 2).unwrap_or_default();
                    let last_line = line.splitn(4, ' ').nth(3).unwrap_or_default();
                    let printed = excerpt(last_line);
                    format!("the command exited {code} and printed `{printed}`")
                }
                _ => missing.to_owned(),
            };
            Some(Probed {
                address: *address,
                reason: Some(reason),
            })
        })
        .collect()
}

fn not_ready(run: &Run, spec: &ReadinessSpec, late: &[Probed]) -> StepError {
    let all = run.spec.worker.replicas as usize;
    let mut parts = vec![format!(
        "{} of {all} workers answered {} within {} s",
        all.saturating_sub(late.len()),
        probe_name(&spec.probe),
        spec.timeout
    )];
    parts.extend(shortened(late.iter().map(|worker| describe(run, worker))));
    let (message, hint) = (parts.join("; "), hint(&spec.probe));
    run.failed(FailureCode::WorkersNotReady, &message, hint)
}

fn hint(probe: &ReadinessProbe) -> &'static str {
    match probe {
        ReadinessProbe::Exec(_) => {
            "GET /task/{id}/logs?service=readiness shows the result of each attempt of the command, \
             service=worker the output of the workers; the command runs in the worker's image"
        }
        _ => {
            "`readiness` sets the probe and its timeout; \
             GET /task/{id}/logs?service=worker shows the output of the workers"
        }
    }
}

fn not_probed(run: &Run, resolver: &dyn Resolver, reason: &str) -> StepError {
    let message = format!("{} could not probe the workers: {reason}", resolver.noun());
    resolver.failed(run.facts(), message, "")
}

fn not_started(run: &Run, reason: &str) -> StepError {
    let message = format!("the readiness command was not run: {reason}");
    let hint = "it runs in the worker's image";
    run.failed(FailureCode::WorkersNotReady, &message, hint)
}

fn probe_name(probe: &ReadinessProbe) -> String {
    match probe {
        ReadinessProbe::Tcp(port) => format!("on TCP port {port}"),
        ReadinessProbe::Http { port, path, status } => {
            format!("`http://ADDRESS:{port}{path}` with {status}")
        }
        ReadinessProbe::Exec(_) => "the readiness command with success".to_owned(),
    }
}

fn describe(run: &Run, worker: &Probed) -> String {
    let mut known = run.known_workers().into_iter();
    let replica = known
        .find(|known| known.address == Some(worker.address))
        .map_or_else(|| "?".to_owned(), |known| known.replica.to_string());
    let reason = worker.reason.as_deref().unwrap_or_default();
    format!("replica {replica} ({}): {reason}", worker.address)
}
