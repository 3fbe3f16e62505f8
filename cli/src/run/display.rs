//! The live display of a test. On a terminal: a status line, and while the test runs the block of its figures. Elsewhere: a
//! line for each step and queue position, a line when all workers run, and a line every ten seconds while the workers start
//! or the test runs.

use super::console::block::Block;
use super::console::numbers::clock;
use super::console::{self, MIN_COLUMNS, View};
use super::step::description;
use super::throughput::Throughput;
use crate::out::{DIM, Out};
use crate::terminal::{self, Size};
use atq_api_spec::live::LiveTask;
use atq_api_spec::task::{LogEntry, Step, Task, TaskEvent};
use indicatif::{ProgressBar, ProgressStyle};
use std::fmt::Display;
use std::time::{Duration, Instant};

/// Interval of status lines without a terminal.
const STATUS_INTERVAL: Duration = Duration::from_secs(10);
/// Refresh interval of the spinner.
const SPINNER_INTERVAL: Duration = Duration::from_millis(100);
/// Maximum number of messages above the block that stay visible: the block leaves this number of rows to them.
const VISIBLE_MESSAGES: usize = 5;
/// Shortest time between two drawings of the block.
const FRAME: Duration = Duration::from_millis(100);
/// After this time without figures of the Director, the log of the master is searched for some.
const FIGURES_WITHIN: Duration = Duration::from_secs(10);

/// The known state of the test.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RunState {
    step: Option<Step>,
    /// Queue position, from 1.
    queue: Option<u32>,
    /// Running workers, and all workers of the test.
    workers: Option<(u32, u32)>,
    throughput: Option<Throughput>,
    /// The latest figures, and the time of their arrival.
    live: Option<(Box<LiveTask>, Instant)>,
    has_no_figures: bool,
    is_reconnecting: bool,
}

impl RunState {
    /// Updates from a task. The step only advances, because responses may arrive out of order.
    pub fn task(&mut self, task: &Task) {
        self.step = self.step.max(Some(task.step));
        self.queue = task.queue_position;
        let running = task.workers.iter().filter(|one| one.state == "running");
        let running = u32::try_from(running.count()).unwrap_or(u32::MAX);
        self.workers = Some((running, task.worker.replicas));
    }

    /// Updates from an event.
    pub fn event(&mut self, event: &TaskEvent) {
        if event.event == "stepStarted"
            && let Ok(step) = serde_json::from_value(event.data["step"].clone())
        {
            self.step = self.step.max(Some(step));
        }
    }

    /// Updates from a line of the master.
    pub fn line(&mut self, line: &str) {
        let mut throughput = self.throughput.unwrap_or_default();
        if throughput.update(line) {
            self.throughput = Some(throughput);
        }
    }

    /// Updates from the figures of the Director.
    pub fn figures(&mut self, live: Box<LiveTask>) {
        self.step = self.step.max(Some(live.step));
        self.live = Some((live, Instant::now()));
        self.has_no_figures = false;
        self.is_reconnecting = false;
    }

    /// The connection to the Director is lost; the last figures remain.
    pub fn reconnecting(&mut self) {
        self.is_reconnecting = true;
        self.has_no_figures |= self.live.is_none();
    }

    /// The Director has no figures.
    pub fn no_figures(&mut self) {
        self.has_no_figures = true;
        self.live = None;
    }

    /// Whether throughput and errors must be taken from the log of the master: the test runs, and the Director has no
    /// figures of it.
    pub fn needs_log(&self) -> bool {
        let is_late = self.live.as_ref().is_some_and(|(live, _)| {
            let elapsed = Duration::from_millis(live.elapsed_ms.unwrap_or(0));
            let figures = live.figures.as_ref();
            let has_samples = figures.is_some_and(|figures| figures.total.samples > 0);
            // Files that are read at the end only have no figures either.
            let is_unread = !has_samples && live.problem.is_some();
            (figures.is_none() || is_unread) && elapsed >= FIGURES_WITHIN
        });
        self.step >= Some(Step::Running) && (self.has_no_figures || is_late)
    }

