//! The loop that watches a test to its end.

use super::ending::Cut;
use super::follow::{self, Sign};
use super::human::{Act, Human, QUESTION, Talk, Word, act};
use super::invocation::Invocation;
use super::lease;
use super::live::{Live, View};
use crate::again::Again;
use crate::director::{Director, segment};
use crate::trouble::Trouble;
use atq_api_spec::task::{LogEntry, Step, Task};
use reqwest::Method;
use std::time::Duration;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};

/// How long the last lines of a master that has ended are waited for.
const LAST_LINES: Duration = Duration::from_secs(10);
/// How long the Director may take to hear of a stop when nobody waits for the test any more.
const LAST_WORD: Duration = Duration::from_secs(5);
/// After so long without an answer it is said that there is none.
const DOUBT: Duration = Duration::from_secs(3);
/// What is left to a client that did not start the test.
const OTHERS_RUN: &str = "the task goes on, since another client started it";
/// How often time itself is looked at.
const TICK: Duration = Duration::from_millis(500);

/// How long to wait for what.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Between two looks at the task.
    pub look: Duration,
    /// Without any answer, before the Director is taken for gone.
    pub silence: Duration,
    /// For a test that was asked to stop, beside its own grace periods.
    pub stop: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            look: Duration::from_secs(1),
            silence: Duration::from_secs(300),
            stop: Duration::from_secs(120),
        }
    }
}

/// What is wished for.
#[derive(Debug, Clone, Default)]
pub struct Wishes {
    /// Also show the lines of the master.
    pub follow: bool,
    /// Stop the test after this time.
    pub timeout: Option<Duration>,
    /// Whether another client started the test: then it is only watched.
    pub attached: bool,
    /// Which invocation this is.
    pub invocation: Invocation,
    /// How long to wait for what.
    pub patience: Patience,
}

/// How it ended.
#[derive(Debug)]
pub struct Watched {
    /// The task as last seen; at its end unless it was cut.
    pub task: Option<Box<Task>>,
    /// What ended it beside itself.
    pub cut: Option<Cut>,
}

/// Watches the test `name` to its end.
///
/// # Errors
/// When the Director is gone for too long; the test goes on.
pub async fn watch(
    director: &Director,
    name: &str,
    wishes: Wishes,
    human: &mut Human,
    live: Live,
) -> Result<Watched, Trouble> {
    let (sender, mut signs) = channel(256);
    let mut helpers = JoinSet::new();
    let pause = wishes.patience.look;
    helpers.spawn(follow::events(
        director.clone(),
        name.to_owned(),
        sender.clone(),
    ));
    helpers.spawn(follow::state(
        director.clone(),
        name.to_owned(),
        pause,
        sender.clone(),
    ));
    if !wishes.attached {
        helpers.spawn(lease::keep(
            director.clone(),
            name.to_owned(),
            wishes.invocation.clone(),
        ));
    }
    let (mut watcher, mut lines) = Watcher::new(director, name, wishes, live, sender, helpers);
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let end = tokio::select! {
            Some(sign) = signs.recv() => watcher.hear(sign),
            Some(line) = lines.recv() => watcher.line(&line),
            word = human.word() => watcher.word(&word, human).await,
            () = until(watcher.deadline) => watcher.late(),
            _ = ticks.tick() => watcher.tick()?,
        };
        watcher.live.show(&watcher.view);
        if let Some(cut) = end {
            watcher.last_lines(&mut lines).await;
            let task = watcher.task.take();
            return Ok(Watched { task, cut });
        }
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// The end, and what cut it; `None`: it goes on.
type End = Option<Option<Cut>>;

/// Who watches.
struct Watcher<'a> {
    director: &'a Director,
    name: &'a str,
    wishes: Wishes,
    live: Live,
    view: View,
    task: Option<Box<Task>>,
    /// Why it was asked to stop.
    cut: Option<Cut>,
    talk: Talk,
    /// When the patience with the test is at its end.
    deadline: Option<Instant>,
    last_sign: Instant,
    /// Why the Director does not answer.
    silence: Option<String>,
    /// Whether that was told.
    is_told: bool,
    /// Whether the Director has heard that it is to stop.
    is_heard: bool,
    /// Tells the Director to stop it.
    asking: Option<JoinHandle<bool>>,
    sender: Sender<Sign>,
    /// Until somebody listens to the master.
    line_sender: Option<Sender<LogEntry>>,
    helpers: JoinSet<()>,
}

