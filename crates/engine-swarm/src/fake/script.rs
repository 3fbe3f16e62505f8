//! What the containers of an image do once Swarm starts them.

use super::FakeSwarm;
use crate::plan::Role;
use atq_engine::LogStream;
use std::collections::BTreeMap;
use std::time::Duration;

/// Which containers a script is for: those of an image, in one role or in all.
pub(super) type Key = (String, Option<Role>);

/// Behaviour of an image's containers. By default they run until they are removed.
#[derive(Debug, Clone)]
pub(super) struct Script {
    /// Instead of running.
    pub trouble: Option<Trouble>,
    /// Exit codes: that of the first service, of the second, ...; the last is for all that follow.
    pub exits: Vec<i64>,
    /// Time from the start of the process to its end.
    pub after: Duration,
    /// What is written at the start of the process.
    pub lines: Vec<(LogStream, String)>,
    /// What is written to standard output so long after that, in order.
    pub later: Vec<(Duration, String)>,
    /// An error that Docker puts after the lines of the log.
    pub log_error: Option<String>,
    /// Whether reading its log never comes to an end.
    pub log_hangs: bool,
    /// How long the process takes to end after SIGTERM, and its exit code then.
    pub on_term: (Duration, i64),
    /// What it writes before that.
    pub last_lines: Vec<String>,
    /// What it leaves in `/atq/results`: paths and contents.
    pub results: Vec<(String, Vec<u8>)>,
    /// What it leaves there only when it is told to end.
    pub last_results: Vec<(String, Vec<u8>)>,
    /// Whether reading its results never comes to an end.
    pub results_hang: bool,
    /// How many processors it keeps busy.
    pub busy: f64,
    /// Nodes on which a carrier does not do its work, and what it says then.
    pub fails_on: BTreeMap<String, String>,
    /// How many services have used the script.
    pub uses: usize,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            trouble: None,
            exits: Vec::new(),
            after: Duration::ZERO,
            lines: Vec::new(),
            later: Vec::new(),
            log_error: None,
            log_hangs: false,
            on_term: (Duration::from_millis(100), 0),
            last_lines: Vec::new(),
            results: Vec::new(),
            last_results: Vec::new(),
            results_hang: false,
            busy: 0.0,
            fails_on: BTreeMap::new(),
            uses: 0,
        }
    }
}

/// Why a container does not run.
#[derive(Debug, Clone)]
pub(super) enum Trouble {
    /// No node takes it.
    Pending(String),
    /// The node refuses it.
    Rejected(String),
    /// The node tries, and its process cannot be started; exit code 127.
    Failed(String),
}

impl Script {
    /// The exit code for the next service.
    pub fn next_exit(&mut self) -> Option<i64> {
        let last = self.exits.len().checked_sub(1)?;
        let code = self.exits.get(self.uses.min(last)).copied();
        self.uses += 1;
        code
    }
}

/// Describes what an image does: [`FakeSwarm::image`]. Each method gives the description back, so
/// that they read as a sentence: `fake.image("x").exits(3).after(Duration::from_secs(1))`.
#[derive(Debug)]
pub struct ImageScript<'a> {
    pub(super) fake: &'a FakeSwarm,
    pub(super) key: Key,
}

