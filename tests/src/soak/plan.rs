//! The plan of a soak test, generated from a seed: the same seed gives the same tasks and kills. Only their timing
//! differs from run to run.

use crate::fixture::{small_task, with};
use atq_api_spec::task::Step;
use fastrand::Rng;
use serde_json::{Value, json};
use std::time::Duration;

/// `HOLD` in seconds of a master that runs until it is stopped.
const HOLD_UNTIL_STOPPED: u32 = 3600;
/// An image that does not exist.
const MISSING_IMAGE: &str = "atq-soak-missing:1";
/// Kills are spread over this fraction of the tasks, so that tasks are still in progress at the last ones.
const SPREAD: f64 = 0.8;

/// Tasks and kills of a soak test.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// In the order of submission.
    pub tasks: Vec<Planned>,
    /// In the order of execution.
    pub kills: Vec<Kill>,
}

/// A planned task.
#[derive(Debug, Clone, PartialEq)]
pub struct Planned {
    /// Its unique name.
    pub name: String,
    /// Number of workers.
    pub workers: u32,
    /// Seconds that its master runs.
    pub hold: u32,
    /// Its variant.
    pub variant: Variant,
    /// The role that gets a bundle, if any.
    pub bundle: Option<Role>,
    /// The action on it, if any, and its trigger.
    pub action: Option<(Action, Trigger)>,
}

/// Variant of a task's definition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    /// No change.
    None,
    /// It has a wait command.
    WaitCommand,
    /// It has a delay of this many seconds.
    Delay(u32),
    /// The image of this role does not exist.
    MissingImage(Role),
    /// Its master exits with code 3.
    ExitCode,
}

/// One of the two services of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The coordinator.
    Master,
    /// The generators of load.
    Worker,
}

/// An action on a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// POST stop.
    Stop,
    /// DELETE.
    Delete,
}

/// The moment of an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trigger {
    /// As soon as the task is in this step or a later one.
    In(Step),
    /// This long after the task was accepted.
    After(Duration),
}

/// The expected end of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExpectedEnd {
    /// `finished`, with exactly one start of the master and of each worker.
    Finished,
    /// `errored` with this code.
    Errored(&'static str),
    /// `stopped`.
    Stopped,
    /// `stopped` or `finished`: the stop races with the end of the master.
    StoppedOrFinished,
    /// The task does not exist any more.
    Gone,
}

/// A SIGKILL of the Director.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kill {
    /// Number of tasks that must have ended before.
    pub ended: usize,
    /// The event that it waits for then.
    pub trigger: KillTrigger,
}

/// The event that a kill waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KillTrigger {
    /// A delay.
    After(Duration),
    /// A delay after a task enters this phase.
    Entering(Phase, Duration),
    /// A delay after the restart that follows the previous kill, whether or not the Director is ready.
    Starting(Duration),
}

/// The observed phase of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Not started.
    Waiting,
    /// Its bundle is being uploaded.
    Upload,
    /// The Director reports this step.
    In(Step),
    /// A DELETE is in progress.
    Delete,
    /// Its scenario is complete.
    Ended,
}

impl Plan {
    /// Generates a plan.
    pub fn generate(seed: u64, tasks: usize, kills: usize) -> Self {
        let mut rng = Rng::with_seed(seed);
        let kinds = draw(&mut rng, &KINDS, tasks);
        let named = kinds
            .into_iter()
            .enumerate()
            .map(|(number, kind)| planned(&mut rng, format!("soak-{:03}", number + 1), kind));
        let named = named.collect();
        let triggers = triggers(&mut rng, kills);
        let kills = triggers
            .into_iter()
            .enumerate()
            .map(|(index, trigger)| Kill {
                ended: (index as f64 * tasks as f64 * SPREAD / kills as f64) as usize,
                trigger,
            })
            .collect();
        Self {
            tasks: named,
            kills,
        }
    }
}

/// One kind of task. The plan uses repeated shuffles of all kinds, so that none is missing.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Plain,
    WaitCommand,
    Delay,
    WorkersBundle,
    MastersBundle,
    MissingImage,
    ExitCode,
    Held(Action),
    Race(Action),
}

const KINDS: [Kind; 14] = [
    Kind::Plain,
    Kind::Plain,
    Kind::Plain,
    Kind::WaitCommand,
    Kind::Delay,
    Kind::WorkersBundle,
    Kind::MastersBundle,
    Kind::MissingImage,
    Kind::ExitCode,
    Kind::Held(Action::Stop),
    Kind::Held(Action::Stop),
    Kind::Race(Action::Stop),
    Kind::Held(Action::Delete),
    Kind::Race(Action::Delete),
];

/// Steps of a task that runs until it is stopped.
const HELD_STEPS: [Step; 8] = [
    Step::Queued,
    Step::Network,
    Step::Discovery,
    Step::Workers,
    Step::Resolve,
    Step::WaitCommand,
    Step::Master,
    Step::Running,
];

const KILL_PHASES: [Phase; 12] = [
    Phase::Upload,
    Phase::In(Step::Network),
    Phase::In(Step::Discovery),
    Phase::In(Step::Workers),
    Phase::In(Step::Resolve),
    Phase::In(Step::WaitCommand),
    Phase::In(Step::Delay),
    Phase::In(Step::Master),
    Phase::In(Step::Running),
    Phase::In(Step::Collect),
    Phase::In(Step::Cleanup),
    Phase::Delete,
];

