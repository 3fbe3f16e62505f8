//! The result: a line for each worker, and the exit code. Pure.

use std::time::Duration;

use super::worker_state::{Outcome, WorkerState};
use crate::clock::{MasterTime, Skew};
use crate::exit::{Code, Failure};
use crate::output::duration;
use crate::protocol::DEFAULT_PORT;

/// Difference of wall clocks from which on a worker is named.
const WALL_TOLERANCE: Duration = Duration::from_millis(100);

/// A line for each worker.
pub fn lines(workers: &[WorkerState]) -> Vec<String> {
    workers.iter().map(line).collect()
}

/// The line of one worker.
pub fn line(worker: &WorkerState) -> String {
    format!("{}: {}", worker.label(DEFAULT_PORT), end(worker))
}

fn end(worker: &WorkerState) -> String {
    match &worker.outcome {
        None if worker.stage == super::worker_state::Stage::NotConnected => {
            let why = worker.unreachable.as_deref().unwrap_or("no answer");
            format!("did not connect: {why}")
        }
        None => "did not report an end".to_owned(),
        Some(Outcome::Refused(why)) => format!("refused: {why}"),
        Some(Outcome::Late(by)) => format!("received the start {} late", duration(*by)),
        Some(Outcome::NotStarted(_, why)) => why.clone(),
        Some(Outcome::Cancelled) => "not started".to_owned(),
        Some(Outcome::Lost(why)) => format!("lost: {why}"),
        Some(Outcome::Ended {
            end,
            time,
            interrupted,
        }) => {
            let note = if *interrupted {
                ", after a signal to the worker"
            } else {
                ""
            };
            format!("{end} after {}{note}", duration(*time))
        }
    }
}

/// The exit code: that of the failure, else the worst of the workers.
pub fn code(failure: Option<&Failure>, workers: &[WorkerState]) -> Code {
    let worst = || {
        workers
            .iter()
            .map(worker_code)
            .max()
            .unwrap_or(Code::SUCCESS)
    };
    failure.map_or_else(worst, |failure| failure.code)
}

/// The exit code that one worker stands for.
pub fn worker_code(worker: &WorkerState) -> Code {
    match &worker.outcome {
        None | Some(Outcome::Lost(_)) => Code::LOST,
        Some(Outcome::Refused(_) | Outcome::Cancelled) => Code::REFUSED,
        Some(Outcome::Late(_)) => Code::LATE,
        // A worker without a tool is no success, whatever it reports.
        Some(Outcome::NotStarted(code, _)) => (*code).max(Code::NOT_EXECUTABLE),
        Some(Outcome::Ended {
            end,
            interrupted: false,
            ..
        }) => end.code(),
        // A run that was cut short is no success, whatever the tool says.
        Some(Outcome::Ended {
            end,
            interrupted: true,
            ..
        }) => end.code().max(Code::of_signal(15)),
    }
}

/// How far apart the tools started.
pub fn skew(workers: &[WorkerState]) -> Skew {
    let start = |worker: &WorkerState| Some((worker.started?, worker.offset?.uncertainty));
    let starts: Vec<(MasterTime, Duration)> = workers.iter().filter_map(start).collect();
    Skew::of(&starts)
}

/// Workers whose wall clock differs: it is in the times of their result files.
pub fn wall_clock_warnings(workers: &[WorkerState]) -> Vec<String> {
    let warning = |worker: &WorkerState| {
        let difference = worker.offset?.wall_difference;
        let by = Duration::from_nanos(difference.unsigned_abs());
        let direction = if difference > 0 { "ahead of" } else { "behind" };
        (by > WALL_TOLERANCE).then(|| {
            format!(
                "{}: its wall clock is {} {direction} the master's; times in its result files differ by that",
                worker.label(DEFAULT_PORT),
                duration(by)
            )
        })
    };
    workers.iter().filter_map(warning).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::exit::ProcessEnd;
    use proptest::prelude::*;

    fn worker(number: u32, outcome: Outcome) -> WorkerState {
        let mut worker = WorkerState::new(number, format!("10.0.3.{number}:7700").parse().unwrap());
        worker.outcome = Some(outcome);
        worker
    }

    fn ended(number: u32, end: ProcessEnd, interrupted: bool) -> WorkerState {
        let time = Duration::from_millis(30_100);
        worker(
            number,
            Outcome::Ended {
                end,
                time,
                interrupted,
            },
        )
    }

    #[test]
    fn each_worker_has_a_line_with_number_address_and_end() {
        let workers = [
            ended(1, ProcessEnd::Code(0), false),
            ended(2, ProcessEnd::Code(1), false),
            ended(3, ProcessEnd::Signal(9), true),
            worker(4, Outcome::Lost("the connection was closed".to_owned())),
            worker(5, Outcome::Late(Duration::from_millis(1300))),
            WorkerState::new(6, "10.0.3.6:9".parse().unwrap()),
        ];
        assert_eq!(
            lines(&workers),
            [
                "worker 1 (10.0.3.1): exit code 0 after 30.1 s",
                "worker 2 (10.0.3.2): exit code 1 after 30.1 s",
                "worker 3 (10.0.3.3): ended by SIGKILL after 30.1 s, after a signal to the worker",
                "worker 4 (10.0.3.4): lost: the connection was closed",
                "worker 5 (10.0.3.5): received the start 1.3 s late",
                "worker 6 (10.0.3.6:9): did not connect: no answer",
            ]
        );
    }

    #[test]
    fn the_worst_exit_code_counts_unless_the_master_has_its_own() {
        let workers = [
            ended(1, ProcessEnd::Code(0), false),
            ended(2, ProcessEnd::Code(3), false),
        ];
        assert_eq!(code(None, &workers).value(), 3);
        assert_eq!(
            code(Some(&Failure::new(Code::TIMEOUT, "")), &workers),
            Code::TIMEOUT
        );
        let lost = worker(3, Outcome::Lost(String::new()));
        assert_eq!(code(None, &[workers[1].clone(), lost]), Code::LOST);
        assert_eq!(
            code(None, &[ended(1, ProcessEnd::Code(0), true)]).value(),
            143
        );
    }

    #[test]
    fn a_tool_that_was_not_started_is_never_a_success() {
        let code = |value| {
            worker_code(&worker(
                1,
                Outcome::NotStarted(Code::new(value), String::new()),
            ))
        };
        assert_eq!(code(0), Code::NOT_EXECUTABLE);
        assert_eq!(code(127), Code::NOT_FOUND);
    }

    proptest! {
        #[test]
        fn the_exit_code_is_the_highest_and_zero_only_if_all_succeeded(codes in proptest::collection::vec(0..=255_u8, 1..50)) {
            let workers: Vec<WorkerState> = codes.iter().map(|it| ended(1, ProcessEnd::Code(*it), false)).collect();
            prop_assert_eq!(code(None, &workers).value(), *codes.iter().max().unwrap());
        }
    }
}
