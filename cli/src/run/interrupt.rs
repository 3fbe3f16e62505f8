//! Signals, and the answer to the prompt after Ctrl-C, while a test is watched.

use crate::error::CliError;
use std::io::{BufRead, IsTerminal};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// A signal, or an answer to the prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// Ctrl-C, SIGINT.
    Interrupt,
    /// SIGTERM, or SIGHUP: the terminal was closed, so a prompt is impossible.
    Terminate,
    /// The answer to the prompt; empty at the end of input.
    Answer(String),
}

/// The state of a stop by signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopState {
    /// No signal was received yet.
    Running,
    /// The prompt was shown.
    Prompted,
    /// The stop of the test was requested.
    Stopping,
}

/// The reaction to an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Ask the user whether to stop the test or to leave it running.
    Prompt,
    /// Request the stop of the test.
    Stop,
    /// Stop watching and leave the test running.
    Detach,
    /// Continue to watch.
    Continue,
}

/// The prompt after Ctrl-C.
pub const PROMPT: &str = "stop the task or leave it running? [s/l]";

/// Decides the reaction to an input. On a terminal, the first Ctrl-C shows the prompt. Without a terminal, and after
/// SIGTERM, the test is stopped, because it would run unattended. A second Ctrl-C always leaves the test running.
pub fn decide(state: StopState, input: &Input, is_interactive: bool) -> Action {
    match (state, input) {
        (StopState::Running, Input::Interrupt) if is_interactive => Action::Prompt,
        (StopState::Running, Input::Interrupt) => Action::Stop,
        (StopState::Running | StopState::Prompted, Input::Terminate) => Action::Stop,
        (StopState::Prompted, Input::Interrupt) => Action::Detach,
        (StopState::Stopping, Input::Interrupt | Input::Terminate) => Action::Detach,
        (StopState::Prompted, Input::Answer(answer)) => {
            match answer.trim().to_ascii_lowercase().as_str() {
                "s" | "stop" => Action::Stop,
                "l" | "leave" => Action::Detach,
                _ => Action::Continue,
            }
        }
        (StopState::Running | StopState::Stopping, Input::Answer(_)) => Action::Continue,
    }
}

/// Source of signals and answers.
#[derive(Debug)]
pub struct Interrupts {
    /// Whether the user can be prompted: standard input and standard error are terminals.
    pub is_interactive: bool,
    /// Starts to read an answer.
    read_answer: fn(Sender<Input>),
    sender: Sender<Input>,
    inputs: Receiver<Input>,
}

impl Interrupts {
    /// Installs handlers for the signals of this process, which no longer end it.
    ///
    /// # Errors
    /// When the handlers cannot be installed.
    pub fn install() -> Result<Self, CliError> {
        let is_interactive = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
        let (interrupts, sender) = Self::new(is_interactive, read_terminal);
        let mut kinds = vec![
            (SignalKind::interrupt(), Input::Interrupt),
            (SignalKind::terminate(), Input::Terminate),
        ];
        if !is_nohup(&std::fs::read_to_string("/proc/self/status").unwrap_or_default()) {
            kinds.push((SignalKind::hangup(), Input::Terminate));
        }
        for (kind, input) in kinds {
            let mut signals = signal(kind).map_err(|error| {
                CliError::failed(format!("cannot install signal handlers: {error}"), "")
            })?;
            let sender = sender.clone();
            tokio::spawn(async move {
                while signals.recv().await.is_some() && sender.send(input.clone()).await.is_ok() {}
            });
        }
        Ok(interrupts)
    }

    /// A source that receives inputs from the returned sender.
    pub fn new(is_interactive: bool, read_answer: fn(Sender<Input>)) -> (Self, Sender<Input>) {
        let (sender, inputs) = channel(8);
        let interrupts = Self {
            is_interactive,
            read_answer,
            sender: sender.clone(),
            inputs,
        };
        (interrupts, sender)
    }

    /// The next input.
    pub async fn next(&mut self) -> Input {
        match self.inputs.recv().await {
            Some(input) => input,
            // Impossible: this value holds a sender.
            None => std::future::pending().await,
        }
    }

    /// Re-queues an input for a later receiver.
    pub fn requeue(&self, input: Input) {
        // With a full queue, one more input makes no difference.
        drop(self.sender.try_send(input));
    }

    /// Waits for the next signal; ignores late answers.
    pub async fn signal(&mut self) {
        while matches!(self.next().await, Input::Answer(_)) {}
    }

    /// Starts to read an answer, which arrives as an input.
    pub fn start_reading(&self) {
        (self.read_answer)(self.sender.clone());
    }
}

/// Whether SIGHUP is ignored, as set by `nohup`; a handler would undo that. `status` is the process status file in `/proc`.
fn is_nohup(status: &str) -> bool {
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & 1 != 0)
}

/// Reads in a separate thread: a read from a terminal cannot be cancelled and must not delay the exit.
fn read_terminal(sender: Sender<Input>) {
    std::thread::spawn(move || {
        let mut answer = String::new();
        // The end of input counts as an empty answer.
        drop(std::io::stdin().lock().read_line(&mut answer));
        drop(sender.blocking_send(Input::Answer(answer)));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nohup_is_respected() {
        assert!(is_nohup("SigBlk:\t0\nSigIgn:\t0000000000001001\n"));
        assert!(!is_nohup("SigBlk:\t1\nSigIgn:\t0000000000001000\n"));
        assert!(!is_nohup(""));
    }

    #[test]
    fn the_prompt_is_shown_once_and_only_on_a_terminal() {
        let answer = |text: &str| Input::Answer(text.to_owned());
        for (state, input, is_interactive, expected) in [
            (StopState::Running, Input::Interrupt, true, Action::Prompt),
            (StopState::Running, Input::Interrupt, false, Action::Stop),
            (StopState::Running, Input::Terminate, true, Action::Stop),
            (StopState::Running, Input::Terminate, false, Action::Stop),
            (StopState::Running, answer("s"), true, Action::Continue),
            (StopState::Prompted, answer("s\n"), true, Action::Stop),
            (StopState::Prompted, answer(" Stop\n"), true, Action::Stop),
            (StopState::Prompted, answer("l\n"), true, Action::Detach),
            (StopState::Prompted, answer(""), true, Action::Continue),
            (
                StopState::Prompted,
                answer("what?\n"),
                true,
                Action::Continue,
            ),
            (StopState::Prompted, Input::Interrupt, true, Action::Detach),
            (StopState::Prompted, Input::Terminate, true, Action::Stop),
            (StopState::Stopping, Input::Interrupt, true, Action::Detach),
            (StopState::Stopping, Input::Interrupt, false, Action::Detach),
            (StopState::Stopping, Input::Terminate, false, Action::Detach),
            (StopState::Stopping, answer("l"), true, Action::Continue),
        ] {
            assert_eq!(
                decide(state, &input, is_interactive),
                expected,
                "{state:?} {input:?} {is_interactive}"
            );
        }
    }
}
