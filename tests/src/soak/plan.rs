//! What a soak does, drawn from a seed before it begins: the same seed gives the same tasks and kills.
//! Only how they meet in time differs from run to run.

use crate::stage::{small_task, with};
use atq_api_spec::task::Step;
use fastrand::Rng;
use serde_json::{Value, json};
use std::time::Duration;

/// Seconds that a master runs which somebody has to end.
const FOR_EVER: u32 = 3600;
/// An image that no registry has.
const MISSING: &str = "atq-soak-missing:1";
/// Kills are spread over this part of the tasks, so that the last ones meet tasks too.
const SPREAD: f64 = 0.8;

/// Everything that is done.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// In the order in which they are sent.
    pub tasks: Vec<Planned>,
    /// In the order in which they come.
    pub kills: Vec<Kill>,
}

/// A task.
#[derive(Debug, Clone, PartialEq)]
pub struct Planned {
    /// Its name, unique in the soak.
    pub name: String,
    /// Number of workers.
    pub workers: u32,
    /// Seconds that its master holds on.
    pub hold: u32,
    /// What is special about it.
    pub twist: Twist,
    /// Who gets a bundle of the task's own.
    pub bundle: Option<Role>,
    /// What somebody does to it.
    pub deed: Option<(Deed, When)>,
}

/// What is special about a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Twist {
    /// Nothing.
    None,
    /// It has a wait command.
    WaitCommand,
    /// It sleeps so many seconds before its master.
    Delay(u32),
    /// The image of this role is not there.
    MissingImage(Role),
    /// Its master exits with 3.
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

/// What somebody does to a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// POST stop.
    Stop,
    /// DELETE.
    Delete,
}

/// When somebody does it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// As soon as the task is seen in this step or a later one.
    In(Step),
    /// This long after it was accepted.
    After(Duration),
}

/// How a task has to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Want {
    /// `finished`; the master and each worker were started exactly once.
    Finished,
    /// `errored` with this code.
    Errored(&'static str),
    /// `stopped`.
    Stopped,
    /// The stop comes at about the time of the end: both are right.
    StoppedOrFinished,
    /// There is no such task any more.
    Gone,
}

/// A `kill -9` of the Director.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kill {
    /// So many tasks have ended before.
    pub ended: usize,
    /// What it waits for then.
    pub moment: Moment,
}

/// What a kill waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Some time.
    After(Duration),
    /// A task that enters this phase, and some time more.
    Entering(Phase, Duration),
    /// Some time after the start that follows the kill before, whether that is ready or not.
    Starting(Duration),
}

/// Where a task is, as seen from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Not begun.
    Waiting,
    /// Its bundle is on its way.
    Upload,
    /// It was accepted, and the Director says this of it.
    In(Step),
    /// A DELETE is under way.
    Delete,
    /// The soak has seen its end.
    Ended,
}

impl Plan {
    /// Draws a plan.
    pub fn draw(seed: u64, tasks: usize, kills: usize) -> Self {
        let mut rng = Rng::with_seed(seed);
        let cards = deal(&mut rng, &CARDS, tasks);
        let named = cards
            .into_iter()
            .enumerate()
            .map(|(number, card)| planned(&mut rng, format!("soak-{:03}", number + 1), card));
        let named = named.collect();
        let moments = moments(&mut rng, kills);
        let kills = moments
            .into_iter()
            .enumerate()
            .map(|(index, moment)| Kill {
                ended: (index as f64 * tasks as f64 * SPREAD / kills as f64) as usize,
                moment,
            })
            .collect();
        Self {
            tasks: named,
            kills,
        }
    }
}

/// One kind of task. A soak goes through shuffled decks of all kinds, so that none is missing.
#[derive(Debug, Clone, Copy)]
enum Card {
    Plain,
    WaitCommand,
    Delay,
    WorkersBundle,
    MastersBundle,
    MissingImage,
    ExitCode,
    Held(Deed),
    Race(Deed),
}

const CARDS: [Card; 14] = [
    Card::Plain,
    Card::Plain,
    Card::Plain,
    Card::WaitCommand,
    Card::Delay,
    Card::WorkersBundle,
    Card::MastersBundle,
    Card::MissingImage,
    Card::ExitCode,
    Card::Held(Deed::Stop),
    Card::Held(Deed::Stop),
    Card::Race(Deed::Stop),
    Card::Held(Deed::Delete),
    Card::Race(Deed::Delete),
];

/// Steps that a task which nobody ends passes.
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

/// `count` cards from shuffled decks.
fn deal<T: Copy>(rng: &mut Rng, deck: &[T], count: usize) -> Vec<T> {
    let mut dealt = Vec::with_capacity(count);
    while dealt.len() < count {
        let mut deck = deck.to_vec();
        rng.shuffle(&mut deck);
        dealt.extend(deck.into_iter().take(count - dealt.len()));
    }
    dealt
}