impl<'a> Watcher<'a> {
    fn new(
        director: &'a Director,
        name: &'a str,
        wishes: Wishes,
        live: Live,
        sender: Sender<Sign>,
        helpers: JoinSet<()>,
    ) -> (Self, Receiver<LogEntry>) {
        let (line_sender, lines) = channel(256);
        let now = Instant::now();
        let watcher = Self {
            director,
            name,
            deadline: wishes.timeout.and_then(|time| now.checked_add(time)),
            wishes,
            live,
            view: View::default(),
            task: None,
            cut: None,
            talk: Talk::Silent,
            last_sign: now,
            silence: None,
            is_told: false,
            is_heard: false,
            asking: None,
            sender,
            line_sender: Some(line_sender),
            helpers,
        };
        (watcher, lines)
    }

    fn hear(&mut self, sign: Sign) -> End {
        match sign {
            Sign::Silence(reason) => {
                self.silence = Some(reason);
                return None;
            }
            Sign::Asked(Err(trouble)) => {
                self.live.say(format!("the stop failed: {trouble}"));
                return None;
            }
            Sign::Asked(Ok(())) => self.is_heard = true,
            Sign::Removed => return Some(Some(Cut::Removed)),
            Sign::Event(event) => self.view.event(&event),
            Sign::Task(task) => {
                self.view.task(&task);
                self.task = Some(task);
            }
        }
        self.answered();
        if self.view.step() >= Some(Step::Running) {
            self.listen();
        }
        let is_done = self.task.as_ref().map(|task| task.step) == Some(Step::Done);
        is_done.then_some(self.cut)
    }

    /// The Director lives.
    fn answered(&mut self) {
        self.last_sign = Instant::now();
        self.silence = None;
        if std::mem::take(&mut self.is_told) {
            self.live.say("the Director answers again");
        }
    }

    /// Begins to listen to the master.
    fn listen(&mut self) {
        if let Some(sender) = self.line_sender.take() {
            let (director, name) = (self.director.clone(), self.name.to_owned());
            self.helpers.spawn(follow::lines(director, name, sender));
        }
    }

    fn line(&mut self, entry: &LogEntry) -> End {
        self.view.line(&entry.text);
        if self.wishes.follow {
            self.live.line(entry);
        }
        None
    }

    /// What the master wrote last may come after the end is known.
    async fn last_lines(&mut self, lines: &mut Receiver<LogEntry>) {
        self.line_sender = None;
        if !self.wishes.follow {
            return;
        }
        let end = Instant::now() + LAST_LINES;
        while let Ok(Some(entry)) = tokio::time::timeout_at(end, lines.recv()).await {
            self.live.line(&entry);
        }
    }

    async fn word(&mut self, word: &Word, human: &Human) -> End {
        if self.wishes.attached {
            self.live.say(self.come_back(OTHERS_RUN));
            return Some(Some(Cut::Left));
        }
        match act(self.talk, word, human.attended) {
            Act::Ask => {
                self.talk = Talk::Asked;
                self.live.say(QUESTION);
                human.ask();
                None
            }
            Act::Stop => {
                self.stop(Cut::Interrupted, "it is asked to stop; once more leaves it");
                None
            }
            Act::Leave => {
                self.be_heard().await;
                let what = match self.talk {
                    Talk::Stopping if self.is_heard => {
                        "the task was asked to stop, and is left to itself"
                    }
                    Talk::Stopping => {
                        "the Director did not hear that the task is to stop; it goes on"
                    }
                    Talk::Silent | Talk::Asked => "the task goes on",
                };
                self.live.say(self.come_back(what));
                Some(Some(Cut::Left))
            }
            Act::GoOn => {
                if self.talk == Talk::Asked {
                    self.live
                        .say("neither `s` nor `l`: watched further; Ctrl-C leaves it");
                }
                None
            }
        }
    }

