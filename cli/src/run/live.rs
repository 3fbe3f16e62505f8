//! What is shown while a test is watched: one line that changes on a terminal; elsewhere a line for each
//! step and place in the queue, and one each ten seconds while the test runs.

use super::load::Load;
use crate::out::{ASIDE, Out};
use crate::terminal;
use atq_api_spec::task::{LogEntry, Step, Task, TaskEvent};
use indicatif::{ProgressBar, ProgressStyle};
use std::fmt::Display;
use std::time::{Duration, Instant};

/// How often a summary is told where nobody watches.
const SUMMARY: Duration = Duration::from_secs(10);
/// How often the line changes by itself.
const TICK: Duration = Duration::from_millis(100);

/// What is known of the test.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct View {
    step: Option<Step>,
    /// Place in the queue, from 1.
    queue: Option<u32>,
    /// Workers that run, and that are wanted.
    workers: Option<(u32, u32)>,
    load: Option<Load>,
}

impl View {
    /// Takes a state in. Steps never go back: answers may overtake each other.
    pub fn task(&mut self, task: &Task) {
        self.step = self.step.max(Some(task.step));
        self.queue = task.queue_position;
        let running = task.workers.iter().filter(|one| one.state == "running");
        let running = u32::try_from(running.count()).unwrap_or(u32::MAX);
        self.workers = Some((running, task.worker.replicas));
    }

    /// Takes an event in.
    pub fn event(&mut self, event: &TaskEvent) {
        if event.event == "stepStarted"
            && let Ok(step) = serde_json::from_value(event.data["step"].clone())
        {
            self.step = self.step.max(Some(step));
        }
    }

    /// Takes a line of the master in.
    pub fn line(&mut self, line: &str) {
        let mut load = self.load.unwrap_or_default();
        if load.hear(line) {
            self.load = Some(load);
        }
    }

    /// The step.
    pub fn step(&self) -> Option<Step> {
        self.step
    }

    /// All of it in words.
    pub fn words(&self) -> String {
        let Some(step) = self.step else {
            return "waits for the Director".to_owned();
        };
        let mut words = step_words(step).to_owned();
        if let (Step::Queued, Some(place)) = (step, self.queue) {
            words += &format!(": {} in the queue", ordinal(place));
        }
        let is_starting = (Step::Workers..=Step::Readiness).contains(&step);
        if let (true, Some((running, wanted))) = (is_starting, self.workers) {
            words += &format!(": {running}/{wanted} workers run");
        }
        if step == Step::Running {
            if let Some((_, wanted)) = self.workers {
                let ending = if wanted == 1 { "" } else { "s" };
                words += &format!(": {wanted} worker{ending}");
            }
            if let Some(load) = &self.load {
                words += &format!(", {}", load.words());
            }
        }
        words
    }

    /// What was told already, and would not be told again.
    fn headline(&self) -> (Option<Step>, Option<u32>) {
        let queue = self.queue.filter(|_| self.step == Some(Step::Queued));
        (self.step, queue)
    }
}

fn step_words(step: Step) -> &'static str {
    match step {
        Step::Queued => "waits for its turn",
        Step::Delivery => "brings the bundles to the nodes",
        Step::Network => "creates the network",
        Step::Discovery => "starts the discovery",
        Step::Workers => "creates the workers",
        Step::Resolve => "waits for the workers",
        Step::Readiness => "waits until the workers accept connections",
        Step::WaitCommand => "runs the wait command",
        Step::Delay => "sleeps the delay",
        Step::Master => "starts the master",
        Step::Running => "the test runs",
        Step::Collect => "keeps logs and results",
        Step::Report => "works out figures and verdict",
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

/// Where it is shown.
#[derive(Debug)]
enum Pen {
    Bar(ProgressBar, Out),
    Lines(Out),
    #[cfg(test)]
    Kept(tokio::sync::mpsc::UnboundedSender<String>),
}

/// What is shown.
#[derive(Debug)]
pub struct Live {
    pen: Pen,
    name: String,
    begun: Instant,
    told: (Option<Step>, Option<u32>),
    told_at: Instant,
}

impl Live {
    /// Shows the test `name`.
    pub fn new(out: Out, name: &str) -> Self {
        let pen = match out.watched {
            true => Pen::Bar(bar(), out),
            false => Pen::Lines(out),
        };
        Self::with(pen, name)
    }

    /// Keeps all lines for a test.
    #[cfg(test)]
    pub fn kept(sender: tokio::sync::mpsc::UnboundedSender<String>, name: &str) -> Self {
        Self::with(Pen::Kept(sender), name)
    }

    fn with(pen: Pen, name: &str) -> Self {
        let now = Instant::now();
        Self {
            pen,
            name: name.to_owned(),
            begun: now,
            told: (None, None),
            told_at: now,
        }
    }

    /// Shows what is new.
    pub fn show(&mut self, view: &View) {
        let now = Instant::now();
        let elapsed = clock(now.duration_since(self.begun));
        if let Pen::Bar(bar, _) = &self.pen {
            bar.set_message(format!("{} {elapsed} {}", self.name, view.words()));
            return;
        }
        let is_new = self.told != view.headline();
        let is_due = view.step == Some(Step::Running) && now - self.told_at >= SUMMARY;
        if is_new || is_due {
            self.told = view.headline();
            self.told_at = now;
            self.say(format!("{} {elapsed} {}", self.name, view.words()));
        }
    }

    /// Says something beside.
    pub fn say(&self, line: impl Display) {
        match &self.pen {
            Pen::Bar(bar, out) => bar.suspend(|| out.progress(line)),
            Pen::Lines(out) => out.progress(line),
            #[cfg(test)]
            Pen::Kept(sender) => drop(sender.send(line.to_string())),
        }
    }

    /// Shows a line of the master.
    pub fn line(&self, entry: &LogEntry) {
        let from = format!("{}.{}", entry.service, entry.replica);
        let text = match &self.pen {
            Pen::Bar(..) => terminal::foreign(entry.text.trim_end_matches('\r')),
            _ => entry.text.as_str().into(),
        };
        self.say(format!("{ASIDE}{from} |{ASIDE:#} {text}"));
    }
}

impl Drop for Live {
    /// However watching ends, the terminal is left tidy.
    fn drop(&mut self) {
        if let Pen::Bar(bar, _) = &self.pen {
            bar.finish_and_clear();
        }
    }
}

fn bar() -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner} {wide_msg}");
    let bar = ProgressBar::new_spinner();
    bar.enable_steady_tick(TICK);
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
    fn each_step_has_its_words() {
        let mut view = View::default();
        assert_eq!(view.words(), "waits for the Director");
        view.task(&Task {
            step: Step::Queued,
            queue_position: Some(2),
            ..task("t")
        });
        assert_eq!(view.words(), "waits for its turn: 2nd in the queue");
        view.event(&event(4, Step::Resolve));
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
        view.task(&resolving);
        assert_eq!(view.words(), "waits for the workers: 2/5 workers run");
        view.event(&event(6, Step::Running));
        assert_eq!(view.words(), "the test runs: 5 workers");
        view.line("hello");
        view.line("summary =    300 in   7.2s =   41.8/s Avg: 3 Min: 1 Max: 113 Err: 3 (1.00%)");
        assert_eq!(
            view.words(),
            "the test runs: 5 workers, 41.8/s, 3 of 300 failed (1.00 %)"
        );
        view.task(&resolving);
        assert_eq!(
            view.step(),
            Some(Step::Running),
            "an old answer changes nothing"
        );
    }

    #[test]
    fn numbers_are_written_as_people_do() {
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
