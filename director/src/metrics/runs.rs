//! Events of runs: steps, outcomes, verdicts. And the state of a task, as the metrics show it.

use super::{Histograms, Label};
use atq_store::EventObserver;
use atq_task::event::{Event, Record};
use atq_task::state::{Outcome, State, Step};
use atq_task::verdict::Verdict;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use std::time::Duration;

/// Upper bounds of the histogram in seconds: from the creation of a network to a test of a day.
const BUCKETS: [f64; 13] = [
    0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0, 86_400.0,
];

/// The counters of events. Cheap to clone; clones count together.
#[derive(Debug, Clone)]
pub struct RunMetrics {
    accepted: Counter,
    ended: Family<[Label; 1], Counter>,
    judged: Family<[Label; 1], Counter>,
    steps: Histograms<[Label; 1]>,
}

impl Default for RunMetrics {
    /// All counters begin at zero, so that the first event is an increase.
    fn default() -> Self {
        let metrics = Self {
            accepted: Counter::default(),
            ended: Family::default(),
            judged: Family::default(),
            steps: Family::new_with_constructor(|| Histogram::new(BUCKETS)),
        };
        for outcome in [Outcome::Finished, Outcome::Errored, Outcome::Stopped] {
            drop(metrics.ended.get_or_create(&[outcome_label(outcome)]));
        }
        for verdict in [Verdict::Pass, Verdict::Fail, Verdict::Invalid] {
            drop(metrics.judged.get_or_create(&[verdict_label(verdict)]));
        }
        metrics
    }
}

impl RunMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register("runs_accepted", "Accepted runs", self.accepted.clone());
        registry.register("runs_ended", "Ended runs by outcome", self.ended.clone());
        registry.register("runs_judged", "Verdicts on runs", self.judged.clone());
        registry.register_with_unit(
            "run_step_duration",
            "Duration of the steps of runs",
            Unit::Seconds,
            self.steps.clone(),
        );
    }
}

impl EventObserver for RunMetrics {
    fn recorded(&self, record: &Record, state: &State) {
        match &record.event {
            Event::Queued { .. } => _ = self.accepted.inc(),
            Event::StepStarted { step } => {
                // Steps only move forward: the latest one before this has just ended.
                if let Some((ended, millis)) = state.timings.range(..*step).next_back() {
                    let histogram = self.steps.get_or_create(&[("step", ended.as_str())]);
                    histogram.observe(Duration::from_millis(*millis).as_secs_f64());
                }
            }
            // Each of these fixes the outcome, and is the only one of its run.
            Event::MasterEnded { .. }
            | Event::Failed { .. }
            | Event::Stopped
            | Event::StopConditionMet { .. } => {
                if let Some(outcome) = state.outcome {
                    self.ended.get_or_create(&[outcome_label(outcome)]).inc();
                }
            }
            Event::Reported { judgement, .. } => {
                let verdict = verdict_label(judgement.verdict);
                self.judged.get_or_create(&[verdict]).inc();
            }
            _ => {}
        }
    }
}

fn outcome_label(outcome: Outcome) -> Label {
    let value = match outcome {
        Outcome::Finished => "finished",
        Outcome::Errored => "errored",
        Outcome::Stopped => "stopped",
    };
    ("outcome", value)
}

fn verdict_label(verdict: Verdict) -> Label {
    let value = match verdict {
        Verdict::Pass => "pass",
        Verdict::Fail => "fail",
        Verdict::Invalid => "invalid",
    };
    ("verdict", value)
}

/// The state of a task in the metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum TaskState {
    /// Waits in the queue.
    Queued,
    /// Is prepared: bundles, network, workers, readiness, the start of the master.
    Preparing,
    /// The test runs.
    Running,
    /// Has an outcome; its evidence is collected and its objects are removed.
    Ending,
    /// Is complete with this outcome.
    Finished,
    /// See [`Outcome::Errored`].
    Errored,
    /// See [`Outcome::Stopped`].
    Stopped,
}

