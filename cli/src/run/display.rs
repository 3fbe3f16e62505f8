//! The live display of a test: a status line on a terminal; elsewhere a line for each step and queue position, a line when all
//! workers run, and a line every ten seconds while the workers start or the test runs.

use super::throughput::Throughput;
use crate::out::{DIM, Out};
use crate::terminal;
use atq_api_spec::task::{LogEntry, Step, Task, TaskEvent};
use indicatif::{ProgressBar, ProgressStyle};
use std::fmt::Display;
use std::time::{Duration, Instant};

/// Interval of status lines without a terminal.
const STATUS_INTERVAL: Duration = Duration::from_secs(10);
/// Refresh interval of the spinner.
const SPINNER_INTERVAL: Duration = Duration::from_millis(100);

/// The known state of the test.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RunState {
    step: Option<Step>,
    /// Queue position, from 1.
    queue: Option<u32>,
    /// Running workers, and all workers of the test.
    workers: Option<(u32, u32)>,
    throughput: Option<Throughput>,
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

    /// The current step.
    pub fn step(&self) -> Option<Step> {
        self.step
    }

    /// The status text.
    pub fn text(&self) -> String {
        let Some(step) = self.step else {
            return "waits for the Director".to_owned();
        };
        let mut text = step_text(step).to_owned();
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

fn step_text(step: Step) -> &'static str {
    match step {
        Step::Queued => "waits to start",
        Step::Delivery => "delivers the bundles to the nodes",
        Step::Network => "creates the network",
        Step::Discovery => "starts the discovery",
        Step::Workers => "creates the workers",
        Step::Resolve => "waits for the workers",
        Step::Readiness => "waits until the workers accept connections",
        Step::WaitCommand => "runs the wait command",
        Step::Delay => "waits for the delay",
        Step::Master => "starts the master",
        Step::Running => "the test runs",
        Step::Collect => "collects logs and results",
        Step::Report => "computes figures and verdict",
        Step::Cleanup => "cleans up",
        Step::Done => "done",
    }
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

/// `1:05`, `1:00:05`.
pub fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match hours {
        0 => format!("{minutes}:{seconds:02}"),
        _ => format!("{hours}:{minutes:02}:{seconds:02}"),
    }
}

/// The output of the display.
#[derive(Debug)]
enum Sink {
    Bar(ProgressBar, Out),
    Lines(Out),
    #[cfg(test)]
    Captured(tokio::sync::mpsc::UnboundedSender<String>),
}

/// The live display of a test.
#[derive(Debug)]
pub struct LiveDisplay {
    sink: Sink,
    name: String,
    begun: Instant,
    shown: Headline,
    /// The shown number of running workers, while they start.
    shown_workers: Option<(u32, u32)>,
    shown_at: Instant,
}

impl LiveDisplay {
    /// A display for the test `name`.
    pub fn new(out: Out, name: &str) -> Self {
        let sink = match out.is_interactive {
            true => Sink::Bar(bar(), out),
            false => Sink::Lines(out),
        };
        Self::with(sink, name)
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
            begun: now,
            shown: Headline::default(),
            shown_workers: None,
            shown_at: now,
        }
    }

    /// Updates the display.
    pub fn show(&mut self, state: &RunState) {
        let now = Instant::now();
        let elapsed = clock(now.duration_since(self.begun));
        if let Sink::Bar(bar, _) = &self.sink {
            bar.set_message(format!("{} {elapsed} {}", self.name, state.text()));
            return;
        }
        let (headline, workers) = (state.headline(), state.starting_workers());
        let has_progress = state.step == Some(Step::Running) || self.shown_workers != workers;
        let is_due = has_progress && now - self.shown_at >= STATUS_INTERVAL;
        if self.shown != headline || is_due {
            (self.shown, self.shown_workers, self.shown_at) = (headline, workers, now);
            self.print(format!("{} {elapsed} {}", self.name, state.text()));
        }
    }

    /// Prints a message.
    pub fn print(&self, line: impl Display) {
        match &self.sink {
            Sink::Bar(bar, out) => bar.suspend(|| out.progress(line)),
            Sink::Lines(out) => out.progress(line),
            #[cfg(test)]
            Sink::Captured(sender) => drop(sender.send(line.to_string())),
        }
    }

    /// Prints a line of the master.
    pub fn line(&self, entry: &LogEntry) {
        let from = format!("{}.{}", entry.service, entry.replica);
        let text = match &self.sink {
            Sink::Bar(..) => terminal::sanitize(entry.text.trim_end_matches('\r')),
            _ => entry.text.as_str().into(),
        };
        self.print(format!("{DIM}{from} |{DIM:#} {text}"));
    }
}

impl Drop for LiveDisplay {
    /// Clears the status line, however watching ends.
    fn drop(&mut self) {
        if let Sink::Bar(bar, _) = &self.sink {
            bar.finish_and_clear();
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
    fn ordinals_and_times_are_readable() {
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
        for (seconds, expected) in [(0, "0:00"), (65, "1:05"), (3605, "1:00:05")] {
            assert_eq!(clock(Duration::from_secs(seconds)), expected);
        }
    }
}
