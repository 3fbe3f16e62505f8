//! What a human, or the machinery that started this program, says while a test is watched.

use crate::trouble::Trouble;
use std::io::{BufRead, IsTerminal};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// Something that was said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Word {
    /// Ctrl-C, SIGINT.
    Interrupt,
    /// SIGTERM, or SIGHUP: the terminal is gone, and with it who could be asked.
    Terminate,
    /// The answer to the question; empty when there will be none.
    Answer(String),
}

/// How far the talk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Talk {
    /// Nothing was said yet.
    Silent,
    /// The question was asked.
    Asked,
    /// The test was asked to stop.
    Stopping,
}

/// What to do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Ask whether to stop the test or to leave it.
    Ask,
    /// Ask the test to stop.
    Stop,
    /// Leave it to itself.
    Leave,
    /// Go on watching.
    GoOn,
}

/// The question.
pub const QUESTION: &str = "stop the task, or leave it running? [s/l]";

/// What to do about a word. Somebody at a terminal is asked once; where nobody can be asked, and when a
/// program sends SIGTERM, the test is stopped, because nobody would look after it. A second Ctrl-C always
/// leaves.
pub fn act(talk: Talk, word: &Word, attended: bool) -> Act {
    match (talk, word) {
        (Talk::Silent, Word::Interrupt) if attended => Act::Ask,
        (Talk::Silent, Word::Interrupt) => Act::Stop,
        (Talk::Silent | Talk::Asked, Word::Terminate) => Act::Stop,
        (Talk::Asked, Word::Interrupt) => Act::Leave,
        (Talk::Stopping, Word::Interrupt | Word::Terminate) => Act::Leave,
        (Talk::Asked, Word::Answer(answer)) => match answer.trim().to_ascii_lowercase().as_str() {
            "s" | "stop" => Act::Stop,
            "l" | "leave" => Act::Leave,
            _ => Act::GoOn,
        },
        (Talk::Silent | Talk::Stopping, Word::Answer(_)) => Act::GoOn,
    }
}

/// Who says it.
#[derive(Debug)]
pub struct Human {
    /// Whether somebody can be asked: standard input and standard error are terminals.
    pub attended: bool,
    /// Begins to listen for the answer.
    ask: fn(Sender<Word>),
    sender: Sender<Word>,
    words: Receiver<Word>,
}

impl Human {
    /// Listens to the signals of this process from now on; they no longer end it.
    ///
    /// # Errors
    /// When the system does not let it.
    pub fn listen() -> Result<Self, Trouble> {
        let attended = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
        let (human, sender) = Self::new(attended, ask_terminal);
        let mut kinds = vec![
            (SignalKind::interrupt(), Word::Interrupt),
            (SignalKind::terminate(), Word::Terminate),
        ];
        if !is_nohup(&std::fs::read_to_string("/proc/self/status").unwrap_or_default()) {
            kinds.push((SignalKind::hangup(), Word::Terminate));
        }
        for (kind, word) in kinds {
            let mut signals = signal(kind)
                .map_err(|error| Trouble::failed(format!("no signals: {error}"), ""))?;
            let sender = sender.clone();
            tokio::spawn(async move {
                while signals.recv().await.is_some() && sender.send(word.clone()).await.is_ok() {}
            });
        }
        Ok(human)
    }

    /// Somebody who is heard through the sender.
    pub fn new(attended: bool, ask: fn(Sender<Word>)) -> (Self, Sender<Word>) {
        let (sender, words) = channel(8);
        let human = Self {
            attended,
            ask,
            sender: sender.clone(),
            words,
        };
        (human, sender)
    }

    /// The next word.
    pub async fn word(&mut self) -> Word {
        match self.words.recv().await {
            Some(word) => word,
            // Cannot be: the sender is here.
            None => std::future::pending().await,
        }
    }

    /// Says a word again, to whom it may concern later.
    pub fn repeat(&self, word: Word) {
        // Full of words: then one more says nothing.
        drop(self.sender.try_send(word));
    }

    /// The next signal; a late answer is none.
    pub async fn signal(&mut self) {
        while matches!(self.word().await, Word::Answer(_)) {}
    }

    /// Begins to listen for an answer, which comes as a word.
    pub fn ask(&self) {
        (self.ask)(self.sender.clone());
    }
}

/// Whether SIGHUP is ignored, as `nohup` arranges it: what listened to it would undo that. `status` is that of the
/// process in `/proc`.
fn is_nohup(status: &str) -> bool {
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & 1 != 0)
}

/// In a thread of its own: a read from a terminal cannot be given up, and must not hold the program's end.
fn ask_terminal(sender: Sender<Word>) {
    std::thread::spawn(move || {
        let mut answer = String::new();
        // No answer is one too.
        drop(std::io::stdin().lock().read_line(&mut answer));
        drop(sender.blocking_send(Word::Answer(answer)));
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
    fn a_human_is_asked_once_and_a_pipeline_never() {
        let answer = |text: &str| Word::Answer(text.to_owned());
        for (talk, word, attended, expected) in [
            (Talk::Silent, Word::Interrupt, true, Act::Ask),
            (Talk::Silent, Word::Interrupt, false, Act::Stop),
            (Talk::Silent, Word::Terminate, true, Act::Stop),
            (Talk::Silent, Word::Terminate, false, Act::Stop),
            (Talk::Silent, answer("s"), true, Act::GoOn),
            (Talk::Asked, answer("s\n"), true, Act::Stop),
            (Talk::Asked, answer(" Stop\n"), true, Act::Stop),
            (Talk::Asked, answer("l\n"), true, Act::Leave),
            (Talk::Asked, answer(""), true, Act::GoOn),
            (Talk::Asked, answer("what?\n"), true, Act::GoOn),
            (Talk::Asked, Word::Interrupt, true, Act::Leave),
            (Talk::Asked, Word::Terminate, true, Act::Stop),
            (Talk::Stopping, Word::Interrupt, true, Act::Leave),
            (Talk::Stopping, Word::Interrupt, false, Act::Leave),
            (Talk::Stopping, Word::Terminate, false, Act::Leave),
            (Talk::Stopping, answer("l"), true, Act::GoOn),
        ] {
            assert_eq!(
                act(talk, &word, attended),
                expected,
                "{talk:?} {word:?} {attended}"
            );
        }
    }
}
