//! Whether every worker answers: a connection, an HTTP status, or a command that succeeds. What runs
//! is not yet what is ready: a JVM that has just started listens only seconds later.

use super::command::{self, Ended, shown};
use super::delay::{check_workers, still_those_that_were_ready};
use super::{engine_of, start};
use crate::run::Run;
use crate::wait::{Deadline, StepError, StepResult};
use atq_engine::{Course, Lookout, Part, Probed, Role, Source};
use atq_task::event::{Event, FailureCode};
use atq_task::spec::{ReadinessProbe, ReadinessSpec};
use std::net::Ipv4Addr;
use std::time::Duration;

/// Longest single question.
const LONG_POLL: Duration = Duration::from_secs(5);
/// Shortest one: a try takes up to 2 s. Whoever is asked for no time tries nothing, and says no.
const ONE_TRY: Duration = Duration::from_secs(2);
/// Time between two looks at the workers.
const LOOK: Duration = Duration::from_millis(500);
const PAUSE: Duration = Duration::from_millis(100);
/// How many workers a message names one by one.
const NAMED: usize = 3;

/// Why a worker is not ready.
struct NotReady {
    address: Ipv4Addr,
    reason: String,
}

/// Waits until every worker answers.
pub async fn readiness(run: &mut Run) -> StepResult {
    let Some(spec) = run.spec.readiness.clone() else {
        return Ok(Event::WorkersProbed);
    };
    match &spec.probe {
        ReadinessProbe::Tcp(_) | ReadinessProbe::Http { .. } => ask_all(run, &spec).await,
        ReadinessProbe::Exec(command) => run_command(run, &spec, command).await,
    }
}

/// What is left of the time that the definition gives, also after a restart.
fn deadline(run: &Run, length: Duration) -> Deadline {
    let spent = run.shared.clock.now().since(run.state.step_started_at);
    Deadline::after(length.saturating_sub(spent))
}

async fn ask_all(run: &mut Run, spec: &ReadinessSpec) -> StepResult {
    let deadline = deadline(run, Duration::from_secs(spec.timeout));
    let mut waiting = run.state.addresses.clone();
    let mut seen = Err("nobody has been asked yet".to_owned());
    let mut lookout = engine_of(run).lookout();
    loop {
        match ask(run, &waiting, &spec.probe, &mut *lookout, deadline).await? {
            Ok(not_ready) if not_ready.is_empty() => return Ok(Event::WorkersProbed),
            // One that was ready once is not asked again.
            Ok(not_ready) => {
                waiting = not_ready.iter().map(|worker| worker.address).collect();
                seen = Ok(not_ready);
            }
            Err(error) => seen = seen.or(Err(error)),
        }
        if deadline.passed() {
            return Err(match seen {
                Ok(late) => not_ready(run, spec, &late),
                Err(silence) => not_asked(run, &*lookout, &silence),
            });
        }
        run.pause(PAUSE).await?;
    }
}

/// One question to all of them; the inner error is why nobody could ask it, in words.
async fn ask(
    run: &mut Run,
    addresses: &[Ipv4Addr],
    probe: &ReadinessProbe,
    lookout: &mut dyn Lookout,
    deadline: Deadline,
) -> Result<Result<Vec<NotReady>, String>, StepError> {
    let Some(members) = lookout.observe(run, deadline).await? else {
        let silence = format!("{} did not answer", run.shared.engine.name());
        return Ok(Err(silence));
    };
    still_those_that_were_ready(run, &members)?;
    let probes = lookout.probes(run, addresses, probe, (ONE_TRY, LONG_POLL), deadline);
    let ways = match probes.await? {
        Ok(ways) => ways,
        Err(silence) => return Ok(Err(silence)),
    };
    let mut error = String::new();
    for asked in ways {
        match beside_looks(run, asked).await? {
            Ok(answers) => return Ok(Ok(answers.into_iter().filter_map(failed).collect())),
            Err(silence) => error = silence,
        }
    }
    Ok(Err(error))
}

/// Waits for an answer and looks after the workers meanwhile: one that has died never answers.
async fn beside_looks<T>(run: &mut Run, asked: impl Future<Output = T>) -> Result<T, StepError> {
    tokio::pin!(asked);
    loop {
        tokio::select! {
            answer = &mut asked => return Ok(answer),
            paused = run.pause(LOOK) => paused?,
        }
        check_workers(run).await?;
    }
}

