//! The state machine of a run. [`next`] folds events into a state, [`decide`] derives the next action from a
//! state. Both are pure and total. The live run and the replay after a crash use the same `next`, so a resumed
//! run depends on nothing but its history.

use super::event::{Event, Failure, Record};
use super::exit_code;
use super::spec::TaskSpec;
use super::state::{Desired, LostWorker, MetCondition, Outcome, State, Step};
use thiserror::Error;

/// Number of clean-up attempts before the run ends with leftovers, whose removal is then retried in the
/// background. With the pauses between the attempts this takes about ten minutes.
pub const MAX_CLEANUPS: u32 = 14;

/// An event that is not allowed in the current state.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("event {seq} (`{event:?}`) cannot follow in step `{}`", .step.as_str())]
pub struct IllegalEvent {
    /// Number of the event.
    pub seq: u64,
    /// The current step.
    pub step: Step,
    /// The event.
    pub event: Box<Event>,
}

/// An invalid history.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BadHistory {
    /// There is no event.
    #[error("the history is empty")]
    Empty,
    /// The first event is not `queued`.
    #[error("the history does not begin with `queued`")]
    NoBeginning,
    /// An event is not allowed in its state.
    #[error(transparent)]
    Illegal(#[from] IllegalEvent),
}

/// The next action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Record this event; no other work is needed.
    Record(Event),
    /// Do the work of the current step.
    Perform(Step),
    /// The run is complete.
    Rest,
}

/// Folds a history into its state.
///
/// # Errors
/// When the history is empty or an event is not allowed.
pub fn fold(history: &[Record]) -> Result<State, BadHistory> {
    let (first, rest) = history.split_first().ok_or(BadHistory::Empty)?;
    let mut state = begin(first)?;
    for record in rest {
        state = next(state, record)?;
    }
    Ok(state)
}

/// The state after the first record of a history.
///
/// # Errors
/// When it is not `queued`.
pub fn begin(first: &Record) -> Result<State, BadHistory> {
    match &first.event {
        Event::Queued { run, token, terms } => Ok(State {
            seq: first.seq,
            step_started_at: first.at,
            created_at: first.at,
            run: run.clone(),
            token: token.clone(),
            terms: terms.clone(),
            ..State::default()
        }),
        _ => Err(BadHistory::NoBeginning),
    }
}

/// The state after `record`. In `done` only a late clean-up is legal; it does not leave `done`.
///
/// # Errors
/// When the event is not allowed in `state`.
pub fn next(state: State, record: &Record) -> Result<State, IllegalEvent> {
    let illegal = IllegalEvent {
        seq: record.seq,
        step: state.step,
        event: Box::new(record.event.clone()),
    };
    let in_order = record.seq == state.seq + 1;
    let mut after = match in_order && allowed(&state, &record.event) {
        true => state,
        false => return Err(illegal),
    };
    after.seq = record.seq;
    apply(&mut after, record);
    Ok(after)
}

/// Whether `event` is allowed in `state`.
fn allowed(state: &State, event: &Event) -> bool {
    let open = state.outcome.is_none() && !state.step_done;
    let during = |step: Step| state.step == step && open;
    match event {
        Event::Queued { .. } => false,
        Event::StepStarted { step } => may_enter(state, *step),
        Event::BundlesDelivered { .. } => during(Step::Delivery),
        // The sidecar's step chooses another subnet when the first one is unusable.
        Event::SubnetChosen { .. } | Event::NetworkCreated { .. } => {
            during(Step::Network) || during(Step::Discovery)
        }
        // In later steps, a sidecar that Docker no longer reports is replaced.
        Event::DiscoveryPlaced { .. } => {
            during(Step::Discovery) || during(Step::Resolve) || during(Step::Readiness)
        }
        Event::WorkersCreated { .. } => during(Step::Workers),
        Event::WorkersReady { .. } => during(Step::Resolve),
        Event::WorkersProbed => during(Step::Readiness),
        Event::WaitTried { .. } => during(Step::WaitCommand),
        Event::DelayStarted { .. } | Event::DelayEnded => during(Step::Delay),
        Event::MasterCreated { .. } | Event::MasterStarted => during(Step::Master),
        Event::WorkerLost { .. } | Event::MasterEnded { .. } | Event::StopConditionMet { .. } => {
            during(Step::Running)
        }
        Event::Failed { .. } | Event::Stopped => {
            state.step < Step::Collect && state.outcome.is_none()
        }
        Event::Forced => state.step < Step::Done && !state.forced,
        // A second event follows for the final logs of containers that still ran when the outcome was fixed. It occurs
        // in `cleanup` only in histories of versions without the step `report`.
        Event::EvidenceKept { .. } => {
            matches!(state.step, Step::Collect | Step::Report | Step::Cleanup) && !state.step_done
        }
        Event::Reported { .. } => state.step == Step::Report && !state.step_done,
        Event::CleanUpTried { .. } => {
            state.step == Step::Done || (state.step == Step::Cleanup && !state.step_done)
        }
    }
}