    /// What the console shows, once the test runs.
    fn view(&self, now: Instant) -> Option<View<'_>> {
        let step = self
            .step
            .filter(|step| (Step::Running..Step::Done).contains(step))?;
        let (live, at) = self.live.as_ref()?;
        Some(View {
            live,
            step,
            age: now.saturating_duration_since(*at),
            is_reconnecting: self.is_reconnecting,
            throughput: self.throughput.as_ref(),
        })
    }

    /// The status in one line, with the figures while the test runs.
    fn line_text(&self, now: Instant) -> String {
        match self.view(now) {
            Some(view) if view.step == Step::Running => console::plain(&view),
            _ => self.text(),
        }
    }

    /// The current step.
    pub fn step(&self) -> Option<Step> {
        self.step
    }

    /// The status text.
    pub fn text(&self) -> String {
        let Some(step) = self.step else {
            return "waits for the Director".to_owned();
        };
        let mut text = description(step).to_owned();
        if let (Step::Queued, Some(position)) = (step, self.queue) {
            text += &format!(": {} in the queue", ordinal(position));
        }
        if let Some((running, wanted)) = self.starting_workers() {
            text += &format!(": {running}/{wanted} workers running");
        }
        if step == Step::Running {
            if let Some((_, wanted)) = self.workers {
                let ending = if wanted == 1 { "" } else { "s" };
                text += &format!(": {wanted} worker{ending}");
            }
            if let Some(throughput) = &self.throughput {
                text += &format!(", {}", throughput.text());
            }
        }
        text
    }

    /// Running workers and all workers, while they start.
    fn starting_workers(&self) -> Option<(u32, u32)> {
        let is_starting = |step| (Step::Workers..=Step::Readiness).contains(&step);
        self.workers.filter(|_| self.step.is_some_and(is_starting))
    }

    /// The part of the state whose changes are always shown.
    fn headline(&self) -> Headline {
        let has_all = |(running, wanted): (u32, u32)| running >= wanted;
        Headline {
            step: self.step,
            queue: self.queue.filter(|_| self.step == Some(Step::Queued)),
            all_run: self.starting_workers().is_some_and(has_all),
        }
    }
}

/// The part of the state whose changes are always shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Headline {
    step: Option<Step>,
    queue: Option<u32>,
    /// Whether all workers run, while they start.
    all_run: bool,
}

/// 1st, 2nd, 3rd, 4th, 11th, 21st.
fn ordinal(number: u32) -> String {
    let ending = match (number % 100, number % 10) {
        (11..=13, _) => "th",
        (_, 1) => "st",
        (_, 2) => "nd",
        (_, 3) => "rd",
        _ => "th",
    };
    format!("{number}{ending}")
}

/// The output of the display.
#[derive(Debug)]
enum Sink {
    Terminal(Terminal),
    Lines(Out),
    /// Messages only.
    Quiet(Out),
    #[cfg(test)]
    Captured(tokio::sync::mpsc::UnboundedSender<String>),
}

/// The changing lines at the bottom of a terminal.
#[derive(Debug)]
struct Terminal {
    out: Out,
    shown: Shown,
    /// Number of messages so far, at most [`VISIBLE_MESSAGES`].
    messages: usize,
    /// Whether nothing is shown, because the user is asked something.
    is_paused: bool,
}

/// What is at the bottom of the terminal.
#[derive(Debug)]
enum Shown {
    Nothing,
    Line(ProgressBar),
    Block(Block, Instant),
}

impl Terminal {
    /// Shows a status line.
    fn line(&mut self, text: String) {
        if self.is_paused {
            return;
        }
        if let Shown::Line(bar) = &self.shown {
            bar.set_message(text);
            return;
        }
        self.clear();
        let bar = bar();
        bar.set_message(text);
        self.shown = Shown::Line(bar);
    }

    /// Shows the block of figures.
    fn block(&mut self, view: &View<'_>, size: Size, with_labels: bool, now: Instant) {
        if self.is_paused {
            return;
        }
        if let Shown::Block(_, drawn_at) = &self.shown
            && now.saturating_duration_since(*drawn_at) < FRAME
        {
            return;
        }
        let mut block = match std::mem::replace(&mut self.shown, Shown::Nothing) {
            Shown::Block(block, ..) => block,
            Shown::Line(bar) => {
                bar.finish_and_clear();
                Block::new()
            }
            Shown::Nothing => Block::new(),
        };
        let size = Size {
            rows: size.rows - self.messages.min(size.rows / 4),
            ..size
        };
        let lines = console::lines(view, size, with_labels);
        block.draw(lines, size.columns);
        self.shown = Shown::Block(block, now);
    }

    /// Prints a line above what is shown.
    fn print(&mut self, line: impl Display) {
        self.messages = VISIBLE_MESSAGES.min(self.messages + 1);
        match &mut self.shown {
            Shown::Line(bar) => bar.suspend(|| self.out.progress(line)),
            // Drawn again by the next update.
            Shown::Block(..) => {
                self.clear();
                self.out.progress(line);
            }
            Shown::Nothing => self.out.progress(line),
        }
    }

    fn clear(&mut self) {
        match std::mem::replace(&mut self.shown, Shown::Nothing) {
            Shown::Nothing => {}
            Shown::Line(bar) => bar.finish_and_clear(),
            Shown::Block(mut block, ..) => block.clear(columns()),
        }
    }
}

