//! The main loop that watches a test until its end.

use super::display::{LiveDisplay, RunState};
use super::ending::EarlyEnd;
use super::follow::{self, Update};
use super::interrupt::{Action, Input, Interrupts, PROMPT, StopState, decide};
use super::invocation::Invocation;
use super::{console, lease, live};
use crate::director::Director;
use crate::error::CliError;
use crate::path::segment;
use crate::retry::Retry;
use atq_api_spec::live::{LiveLoss, LiveTask};
use atq_api_spec::task::{LogEntry, Step, Task};
use reqwest::Method;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};

/// Timeout for the last lines of an ended master.
const LAST_LINES_TIMEOUT: Duration = Duration::from_secs(10);
/// Timeout for a pending stop request before this program exits.
const STOP_REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// A lost connection is reported after this time.
const REPORT_UNREACHABLE_AFTER: Duration = Duration::from_secs(3);
/// Interval of the checks of timeouts.
const TICK: Duration = Duration::from_millis(500);

/// Timeouts and intervals of watching.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// Interval of polling the task.
    pub poll_interval: Duration,
    /// Time without any response after which watching fails.
    pub unreachable: Duration,
    /// Time for a stop, in addition to the grace periods of the test.
    pub stop: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            poll_interval: Duration::from_secs(1),
            unreachable: Duration::from_secs(300),
            stop: Duration::from_secs(120),
        }
    }
}

/// The relation of this program to the test.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Role {
    /// It started the test, and may stop it.
    #[default]
    Owner,
    /// `atq run` of a test that another client started. It never stops the test.
    Attached,
    /// `atq watch`: it never stops the test.
    Watcher,
    /// `atq wait`: the same, and it shows nothing but messages.
    Waiter,
}

impl Role {
    /// The message at an early end of a program that does not stop the test; `None` if it may stop the test.
    fn leaves(self) -> Option<&'static str> {
        match self {
            Self::Owner => None,
            Self::Attached => Some("the task keeps running, since another client started it"),
            Self::Watcher | Self::Waiter => Some("the task keeps running"),
        }
    }
}

/// Options of watching.
#[derive(Debug, Clone, Default)]
pub struct WatchOptions {
    /// Also show the lines of the master.
    pub follow: bool,
    /// After this time the owner of the test stops it; others stop to watch.
    pub timeout: Option<Duration>,
    /// The relation to the test.
    pub role: Role,
    /// This invocation.
    pub invocation: Invocation,
    /// Timeouts and intervals.
    pub timeouts: Timeouts,
}

/// The result of watching.
#[derive(Debug)]
pub struct WatchResult {
    /// The last known state of the task; final unless watching ended early.
    pub task: Option<Box<Task>>,
    /// The reason of an early end.
    pub early_end: Option<EarlyEnd>,
}

/// Watches the test `name` until its end.
///
/// # Errors
/// When the Director is unreachable for too long, or no longer accepts the token; the test keeps running.
pub async fn watch(
    director: &Director,
    name: &str,
    options: WatchOptions,
    interrupts: &mut Interrupts,
    display: LiveDisplay,
) -> Result<WatchResult, CliError> {
    let (sender, mut updates) = channel(256);
    let (line_sender, mut lines) = channel(256);
    let now = Instant::now();
    let mut watcher = Watcher {
        director,
        name,
        deadline: options.timeout.and_then(|time| now.checked_add(time)),
        options,
        display,
        state: RunState::default(),
        task: None,
        early_end: None,
        stop_state: StopState::Running,
        last_update: now,
        unreachable: None,
        denied: None,
        is_reported: false,
        losses: BTreeSet::new(),
        is_stop_accepted: false,
        stop_request: None,
        sender,
        line_sender: Some(line_sender),
        tasks: JoinSet::new(),
    };
    watcher.follow();
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let end = tokio::select! {
            Some(update) = updates.recv() => watcher.update(update),
            Some(line) = lines.recv() => watcher.line(&line),
            input = interrupts.next() => watcher.input(&input, interrupts).await,
            () = sleep_until_deadline(watcher.deadline) => watcher.deadline_passed(),
            _ = ticks.tick() => watcher.tick()?,
        };
        watcher.display.show(&watcher.state);
        if let Some(early_end) = end {
            watcher.last_lines(&mut lines).await;
            let task = watcher.task.take();
            return Ok(WatchResult { task, early_end });
        }
    }
}

async fn sleep_until_deadline(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// The end of watching, with the reason of an early end; `None` to continue.
type End = Option<Option<EarlyEnd>>;

/// State of the main loop.
struct Watcher<'a> {
    director: &'a Director,
    name: &'a str,
    options: WatchOptions,
    display: LiveDisplay,
    state: RunState,
    task: Option<Box<Task>>,
    /// The reason of a requested stop.
    early_end: Option<EarlyEnd>,
    stop_state: StopState,
    /// Deadline of the test, or of its stop.
    deadline: Option<Instant>,
    last_update: Instant,
    /// The reason why the Director is unreachable.
    unreachable: Option<String>,
    /// The Director no longer accepts the token.
    denied: Option<CliError>,
    /// Whether the lost connection was reported.
    is_reported: bool,
    /// The replicas whose loss was reported.
    losses: BTreeSet<u32>,
    /// Whether the Director has accepted the stop request.
    is_stop_accepted: bool,
    /// The pending stop request.
    stop_request: Option<JoinHandle<bool>>,
    sender: Sender<Update>,
    /// Present until the log of the master is followed.
    line_sender: Option<Sender<LogEntry>>,
    tasks: JoinSet<()>,
}

