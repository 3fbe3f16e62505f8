//! The messages between master and worker: one JSON object in each line.
//!
//! 1. The master sends `hello`; the worker answers `hello`, or `refused`.
//! 2. `ping` and `pong` at any time: they compare the clocks and show that the other side is alive.
//! 3. `prepare` with a share; `prepared` or `refused`.
//! 4. `start` with an instant in the worker's own clock; `armed` with the time that is left, or `late`.
//! 5. At the instant: `started`, or `not_started`. At the end of the tool: `ended`.
//! 6. `stop` at any time: the worker ends its tool, or cancels the start (`cancelled`).
//! 7. `release`: the worker may end as soon as the master has closed the connection.

use serde::{Deserialize, Serialize};

use crate::clock::{WallTime, WorkerTime};
use crate::exit::ProcessEnd;
use crate::share::Share;

/// The version of the protocol. Both sides must have the same.
pub const VERSION: u32 = 1;
/// Longest line, in bytes without the line feed. A share with the most names takes about 2,000.
pub const MAX_LINE: usize = 8192;
/// Longest reason in a message, in bytes: each takes at most 6 in the line.
pub const MAX_REASON: usize = 1024;
/// The port of workers.
pub const DEFAULT_PORT: u16 = 7700;

/// A message of the master.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum FromMaster {
    /// The first message.
    Hello {
        /// Version of the protocol.
        version: u32,
    },
    /// A clock probe.
    Ping {
        /// Its number, which the answer repeats.
        number: u64,
    },
    /// The worker's share.
    Prepare {
        /// The share.
        share: Share,
    },
    /// The instant of the start.
    Start {
        /// In the clock of this worker.
        at: WorkerTime,
    },
    /// End the tool, or cancel the start.
    Stop {
        /// The reason, human-readable.
        reason: String,
    },
    /// The worker may end.
    Release,
}

/// A message of a worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum FromWorker {
    /// The answer to `hello`.
    Hello {
        /// Version of the protocol.
        version: u32,
        /// Number of the container in its service, if the worker knows it.
        replica: Option<u32>,
    },
    /// The worker does not do what it was asked to.
    Refused {
        /// The reason, human-readable.
        reason: String,
        /// Whether a later attempt may succeed.
        temporary: bool,
    },
    /// The answer to `ping`.
    Pong {
        /// The number of the probe.
        number: u64,
        /// The monotonic clock of the worker.
        at: WorkerTime,
        /// The wall clock of the worker.
        wall: WallTime,
    },
    /// The arguments are complete.
    Prepared,
    /// The start was received in time.
    Armed {
        /// Time from the receipt to the instant of the start.
        margin_ns: u64,
    },
    /// The start was received after its instant; the tool does not start.
    Late {
        /// Time from the instant of the start to the receipt.
        late_ns: u64,
    },
    /// The tool has been started.
    Started {
        /// Right before the system executes it.
        at: WorkerTime,
    },
    /// The tool could not be executed.
    NotStarted {
        /// Exit code of the worker.
        code: u8,
        /// The reason, human-readable.
        reason: String,
    },
    /// The tool has ended.
    Ended {
        /// How.
        end: ProcessEnd,
        /// From its start to its end.
        run_ns: u64,
        /// Whether the worker itself received a signal before.
        interrupted: bool,
    },
    /// The tool was not started, because of `stop` or a signal.
    Cancelled,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::share::{MAX_SHARES, Total, divide};
    use proptest::prelude::*;

    fn is_refused(text: &str) -> bool {
        serde_json::from_str::<FromMaster>(text).is_err()
    }

    #[test]
    fn the_messages_keep_their_form() {
        let share = divide(&["users=7".parse::<Total>().unwrap()], 2)
            .unwrap()
            .remove(0);
        let text = |message: &FromMaster| serde_json::to_string(message).unwrap();
        assert_eq!(
            text(&FromMaster::Hello { version: 1 }),
            r#"{"type":"hello","version":1}"#
        );
        assert_eq!(
            text(&FromMaster::Prepare { share }),
            r#"{"type":"prepare","share":{"index":0,"count":2,"parts":{"users":4}}}"#
        );
        assert_eq!(
            text(&FromMaster::Start { at: WorkerTime(5) }),
            r#"{"type":"start","at":5}"#
        );
        let ended = FromWorker::Ended {
            end: ProcessEnd::Signal(15),
            run_ns: 3,
            interrupted: false,
        };
        assert_eq!(
            serde_json::to_string(&ended).unwrap(),
            r#"{"type":"ended","end":{"signal":15},"run_ns":3,"interrupted":false}"#
        );
    }

    #[test]
    fn the_largest_share_fits_into_a_line() {
        let total = |number| {
            format!("{}{number:02}={}", "x".repeat(30), u64::MAX)
                .parse::<Total>()
                .unwrap()
        };
        let totals: Vec<Total> = (0..MAX_SHARES).map(total).collect();
        let share = divide(&totals, 10_000).unwrap().remove(9_999);
        let line = serde_json::to_string(&FromMaster::Prepare { share }).unwrap();
        assert!(line.len() < MAX_LINE / 2, "{}", line.len());
    }

    #[test]
    fn messages_of_another_form_are_refused() {
        for text in [
            "",
            "{}",
            "[]",
            r#"{"type":"run","command":"sh"}"#,
            r#"{"type":"start","at":1e99}"#,
        ] {
            assert!(is_refused(text), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_of_a_peer_cause_a_panic(text in ".{0,200}") {
            let _ = serde_json::from_str::<FromMaster>(&text);
            let _ = serde_json::from_str::<FromWorker>(&text);
        }
    }
}
