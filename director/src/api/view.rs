//! Converts internal types to wire types. Environments and tokens are never converted.

pub mod live;
mod manifest;
pub mod verdict;

pub use manifest::manifest;

use atq_api_spec::bundle::{BundleDetails, BundleFile};
use atq_api_spec::task::{
    Failure, Lease, LogEntry, MetCondition, StartedBy, Step, Task, TaskEvent, TaskStatus,
    WorkerState,
};
use atq_bundle_store::BundleContent;
use atq_engine::{LogLine, LogStream};
use atq_evidence::Source;
use atq_run::{View, limits};
use atq_task::event::{self, Event, Record, WorkerStatus};
use atq_task::spec::TaskName;
use atq_task::state::{self, Outcome, State};
use atq_task::terms::{Key, Terms};
use atq_task::timestamp::Timestamp;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// Maximum delay of an outcome until the evidence is collected.
const EVIDENCE_TIMEOUT: Duration = Duration::from_secs(30);

/// The key in `timings` that is not a step: milliseconds between the starts of the first and the last worker.
const START_SKEW: &str = "startSkew";

/// Converts a task.
pub fn task(view: &View) -> Task {
    let (spec, state) = (&view.spec, &view.state);
    Task {
        status: status(view),
        timeout_ms: state.terms.timeout_ms,
        deadline_at: limits::deadline(state).map(|at| at.to_string()),
        lease: lease(view),
        step: step(state.step),
        error: state
            .failure
            .as_ref()
            .map(|failure| failure.message.clone()),
        failure: state
            .failure
            .as_ref()
            .map(|failed| failure(failed, &spec.name, &state.last_lines)),
        timings: timings(state, view.now),
        workers: view.workers.iter().map(worker).collect(),
        queue_position: view.queue_position,
        created_at: state.created_at.to_string(),
        created_by: state.terms.created_by.clone(),
        stopped_by: state.stopped_by.clone(),
        stopped_when: state.stopped_when.as_ref().map(|met| MetCondition {
            condition: met.condition.clone(),
            seen: met.seen.clone(),
        }),
        started_at: state.started_at.map(|at| at.to_string()),
        finished_at: state.finished_at.map(|at| at.to_string()),
        exit_code: state.exit_code,
        requests_per_second: state
            .milli_requests_per_second
            .map(|milli| milli as f64 / 1000.0),
        verdict: state
            .judgement
            .as_ref()
            .map(|given| verdict::verdict(given.verdict)),
        judgement: state.judgement.as_ref().map(verdict::judgement),
        leftovers: state.leftovers.clone(),
        ..spec.shown(state.master.as_deref(), state.worker.as_deref())
    }
}

/// The status, as defined in 2018. An outcome is shown once the evidence is collected, so that logs are complete, but
/// not later than half a minute after it was determined.
pub fn status(view: &View) -> TaskStatus {
    status_of(&view.state, view.now)
}

/// The status of a task in this state.
pub fn status_of(state: &State, now: Timestamp) -> TaskStatus {
    let is_kept = state.step >= state::Step::Report;
    let is_old = state
        .finished_at
        .is_some_and(|at| now.since(at) >= EVIDENCE_TIMEOUT);
    match state.outcome.filter(|_| is_kept || is_old) {
        Some(Outcome::Finished) => TaskStatus::Finished,
        Some(Outcome::Errored) => TaskStatus::Errored,
        Some(Outcome::Stopped) => TaskStatus::Stopped,
        None if state.started_at.is_some() => TaskStatus::Started,
        None => TaskStatus::Initializing,
    }
}

/// Whether the invocation with this key started the run.
pub fn started_by(view: &View, key: &Key) -> StartedBy {
    match view.state.terms.key.as_ref() == Some(key) {
        true => StartedBy::This,
        false => StartedBy::Other,
    }
}

/// The lease of a run, if it has one.
pub fn lease(view: &View) -> Option<Lease> {
    Some(Lease {
        duration_ms: view.state.terms.lease_ms?,
        expires_at: view.lease_expires.map(|at| at.to_string()),
    })
}

fn failure(failure: &event::Failure, task: &TaskName, last_lines: &[String]) -> Failure {
    let code = serde_json::to_value(failure.code).unwrap_or_default();
    Failure {
        step: step(failure.step),
        code: code.as_str().unwrap_or_default().to_owned(),
        message: failure.message.clone(),
        // Hints of some failures are recorded without the name, for example after an exit of the master.
        hint: failure.hint.replace(event::TASK_ID, task.as_str()),
        last_lines: last_lines.to_vec(),
    }
}