impl ImageScript<'_> {
    fn edit(self, change: impl FnOnce(&mut Script)) -> Self {
        change(
            self.fake
                .lock()
                .scripts
                .entry(self.key.clone())
                .or_default(),
        );
        self
    }

    /// From here on for containers in this role only, for example for the wait command, which runs
    /// in the worker's image.
    pub fn in_role(self, role: Role) -> Self {
        let key = (self.key.0.clone(), Some(role));
        Self { key, ..self }.edit(|_| ())
    }

    /// Ends with `code`; at once unless [`ImageScript::after`] says when.
    pub fn exits(self, code: i64) -> Self {
        self.exits_in_turn(&[code])
    }

    /// The first service with this image ends with the first code, the second with the second; the
    /// last code is for all that follow.
    pub fn exits_in_turn(self, codes: &[i64]) -> Self {
        let codes = codes.to_vec();
        self.edit(|script| script.exits = codes)
    }

    /// Time from the start of the process to its end.
    pub fn after(self, delay: Duration) -> Self {
        self.edit(|script| script.after = delay)
    }

    /// Writes `lines` to standard output.
    pub fn prints(self, lines: &[&str]) -> Self {
        self.writes(LogStream::Stdout, lines)
    }

    /// Writes `line` to standard output so long after the start of the process.
    pub fn prints_after(self, delay: Duration, line: &str) -> Self {
        let line = (delay, line.to_owned());
        self.edit(|script| script.later.push(line))
    }

    /// Writes `lines` to standard error.
    pub fn complains(self, lines: &[&str]) -> Self {
        self.writes(LogStream::Stderr, lines)
    }

    fn writes(self, stream: LogStream, lines: &[&str]) -> Self {
        let lines: Vec<_> = lines
            .iter()
            .map(|line| (stream, (*line).to_owned()))
            .collect();
        self.edit(|script| script.lines.extend(lines))
    }

    /// What it does when it is told to end: writes `lines`, and ends `after` that with `code`. Unless
    /// told otherwise it ends with code 0 after a tenth of a second.
    pub fn ends_when_told(self, lines: &[&str], after: Duration, code: i64) -> Self {
        let lines = lines.iter().map(|line| (*line).to_owned()).collect();
        self.edit(|script| {
            script.last_lines = lines;
            script.on_term = (after, code);
        })
    }

    /// Writes a file below `/atq/results` at its start.
    pub fn leaves(self, path: &str, content: &[u8]) -> Self {
        let file = (path.to_owned(), content.to_vec());
        self.edit(|script| script.results.push(file))
    }

    /// Writes a file below `/atq/results` when it is told to end, and is given the time.
    pub fn leaves_when_told(self, path: &str, content: &[u8]) -> Self {
        let file = (path.to_owned(), content.to_vec());
        self.edit(|script| script.last_results.push(file))
    }

    /// Whoever reads its results gets them, and then waits for ever.
    pub fn hangs_its_results(self) -> Self {
        self.edit(|script| script.results_hang = true)
    }

    /// Keeps so many processors busy; its node has four.
    pub fn keeps_busy(self, processors: f64) -> Self {
        self.edit(|script| script.busy = processors)
    }

    /// As a carrier, does not do its work on the node: exit code 1, and `problem` as last words.
    pub fn fails_on(self, node: &str, problem: &str) -> Self {
        let (node, problem) = (node.to_owned(), problem.to_owned());
        self.edit(|script| {
            script.fails_on.insert(node, problem);
        })
    }

    /// The log ends with an error of Docker's.
    pub fn breaks_its_log(self, reason: &str) -> Self {
        let reason = reason.to_owned();
        self.edit(|script| script.log_error = Some(reason))
    }

    /// Whoever reads the log gets its lines, and then waits for ever.
    pub fn hangs_its_log(self) -> Self {
        self.edit(|script| script.log_hangs = true)
    }

    /// The node refuses the container: `rejected`, with this reason.
    pub fn never_starts(self, reason: &str) -> Self {
        let trouble = Trouble::Rejected(reason.to_owned());
        self.edit(|script| script.trouble = Some(trouble))
    }

    /// The process cannot be started: `failed` with exit code 127 and this reason.
    pub fn fails_to_start(self, reason: &str) -> Self {
        let trouble = Trouble::Failed(reason.to_owned());
        self.edit(|script| script.trouble = Some(trouble))
    }

    /// No node takes the container: `pending` for ever, with this reason.
    pub fn stays_pending(self, reason: &str) -> Self {
        let trouble = Trouble::Pending(reason.to_owned());
        self.edit(|script| script.trouble = Some(trouble))
    }
}