/// The size of the terminal of standard error; `None` if it is unknown, or if the cursor cannot be moved.
fn size() -> Option<Size> {
    let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    Size::of(std::io::stderr()).filter(|_| !is_dumb)
}

/// The number of columns of the terminal of standard error.
fn columns() -> usize {
    size().map_or(usize::MAX, |size| size.columns)
}

/// The live display of a test.
#[derive(Debug)]
pub struct LiveDisplay {
    sink: Sink,
    name: String,
    /// Whether the block has a table of labels.
    with_labels: bool,
    begun: Instant,
    shown: Headline,
    /// The shown number of running workers, while they start.
    shown_workers: Option<(u32, u32)>,
    shown_at: Instant,
}

impl LiveDisplay {
    /// A display for the test `name`, optionally with a table of its labels.
    pub fn new(out: Out, name: &str, with_labels: bool) -> Self {
        let sink = match out.is_interactive {
            true => Sink::Terminal(Terminal {
                out,
                shown: Shown::Nothing,
                messages: 0,
                is_paused: false,
            }),
            false => Sink::Lines(out),
        };
        let mut display = Self::with(sink, name);
        display.with_labels = with_labels;
        display
    }

    /// A display of messages only.
    pub fn quiet(out: Out, name: &str) -> Self {
        Self::with(Sink::Quiet(out), name)
    }

    /// Sends all lines to a unit test.
    #[cfg(test)]
    pub fn captured(sender: tokio::sync::mpsc::UnboundedSender<String>, name: &str) -> Self {
        Self::with(Sink::Captured(sender), name)
    }

    fn with(sink: Sink, name: &str) -> Self {
        let now = Instant::now();
        Self {
            sink,
            name: name.to_owned(),
            with_labels: false,
            begun: now,
            shown: Headline::default(),
            shown_workers: None,
            shown_at: now,
        }
    }

    /// Updates the display.
    pub fn show(&mut self, state: &RunState) {
        let now = Instant::now();
        let elapsed = clock(now.saturating_duration_since(self.begun));
        let view = state.view(now);
        match &mut self.sink {
            Sink::Quiet(_) => return,
            Sink::Terminal(terminal) => match (&view, size()) {
                (Some(view), Some(size)) if size.columns >= MIN_COLUMNS => {
                    terminal.block(view, size, self.with_labels, now);
                    self.shown = state.headline();
                    return;
                }
                _ => {
                    terminal.line(format!("{} {elapsed} {}", self.name, state.text()));
                    // A status line is too short for the figures.
                    if view.is_none_or(|view| view.step != Step::Running) {
                        return;
                    }
                }
            },
            _ => {}
        }
        let (headline, workers) = (state.headline(), state.starting_workers());
        let has_progress = state.step == Some(Step::Running) || self.shown_workers != workers;
        let is_due = has_progress && now - self.shown_at >= STATUS_INTERVAL;
        if self.shown != headline || is_due {
            (self.shown, self.shown_workers, self.shown_at) = (headline, workers, now);
            self.print(format!("{} {elapsed} {}", self.name, state.line_text(now)));
        }
    }

    /// Removes the changing lines until [`LiveDisplay::resume`], while the user is asked something: the answer would be
    /// typed into them.
    pub fn pause(&mut self) {
        if let Sink::Terminal(terminal) = &mut self.sink {
            terminal.clear();
            terminal.is_paused = true;
        }
    }

    /// Shows changing lines again.
    pub fn resume(&mut self) {
        if let Sink::Terminal(terminal) = &mut self.sink {
            terminal.is_paused = false;
        }
    }

    /// Prints a message.
    pub fn print(&mut self, line: impl Display) {
        match &mut self.sink {
            Sink::Terminal(terminal) => terminal.print(line),
            Sink::Lines(out) | Sink::Quiet(out) => out.progress(line),
            #[cfg(test)]
            Sink::Captured(sender) => drop(sender.send(line.to_string())),
        }
    }

    /// Prints a line of the master.
    pub fn line(&mut self, entry: &LogEntry) {
        let from = format!("{}.{}", entry.service, entry.replica);
        let text = match &self.sink {
            Sink::Terminal(_) => terminal::sanitize(entry.text.trim_end_matches('\r')),
            _ => entry.text.as_str().into(),
        };
        self.print(format!("{DIM}{from} |{DIM:#} {text}"));
    }
}

impl Drop for LiveDisplay {
    /// Clears the changing lines, however watching ends.
    fn drop(&mut self) {
        if let Sink::Terminal(terminal) = &mut self.sink {
            terminal.clear();
        }
    }
}