fn failed(probed: Probed) -> Option<NotReady> {
    Some(NotReady {
        address: probed.address,
        reason: probed.reason?,
    })
}

/// The command runs in a container of its own, which asks for all workers at once.
async fn run_command(run: &mut Run, spec: &ReadinessSpec, command: &str) -> StepResult {
    let length = Duration::from_secs(spec.timeout) + run.patience(1);
    let deadline = deadline(run, length);
    let seconds = spec.timeout;
    let group = start(run, Part::Readiness { command, seconds }, deadline).await?;
    let (member, in_time) = match command::until_end(run, &group, deadline).await? {
        Ended::Yes(member) => (Some(member), true),
        Ended::NotYet { member, .. } => (member, false),
    };
    let Some(member) = member else {
        return Err(not_started(run, "its container was not started"));
    };
    let source = Source {
        role: Role::Readiness,
        replica: 1,
    };
    let output = command::keep_log(run, &member, source).await;
    if in_time && member.exit_code == Some(0) {
        // Clean-up removes it otherwise.
        let _ = run.shared.engine.dismiss(&group).await;
        return Ok(Event::WorkersProbed);
    }
    if member.container.is_none() {
        return Err(not_started(run, &member.reason));
    }
    let late = unready_of(&output.text, &run.state.addresses, in_time);
    Err(not_ready(run, spec, &late))
}

/// What the output of the command's container says about the workers: `ready ADDRESS`, or
/// `not-ready ADDRESS CODE LAST-LINE`.
fn unready_of(output: &str, workers: &[Ipv4Addr], in_time: bool) -> Vec<NotReady> {
    let word = |line: &str, at: usize| line.split(' ').nth(at).map(str::to_owned);
    let silent = match in_time {
        true => "the command gave no answer; does the image have `sh`, `date` and `sleep`?",
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
                    let said = line.splitn(4, ' ').nth(3).unwrap_or_default();
                    format!("the command exited {code} and printed `{}`", shown(said))
                }
                _ => silent.to_owned(),
            };
            Some(NotReady {
                address: *address,
                reason,
            })
        })
        .collect()
}

fn not_ready(run: &Run, spec: &ReadinessSpec, late: &[NotReady]) -> StepError {
    let all = run.spec.worker.replicas as usize;
    let mut parts = vec![format!(
        "{} of {all} workers answered {} within {} s",
        all.saturating_sub(late.len()),
        question(&spec.probe),
        spec.timeout
    )];
    parts.extend(late.iter().take(NAMED).map(|worker| named(run, worker)));
    if late.len() > NAMED {
        parts.push(format!("and {} more", late.len() - NAMED));
    }
    run.failed(
        FailureCode::WorkersNotReady,
        parts.join("; "),
        hint(&spec.probe),
    )
}

fn hint(probe: &ReadinessProbe) -> &'static str {
    match probe {
        ReadinessProbe::Exec(_) => {
            "GET /task/{id}/logs?service=readiness shows how each try of the command ended, \
             service=worker what the workers wrote; the command runs in the worker's image"
        }
        _ => {
            "`readiness` says what is asked and for how long; \
             GET /task/{id}/logs?service=worker shows what the workers wrote"
        }
    }
}

fn not_asked(run: &Run, lookout: &dyn Lookout, silence: &str) -> StepError {
    let message = format!(
        "{} could not be asked whether the workers are ready: {silence}",
        lookout.noun()
    );
    lookout.failed(run.facts(), message, "")
}

fn not_started(run: &Run, why: &str) -> StepError {
    let message = format!("the readiness command was not run: {why}");
    run.failed(
        FailureCode::WorkersNotReady,
        message,
        "it runs in the worker's image",
    )
}

fn question(probe: &ReadinessProbe) -> String {
    match probe {
        ReadinessProbe::Tcp(port) => format!("on TCP port {port}"),
        ReadinessProbe::Http { port, path, status } => {
            format!("`http://ADDRESS:{port}{path}` with {status}")
        }
        ReadinessProbe::Exec(_) => "the readiness command with success".to_owned(),
    }
}

fn named(run: &Run, worker: &NotReady) -> String {
    let replica = run
        .last_seen_workers()
        .into_iter()
        .find(|seen| seen.address == Some(worker.address))
        .map_or_else(|| "?".to_owned(), |seen| seen.replica.to_string());
    format!("replica {replica} ({}): {}", worker.address, worker.reason)
}
