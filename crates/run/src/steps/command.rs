//! A command in its own container beside the workers: waits for its end and keeps its output.

use super::collect;
use super::delay::check_workers;
use super::{members_of_run, of_group};
use crate::interruption::{Deadline, StepError};
use crate::run::Run;
use atq_engine::{LogLine, LogQuery, LogStream, Member, Phase, RunContext, Source};
use futures_util::StreamExt;
use std::time::Duration;
use tokio::time::Instant;

const POLL_INTERVAL: Duration = Duration::from_millis(100);
const WORKER_CHECK_INTERVAL: Duration = Duration::from_millis(500);
/// Maximum number of bytes of each output stream that are evaluated.
const MAX_OUTPUT: usize = 512 << 10;
/// Timeout for reading the log.
const LOG_TIMEOUT: Duration = Duration::from_secs(30);
/// Additional time for writing to the disk.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum number of characters of the output in a message.
const MAX_EXCERPT: usize = 200;

/// The result of waiting for a command.
pub enum CommandEnd {
    /// Its container has ended or could not be started.
    Exited(Box<Member>),
    /// The deadline has passed.
    TimedOut {
        /// Its container, if it exists.
        member: Option<Box<Member>>,
        /// Description of its last status.
        status: String,
    },
}

/// Waits for the end of the only container of `group`, and checks the workers meanwhile.
pub async fn wait_for_end(
    run: &mut Run,
    group: &str,
    deadline: Deadline,
) -> Result<CommandEnd, StepError> {
    let mut checked = Instant::now();
    let mut status = "it was not started".to_owned();
    let mut last = None;
    loop {
        let members = members_of_run(run, deadline).await?;
        if let Some(members) = &members {
            run.sample_usage(members);
        }
        let members = members.unwrap_or_default();
        if let Some(member) = of_group(&members, Some(group)).into_iter().next() {
            if member.has_ended() {
                return Ok(CommandEnd::Exited(Box::new(member)));
            }
            status = match member.phase {
                Phase::Running => "it was still running".to_owned(),
                _ => member.reason.clone(),
            };
            last = Some(Box::new(member));
        }
        if deadline.passed() {
            return Ok(CommandEnd::TimedOut {
                member: last,
                status,
            });
        }
        if checked.elapsed() >= WORKER_CHECK_INTERVAL {
            check_workers(run).await?;
            checked = Instant::now();
        }
        run.pause(POLL_INTERVAL).await?;
    }
}

/// The beginning of the output of a command.
#[derive(Debug, Default)]
pub struct Output {
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Output {
    /// A description for a message: "printed `x`".
    pub fn describe(&self) -> String {
        match (self.stdout.trim(), self.stderr.trim()) {
            ("", "") => "printed nothing".to_owned(),
            ("", stderr) => format!("wrote `{}` to standard error", excerpt(stderr)),
            (stdout, _) => format!("printed `{}`", excerpt(stdout)),
        }
    }
}

/// Keeps the log of a command and returns the beginning of its output. Unreadable output counts as empty and never
/// blocks the run.
pub async fn keep_log(run: &Run, member: &Member, source: Source) -> Output {
    let mut output = Output::default();
    if member.container.is_some() {
        let deadline = Instant::now() + LOG_TIMEOUT;
        let read = read_log(run, member, source, &mut output, deadline);
        // A truncated log must still be written completely.
        let problem = match tokio::time::timeout(LOG_TIMEOUT + WRITE_TIMEOUT, read).await {
            Ok(kept) => kept.err(),
            Err(_) => {
                let seconds = LOG_TIMEOUT.as_secs();
                Some(format!("the engine did not send it within {seconds} s"))
            }
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
            append(output, line);
        }
    });
    let run_of = (&run.spec.name, run.state.run.as_str());
    let last = |count| collect::last_lines(run, &member.id, false, count);
    let evidence = &run.shared.evidence;
    let kept = evidence.keep_log(run_of, source, lines, Some(&last), deadline);
    kept.await
}

fn append(output: &mut Output, line: &LogLine) {
    let stream = match line.stream {
        LogStream::Stdout => &mut output.stdout,
        LogStream::Stderr => &mut output.stderr,
    };
    if stream.len() <= MAX_OUTPUT {
        stream.push_str(&line.text);
        stream.push('\n');
    }
}

/// The beginning of an output as one line, for a message.
pub fn excerpt(output: &str) -> String {
    let output = output.trim().replace('\n', "\\n");
    match output.char_indices().nth(MAX_EXCERPT) {
        Some((end, _)) => format!("{}...", &output[..end]),
        None => output,
    }
}

#[cfg(test)]
mod tests {
    use super::excerpt;

    #[test]
    fn an_excerpt_has_one_line() {
        assert_eq!(excerpt(" one\ntwo\n"), "one\\ntwo");
        assert_eq!(excerpt(&"x\n".repeat(500)).chars().count(), 203);
    }
}