/// Whether `step` may begin. Steps only move forward. A run enters `collect` exactly when its outcome is fixed.
fn may_enter(state: &State, step: Step) -> bool {
    if step <= state.step || state.step == Step::Done {
        return false;
    }
    match state.outcome {
        Some(_) if state.step < Step::Collect => step == Step::Collect,
        Some(_) => state.step_done,
        None => {
            state.step_done && step < Step::Collect
                || state.step == Step::Queued && matches!(step, Step::Delivery | Step::Network)
        }
    }
}

fn apply(state: &mut State, record: &Record) {
    let at = record.at;
    match record.event.clone() {
        Event::Queued { .. } => {}
        Event::StepStarted { step } => {
            let spent = at.since(state.step_started_at).as_millis();
            state
                .timings
                .insert(state.step, u64::try_from(spent).unwrap_or(u64::MAX));
            state.step = step;
            state.step_done = step == Step::Done;
            state.step_started_at = at;
            state.delivery_started |= step == Step::Delivery;
        }
        Event::BundlesDelivered { nodes } => {
            state.delivered = nodes;
            state.step_done = true;
        }
        Event::Reported {
            judgement,
            milli_requests_per_second,
            ..
        } => {
            state.judgement = Some(judgement);
            state.milli_requests_per_second = milli_requests_per_second;
            state.step_done = true;
        }
        Event::SubnetChosen { subnet } => {
            state.subnet = Some(subnet);
            state.subnets_tried += 1;
            state.network = None;
        }
        Event::NetworkCreated { id } => {
            state.network = Some(id);
            state.step_done = state.step == Step::Network;
        }
        Event::DiscoveryPlaced { service } => {
            state.discovery = Some(service);
            state.step_done = state.step == Step::Discovery;
        }
        Event::WorkersCreated { service } => {
            state.worker = Some(service);
            state.step_done = true;
        }
        Event::WorkersReady {
            addresses,
            start_skew,
        } => {
            state.addresses = addresses;
            state.start_skew = start_skew;
            state.step_done = true;
        }
        Event::WorkersProbed | Event::DelayEnded => state.step_done = true,
        Event::WaitTried {
            attempt,
            succeeded,
            seen,
            ..
        } => {
            state.wait_seen = seen;
            state.wait_attempts = attempt;
            state.step_done = succeeded;
        }
        Event::DelayStarted { until } => state.delay_until = Some(until),
        Event::MasterCreated { service } => state.master = Some(service),
        Event::MasterStarted => {
            state.started_at = Some(at);
            state.step_done = true;
        }
        Event::WorkerLost { replica, reason } => state.lost.push(LostWorker { replica, reason }),
        Event::MasterEnded {
            exit_code,
            memory_limit,
        } => {
            state.exit_code = exit_code;
            if exit_code == Some(0) {
                end(state, record, Outcome::Finished);
            } else {
                state.failure = Some(master_exit(exit_code, memory_limit, &state.lost));
                end(state, record, Outcome::Errored);
            }
        }
        Event::Failed { failure } => {
            state.failure = Some(failure);
            end(state, record, Outcome::Errored);
        }
        Event::Stopped => {
            state.stopped_by = record.by.clone();
            end(state, record, Outcome::Stopped);
        }
        Event::StopConditionMet { condition, seen } => {
            state.stopped_when = Some(MetCondition { condition, seen });
            end(state, record, Outcome::Stopped);
        }
        Event::Forced => state.forced = true,
        Event::EvidenceKept {
            workers,
            exit_code,
            lost,
            logs,
            missing,
            last_lines,
            ..
        } => {
            if !last_lines.is_empty() {
                state.last_lines = last_lines;
            }
            state.evidence_unavailable = logs == 0 && !missing.is_empty();
            state.workers = workers;
            for worker in lost {
                let mut known = state.lost.iter();
                if !known.any(|known| known.replica == worker.replica) {
                    state.lost.push(worker);
                }
            }
            // The exit code of a test that ended by itself is already known.
            state.exit_code = state.exit_code.or(exit_code);
            state.step_done = state.step == Step::Collect;
            state.final_logs_kept = state.step > Step::Collect;
        }
        Event::CleanUpTried { leftovers } => {
            state.cleanups += 1;
            state.step_done = leftovers.is_empty() || state.cleanups >= MAX_CLEANUPS;
            state.leftovers = leftovers;
        }
    }
}

