//! A task that must fail, with the expected step, code, message and hint.

use anyhow::{Context, Result, bail, ensure};
use atq_api_spec::task::{Failure, Step, Task, TaskEvents, TaskStatus};
use atq_tests::client::Client;
use atq_tests::failure_watcher::{FailureWatcher, parse_time};
use atq_tests::fixture::{Fixture, RUN_TIMEOUT};
use futures_util::future::join_all;
use serde_json::Value;

/// Configuration of a Director that runs all tasks of a test at once.
pub const AT_ONCE: &str = "maxConcurrentTasks: 32\n";

/// A task that must fail.
pub struct Case {
    task: Value,
    steps: Vec<Step>,
    codes: Vec<&'static str>,
    messages: Vec<String>,
    hints: Vec<String>,
}

impl Case {
    /// `task` must fail in `step` with `code`.
    pub fn new(task: Value, step: Step, code: &'static str) -> Self {
        let (messages, hints) = (Vec::new(), Vec::new());
        Self {
            task,
            steps: vec![step],
            codes: vec![code],
            messages,
            hints,
        }
    }

    /// Also accepts this step, because the order of events varies.
    pub fn or_in(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    /// Also accepts this code, because the order of events varies.
    pub fn or_with(mut self, code: &'static str) -> Self {
        self.codes.push(code);
        self
    }

    /// A substring of the message.
    pub fn message(mut self, part: &str) -> Self {
        self.messages.push(part.to_owned());
        self
    }

    /// A substring of the hint.
    pub fn hint(mut self, part: &str) -> Self {
        self.hints.push(part.to_owned());
        self
    }

    /// Starts the task.
    pub async fn start(&self, client: &Client) -> Result<()> {
        client.start(&self.task).await?;
        Ok(())
    }

    /// Name of the task.
    pub fn name(&self) -> &str {
        self.task["name"].as_str().unwrap()
    }

    /// Waits for the end of the started task and checks its failure.
    pub async fn check(&self, client: &Client, watcher: &FailureWatcher) -> Result<Task> {
        let task = client.done(self.name(), RUN_TIMEOUT).await?;
        let failure = task
            .failure
            .as_ref()
            .with_context(|| format!("{task:#?}"))?;
        println!("{}", line(client, watcher, &task, failure).await?);
        ensure!(task.status == TaskStatus::Errored, "{task:#?}");
        self.compare(failure)
            .with_context(|| format!("{failure:#?}"))?;
        ensure!(
            task.error.as_ref() == Some(&failure.message),
            "`error` is the message"
        );
        ensure!(task.leftovers.is_empty(), "{:?}", task.leftovers);
        let path = format!("/api/task/{}", self.name());
        let status = client.get(&path).await?.status().as_u16();
        let wanted = match task.started_at {
            Some(_) => 200,
            None => 500,
        };
        ensure!(status == wanted, "GET {path}: {status} instead of {wanted}");
        Ok(task)
    }

    fn compare(&self, failure: &Failure) -> Result<()> {
        ensure!(self.codes.contains(&failure.code.as_str()), "code");
        ensure!(self.steps.contains(&failure.step), "step");
        for part in &self.messages {
            ensure!(failure.message.contains(part), "the message lacks `{part}`");
        }
        for part in &self.hints {
            ensure!(failure.hint.contains(part), "the hint lacks `{part}`");
        }
        ensure!(!failure.hint.is_empty(), "no hint");
        Ok(())
    }
}

/// Runs the cases concurrently.
pub async fn run_all(fixture: &Fixture, watcher: &FailureWatcher, cases: &[Case]) -> Result<()> {
    let client = fixture.client();
    let runs = cases.iter().map(|case| {
        let client = client.clone();
        async move {
            case.start(&client).await?;
            case.check(&client, watcher).await
        }
    });
    let mut failures = Vec::new();
    for (case, result) in cases.iter().zip(join_all(runs).await) {
        if let Err(error) = result {
            failures.push(format!("{}: {error:#}", case.name()));
        }
    }
    match failures.is_empty() {
        true => Ok(()),
        false => bail!("{}", failures.join("\n")),
    }
}

/// A line with the reported failure and its delay after Docker's timestamp.
async fn line(
    client: &Client,
    watcher: &FailureWatcher,
    task: &Task,
    failure: &Failure,
) -> Result<String> {
    let history = client
        .get(&format!("/api/task/{}/events", task.id))
        .await?
        .json::<TaskEvents>()
        .await?;
    let reported = history
        .events
        .iter()
        .find(|event| ["failed", "masterEnded"].contains(&event.event.as_str()));
    let reported = parse_time(&reported.context("no end in the history")?.at)?;
    let lag = match watcher.cause(&task.id, role_of(failure), reported) {
        Some(cause) => format!(
            "{} ms after Docker's timestamp, {} ms after it was listed: {} `{}`",
            (reported - cause.at).whole_milliseconds(),
            (reported - cause.listed).whole_milliseconds(),
            cause.state,
            cause.reason
        ),
        None => "detected by the Director itself".to_owned(),
    };
    Ok(format!(
        "{:<22} {} {} {lag}\n    {}\n    hint: {}",
        task.id,
        serde_json::to_value(failure.step)?
            .as_str()
            .unwrap_or_default(),
        failure.code,
        failure.message,
        failure.hint
    ))
}

/// Role of the containers that the failure is about.
fn role_of(failure: &Failure) -> &'static str {
    match failure.code.as_str() {
        "discovery_failed" | "no_addresses" => "discovery",
        "wait_command_failed" => "wait",
        code if code.starts_with("master") => "master",
        _ => "worker",
    }
}
