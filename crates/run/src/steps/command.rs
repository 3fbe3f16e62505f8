//! A command that runs in a container of its own beside the workers: until it ends, and what it wrote.

use super::collect;
use super::delay::check_workers;
use super::{members_of_run, of_group};
use crate::run::Run;
use crate::wait::{Deadline, StepError};
use atq_engine::{Course, LogLine, LogQuery, LogStream, Member, Phase, Source};
use futures_util::StreamExt;
use std::time::Duration;
use tokio::time::Instant;

const PAUSE: Duration = Duration::from_millis(100);
/// Time between two looks at the workers.
const LOOK: Duration = Duration::from_millis(500);
/// So much of the output is looked at.
const MAX_OUTPUT: usize = 512 << 10;
/// Bound of reading the log.
const LOG_PATIENCE: Duration = Duration::from_secs(30);
/// How much longer the disk may take.
const TO_THE_DISK: Duration = Duration::from_secs(10);
/// How much of the output a message shows.
const SHOWN_OUTPUT: usize = 200;

/// A command at its end, or at its deadline.
pub enum Ended {
    /// Its container has ended, or could not be started.
    Yes(Box<Member>),
    /// Its deadline has passed.
    NotYet {
        /// Its container, if there is one yet.
        member: Option<Box<Member>>,
        /// What was seen of it, in words.
        seen: String,
    },
}

/// Waits for the end of the only container of `group`, and looks after the workers meanwhile.
pub async fn until_end(run: &mut Run, group: &str, deadline: Deadline) -> Result<Ended, StepError> {
    let mut looked = Instant::now();
    let mut seen = "it was not started".to_owned();
    let mut last = None;
    loop {
        let members = members_of_run(run, deadline).await?.unwrap_or_default();
        if let Some(member) = of_group(&members, Some(group)).into_iter().next() {
            if member.has_ended() {
                return Ok(Ended::Yes(Box::new(member)));
            }
            seen = match member.phase {
                Phase::Running => "it was still running".to_owned(),
                _ => member.reason.clone(),
            };
            last = Some(Box::new(member));
        }
        if deadline.passed() {
            return Ok(Ended::NotYet { member: last, seen });
        }
        if looked.elapsed() >= LOOK {
            check_workers(run).await?;
            looked = Instant::now();
        }
        run.pause(PAUSE).await?;
    }
}

/// The beginning of what a command wrote.
#[derive(Debug, Default)]
pub struct Output {
    /// To standard output.
    pub text: String,
    /// To standard error.
    pub errors: String,
}

impl Output {
    /// For a message: "printed `x`".
    pub fn told(&self) -> String {
        match (self.text.trim(), self.errors.trim()) {
            ("", "") => "printed nothing".to_owned(),
            ("", errors) => format!("wrote `{}` to standard error", shown(errors)),
            (text, _) => format!("printed `{}`", shown(text)),
        }
    }
}

/// Keeps the log of a command and gives the beginning of its output. What cannot be read is no
/// output, and never holds up the run.
pub async fn keep_log(run: &Run, member: &Member, source: Source) -> Output {
    let mut output = Output::default();
    if member.container.is_some() {
        let deadline = Instant::now() + LOG_PATIENCE;
        let read = read_log(run, member, source, &mut output, deadline);
        // A log that is cut off must still be written to its end.
        let problem = match tokio::time::timeout(LOG_PATIENCE + TO_THE_DISK, read).await {
            Ok(kept) => kept.err(),
            Err(_) => Some(format!(
                "the engine did not give it within {} s",
                LOG_PATIENCE.as_secs()
            )),
        };
        if let Some(problem) = problem {
            tracing::warn!(task = %run.spec.name, %source, %problem, "a log could not be kept");
        }
    }
    output
}

async fn read_log(
    run: &Run,
    member: &Member,
    source: Source,
    output: &mut Output,
    deadline: Instant,
) -> Result<(), String> {
    let query = LogQuery::default();
    let lines = run.shared.engine.logs(&member.id, false, query).await;
    let lines = lines.map_err(|error| error.to_string())?;
    let lines = lines.inspect(|line| {
        if let Ok(line) = line {
            listen(output, line);
        }
    });
    let run_of = (&run.spec.name, run.state.run.as_str());
    let last = |count| collect::last_lines(run, &member.id, false, count);
    run.shared
        .evidence
        .keep_log(run_of, source, lines, Some(&last), deadline)
        .await
}

fn listen(output: &mut Output, line: &LogLine) {
    let stream = match line.stream {
        LogStream::Stdout => &mut output.text,
        LogStream::Stderr => &mut output.errors,
    };
    if stream.len() <= MAX_OUTPUT {
        stream.push_str(&line.text);
        stream.push('\n');
    }
}

/// The beginning of an output, for a message of one line.
pub fn shown(output: &str) -> String {
    let output = output.trim().replace('\n', "\\n");
    match output.chars().count() > SHOWN_OUTPUT {
        true => format!(
            "{}...",
            output.chars().take(SHOWN_OUTPUT).collect::<String>()
        ),
        false => output,
    }
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn an_output_of_many_lines_is_told_in_one() {
        assert_eq!(shown(" one\ntwo\n"), "one\\ntwo");
        assert_eq!(shown(&"x\n".repeat(500)).chars().count(), 203);
    }
}