fn end(state: &mut State, record: &Record, outcome: Outcome) {
    state.outcome = Some(outcome);
    state.finished_at = Some(record.at);
}

fn master_exit(exit_code: Option<i64>, memory_limit: Option<u64>, lost: &[LostWorker]) -> Failure {
    use super::event::FailureCode;
    let mut message = match exit_code {
        Some(code) => {
            let meaning = match (code, memory_limit) {
                (137, Some(limit)) => format!(
                    " (killed: most likely out of memory, its memory limit is {})",
                    exit_code::bytes(limit)
                ),
                _ => exit_code::in_brackets(code),
            };
            format!("the master ended with exit code {code}{meaning}")
        }
        None => "the master ended without an exit code".to_owned(),
    };
    // These texts are also in stored states. They do not change, so that a history still folds to its state.
    let mut log = "its log says more: GET /task/{id}/logs?service=master".to_owned();
    // The master's log then only shows that a worker is unreachable; the worker's log shows the cause.
    if let Some(first) = lost.first() {
        let (count, replica, reason) = (lost.len(), first.replica, &first.reason);
        message += &format!("; {count} workers were lost before; replica {replica}: {reason}");
        log += ", and those of the workers: ?service=worker";
    }
    let hint = match exit_code {
        // The Director stops the master only after the outcome is fixed.
        Some(143) => format!(
            "somebody else ended it: its service was removed, or its node was drained; {log}"
        ),
        Some(127) => format!("{}; {log}", exit_code::NOT_FOUND),
        Some(126) => format!("{}; {log}", exit_code::NOT_EXECUTABLE),
        _ => log,
    };
    Failure {
        step: Step::Running,
        code: FailureCode::MasterExit,
        message,
        hint,
    }
}

/// The next action in `state` for a requested state `desired`. Waiting in the queue is the work of the step
/// `queued`.
pub fn decide(state: &State, spec: &TaskSpec, desired: Desired) -> Action {
    let enter = |step| Action::Record(Event::StepStarted { step });
    if state.step == Step::Done {
        return Action::Rest;
    }
    if desired.is_forced() && !state.forced {
        return Action::Record(Event::Forced);
    }
    if state.outcome.is_none() && desired != Desired::Run {
        return Action::Record(Event::Stopped);
    }
    if state.outcome.is_some() && state.step < Step::Collect {
        return enter(Step::Collect);
    }
    match state.step_done {
        true => enter(following(state.step, spec)),
        false => Action::Perform(state.step),
    }
}

/// The step that follows `step` for the definition `spec`.
pub fn following(step: Step, spec: &TaskSpec) -> Step {
    match step {
        Step::Queued if spec.delivers() => Step::Delivery,
        Step::Queued | Step::Delivery => Step::Network,
        Step::Network => Step::Discovery,
        Step::Discovery => Step::Workers,
        Step::Workers => Step::Resolve,
        Step::Resolve if spec.readiness.is_some() => Step::Readiness,
        Step::Resolve | Step::Readiness if spec.wait.is_some() => Step::WaitCommand,
        Step::Resolve | Step::Readiness | Step::WaitCommand if spec.delay > 0 => Step::Delay,
        Step::Resolve | Step::Readiness | Step::WaitCommand | Step::Delay => Step::Master,
        Step::Master => Step::Running,
        Step::Running => Step::Collect,
        Step::Collect => Step::Report,
        Step::Report => Step::Cleanup,
        Step::Cleanup | Step::Done => Step::Done,
    }
}