fn planned(rng: &mut Rng, name: String, card: Card) -> Planned {
    let mut task = Planned {
        name,
        workers: rng.u32(1..=4),
        hold: rng.u32(0..=3),
        twist: Twist::None,
        bundle: None,
        deed: None,
    };
    match card {
        Card::Plain => {}
        Card::WaitCommand => task.twist = Twist::WaitCommand,
        Card::Delay => task.twist = Twist::Delay(rng.u32(1..=2)),
        Card::WorkersBundle => task.bundle = Some(Role::Worker),
        Card::MastersBundle => task.bundle = Some(Role::Master),
        Card::MissingImage => {
            task.twist = Twist::MissingImage(*pick(rng, &[Role::Master, Role::Worker]));
        }
        Card::ExitCode => task.twist = Twist::ExitCode,
        Card::Held(deed) => {
            task.hold = FOR_EVER;
            task.bundle = rng.bool().then_some(Role::Worker);
            task.twist = *pick(rng, &[Twist::None, Twist::WaitCommand, Twist::Delay(1)]);
            let after = When::After(milliseconds(rng, 0, 9000));
            let step = When::In(*pick(rng, &HELD_STEPS));
            task.deed = Some((deed, *pick(rng, &[step, step, after])));
        }
        Card::Race(deed) => {
            task.hold = 0;
            let after = When::After(milliseconds(rng, 2000, 8000));
            let step = When::In(*pick(rng, &[Step::Running, Step::Collect, Step::Cleanup]));
            task.deed = Some((deed, *pick(rng, &[step, after])));
        }
    }
    task
}

fn moments(rng: &mut Rng, count: usize) -> Vec<Moment> {
    let phases = deal(rng, &KILL_PHASES, count);
    let draw = |(index, phase)| match rng.u32(0..20) {
        // There must be a start to kill.
        0..=2 if index > 0 => Moment::Starting(milliseconds(rng, 10, 600)),
        0..=8 => Moment::After(milliseconds(rng, 200, 4000)),
        // At once every other time: some phases are short.
        _ => Moment::Entering(phase, milliseconds(rng, 0, 300) * u32::from(rng.bool())),
    };
    phases.into_iter().enumerate().map(draw).collect()
}

fn pick<'a, T>(rng: &mut Rng, from: &'a [T]) -> &'a T {
    &from[rng.usize(0..from.len())]
}

fn milliseconds(rng: &mut Rng, from: u64, to: u64) -> Duration {
    Duration::from_millis(rng.u64(from..=to))
}

impl Planned {
    /// How it has to end.
    pub fn want(&self) -> Want {
        match (self.deed, self.twist) {
            (Some((Deed::Delete, _)), _) => Want::Gone,
            (Some(_), _) if self.hold == FOR_EVER => Want::Stopped,
            (Some(_), _) => Want::StoppedOrFinished,
            (None, Twist::MissingImage(Role::Worker)) => Want::Errored("worker_failed"),
            (None, Twist::MissingImage(Role::Master)) => Want::Errored("master_failed"),
            (None, Twist::ExitCode) => Want::Errored("master_exit"),
            (None, _) => Want::Finished,
        }
    }

    /// Its definition. `fileid` is there when the task has a bundle.
    pub fn payload(&self, fileid: Option<&str>) -> Value {
        let mut environment = vec![format!("HOLD={}", self.hold)];
        let mut task = small_task(&self.name, self.workers);
        match self.twist {
            Twist::None => {}
            Twist::WaitCommand => {
                let wait = json!({"command": "echo up", "expectedResult": "up", "timeout": 20});
                task = with(task, "/waitCommand", wait);
            }
            Twist::Delay(seconds) => task = with(task, "/delay", seconds),
            Twist::MissingImage(role) => {
                task = with(task, &format!("{}/image", role.pointer()), MISSING);
            }
            Twist::ExitCode => environment.push("EXIT=3".to_owned()),
        }
        if let (Some(role), Some(fileid)) = (self.bundle, fileid) {
            task = with(task, &format!("{}/fileid", role.pointer()), fileid);
        }
        with(task, "/master/environment", environment)
    }

    /// In a few words.
    pub fn words(&self) -> String {
        let mut words = vec![format!("{} workers", self.workers)];
        if self.twist != Twist::None {
            words.push(format!("{:?}", self.twist));
        }
        if let Some(role) = self.bundle {
            words.push(format!("bundle for {role:?}"));
        }
        if let Some((deed, when)) = self.deed {
            words.push(format!("{deed:?} {when:?}"));
        }
        words.join(", ")
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

impl Moment {
    /// Without the times, for counting.
    pub fn name(&self) -> String {
        match self {
            Self::After(_) => "at any time".to_owned(),
            Self::Entering(Phase::In(step), _) => format!("in {step:?}"),
            Self::Entering(phase, _) => format!("in {phase:?}"),
            Self::Starting(_) => "while it starts".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests;