/// Durations of the completed steps and of the current one so far, and the start skew of the workers.
fn timings(state: &State, now: Timestamp) -> BTreeMap<String, u64> {
    let completed = state
        .timings
        .iter()
        .map(|(step, millis)| (step.as_str().to_owned(), *millis));
    let so_far = now.since(state.step_started_at).as_millis();
    let current = (
        state.step.as_str().to_owned(),
        u64::try_from(so_far).unwrap_or(u64::MAX),
    );
    let skew = state
        .start_skew
        .map(|millis| (START_SKEW.to_owned(), millis));
    completed
        .chain((!state.is_done()).then_some(current))
        .chain(skew)
        .collect()
}

fn worker(status: &WorkerStatus) -> WorkerState {
    WorkerState {
        replica: status.replica,
        node: status.node.clone(),
        address: status.address.map(|address| address.to_string()),
        state: status.state.clone(),
        exit_code: status.exit_code,
        error: status.error.clone(),
    }
}

fn step(step: state::Step) -> Step {
    match step {
        state::Step::Queued => Step::Queued,
        state::Step::Delivery => Step::Delivery,
        state::Step::Network => Step::Network,
        state::Step::Discovery => Step::Discovery,
        state::Step::Workers => Step::Workers,
        state::Step::Resolve => Step::Resolve,
        state::Step::Readiness => Step::Readiness,
        state::Step::WaitCommand => Step::WaitCommand,
        state::Step::Delay => Step::Delay,
        state::Step::Master => Step::Master,
        state::Step::Running => Step::Running,
        state::Step::Collect => Step::Collect,
        state::Step::Report => Step::Report,
        state::Step::Cleanup => Step::Cleanup,
        state::Step::Done => Step::Done,
    }
}

/// Converts a history.
pub fn events(history: &[Record]) -> Vec<TaskEvent> {
    let mut converter = EventConverter::default();
    history
        .iter()
        .map(|record| converter.convert(record))
        .collect()
}

/// Converts the events of a history one by one, from the first. Keeps track of the step, which events do not contain.
#[derive(Default)]
pub struct EventConverter {
    step: state::Step,
}

impl EventConverter {
    /// Converts the next event.
    pub fn convert(&mut self, record: &Record) -> TaskEvent {
        if let Event::StepStarted { step } = &record.event {
            self.step = *step;
        }
        let (event, data) = name_and_data(record);
        TaskEvent {
            id: record.seq,
            at: record.at.to_string(),
            event,
            step: step(self.step),
            data,
        }
    }
}

/// Name and details of an event, without the token of the sidecar.
fn name_and_data(record: &Record) -> (String, Value) {
    let event = &record.event;
    let mut stored = serde_json::to_value(event).unwrap_or_default();
    let name = stored["event"].as_str().unwrap_or_default().to_owned();
    let data = match event {
        Event::Queued {
            run,
            token: _,
            terms,
        } => queued(run, terms),
        Event::DelayStarted { until } => json!({ "until": until.to_string() }),
        Event::Stopped => match &record.by {
            Some(by) => json!({ "stoppedBy": by }),
            None => json!({}),
        },
        _ => stored["data"].take(),
    };
    (name, if data.is_null() { json!({}) } else { data })
}

/// The client's key is omitted: it authorizes stopping the run.
fn queued(run: &str, terms: &Terms) -> Value {
    let mut data = json!({ "run": run });
    let limits = [("timeoutMs", terms.timeout_ms), ("leaseMs", terms.lease_ms)];
    for (name, millis) in limits {
        if let Some(millis) = millis {
            data[name] = json!(millis);
        }
    }
    if let Some(by) = &terms.created_by {
        data["createdBy"] = json!(by);
    }
    data
}

/// Converts a bundle.
pub fn bundle(content: BundleContent) -> BundleDetails {
    let info = content.info;
    BundleDetails {
        id: info.id.to_string(),
        file_name: info.file_name,
        bytes: info.zip_bytes,
        unpacked_bytes: info.unpacked_bytes,
        created_at: Timestamp::from(info.created).to_string(),
        files: content
            .entries
            .into_iter()
            .map(|entry| BundleFile {
                path: entry.path,
                bytes: entry.size,
            })
            .collect(),
    }
}

/// Converts a log line to JSON.
pub fn log_entry(source: Source, line: LogLine) -> LogEntry {
    let stream = match line.stream {
        LogStream::Stdout => "stdout",
        LogStream::Stderr => "stderr",
    };
    LogEntry {
        at: line.at,
        service: source.role.as_str().to_owned(),
        replica: source.replica,
        stream: stream.to_owned(),
        text: line.text,
    }
}

/// Formats a log line as text: `<time> worker.2 <text>`.
pub fn log_text(source: Source, line: &LogLine) -> String {
    let at = if line.at.is_empty() { "-" } else { &line.at };
    format!("{at} {source} {}\n", line.text)
}

#[cfg(test)]
mod tests;
