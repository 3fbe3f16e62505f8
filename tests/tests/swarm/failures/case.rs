//! A task that is to fail, and what is to be said about it.

use anyhow::{Context, Result, bail, ensure};
use atq_api_spec::task::{Failure, Step, Task, TaskEvents, TaskStatus};
use atq_tests::client::Client;
use atq_tests::stage::{PATIENCE, Stage};
use atq_tests::witness::{Witness, moment};
use futures_util::future::join_all;
use serde_json::Value;

/// Configuration of a Director that plays all tasks of a test at once.
pub const AT_ONCE: &str = "maxConcurrentTasks: 32\n";

/// A task that is to fail.
pub struct Case {
    task: Value,
    steps: Vec<Step>,
    codes: Vec<&'static str>,
    says: Vec<String>,
    hints: Vec<String>,
}

impl Case {
    /// `task` is to fail in `step` with `code`.
    pub fn new(task: Value, step: Step, code: &'static str) -> Self {
        let (says, hints) = (Vec::new(), Vec::new());
        Self {
            task,
            steps: vec![step],
            codes: vec![code],
            says,
            hints,
        }
    }

    /// Or in this step: which one it is depends on who is faster.
    pub fn or_in(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    /// Or with this code: which one it is depends on who is faster.
    pub fn or_with(mut self, code: &'static str) -> Self {
        self.codes.push(code);
        self
    }

    /// A part of the message.
    pub fn says(mut self, part: &str) -> Self {
        self.says.push(part.to_owned());
        self
    }

    /// A part of the hint.
    pub fn hints(mut self, part: &str) -> Self {
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

    /// Follows the started task to its end and looks at what is said about it.
    pub async fn judge(&self, client: &Client, witness: &Witness) -> Result<Task> {
        let task = client.done(self.name(), PATIENCE).await?;
        let failure = task
            .failure
            .as_ref()
            .with_context(|| format!("{task:#?}"))?;
        println!("{}", line(client, witness, &task, failure).await?);
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
        for part in &self.says {
            ensure!(failure.message.contains(part), "the message lacks `{part}`");
        }
        for part in &self.hints {
            ensure!(failure.hint.contains(part), "the hint lacks `{part}`");
        }
        ensure!(!failure.hint.is_empty(), "no hint");
        Ok(())
    }
}

/// Plays the cases side by side.
pub async fn play(stage: &Stage, witness: &Witness, cases: &[Case]) -> Result<()> {
    let client = stage.client();
    let played = cases.iter().map(|case| {
        let client = client.clone();
        async move {
            case.start(&client).await?;
            case.judge(&client, witness).await
        }
    });
    let mut wrong = Vec::new();
    for (case, result) in cases.iter().zip(join_all(played).await) {
        if let Err(error) = result {
            wrong.push(format!("{}: {error:#}", case.name()));
        }
    }
    match wrong.is_empty() {
        true => Ok(()),
        false => bail!("{}", wrong.join("\n")),
    }
}

/// What was said, and how long after Docker knew of it.
async fn line(
    client: &Client,
    witness: &Witness,
    task: &Task,
    failure: &Failure,
) -> Result<String> {
    let history = client
        .get(&format!("/api/task/{}/events", task.id))
        .await?
        .json::<TaskEvents>()
        .await?;
    let told = history
        .events
        .iter()
        .find(|event| ["failed", "masterEnded"].contains(&event.event.as_str()));
    let told = moment(&told.context("no end in the history")?.at)?;
    let lag = match witness.decisive(&task.id, role_of(failure), told) {
        Some(trouble) => format!(
            "{} ms after Docker's time, {} ms after it was listed: {} `{}`",
            (told - trouble.at).whole_milliseconds(),
            (told - trouble.listed).whole_milliseconds(),
            trouble.state,
            trouble.reason
        ),
        None => "of the Director's own accord".to_owned(),
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

/// Whose containers the failure is about.
fn role_of(failure: &Failure) -> &'static str {
    match failure.code.as_str() {
        "discovery_failed" | "no_addresses" => "discovery",
        "wait_command_failed" => "wait",
        code if code.starts_with("master") => "master",
        _ => "worker",
    }
}