impl TaskState {
    pub(super) const ALL: [Self; 7] = [
        Self::Queued,
        Self::Preparing,
        Self::Running,
        Self::Ending,
        Self::Finished,
        Self::Errored,
        Self::Stopped,
    ];

    pub(super) fn of(state: &State) -> Self {
        match (state.outcome, state.step) {
            (Some(Outcome::Finished), Step::Done) => Self::Finished,
            (Some(Outcome::Errored), Step::Done) => Self::Errored,
            (Some(Outcome::Stopped), Step::Done) => Self::Stopped,
            (Some(_), _) => Self::Ending,
            (None, Step::Queued) => Self::Queued,
            (None, Step::Running) => Self::Running,
            // The machine enters no later step without an outcome.
            (None, _) => Self::Preparing,
        }
    }

    pub(super) fn label(self) -> Label {
        let value = match self {
            Self::Queued => "queued",
            Self::Preparing => "preparing",
            Self::Running => "running",
            Self::Ending => "ending",
            Self::Finished => "finished",
            Self::Errored => "errored",
            Self::Stopped => "stopped",
        };
        ("state", value)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use atq_task::event::{Failure, FailureCode};
    use atq_task::timestamp::Timestamp;
    use prometheus_client::encoding::text;

    fn state(step: Step, outcome: Option<Outcome>) -> State {
        State {
            step,
            outcome,
            ..State::default()
        }
    }

    #[test]
    fn every_state_of_a_run_is_one_of_the_states() {
        use TaskState::{Ending, Errored, Finished, Preparing, Queued, Running, Stopped};
        for step in Step::ALL {
            let without_outcome = match step {
                Step::Queued => Queued,
                Step::Running => Running,
                _ => Preparing,
            };
            assert_eq!(TaskState::of(&state(step, None)), without_outcome);
            for (outcome, done) in [
                (Outcome::Finished, Finished),
                (Outcome::Errored, Errored),
                (Outcome::Stopped, Stopped),
            ] {
                let expected = if step == Step::Done { done } else { Ending };
                assert_eq!(TaskState::of(&state(step, Some(outcome))), expected);
            }
        }
    }

    #[test]
    fn the_states_are_in_the_order_of_their_index() {
        for (index, state) in TaskState::ALL.into_iter().enumerate() {
            assert_eq!(state as usize, index);
        }
    }

    #[test]
    fn a_skipped_step_is_not_measured_and_the_last_one_is() {
        let metrics = RunMetrics::default();
        let record = |event| Record {
            seq: 2,
            at: Timestamp(9_000),
            by: None,
            event,
        };
        let step = Step::Collect;
        let mut after = state(step, Some(Outcome::Errored));
        after.timings = [(Step::Queued, 500), (Step::Network, 2_000)].into();
        metrics.recorded(&record(Event::StepStarted { step }), &after);
        let mut registry = Registry::default();
        metrics.register(&mut registry);
        let mut output = String::new();
        text::encode(&mut output, &registry).unwrap();
        let is_count = |line: &&str| line.starts_with("run_step_duration_seconds_count");
        let counts: Vec<&str> = output.lines().filter(is_count).collect();
        assert_eq!(
            counts,
            ["run_step_duration_seconds_count{step=\"network\"} 1"]
        );
    }

    #[test]
    fn an_outcome_is_counted_once() {
        let metrics = RunMetrics::default();
        let failure = Failure {
            step: Step::Workers,
            code: FailureCode::Internal,
            message: String::new(),
            hint: String::new(),
        };
        let ended = state(Step::Workers, Some(Outcome::Errored));
        for event in [
            Event::Failed { failure },
            Event::StepStarted {
                step: Step::Collect,
            },
            Event::Forced,
        ] {
            let record = Record {
                seq: 2,
                at: Timestamp(0),
                by: None,
                event,
            };
            metrics.recorded(&record, &ended);
        }
        let count = |outcome| metrics.ended.get_or_create(&[outcome_label(outcome)]).get();
        assert_eq!(count(Outcome::Errored), 1);
        assert_eq!(count(Outcome::Finished) + count(Outcome::Stopped), 0);
    }
}