/// `count` values from repeated shuffles of `values`.
fn draw<T: Copy>(rng: &mut Rng, values: &[T], count: usize) -> Vec<T> {
    let mut drawn = Vec::with_capacity(count);
    while drawn.len() < count {
        let mut values = values.to_vec();
        rng.shuffle(&mut values);
        drawn.extend(values.into_iter().take(count - drawn.len()));
    }
    drawn
}

fn planned(rng: &mut Rng, name: String, kind: Kind) -> Planned {
    let mut task = Planned {
        name,
        workers: rng.u32(1..=4),
        hold: rng.u32(0..=3),
        variant: Variant::None,
        bundle: None,
        action: None,
    };
    match kind {
        Kind::Plain => {}
        Kind::WaitCommand => task.variant = Variant::WaitCommand,
        Kind::Delay => task.variant = Variant::Delay(rng.u32(1..=2)),
        Kind::WorkersBundle => task.bundle = Some(Role::Worker),
        Kind::MastersBundle => task.bundle = Some(Role::Master),
        Kind::MissingImage => {
            task.variant = Variant::MissingImage(*pick(rng, &[Role::Master, Role::Worker]));
        }
        Kind::ExitCode => task.variant = Variant::ExitCode,
        Kind::Held(action) => {
            task.hold = HOLD_UNTIL_STOPPED;
            task.bundle = rng.bool().then_some(Role::Worker);
            task.variant = *pick(
                rng,
                &[Variant::None, Variant::WaitCommand, Variant::Delay(1)],
            );
            let after = Trigger::After(milliseconds(rng, 0, 9000));
            let step = Trigger::In(*pick(rng, &HELD_STEPS));
            task.action = Some((action, *pick(rng, &[step, step, after])));
        }
        Kind::Race(action) => {
            task.hold = 0;
            let after = Trigger::After(milliseconds(rng, 2000, 8000));
            let step = Trigger::In(*pick(rng, &[Step::Running, Step::Collect, Step::Cleanup]));
            task.action = Some((action, *pick(rng, &[step, after])));
        }
    }
    task
}

fn triggers(rng: &mut Rng, count: usize) -> Vec<KillTrigger> {
    let phases = draw(rng, &KILL_PHASES, count);
    let trigger = |(index, phase)| match rng.u32(0..20) {
        // The first kill has no preceding restart.
        0..=2 if index > 0 => KillTrigger::Starting(milliseconds(rng, 10, 600)),
        0..=8 => KillTrigger::After(milliseconds(rng, 200, 4000)),
        // Half of them without a delay, because some phases are short.
        _ => KillTrigger::Entering(phase, milliseconds(rng, 0, 300) * u32::from(rng.bool())),
    };
    phases.into_iter().enumerate().map(trigger).collect()
}

fn pick<'a, T>(rng: &mut Rng, from: &'a [T]) -> &'a T {
    &from[rng.usize(0..from.len())]
}

fn milliseconds(rng: &mut Rng, from: u64, to: u64) -> Duration {
    Duration::from_millis(rng.u64(from..=to))
}

impl Planned {
    /// Its expected end.
    pub fn expected_end(&self) -> ExpectedEnd {
        match (self.action, self.variant) {
            (Some((Action::Delete, _)), _) => ExpectedEnd::Gone,
            (Some(_), _) if self.hold == HOLD_UNTIL_STOPPED => ExpectedEnd::Stopped,
            (Some(_), _) => ExpectedEnd::StoppedOrFinished,
            (None, Variant::MissingImage(Role::Worker)) => ExpectedEnd::Errored("worker_failed"),
            (None, Variant::MissingImage(Role::Master)) => ExpectedEnd::Errored("master_failed"),
            (None, Variant::ExitCode) => ExpectedEnd::Errored("master_exit"),
            (None, _) => ExpectedEnd::Finished,
        }
    }

    /// Its definition. `fileid` is required when the task has a bundle.
    pub fn payload(&self, fileid: Option<&str>) -> Value {
        let mut environment = vec![format!("HOLD={}", self.hold)];
        let mut task = small_task(&self.name, self.workers);
        match self.variant {
            Variant::None => {}
            Variant::WaitCommand => {
                let wait = json!({"command": "echo up", "expectedResult": "up", "timeout": 20});
                task = with(task, "/waitCommand", wait);
            }
            Variant::Delay(seconds) => task = with(task, "/delay", seconds),
            Variant::MissingImage(role) => {
                task = with(task, &format!("{}/image", role.pointer()), MISSING_IMAGE);
            }
            Variant::ExitCode => environment.push("EXIT=3".to_owned()),
        }
        if let (Some(role), Some(fileid)) = (self.bundle, fileid) {
            task = with(task, &format!("{}/fileid", role.pointer()), fileid);
        }
        with(task, "/master/environment", environment)
    }

    /// A short description.
    pub fn summary(&self) -> String {
        let mut parts = vec![format!("{} workers", self.workers)];
        if self.variant != Variant::None {
            parts.push(format!("{:?}", self.variant));
        }
        if let Some(role) = self.bundle {
            parts.push(format!("bundle for {role:?}"));
        }
        if let Some((action, trigger)) = self.action {
            parts.push(format!("{action:?} {trigger:?}"));
        }
        parts.join(", ")
    }
}

impl Role {
    fn pointer(self) -> &'static str {
        match self {
            Self::Master => "/master",
            Self::Worker => "/worker",
        }
    }
}

impl KillTrigger {
    /// A name without times, for counting.
    pub fn name(&self) -> String {
        match self {
            Self::After(_) => "at any time".to_owned(),
            Self::Entering(Phase::In(step), _) => format!("in {step:?}"),
            Self::Entering(phase, _) => format!("in {phase:?}"),
            Self::Starting(_) => "during the start".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests;