    fn come_back(&self, what: &str) -> String {
        let lease = match (self.wishes.attached, self.wishes.invocation.lease) {
            (false, Some(lease)) => format!(
                " (its lease ends it unless it is over within {})",
                humantime::format_duration(lease)
            ),
            _ => String::new(),
        };
        format!("{what}{lease}: `atq events -f {}` shows it", self.name)
    }

    /// A stop that was just asked for must reach the Director before this program ends.
    async fn be_heard(&mut self) {
        if let Some(asking) = self.asking.take() {
            let asked = timeout(LAST_WORD, asking).await;
            self.is_heard |= matches!(asked, Ok(Ok(true)));
        }
    }

    fn stop(&mut self, cut: Cut, why: &str) {
        self.cut = Some(cut);
        self.talk = Talk::Stopping;
        self.live.say(why);
        let services = self
            .task
            .iter()
            .flat_map(|task| [&task.master, &task.worker]);
        let grace = services.filter_map(|service| service.stop_grace_period);
        let grace = Duration::from_secs(grace.max().unwrap_or(0));
        let patience = self.wishes.patience.stop + grace;
        self.deadline = Some(Instant::now() + patience);
        if cut == Cut::TimedOut && self.director_keeps_time() {
            self.is_heard = true;
            return;
        }
        let (director, name) = (self.director.clone(), self.name.to_owned());
        let (sender, invocation) = (self.sender.clone(), self.wishes.invocation.clone());
        self.asking = Some(tokio::spawn(async move {
            let asked = stop(&director, &name, &invocation, patience).await;
            let is_heard = asked.is_ok();
            drop(sender.send(Sign::Asked(asked)).await);
            is_heard
        }));
    }

    /// Whether the Director itself ends the test at its timeout. Two who do so would leave it to chance how the test
    /// ends.
    fn director_keeps_time(&self) -> bool {
        let task = self.task.as_ref();
        task.is_some_and(|task| task.deadline_at.is_some())
    }

    /// The time is over: that of the test, or that for its end.
    fn late(&mut self) -> End {
        if self.talk == Talk::Stopping {
            let what = match self.is_heard {
                true => "the task was asked to stop, and is not over yet",
                false => "the Director does not hear that the task is to stop; it goes on",
            };
            self.live.say(self.come_back(what));
            return Some(self.cut);
        }
        if self.wishes.attached {
            self.live.say(self.come_back(OTHERS_RUN));
            return Some(Some(Cut::TimedOut));
        }
        self.stop(
            Cut::TimedOut,
            "the time of `--timeout` is over: it is asked to stop",
        );
        None
    }

    fn tick(&mut self) -> Result<End, Trouble> {
        let silent = self.last_sign.elapsed();
        let Some(reason) = &self.silence else {
            return Ok(None);
        };
        if silent >= self.wishes.patience.silence {
            self.live
                .say(self.come_back("the task goes on without being watched"));
            return Err(self.director.unreachable(reason.clone()));
        }
        if silent >= DOUBT && !self.is_told {
            self.is_told = true;
            self.live.say(format!(
                "no answer from the Director: {reason}; tried again"
            ));
        }
        Ok(None)
    }
}

/// Asks a task to stop, for so long as nobody hears it. Safe to say twice.
async fn stop(
    director: &Director,
    name: &str,
    invocation: &Invocation,
    patience: Duration,
) -> Result<(), Trouble> {
    let mut again = Again::within(patience);
    loop {
        let request = director.request(Method::POST, &format!("task/{}/stop", segment(name)))?;
        match director.send(invocation.sign(request)).await {
            Ok(_) => return Ok(()),
            Err(trouble) => again.after(trouble).await?,
        }
    }
}
