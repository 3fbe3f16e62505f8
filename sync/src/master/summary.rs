//! The result: a line for each worker, and the exit code. Pure.

use std::time::Duration;

use super::seat::{Over, Seat};
use crate::clock::{MasterTime, Skew};
use crate::exit::{Code, Failure};
use crate::output::duration;
use crate::protocol::DEFAULT_PORT;

/// Difference of wall clocks from which on a worker is named.
const WALL_TOLERANCE: Duration = Duration::from_millis(100);

/// A line for each worker.
pub fn lines(seats: &[Seat]) -> Vec<String> {
    seats.iter().map(line).collect()
}

/// The line of one worker.
pub fn line(seat: &Seat) -> String {
    format!("{}: {}", seat.label(DEFAULT_PORT), end(seat))
}

fn end(seat: &Seat) -> String {
    match &seat.over {
        None if seat.stage == super::seat::Stage::Absent => {
            let why = seat.unreachable.as_deref().unwrap_or("no answer");
            format!("never came: {why}")
        }
        None => "did not report an end".to_owned(),
        Some(Over::Refused(why)) => format!("refused: {why}"),
        Some(Over::Late(by)) => format!("received the start {} late", duration(*by)),
        Some(Over::NotStarted(_, why)) => why.clone(),
        Some(Over::Cancelled) => "not started".to_owned(),
        Some(Over::Lost(why)) => format!("lost: {why}"),
        Some(Over::Ended {
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
pub fn code(failure: Option<&Failure>, seats: &[Seat]) -> Code {
    let worst = || seats.iter().map(seat_code).max().unwrap_or(Code::SUCCESS);
    failure.map_or_else(worst, |failure| failure.code)
}

/// The exit code that one worker stands for.
pub fn seat_code(seat: &Seat) -> Code {
    match &seat.over {
        None | Some(Over::Lost(_)) => Code::LOST,
        Some(Over::Refused(_) | Over::Cancelled) => Code::REFUSED,
        Some(Over::Late(_)) => Code::LATE,
        // A worker without a tool is no success, whatever it reports.
        Some(Over::NotStarted(code, _)) => (*code).max(Code::NOT_EXECUTABLE),
        Some(Over::Ended {
            end,
            interrupted: false,
            ..
        }) => end.code(),
        // A run that was cut short is no success, whatever the tool says.
        Some(Over::Ended {
            end,
            interrupted: true,
            ..
        }) => end.code().max(Code::of_signal(15)),
    }
}

/// How far apart the tools started.
pub fn skew(seats: &[Seat]) -> Skew {
    let start = |seat: &Seat| Some((seat.started?, seat.offset?.uncertainty));
    let starts: Vec<(MasterTime, Duration)> = seats.iter().filter_map(start).collect();
    Skew::of(&starts)
}

/// Workers whose wall clock differs: it is in the times of their result files.
pub fn wall_clock_warnings(seats: &[Seat]) -> Vec<String> {
    let warning = |seat: &Seat| {
        let difference = seat.offset?.wall_difference;
        let by = Duration::from_nanos(difference.unsigned_abs());
        let direction = if difference > 0 { "ahead of" } else { "behind" };
        (by > WALL_TOLERANCE).then(|| {
            format!(
                "{}: its wall clock is {} {direction} the master's; times in its result files differ by that",
                seat.label(DEFAULT_PORT),
                duration(by)
            )
        })
    };
    seats.iter().filter_map(warning).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::exit::ProcessEnd;
    use proptest::prelude::*;

    fn seat(number: u32, over: Over) -> Seat {
        let mut seat = Seat::new(number, format!("10.0.3.{number}:7700").parse().unwrap());
        seat.over = Some(over);
        seat
    }

    fn ended(number: u32, end: ProcessEnd, interrupted: bool) -> Seat {
        let time = Duration::from_millis(30_100);
        seat(
            number,
            Over::Ended {
                end,
                time,
                interrupted,
            },
        )
    }

    #[test]
    fn each_worker_has_a_line_with_number_address_and_end() {
        let seats = [
            ended(1, ProcessEnd::Code(0), false),
            ended(2, ProcessEnd::Code(1), false),
            ended(3, ProcessEnd::Signal(9), true),
            seat(4, Over::Lost("the connection was closed".to_owned())),
            seat(5, Over::Late(Duration::from_millis(1300))),
            Seat::new(6, "10.0.3.6:9".parse().unwrap()),
        ];
        assert_eq!(
            lines(&seats),
            [
                "worker 1 (10.0.3.1): exit code 0 after 30.1 s",
                "worker 2 (10.0.3.2): exit code 1 after 30.1 s",
                "worker 3 (10.0.3.3): ended by SIGKILL after 30.1 s, after a signal to the worker",
                "worker 4 (10.0.3.4): lost: the connection was closed",
                "worker 5 (10.0.3.5): received the start 1.3 s late",
                "worker 6 (10.0.3.6:9): never came: no answer",
            ]
        );
    }

    #[test]
    fn the_worst_exit_code_counts_unless_the_master_has_its_own() {
        let seats = [
            ended(1, ProcessEnd::Code(0), false),
            ended(2, ProcessEnd::Code(3), false),
        ];
        assert_eq!(code(None, &seats).value(), 3);
        assert_eq!(
            code(Some(&Failure::new(Code::TIMEOUT, "")), &seats),
            Code::TIMEOUT
        );
        let lost = seat(3, Over::Lost(String::new()));
        assert_eq!(code(None, &[seats[1].clone(), lost]), Code::LOST);
        assert_eq!(
            code(None, &[ended(1, ProcessEnd::Code(0), true)]).value(),
            143
        );
    }

    #[test]
    fn a_tool_that_was_not_started_is_never_a_success() {
        let code = |value| seat_code(&seat(1, Over::NotStarted(Code::new(value), String::new())));
        assert_eq!(code(0), Code::NOT_EXECUTABLE);
        assert_eq!(code(127), Code::NOT_FOUND);
    }

    proptest! {
        #[test]
        fn the_exit_code_is_the_highest_and_zero_only_if_all_succeeded(codes in proptest::collection::vec(0..=255_u8, 1..50)) {
            let seats: Vec<Seat> = codes.iter().map(|it| ended(1, ProcessEnd::Code(*it), false)).collect();
            prop_assert_eq!(code(None, &seats).value(), *codes.iter().max().unwrap());
        }
    }
}