impl Watcher<'_> {
    /// Starts to follow the test, and to renew its lease.
    fn follow(&mut self) {
        let (director, name) = (self.director, self.name.to_owned());
        let (options, sender) = (&self.options, &self.sender);
        let poll_interval = options.timeouts.poll_interval;
        if options.role != Role::Waiter {
            let history = follow::history(director.clone(), name.clone(), sender.clone());
            self.tasks.spawn(history);
            let figures = live::figures(director.clone(), name.clone(), sender.clone());
            self.tasks.spawn(figures);
        }
        let state = follow::state(
            director.clone(),
            name.clone(),
            poll_interval,
            sender.clone(),
        );
        self.tasks.spawn(state);
        if options.role == Role::Owner {
            let invocation = options.invocation.clone();
            self.tasks
                .spawn(lease::keep_renewing(director.clone(), name, invocation));
        }
    }

    fn update(&mut self, update: Update) -> End {
        match update {
            Update::Unreachable(reason) => {
                self.unreachable = Some(reason);
                self.state.reconnecting();
                return None;
            }
            Update::FiguresLost => {
                self.state.reconnecting();
                return None;
            }
            Update::NoFigures(reason) => {
                self.state.no_figures();
                if let Some(reason) = reason {
                    self.display.print(format!(
                        "the figures of the Director cannot be read: {reason}; check that the versions match: `atq version`"
                    ));
                }
                return None;
            }
            Update::Denied(error) => {
                self.denied = Some(error);
                return None;
            }
            Update::StopResult(Err(error)) => {
                self.display
                    .print(format!("the stop request failed: {error}"));
                return None;
            }
            Update::StopResult(Ok(())) => self.is_stop_accepted = true,
            Update::Removed => return Some(Some(EarlyEnd::Removed)),
            Update::Event(event) => self.state.event(&event),
            Update::Figures(live) => self.figures(live),
            Update::Task(task) => {
                self.state.task(&task);
                self.task = Some(task);
            }
        }
        self.responded();
        if self.state.step() >= Some(Step::Running)
            && (self.options.follow || self.state.needs_log())
        {
            self.follow_lines();
        }
        let is_done = self.task.as_ref().map(|task| task.step) == Some(Step::Done);
        is_done.then_some(self.early_end)
    }

    /// Records a response of the Director.
    fn responded(&mut self) {
        self.last_update = Instant::now();
        self.unreachable = None;
        if std::mem::take(&mut self.is_reported) {
            self.display.print("reconnected to the Director");
        }
    }

    /// Shows new figures, and reports lost workers, each once.
    fn figures(&mut self, live: Box<LiveTask>) {
        let is_new = |loss: &&LiveLoss| !self.losses.contains(&loss.replica);
        let lost: Vec<LiveLoss> = live.workers.lost.iter().filter(is_new).cloned().collect();
        self.state.figures(live);
        for loss in lost {
            if self.losses.insert(loss.replica) {
                self.display.print(console::loss(&loss));
            }
        }
    }

    /// Starts to follow the log of the master.
    fn follow_lines(&mut self) {
        if let Some(sender) = self.line_sender.take() {
            let (director, name) = (self.director.clone(), self.name.to_owned());
            self.tasks.spawn(follow::lines(director, name, sender));
        }
    }

    fn line(&mut self, entry: &LogEntry) -> End {
        self.state.line(&entry.text);
        if self.options.follow {
            self.display.line(entry);
        }
        None
    }

    /// The last lines of the master may arrive after the end of the test.
    async fn last_lines(&mut self, lines: &mut Receiver<LogEntry>) {
        self.line_sender = None;
        if !self.options.follow {
            return;
        }
        let end = Instant::now() + LAST_LINES_TIMEOUT;
        while let Ok(Some(entry)) = tokio::time::timeout_at(end, lines.recv()).await {
            self.display.line(&entry);
        }
    }

    async fn input(&mut self, input: &Input, interrupts: &Interrupts) -> End {
        if let Some(what) = self.options.role.leaves() {
            self.display.print(self.detached(what));
            return Some(Some(EarlyEnd::Detached));
        }
        match decide(self.stop_state, input, interrupts.is_interactive) {
            Action::Prompt => {
                self.stop_state = StopState::Prompted;
                self.display.pause();
                self.display.print(PROMPT);
                interrupts.start_reading();
                None
            }
            Action::Stop => {
                self.stop(
                    EarlyEnd::Interrupted,
                    "stopping the test; interrupt again to leave it running",
                );
                None
            }
            Action::Detach => {
                self.finish_stop_request().await;
                let what = match self.stop_state {
                    StopState::Stopping if self.is_stop_accepted => {
                        "the stop was requested; no longer watching the task"
                    }
                    StopState::Stopping => {
                        "the stop request did not reach the Director; the task keeps running"
                    }
                    StopState::Running | StopState::Prompted => "the task keeps running",
                };
                self.display.print(self.detached(what));
                Some(Some(EarlyEnd::Detached))
            }
            Action::Continue => {
                if self.stop_state == StopState::Prompted {
                    self.display.resume();
                    self.display.print(
                        "expected `s` or `l`; still watching, Ctrl-C leaves the task running",
                    );
                }
                None
            }
        }
    }

    fn detached(&self, what: &str) -> String {
        let lease = match (self.options.role, self.options.invocation.lease) {
            (Role::Owner, Some(lease)) => format!(
                " (its lease expires in {})",
                humantime::format_duration(lease)
            ),
            _ => String::new(),
        };
        format!("{what}{lease}; follow it with `atq watch {}`", self.name)
    }

    /// Waits for a pending stop request before this program exits.
    async fn finish_stop_request(&mut self) {
        if let Some(request) = self.stop_request.take() {
            let accepted = timeout(STOP_REQUEST_TIMEOUT, request).await;
            self.is_stop_accepted |= matches!(accepted, Ok(Ok(true)));
        }
    }

    fn stop(&mut self, reason: EarlyEnd, message: &str) {
        self.early_end = Some(reason);
        self.stop_state = StopState::Stopping;
        self.display.resume();
        self.display.print(message);
        let services = self
            .task
            .iter()
            .flat_map(|task| [&task.master, &task.worker]);
        let grace = services.filter_map(|service| service.stop_grace_period);
        let grace = Duration::from_secs(grace.max().unwrap_or(0));
        let retry_for = self.options.timeouts.stop + grace;
        self.deadline = Some(Instant::now() + retry_for);
        if reason == EarlyEnd::TimedOut && self.director_enforces_timeout() {
            self.is_stop_accepted = true;
            return;
        }
        let (director, name) = (self.director.clone(), self.name.to_owned());
        let (sender, invocation) = (self.sender.clone(), self.options.invocation.clone());
        self.stop_request = Some(tokio::spawn(async move {
            let result = stop(&director, &name, &invocation, retry_for).await;
            let is_accepted = result.is_ok();
            drop(sender.send(Update::StopResult(result)).await);
            is_accepted
        }));
    }

    /// Whether the Director itself enforces the timeout. A second stop request from here would make the outcome of the test
    /// depend on which of them arrives first.
    fn director_enforces_timeout(&self) -> bool {
        let task = self.task.as_ref();
        task.is_some_and(|task| task.deadline_at.is_some())
    }

    /// Handles the deadline of the test, or of its stop.
    fn deadline_passed(&mut self) -> End {
        if self.stop_state == StopState::Stopping {
            let what = match self.is_stop_accepted {
                true => "the stop was requested, but the task is still running",
                false => "the stop request did not reach the Director; the task keeps running",
            };
            self.display.print(self.detached(what));
            return Some(self.early_end);
        }
        let timeout = self.options.timeout.unwrap_or_default();
        let timeout = humantime::format_duration(timeout);
        if let Some(what) = self.options.role.leaves() {
            let what = match self.options.role {
                Role::Waiter => format!("timeout of {timeout} reached (`--timeout`); {what}"),
                _ => what.to_owned(),
            };
            self.display.print(self.detached(&what));
            return Some(Some(EarlyEnd::TimedOut));
        }
        self.stop(
            EarlyEnd::TimedOut,
            &format!("timeout of {timeout} reached (`--timeout`); stopping the test"),
        );
        None
    }

    fn tick(&mut self) -> Result<End, CliError> {
        // A retry cannot help: the token of this program does not change.
        if let Some(error) = self.denied.take() {
            self.display
                .print(self.detached("the task keeps running unattended"));
            return Err(error);
        }
        let elapsed = self.last_update.elapsed();
        let Some(reason) = &self.unreachable else {
            return Ok(None);
        };
        if elapsed >= self.options.timeouts.unreachable {
            self.display
                .print(self.detached("the task keeps running unattended"));
            return Err(self.director.unreachable(reason.clone()));
        }
        if elapsed >= REPORT_UNREACHABLE_AFTER && !self.is_reported {
            self.is_reported = true;
            self.display
                .print(format!("no response from the Director: {reason}; retrying"));
        }
        Ok(None)
    }
}

/// Requests the stop of a task, with retries. Repeated requests have no further effect.
async fn stop(
    director: &Director,
    name: &str,
    invocation: &Invocation,
    retry_for: Duration,
) -> Result<(), CliError> {
    let mut retry = Retry::within(retry_for);
    loop {
        let request = director.request(Method::POST, &format!("task/{}/stop", segment(name)))?;
        match director.send(invocation.sign(request)).await {
            Ok(_) => return Ok(()),
            Err(error) => retry.wait(error).await?,
        }
    }
}
