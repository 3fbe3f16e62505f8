//! Behaviour of the containers of an image.

use super::FakeSwarm;
use crate::plan::Role;
use atq_engine::LogStream;
use std::collections::BTreeMap;
use std::time::Duration;

/// The containers of a script: those of an image, in one role or in all.
pub(super) type Key = (String, Option<Role>);

/// Behaviour of an image's containers. By default they run until they are removed.
#[derive(Debug, Clone)]
pub(super) struct Script {
    /// The reason not to run.
    pub start_failure: Option<StartFailure>,
    /// Exit codes of the first service, the second, ...; the last is used for all later ones.
    pub exits: Vec<i64>,
    /// Time from the start of the process to its end.
    pub after: Duration,
    /// Output at the start of the process.
    pub lines: Vec<(LogStream, String)>,
    /// Later lines of standard output, with their delay, in order.
    pub later: Vec<(Duration, String)>,
    /// An error that Docker appends to the log.
    pub log_error: Option<String>,
    /// Whether reading the log never ends.
    pub log_hangs: bool,
    /// Time between SIGTERM and the end of the process, and its exit code then.
    pub on_term: (Duration, i64),
    /// Output after SIGTERM.
    pub last_lines: Vec<String>,
    /// Files in `/atq/results`: paths and contents.
    pub results: Vec<(String, Vec<u8>)>,
    /// Files that are written there after SIGTERM.
    pub last_results: Vec<(String, Vec<u8>)>,
    /// Whether reading the results never ends.
    pub results_hang: bool,
    /// Number of CPUs in use.
    pub cpus_used: f64,
    /// Used memory, and its limit, in bytes.
    pub memory: (u64, u64),
    /// Bytes per second that are received, sent, read and written; `None`: Docker reports none.
    pub traffic: Option<[u64; 4]>,
    /// Nodes on which a carrier fails, with the reported problem.
    pub fails_on: BTreeMap<String, String>,
    /// Number of services that have used the script.
    pub uses: usize,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            start_failure: None,
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
            cpus_used: 0.0,
            memory: (16 << 20, 8 << 30),
            traffic: None,
            fails_on: BTreeMap::new(),
            uses: 0,
        }
    }
}

/// The reason why a container does not run.
#[derive(Debug, Clone)]
pub(super) enum StartFailure {
    /// No node accepts it.
    Pending(String),
    /// The node refuses it.
    Rejected(String),
    /// The process cannot be started; exit code 127.
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

/// Builder for the behaviour of an image's containers: [`FakeSwarm::image`]. For example
/// `fake.image("x").exits(3).after(Duration::from_secs(1))`.
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

    /// Restricts the following calls to containers in this role, for example to the wait command, which uses the
    /// worker's image.
    pub fn in_role(self, role: Role) -> Self {
        let key = (self.key.0.clone(), Some(role));
        Self { key, ..self }.edit(|_| ())
    }

    /// Ends with `code`, at once or after the time set by [`ImageScript::after`].
    pub fn exits(self, code: i64) -> Self {
        self.exits_in_turn(&[code])
    }

    /// Sets the exit codes of the first service with this image, the second, and so on; the last is used for all
    /// later ones.
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

    /// Writes `line` to standard output after a delay from the start of the process.
    pub fn prints_after(self, delay: Duration, line: &str) -> Self {
        let line = (delay, line.to_owned());
        self.edit(|script| script.later.push(line))
    }

    /// Writes `lines` to standard error.
    pub fn prints_to_stderr(self, lines: &[&str]) -> Self {
        self.writes(LogStream::Stderr, lines)
    }

    fn writes(self, stream: LogStream, lines: &[&str]) -> Self {
        let lines: Vec<_> = lines
            .iter()
            .map(|line| (stream, (*line).to_owned()))
            .collect();
        self.edit(|script| script.lines.extend(lines))
    }

    /// Behaviour after SIGTERM: writes `lines`, and ends with `code` after a delay. By default it ends with code 0
    /// after a tenth of a second.
    pub fn on_sigterm(self, lines: &[&str], after: Duration, code: i64) -> Self {
        let lines = lines.iter().map(|line| (*line).to_owned()).collect();
        self.edit(|script| {
            script.last_lines = lines;
            script.on_term = (after, code);
        })
    }

    /// Writes a file below `/atq/results` at its start.
    pub fn writes_result(self, path: &str, content: &[u8]) -> Self {
        let file = (path.to_owned(), content.to_vec());
        self.edit(|script| script.results.push(file))
    }

    /// Writes a file below `/atq/results` after SIGTERM, unless it is killed.
    pub fn writes_result_on_sigterm(self, path: &str, content: &[u8]) -> Self {
        let file = (path.to_owned(), content.to_vec());
        self.edit(|script| script.last_results.push(file))
    }

    /// Makes reading the results hang after their content.
    pub fn hangs_on_results(self) -> Self {
        self.edit(|script| script.results_hang = true)
    }

    /// Uses this many CPUs; its node has four.
    pub fn uses_cpus(self, cpus: f64) -> Self {
        self.edit(|script| script.cpus_used = cpus)
    }

    /// Uses this much memory of a limit, in bytes.
    pub fn uses_memory(self, used: u64, limit: u64) -> Self {
        self.edit(|script| script.memory = (used, limit))
    }

    /// Receives, sends, reads and writes this many bytes per second.
    pub fn transfers(self, bytes: [u64; 4]) -> Self {
        self.edit(|script| script.traffic = Some(bytes))
    }

    /// Makes a carrier fail on this node: exit code 1, and `problem` in its report.
    pub fn fails_on(self, node: &str, problem: &str) -> Self {
        let (node, problem) = (node.to_owned(), problem.to_owned());
        self.edit(|script| {
            script.fails_on.insert(node, problem);
        })
    }

    /// Appends an error of Docker to the log.
    pub fn fails_log(self, reason: &str) -> Self {
        let reason = reason.to_owned();
        self.edit(|script| script.log_error = Some(reason))
    }

    /// Makes reading the log hang after its lines.
    pub fn hangs_on_log(self) -> Self {
        self.edit(|script| script.log_hangs = true)
    }

    /// Makes the node refuse the container: `rejected`, with this reason.
    pub fn never_starts(self, reason: &str) -> Self {
        let start_failure = StartFailure::Rejected(reason.to_owned());
        self.edit(|script| script.start_failure = Some(start_failure))
    }

    /// Makes the start of the process fail: `failed`, with exit code 127 and this reason.
    pub fn fails_to_start(self, reason: &str) -> Self {
        let start_failure = StartFailure::Failed(reason.to_owned());
        self.edit(|script| script.start_failure = Some(start_failure))
    }

    /// Makes the container stay `pending` indefinitely, with this reason.
    pub fn stays_pending(self, reason: &str) -> Self {
        let start_failure = StartFailure::Pending(reason.to_owned());
        self.edit(|script| script.start_failure = Some(start_failure))
    }
}