fn bar() -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner} {wide_msg}");
    let bar = ProgressBar::new_spinner();
    bar.enable_steady_tick(SPINNER_INTERVAL);
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::run::tests::{event, task};
    use atq_api_spec::task::WorkerState;

    fn worker(replica: u32, state: &str) -> WorkerState {
        WorkerState {
            replica,
            node: None,
            address: None,
            state: state.to_owned(),
            exit_code: None,
            error: None,
        }
    }

    #[test]
    fn each_step_has_a_status_text() {
        let mut state = RunState::default();
        assert_eq!(state.text(), "waits for the Director");
        state.task(&Task {
            step: Step::Queued,
            queue_position: Some(2),
            ..task("t")
        });
        assert_eq!(state.text(), "waits to start: 2nd in the queue");
        state.event(&event(4, Step::Resolve));
        let mut resolving = Task {
            step: Step::Resolve,
            ..task("t")
        };
        resolving.worker.replicas = 5;
        resolving.workers = vec![
            worker(1, "running"),
            worker(2, "running"),
            worker(3, "preparing"),
        ];
        state.task(&resolving);
        assert_eq!(state.text(), "waits for the workers: 2/5 workers running");
        state.event(&event(6, Step::Running));
        assert_eq!(state.text(), "the test runs: 5 workers");
        state.line("hello");
        state.line("summary =    300 in   7.2s =   41.8/s Avg: 3 Min: 1 Max: 113 Err: 3 (1.00%)");
        assert_eq!(
            state.text(),
            "the test runs: 5 workers, 41.8/s, 3 of 300 failed (1.00 %)"
        );
        state.task(&resolving);
        assert_eq!(
            state.step(),
            Some(Step::Running),
            "an outdated response changes nothing"
        );
    }

    fn live(elapsed: u64) -> Box<LiveTask> {
        let live = serde_json::json!({
            "task": "t", "status": "started", "step": "running", "elapsedMs": elapsed, "maxDurationMs": 60_000,
            "workers": {"wanted": 5, "running": 5}, "isFinal": false,
        });
        serde_json::from_value(live).unwrap()
    }

    #[test]
    fn a_line_with_the_number_of_workers_is_repeated_when_all_run() {
        let (sender, mut lines) = tokio::sync::mpsc::unbounded_channel();
        let mut display = LiveDisplay::captured(sender, "load");
        let mut state = RunState::default();
        let mut starting = Task {
            step: Step::Readiness,
            ..task("t")
        };
        starting.worker.replicas = 3;
        for running in [0, 1, 2, 3, 3, 3] {
            starting.workers = (1..=running).map(|one| worker(one, "running")).collect();
            state.task(&starting);
            display.show(&state);
        }
        drop(display);
        let mut shown = Vec::new();
        while let Some(line) = lines.blocking_recv() {
            shown.push(line.replace("load 0:00 waits until the workers accept connections: ", ""));
        }
        assert_eq!(shown, ["0/3 workers running", "3/3 workers running"]);
    }

    #[test]
    fn the_log_is_needed_while_a_running_test_has_no_figures() {
        let now = Instant::now();
        let mut state = RunState::default();
        state.no_figures();
        assert!(!state.needs_log(), "the test does not run");
        state.event(&event(4, Step::Running));
        assert!(state.needs_log());
        state.figures(live(5000));
        assert!(!state.needs_log());
        state.reconnecting();
        assert!(!state.needs_log());
        state.figures(live(15_000));
        assert!(state.needs_log(), "there are none after a while");
        state.line("summary =    300 in   7.2s =   41.8/s Avg: 3 Min: 1 Max: 113 Err: 3 (1.00%)");
        assert_eq!(
            state.line_text(now),
            "the test runs: 0:15 of at most 1:00, 5/5 workers; 41.8/s, 3 of 300 failed (1.00 %)"
        );
        let mut with_figures = live(16_000);
        with_figures.figures = Some(Default::default());
        state.figures(with_figures);
        assert!(!state.needs_log());
    }

    #[test]
    fn the_figures_are_shown_only_while_the_test_runs() {
        let now = Instant::now();
        let mut state = RunState::default();
        let mut queued = live(0);
        queued.step = Step::Queued;
        state.figures(queued);
        assert_eq!(state.line_text(now), "waits to start");
        state.event(&event(6, Step::Running));
        assert!(state.line_text(now).ends_with("no figures yet"));
        state.event(&event(7, Step::Collect));
        assert_eq!(state.line_text(now), "collects logs and results");
        assert!(state.view(now).is_some(), "the block stays");
        state.event(&event(9, Step::Done));
        assert!(state.view(now).is_none());
    }

    #[test]
    fn ordinals_are_readable() {
        for (number, expected) in [
            (1, "1st"),
            (2, "2nd"),
            (3, "3rd"),
            (4, "4th"),
            (11, "11th"),
            (12, "12th"),
            (13, "13th"),
            (21, "21st"),
            (111, "111th"),
        ] {
            assert_eq!(ordinal(number), expected);
        }
    }
}
